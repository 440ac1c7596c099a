"""Several recordings of one log as one: each record once, every partition in the order of its offsets.

Rules: offsets say what is the same record, so recordings of several logs are merged log by log, where their heads say
which is of which; where they don't, recordings of a log that starts again are refused; and where two overlap
the records must be equal; which recording gives which offsets is planned before anything is written; records are
taken in the order in which they were recorded, and one that comes before its predecessor waits: its recording is
read on only when all of them wait.
"""

from __future__ import annotations

import zlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.record import Record
from streams.recording.logs import logs_of
from streams.recording.recording import Advance, Recording, watched
from streams.recording.segments import heads_of
from streams.topics import EVENTS

HELD_BYTES: Final = 256 << 20
"""So much may wait for records that other recordings hold further on."""

_Partition = tuple[str, int]


@dataclass(slots=True)
class Run:
    """Offsets `first` to `last` of a partition, as recording number `file` has them. Times: of the producers, ms."""

    file: int
    first: int
    last: int
    first_ms: int
    last_ms: int


@dataclass(slots=True)
class MergePlan:
    """By partition, which recording gives which offsets: runs in order that don't overlap."""

    runs: dict[_Partition, list[Run]] = field(default_factory=dict)
    repeated: int = 0
    """Offsets that more than one recording has."""


def by_log(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Recordings, in their order, by the log that their heads say they are of; of one where a head is missing."""
    heads = [heads_of(one) for one in recordings]
    if not all(said[0].logs and len(said) == 1 for said in heads):
        return [list(recordings)]
    logs = logs_of(recordings)
    return [
        [one for one, begin in zip(recordings, logs.begins, strict=True) if begin == number]
        for number in range(len(logs.found))
    ]


def plan_merge(recordings: Sequence[Recording], advance: Advance) -> MergePlan:
    """Decide who gives what. Reads each recording once, or twice where they overlap.

    Raises ConfigurationError where offsets don't say what is the same record.
    """
    found: dict[_Partition, list[Run]] = defaultdict(list)
    for number, recording in enumerate(recordings):
        _find_runs(number, recording, found, advance)
    plan = MergePlan()
    common: dict[tuple[str, int, int], set[int]] = defaultdict(set)
    for partition, runs in found.items():
        runs.sort(key=lambda run: (run.first, run.file))
        given: list[Run] = []
        for run in runs:
            begin = max(run.first, given[-1].last + 1) if given else run.first
            if begin > run.first:
                other = next(one for one in given if one.last >= run.first)
                common[*partition, run.first] |= {other.file, run.file}
                plan.repeated += min(begin, run.last + 1) - run.first
            if begin <= run.last:
                given.append(Run(run.file, begin, run.last, run.first_ms, run.last_ms))
        if partition[0] == EVENTS.name:
            _refuse_disorder(recordings, partition, given)
        plan.runs[partition] = given
    if common:
        _refuse_differences(recordings, common, advance)
    return plan


def merged_records(
    recordings: Sequence[Recording], plan: MergePlan, advance: Advance
) -> Iterator[tuple[int, Record]]:
    """The records of the plan, each with the recorder's time before it. Reads each recording once."""
    turns = {partition: _Turn(runs) for partition, runs in plan.runs.items()}
    streams = [_given(number, recording, turns, advance) for number, recording in enumerate(recordings)]
    heads = {
        number: head for number, stream in enumerate(streams) if (head := next(stream, None)) is not None
    }
    held: dict[_Partition, list[tuple[int, int, Record]]] = defaultdict(list)
    held_bytes = 0
    while heads:
        ready = [number for number, (_, one) in heads.items() if turns[_partition(one)].is_next(number)]
        number = min(ready or heads, key=lambda one: (heads[one][0], one))
        log_ns, record = heads.pop(number)
        head = next(streams[number], None)
        if head is not None:
            heads[number] = head
        partition = _partition(record)
        if not ready:
            held[partition].append((number, log_ns, record))
            held_bytes += len(record.value or b"")
            if held_bytes > HELD_BYTES:
                raise _refused(recordings[number], "the recordings are too far out of order to be merged")
            continue
        yield log_ns, record
        turns[partition].pass_by(record.offset)
        while (waiting := _next_held(held[partition], turns[partition])) is not None:
            held_bytes -= len(waiting[2].value or b"")
            yield waiting[1], waiting[2]
            turns[partition].pass_by(waiting[2].offset)


def _given(
    number: int, recording: Recording, turns: dict[_Partition, _Turn], advance: Advance
) -> Iterator[tuple[int, Record]]:
    """What the plan takes from a recording."""
    for log_ns, record in watched(recording.timed_records(), advance):
        if turns[_partition(record)].gives(number, record.offset):
            yield log_ns, record


def _next_held(held: list[tuple[int, int, Record]], turn: _Turn) -> tuple[int, int, Record] | None:
    """Of the records that wait in a partition, the next one that may come; they lie in order for each recording."""
    for index, (number, _, _) in enumerate(held):
        if turn.is_next(number):
            return held.pop(index)
    return None


class _Turn:
    """Whose turn it is in a partition."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._at = 0
        self._own: dict[int, deque[Run]] = defaultdict(deque)
        for run in runs:
            self._own[run.file].append(run)

    def gives(self, file: int, offset: int) -> bool:
        """Whether the plan takes this offset from this recording, whose offsets are asked for in their order."""
        own = self._own[file]
        while own and own[0].last < offset:
            own.popleft()
        return bool(own) and own[0].first <= offset

    def is_next(self, file: int) -> bool:
        return self._at < len(self._runs) and self._runs[self._at].file == file

    def pass_by(self, offset: int) -> None:
        if offset >= self._runs[self._at].last:
            self._at += 1


def _partition(record: Record) -> _Partition:
    return record.topic, record.partition


def _find_runs(
    number: int, recording: Recording, found: dict[_Partition, list[Run]], advance: Advance
) -> None:
    """Holes end a run; what compaction leaves of a topic is few enough to be runs of one record."""
    current: dict[_Partition, Run] = {}
    for record in watched(recording.records(), advance):
        partition, offset = _partition(record), record.offset
        run = current.get(partition)
        if run is not None and offset <= run.last:
            raise _refused(
                recording,
                f"the log was rolled: offsets of {record.topic}/{record.partition} start again at {offset}",
            )
        if run is None or offset > run.last + 1:
            run = current[partition] = Run(number, offset, offset, record.timestamp_ms, record.timestamp_ms)
            found[partition].append(run)
        run.last, run.last_ms = offset, max(run.last_ms, record.timestamp_ms)


def _refuse_disorder(recordings: Sequence[Recording], partition: _Partition, runs: Sequence[Run]) -> None:
    """Lower offsets that were sent after all of the higher ones are those of a fresh log."""
    for earlier, later in pairwise(runs):
        if earlier.file != later.file and earlier.first_ms > later.last_ms:
            raise _refused(
                recordings[earlier.file],
                f"it is of another log than {recordings[later.file].path}: its offsets of "
                f"{partition[0]}/{partition[1]} are lower, and were given later",
            )


def _refuse_differences(
    recordings: Sequence[Recording], common: dict[tuple[str, int, int], set[int]], advance: Advance
) -> None:
    seen: dict[tuple[str, int, int], tuple[int, int]] = {}
    for number, recording in enumerate(recordings):
        for record in watched(recording.records(), advance):
            place = record.topic, record.partition, record.offset
            if number not in common.get(place, ()):
                continue
            content = zlib.crc32(
                repr((record.timestamp_ms, record.key, record.value, record.headers)).encode()
            )
            first, known = seen.setdefault(place, (number, content))
            if known != content:
                raise _refused(
                    recording,
                    f"it is of another log than {recordings[first].path}: offset {record.offset} of "
                    f"{record.topic}/{record.partition} is another record",
                )


def _refused(recording: Recording, text: str) -> ConfigurationError:
    hint = "replay reads the recordings of several logs one after the other"
    return ConfigurationError([Finding(str(recording.path), 0, 0, text, hint)])
