"""An OPC UA data value as a reading: number, source and server time, quality and status code.

What is not a finite number is data with quality bad and a status code that says why; nothing is raised or dropped.
Status codes (OPC 10000-4, 7.39) are kept as they came, information bits included.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rules.quality import quality_of_status

BAD_NO_DATA = 0x809B0000
"""Status good, but no value beside it."""
BAD_TYPE_MISMATCH = 0x80740000
"""A string, an array or a structure where a number belongs."""
BAD_OUT_OF_RANGE = 0x803C0000
"""Status good, but the number is NaN or infinite."""

OVERFLOW = 0x0480
"""InfoType 'DataValue' (bit 10) with the overflow bit (7): the server's queue lost samples of this item."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME_NS = 2**63 - 2**32
_MICROSECOND = timedelta(microseconds=1)


class Sample(NamedTuple):
    """One value of one point. Times in ns since 1970 UTC, 0 where the server gave none."""

    time_ns: int
    server_ns: int
    value: float
    quality: int
    status: int


def time_ns(moment: datetime | None) -> int:
    """A decoded DateTime in ns. 0 for null, for OPC UA's least and greatest (1601, 9999), and what int64 can't hold."""
    if moment is None:
        return 0
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    stamp = (aware - _EPOCH) // _MICROSECOND * 1000
    return stamp if 0 < stamp < _NO_TIME_NS else 0


def moment_of(time_ns: int) -> datetime:
    """The DateTime of ns since 1970, UTC. Microseconds are what asyncua's timestamps hold."""
    return _EPOCH + time_ns // 1000 * _MICROSECOND


def number_of(value: Any) -> tuple[float, int]:
    """A variant's content as a float, and 0 or the status code that says why it is none (NaN then).

    Booleans are 0 and 1, enumerations their integer.
    """
    if isinstance(value, bool | int | float):
        number = float(value) if abs(value) < 1e300 or isinstance(value, float) else math.inf
        return (number, 0) if math.isfinite(number) else (math.nan, BAD_OUT_OF_RANGE)
    return math.nan, BAD_NO_DATA if value is None else BAD_TYPE_MISMATCH


def sample_of(data_value: Any) -> Sample:
    """An `asyncua.ua.DataValue` as a sample. Without a source time the server's counts, without both 0."""
    variant = data_value.Value
    number, why_not = number_of(None if variant is None else variant.Value)
    code = data_value.StatusCode
    status = 0 if code is None else int(code.value)
    if why_not and status >> 30 == 0:
        status = why_not
    server = time_ns(data_value.ServerTimestamp)
    return Sample(
        time_ns(data_value.SourceTimestamp) or server, server, number, quality_of_status(status), status
    )


def overflowed(status: int) -> bool:
    """True when the server's queue for the item overflowed between this sample and its neighbour."""
    return status & OVERFLOW == OVERFLOW
