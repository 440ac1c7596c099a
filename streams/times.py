"""Event times as text: ISO 8601, UTC, nine digits, so that no nanosecond is lost between two tools."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_ISO: Final = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")


def iso_utc(time_ns: int) -> str:
    """`2026-11-22T16:37:38.123456789Z`."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def time_ns_of(text: str) -> int:
    """The way back, also from fewer digits, without seconds, or with another offset; without one it is UTC.

    Raises ValueError.
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time: write 2026-11-22T16:37:38Z")
    moment = datetime.fromisoformat(match[1] + (match[3] or "Z"))
    return int(moment.timestamp()) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))
