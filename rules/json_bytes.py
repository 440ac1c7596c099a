"""JSON as bytes that may be kept."""

from __future__ import annotations

from typing import Any

import orjson


def json_bytes(value: Any) -> bytes:
    """`value` with sorted keys, in memory of its own length.

    What orjson 3.13 gives keeps the buffer that it was written in, 4 KiB for the shortest text: outputs of a replay,
    or the records of a bus in memory, would take ten times what they say.
    """
    return bytes(memoryview(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))
