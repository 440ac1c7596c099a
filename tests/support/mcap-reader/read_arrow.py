"""Arrow messages by Arrow's own reader: schemas and data as JSON lines in base64, rows out. Needs no Headrace."""

from __future__ import annotations

import base64
import json
import sys

import pyarrow as pa

for line in sys.stdin:
    message = json.loads(line)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(message["schema"])))
    batch = pa.ipc.read_record_batch(pa.py_buffer(base64.b64decode(message["data"])), schema)
    batch.validate(full=True)
    print(json.dumps({"name": message["name"], "rows": batch.to_pylist()}))
