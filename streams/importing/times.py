"""Times in files of others to nanoseconds since 1970, exactly.

Rules: a time without an offset is in the map's zone; one that the zone doesn't have (spring) is an error, one
that it has twice (autumn) is the one that fits the direction of the file. No float arithmetic.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NS_MAX: Final = 1 << 62
"""The engine's own limit (the year 2116): times are sums of ns in 64 bits."""
_EXPONENT_MAX: Final = 20
"""Of a number: 10 ** 20 is above NS_MAX in every unit."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX: Final = {"unix s": 1_000_000_000, "unix ms": 1_000_000, "unix us": 1_000, "unix ns": 1}


def read_zone(name: str) -> tzinfo | None:
    """The zone called `name`, None when there is none."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


class TimeReader:
    """Reads one column of times. `form`: 'iso', 'unix s' (ms, us, ns), or a strptime format.

    Raises ValueError from the constructor for another form.
    """

    def __init__(self, form: str = "iso", zone: tzinfo | None = UTC) -> None:
        if form != "iso" and form not in _UNIX and "%" not in form:
            raise ValueError("no such format")
        self._form = form
        self._zone = zone or UTC

    @property
    def is_number(self) -> bool:
        """Whether times are numbers since 1970."""
        return self._form in _UNIX

    @property
    def is_utc(self) -> bool:
        """Whether a time that names no zone is UTC."""
        return self._zone is UTC

    def read(self, text: str, previous_ns: int | None = None, ascending: bool = True) -> int:
        """Nanoseconds. `previous_ns`: the row before, to tell the two readings of an hour that comes twice.

        Raises ValueError, with a reason for the reader of the report.
        """
        if self._form in _UNIX:
            try:
                number = Decimal(text)
                if number.adjusted() > _EXPONENT_MAX:  # its million digits would be written out
                    raise ValueError(f"{text!r} is not between 1970 and 2116")
                return in_range(int(number * _UNIX[self._form]), text)
            except ArithmeticError:
                raise ValueError(f"{text!r} is no number of {self._form}") from None
        try:
            moment = datetime.fromisoformat(text) if self._form == "iso" else self._parse(text)
        except ValueError:
            raise ValueError(f"{text!r} is no time of the form '{self._form}'") from None
        if moment.tzinfo is not None or self._zone is UTC:
            return in_range(_ns(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)), text)
        return in_range(self._local(moment.replace(tzinfo=self._zone), previous_ns, ascending), text)

    def _parse(self, text: str) -> datetime:
        return datetime.strptime(text, self._form)  # noqa: DTZ007 - `read` puts the zone to it

    def _local(self, moment: datetime, previous_ns: int | None, ascending: bool) -> int:
        first, second = _ns(moment.replace(fold=0)), _ns(moment.replace(fold=1))
        if second < first:  # the clock jumped over it
            raise ValueError(f"{moment.replace(tzinfo=None)} does not exist in {self._zone}")
        if first == second or previous_ns is None:
            return first
        if ascending:
            return first if first > previous_ns else second
        return second if second < previous_ns else first


def in_range(time_ns: int, text: str) -> int:
    """The time itself. Raises ValueError outside of 1970 to 2116."""
    if not 0 <= time_ns < NS_MAX:
        raise ValueError(f"{text!r} is not between 1970 and 2116")
    return time_ns


def _ns(moment: datetime) -> int:
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
