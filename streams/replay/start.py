"""What part of recordings a replay is to show, and the moments in them that people name: their ends, and alarms.

Rule: event time decides, which is that of the ticks: what a recorder's clock says of a record is when it had it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from rules.engine.outputs import Alarm
from rules.errors import UndecodableError
from streams.recording.recording import CUT, Recording
from streams.recording.ticks import begin_of_log_ns, end_of_log_ns, file_at
from streams.times import time_ns_of
from streams.topics import ALARMS
from streams.wire import decode_output


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be replayed: event time in ns, 0 and None for the ends of the recording; the units, None for all."""

    from_ns: int = 0
    to_ns: int | None = None
    units: Collection[str] | None = None


WHOLE = Part()


def span_of(recordings: Sequence[Recording], part: Part) -> tuple[int | None, int | None]:
    """Where a part begins and ends in event time, in ns; None where the recordings have no tick to tell."""
    from_ns = part.from_ns or begin_of_log_ns(recordings)
    return from_ns, end_of_log_ns(recordings) if part.to_ns is None else part.to_ns


class Share(NamedTuple):
    """What of a part one process works on: some units. `is_first`: it also counts what is of no unit of the site."""

    units: frozenset[str]
    is_first: bool = True


def cut_from_ns(recordings: Sequence[Recording]) -> int:
    """Where a cut begins: what it holds before that is there to come to the state with which it begins. 0: no cut."""
    begin = recordings[0].metadata.get(CUT, "/").partition("/")[0]
    return time_ns_of(begin) if begin else 0


_NS_DIGITS: Final = len("1000000000000000000")


class AlarmSpan(NamedTuple):
    """When an alarm was raised and when it cleared; None while it did not."""

    raised_ns: int
    cleared_ns: int | None


def alarm_span(recordings: Sequence[Recording], alarm_id: str) -> AlarmSpan | None:
    """That of an alarm, by the id of its raising or of any word on it; None where no recording has it.

    The id of a deadline says when that was, so that recordings before it need not be read.
    """
    at = alarm_id.rsplit(":", 2)[-2:-1]
    if at and at[0].isdecimal() and len(at[0]) >= _NS_DIGITS:
        near = _span_in(recordings[max(file_at(recordings, int(at[0])) - 1, 0) :], alarm_id)
        if near is not None:
            return near
    return _span_in(recordings, alarm_id)


def _span_in(recordings: Sequence[Recording], alarm_id: str) -> AlarmSpan | None:
    """Read up to the word that clears it, if any."""
    raised_id, span = "", None
    for recording in recordings:
        for _, place, _, _, value in recording.of_topic(ALARMS.name):
            try:
                alarm = decode_output(place.headers, value) if value is not None else None
            except UndecodableError:
                continue
            if isinstance(alarm, Alarm) and (
                alarm_id in (alarm.id, alarm.raised_id) or alarm.raised_id == raised_id
            ):
                raised_id, span = alarm.raised_id, AlarmSpan(alarm.raised_ns, alarm.cleared_ns)
                if span.cleared_ns is not None:
                    return span
    return span
