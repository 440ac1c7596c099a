"""Where a replay begins that is to show a part of a recording: at the last snapshots before it, as a worker would.

Rules: event time decides, and the index only says where things lie, because a recorder that catches up stamps a whole
hour with the minute in which it had it; what a snapshot covers is what its offset says (`snapshots.is_covered`); where
anything is missing (an index, a snapshot, its rules), the replay begins at the beginning, which is always right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from rules.engine.engine import Engine
from rules.engine.inputs import Tick
from rules.engine.outputs import Alarm
from rules.errors import UndecodableError
from streams.record import Record, header
from streams.recording.chunks import Stored, record_of
from streams.recording.recording import Recording
from streams.snapshots import LOG_KEY, Snapshot, assemble, is_covered
from streams.topics import ALARMS, EVENTS, SNAPSHOTS
from streams.wire import decode_input, decode_output

Restored = Callable[[Snapshot], Engine | None]
"""The engine of a snapshot, or None where its state or its rules can't be had."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be replayed: event time in ns, 0 and None for the ends of the recording; the units, None for all."""

    from_ns: int = 0
    to_ns: int | None = None
    units: Collection[str] | None = None


WHOLE = Part()


@dataclass(frozen=True, slots=True)
class Begin:
    """The chunk to read from, the restored engines by unit, and the first offset that each has not seen."""

    chunk: int = 0
    engines: Mapping[str, Engine] = field(default_factory=dict)
    next_offsets: Mapping[str, int] = field(default_factory=dict)

    def covers(self, unit: str, offset: int) -> bool:
        """Whether a restored state has the record already."""
        return is_covered(offset, self.next_offsets.get(unit, 0))


def find_begin(recording: Recording, units: Collection[str], from_ns: int, restored: Restored) -> Begin:
    """The last snapshot of each unit whose time is not after `from_ns`, and where to read on from there.

    `Begin()`, the beginning, when a unit has none, or the log was rolled to a fresh one: offsets then mean nothing.
    """
    if not recording.chunks or recording.is_rolled:
        return Begin()
    partitions = {
        place.key.decode("utf-8", "replace"): place.partition
        for place in recording.places.values()
        if place.topic == EVENTS.name and place.key is not None
    }
    native = frozenset(
        place.key.removeprefix(LOG_KEY).decode("ascii", "replace")
        for place in recording.places.values()
        if place.topic == SNAPSHOTS.name and place.key is not None and place.key.startswith(LOG_KEY)
    )
    left = set(units)
    engines: dict[str, Engine] = {}
    offsets: dict[str, int] = {}
    records: list[Record] = []
    lowest = last = _chunk_of(recording, from_ns)
    for number, found in _backwards(recording, last, SNAPSHOTS.name):
        records = [*map(record_of, found), *records]
        for unit, snapshot in assemble(records, left, native).snapshots.items():
            named = recording.named.get((EVENTS.name, partitions.get(unit, -1)))
            is_ours = not native or snapshot.log_id in native
            if is_ours and named is not None and named.has(snapshot.next_offset):
                engine = restored(snapshot)
                if engine is not None and engine.now_ns <= from_ns:
                    engines[unit], offsets[unit] = engine, snapshot.next_offset
                    left.discard(unit)
            # taken, or no good: one that lies further back is looked for, if any
            records = [
                record for record in records if not (record.key or b"").startswith(f"{unit}:".encode())
            ]
            lowest = number
        if not left:
            break
    if left or not engines:
        return Begin()
    needed: dict[int, int] = {}
    for unit, offset in offsets.items():
        needed[partitions[unit]] = min(offset, needed.get(partitions[unit], offset))
    return Begin(_chunk_before(recording, lowest, needed), engines, offsets)


def first_tick_ns(recording: Recording) -> int | None:
    """Event time of the first tick of a recording, None without any."""
    return next(_ticks(recording.stored({EVENTS.name})), None)


def last_tick_ns(recording: Recording) -> int | None:
    """Event time of a tick at the end of a recording, None where its index names none in its last chunks."""
    last = range(recording.chunks - 1, max(recording.chunks - 9, -1), -1)
    return max(_ticks(stored for _, stored in recording.in_chunks(last, {EVENTS.name})), default=None)


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


def _chunk_of(recording: Recording, from_ns: int) -> int:
    """The last chunk whose first tick is not after `from_ns`: ticks go up through the file."""
    low, high = 0, recording.chunks
    while high - low > 1:
        middle = (low + high) // 2
        chunks = recording.in_chunks(range(middle, high), {EVENTS.name})
        for number, inputs in groupby(chunks, key=itemgetter(0)):
            tick_ns = next(_ticks(stored for _, stored in inputs), None)
            if tick_ns is None:
                continue
            if tick_ns <= from_ns:
                low = number
            else:
                high = middle
            break
        else:
            high = middle
    return low


def _ticks(found: Iterable[Stored]) -> Iterator[int]:
    for _, place, _, _, value in found:
        if header(place.headers, "schema") == b"tick/1":
            try:
                tick = decode_input(place.key, place.headers, value)
            except UndecodableError:
                continue
            if isinstance(tick, Tick):
                yield tick.time_ns


def _backwards(recording: Recording, last: int, topic: str) -> Iterator[tuple[int, list[Stored]]]:
    """The chunks that hold records of a topic, from `last` to the first, with these records in their order."""
    found = recording.in_chunks(range(last, -1, -1), {topic})
    for number, stored in groupby(found, key=itemgetter(0)):
        yield number, [one for _, one in stored]


def _chunk_before(recording: Recording, last: int, needed: Mapping[int, int]) -> int:
    """The last chunk up to `last` before which no partition of `events` has an offset at or above the needed one."""
    left = set(needed)
    for number, found in _backwards(recording, last, EVENTS.name):
        for _, place, offset, _, _ in found:
            if place.partition in left and offset <= needed[place.partition]:
                left.discard(place.partition)
        if not left:
            return number
    return 0
