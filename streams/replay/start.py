"""What part of recordings a replay is to show, and the moments in them that people name: their ends, and alarms.

Rule: event time decides, which is that of the ticks: what a recorder's clock says of a record is when it had it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rules.engine.inputs import Tick
from rules.engine.outputs import Alarm
from rules.errors import UndecodableError
from streams.record import header
from streams.recording.chunks import Stored
from streams.recording.recording import CUT, Recording
from streams.times import time_ns_of
from streams.topics import ALARMS, EVENTS
from streams.wire import decode_input, decode_output


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be replayed: event time in ns, 0 and None for the ends of the recording; the units, None for all."""

    from_ns: int = 0
    to_ns: int | None = None
    units: Collection[str] | None = None


WHOLE = Part()


def cut_from_ns(recordings: Sequence[Recording]) -> int:
    """Where a cut begins: what it holds before that is there to come to the state with which it begins. 0: no cut."""
    begin = recordings[0].metadata.get(CUT, "/").partition("/")[0]
    return time_ns_of(begin) if begin else 0


def first_tick_ns(recording: Recording) -> int | None:
    """Event time of the first tick of a recording, None without any."""
    return next(ticks(recording.stored({EVENTS.name})), None)


def last_tick_ns(recording: Recording) -> int | None:
    """Event time of a tick at the end of a recording, None where its index names none in its last chunks."""
    last = range(recording.chunks - 1, max(recording.chunks - 9, -1), -1)
    return max(ticks(stored for _, stored in recording.in_chunks(last, {EVENTS.name})), default=None)


class AlarmSpan(NamedTuple):
    """When an alarm was raised and when it cleared; None while it did not."""

    raised_ns: int
    cleared_ns: int | None


def alarm_span(recordings: Iterable[Recording], alarm_id: str) -> AlarmSpan | None:
    """That of an alarm, by the id of its raising or of any word on it; None where no recording has it."""
    raised_id, spans = "", dict[str, AlarmSpan]()
    for recording in recordings:
        for _, place, _, _, value in recording.of_topic(ALARMS.name):
            try:
                alarm = decode_output(place.headers, value) if value is not None else None
            except UndecodableError:
                continue
            if isinstance(alarm, Alarm):
                spans[alarm.raised_id] = AlarmSpan(alarm.raised_ns, alarm.cleared_ns)
                if alarm_id in (alarm.id, alarm.raised_id):
                    raised_id = alarm.raised_id
    return spans.get(raised_id)


def ticks(found: Iterable[Stored]) -> Iterator[int]:
    """Event times of the ticks among records of `events`."""
    for _, place, _, _, value in found:
        if header(place.headers, "schema") == b"tick/1":
            try:
                tick = decode_input(place.key, place.headers, value)
            except UndecodableError:
                continue
            if isinstance(tick, Tick):
                yield tick.time_ns
