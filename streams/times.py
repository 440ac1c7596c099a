"""Event times as text: ISO 8601, UTC, nine digits, so that no nanosecond is lost between two tools."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_utc(time_ns: int) -> str:
    """`2026-11-22T16:37:38.123456789Z`."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
