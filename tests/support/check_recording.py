"""Recompute `lost` and `duplicates` from a recording alone: `check_recording.py RUN.mcap`. Needs no Headrace.

Inputs on `events` are counted per (unit, source, epoch): sequences run from 1 without a hole. A higher epoch is a new
start of the writer. What a `gap` input says is missing was never in the log, so it excuses no hole: a gap has a
sequence of its own. The ticker is left out (it may skip). Exit 1, and every hole by name, when something is lost.
"""

from __future__ import annotations

import base64
import json
import sys
from collections import defaultdict

import pyarrow as pa
from mcap.reader import make_reader

ARROW = ("frame/1", "readings/1")


def identity(schemas, channel, data: bytes):  # type: ignore[no-untyped-def]
    """(unit, source, epoch, sequence) of an input, None for what is none."""
    metadata = dict(channel.metadata)
    if metadata.get("encoding") == "wrapped":
        wrapped = json.loads(data)
        if wrapped["value"] is None or wrapped["key"] is None:
            return None
        data = base64.b64decode(wrapped["value"])
        metadata["key"] = base64.b64decode(wrapped["key"]).decode("utf-8", "replace")
        for name, value in wrapped["headers"]:
            metadata["header." + base64.b64decode(name).decode()] = base64.b64decode(value).decode(
                "utf-8", "replace"
            )
    kind = metadata.get("header.schema", "")
    try:
        if kind in ARROW:
            batch = pa.ipc.read_record_batch(pa.py_buffer(data), schemas[kind])
            sequence = batch.column("sequence")[0].as_py()
            return metadata["key"], metadata["header.source"], int(metadata["header.epoch"]), sequence
        body = json.loads(data)
        return body["unit"], body["source"], body["epoch"], body["sequence"]
    except (KeyError, TypeError, ValueError, pa.ArrowException):
        return None


def main(path: str) -> int:
    """Print one JSON object; 1 when an input is missing."""
    seen: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    inputs = duplicates = foreign = 0
    with open(path, "rb") as file:  # noqa: PTH123
        reader = make_reader(file, validate_crcs=True)
        schemas = {
            schema.name: pa.ipc.read_schema(pa.py_buffer(schema.data))
            for schema in reader.get_summary().schemas.values()
            if schema.encoding == "arrow"
        }
        for _, channel, message in reader.iter_messages(topics=["events"], log_time_order=False):
            found = identity(schemas, channel, message.data)
            if found is None:
                foreign += 1
                continue
            unit, source, epoch, sequence = found
            if source == "ticker":
                continue
            inputs += 1
            duplicates += sequence in seen[unit, source, epoch]
            seen[unit, source, epoch].add(sequence)
    holes = []
    for (unit, source, epoch), sequences in sorted(seen.items()):
        missing = sorted(set(range(1, max(sequences) + 1)) - sequences)
        holes += [{"unit": unit, "source": source, "epoch": epoch, "sequence": one} for one in missing]
    print(json.dumps({"inputs": inputs, "lost": len(holes), "duplicates": duplicates, "foreign": foreign,
                      "holes": holes[:100]}))  # fmt: skip
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
