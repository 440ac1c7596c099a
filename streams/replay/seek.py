"""Where a replay begins that is to show a part of recordings: at the last snapshots before it, as a worker would.

Rules: event time decides, and the index only says where things lie, because a recorder that catches up stamps a whole
hour with the minute in which it had it; what a snapshot covers is what its offset says (`snapshots.is_covered`) in the
log that it counts in; recordings that lie before the snapshots are not read. Where anything is missing (an index that
can be trusted, a snapshot, its rules), the replay begins at the beginning, which is always right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from rules.engine.engine import Engine
from streams.record import Record, header
from streams.recording.chunks import Stored, record_of
from streams.recording.logs import LogPlace, Logs, logs_of
from streams.recording.recording import Recording
from streams.recording.ticks import chunk_at, file_at
from streams.replay.start import cut_from_ns
from streams.snapshots import MANIFEST_SCHEMA, Snapshot, assemble, is_covered
from streams.topics import EVENTS, SNAPSHOTS

Restored = Callable[[Snapshot], Engine | None]
"""The engine of a snapshot, or None where its state or its rules can't be had."""


class ChunkPlace(NamedTuple):
    """A chunk of one of several recordings, both counted from 0."""

    file: int = 0
    chunk: int = 0


BEGINNING: Final = ChunkPlace()


@dataclass(frozen=True, slots=True)
class Begin:
    """From where to read, the restored engines by unit, and the first place on `events` that each has not seen.

    Of a share of the units only their engines are kept, and the places of all.
    """

    at: ChunkPlace = BEGINNING
    engines: Mapping[str, Engine] = field(default_factory=dict)
    next_places: Mapping[str, LogPlace] = field(default_factory=dict)

    def covers(self, unit: str, place: LogPlace) -> bool:
        """Whether a restored state has the record already."""
        begin = self.next_places.get(unit)
        if begin is None or place.log > begin.log:
            return False
        return place.log < begin.log or is_covered(place.offset, begin.offset)


def find_begin(
    recordings: Sequence[Recording], units: Collection[str], from_ns: int, restored: Restored
) -> Begin:
    """The last snapshot of each unit whose time is not after `from_ns`, and where to read on from there.

    `Begin()`, the beginning, when a unit has none. In a cut, which holds no inputs of such a unit from before
    `from_ns`, the others begin at theirs. A unit's snapshots are in the partition in which its inputs are.
    """
    logs = logs_of(recordings)
    last = lowest = _place_at(recordings, from_ns)
    engines: dict[str, Engine] = {}
    next_places: dict[str, LogPlace] = {}
    needed: dict[int, LogPlace] = {}
    waiting: dict[str, list[Record]] = {}
    of_log = -1
    for place, stored in _backwards(recordings, last, SNAPSHOTS.name):
        for number, found in _by_log(logs, place.file, stored):
            if number != of_log:
                of_log, waiting = number, {}
            by_unit: dict[str, list[Record]] = {unit: [] for unit in units if unit not in engines}
            for record in map(record_of, found):
                unit = _unit_of(record)
                if unit in by_unit:
                    by_unit[unit].append(record)
            for unit, earlier in by_unit.items():
                records = [*earlier, *waiting.get(unit, ())]
                for snapshot in _backwards_through(records, unit, logs.found[number].ids):
                    next_place = logs.next_place(number, records[0].partition, snapshot)
                    engine = None if next_place is None else restored(snapshot)
                    if next_place is not None and engine is not None and engine.now_ns <= from_ns:
                        engines[unit], next_places[unit], lowest = engine, next_place, place
                        partition = records[0].partition
                        needed[partition] = min(next_place, needed.get(partition, next_place))
                        break
                waiting[unit] = records
        if len(engines) == len(units):
            break
    is_cut = bool(cut_from_ns(recordings))
    if is_cut:
        left = [unit for unit in units if unit not in engines]
        for unit, number, partition, snapshot in _first_snapshots(recordings, logs, left):
            next_place, engine = logs.next_place(number, partition, snapshot), restored(snapshot)
            if next_place is not None and engine is not None and engine.now_ns <= from_ns:
                engines[unit], next_places[unit] = engine, next_place
                needed[partition] = min(next_place, needed.get(partition, next_place))
    if not engines or (len(engines) < len(units) and not is_cut):
        return Begin()
    return Begin(_place_before(recordings, logs, lowest, needed), engines, next_places)


def _backwards_through(records: list[Record], unit: str, native: Collection[str]) -> Iterator[Snapshot]:
    """The complete snapshots of a unit among its records, the last one first; what was looked at is taken out."""
    for end in range(len(records), 0, -1):
        if header(records[end - 1].headers, "schema") == MANIFEST_SCHEMA:
            snapshot = assemble(records[:end], {unit}, native).snapshots.get(unit)
            if snapshot is None:
                continue  # torn, or its chunks lie further back
            yield snapshot
            del records[end - 1 :]


def _first_snapshots(
    recordings: Sequence[Recording], logs: Logs, units: Collection[str]
) -> Iterator[tuple[str, int, int, Snapshot]]:
    """The first complete snapshot of each of `units`, with its unit, log and partition: a cut was made for it."""
    left = set(units)
    records: dict[tuple[int, str], list[Record]] = {}
    chunks = (
        (file, stored)
        for file, one in enumerate(recordings)
        if one.is_sought
        for _, stored in one.in_chunks(range(one.chunks), {SNAPSHOTS.name})
    )
    for file, stored in chunks:
        record, number = record_of(stored), logs.of(file, stored[1])
        unit = _unit_of(record)
        if unit not in left:
            continue
        records.setdefault((number, unit), []).append(record)
        if header(record.headers, "schema") == MANIFEST_SCHEMA:
            found = assemble(records[number, unit], {unit}, logs.found[number].ids).snapshots
            if unit in found:
                yield unit, number, record.partition, found[unit]
                left.discard(unit)
        if not left:
            return


def _unit_of(record: Record) -> str:
    return (record.key or b"").decode("utf-8", "replace").rsplit(":", 2)[0]


def _place_at(recordings: Sequence[Recording], from_ns: int) -> ChunkPlace:
    """The last chunk whose first tick is not after `from_ns`: ticks go up through the log."""
    file = file_at(recordings, from_ns)
    if recordings[file].is_sought:
        return ChunkPlace(file, chunk_at(recordings[file], from_ns))
    # what lies in a file whose chunks can't be found is run through from its beginning
    before = max(file - 1, 0)
    return ChunkPlace(before, max(recordings[before].chunks - 1, 0))


def _backwards(
    recordings: Sequence[Recording], last: ChunkPlace, topic: str
) -> Iterator[tuple[ChunkPlace, list[Stored]]]:
    """The chunks that hold records of a topic, from `last` on back, with these records in their order.

    It ends with the first, or before a recording whose chunks can't be found, though it has some.
    """
    for file in range(last.file, -1, -1):
        recording = recordings[file]
        if not recording.is_readable:
            continue  # it has nothing, wherever that lay
        if not recording.is_sought:
            return
        chunk = last.chunk if file == last.file else recording.chunks - 1
        found = recording.in_chunks(range(min(chunk, recording.chunks - 1), -1, -1), {topic})
        for number, stored in groupby(found, key=itemgetter(0)):
            yield ChunkPlace(file, number), [one for _, one in stored]


def _by_log(logs: Logs, file: int, stored: Sequence[Stored]) -> list[tuple[int, list[Stored]]]:
    """The records of a chunk by the log that they are of, the last log first."""
    found = [
        (number, list(records)) for number, records in groupby(stored, key=lambda one: logs.of(file, one[1]))
    ]
    return found[::-1]


def _place_before(
    recordings: Sequence[Recording], logs: Logs, last: ChunkPlace, needed: Mapping[int, LogPlace]
) -> ChunkPlace:
    """The last chunk up to `last` before which no partition of `events` has a place at or above the needed one."""
    left = set(needed)
    for at, found in _backwards(recordings, last, EVENTS.name):
        for _, place, offset, _, _ in found:
            number = place.partition
            if number in left and LogPlace(logs.of(at.file, place), offset) <= needed[number]:
                left.discard(number)
        if not left:
            return at
    back = range(last.file, -1, -1)
    unsought = (file for file in back if recordings[file].is_readable and not recordings[file].is_sought)
    return ChunkPlace(next(unsought, 0))
