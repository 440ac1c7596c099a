"""A part of a recording that can be replayed: inputs of a while, the snapshots before them, and what was said to them.

Rules: time is event time, which in a partition of `events` is that of its ticks; the part begins where the newest
complete snapshot before `from_ns` stands, so that engines that are restored there come to the same; an output comes
along when what caused it does, which its id names; where a log was rolled, a place is the log's number and the offset
in it. The recordings are read three times, and what is kept meanwhile does not grow with their length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from rules.engine.cause import FORGED
from rules.engine.inputs import Frame, Identity, Readings, Tick
from rules.errors import UndecodableError
from streams.record import Record, TopicPartition, header
from streams.recording.chunks import record_of
from streams.recording.logs import LogPlace, Logs, in_logs, joined_heads, logs_of
from streams.recording.recording import Advance, Recording
from streams.recording.segments import Head
from streams.recording.ticks import file_at
from streams.snapshots import CHUNK_SCHEMA, LOG_KEY, MANIFEST_SCHEMA
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, RULE_SETS, SNAPSHOTS
from streams.wire import decode_input

_OUTPUTS: Final = frozenset({ALARMS.name, COMMANDS.name, JOURNAL.name})
_TICK: Final = b"tick/1"
_NS_PER_MS: Final = 1_000_000


_END: Final = LogPlace(1 << 62, 0)


@dataclass(frozen=True, slots=True)
class CutSnapshot:
    """A complete snapshot: where its engine goes on in `events`, and the records that it is made of."""

    unit: str
    partition: int
    next_place: LogPlace
    records: frozenset[LogPlace]


@dataclass(slots=True)
class CutPlan:
    """What a cut holds. `begin` and `end` by partition of `events`: the first place, and the first one behind it."""

    from_ns: int
    to_ns: int
    begin: dict[int, LogPlace] = field(default_factory=dict)
    end: dict[int, LogPlace] = field(default_factory=dict)
    snapshots: dict[str, CutSnapshot] = field(default_factory=dict)
    without_snapshot: list[str] = field(default_factory=list)
    """Units whose engines start from nothing: no complete snapshot of theirs stands before the cut."""

    def holds_input(self, partition: int, place: LogPlace) -> bool:
        """Whether a record of `events` is in the cut."""
        begin = self.begin.get(partition)
        return begin is not None and begin <= place < self.end.get(partition, _END)


@dataclass(slots=True)
class _Until:
    """What an engine has seen at some place: how far each unit's time has come, and each source's last identity."""

    now_ns: dict[str, int] = field(default_factory=dict)
    last: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    with_last_tick: bool = False
    """Whether what came behind the last tick, at its time, is taken for seen."""

    def see(self, unit: str, identity: Identity, now_ns: int | None) -> None:
        if now_ns is not None:
            self.now_ns[unit] = max(now_ns, self.now_ns.get(unit, 0))
        number = identity.epoch, identity.sequence
        self.last[unit, identity.source] = max(number, self.last.get((unit, identity.source), number))


class _Cause(NamedTuple):
    """What an output's id names as its cause: an input of a source, or a deadline (then `source` is empty)."""

    source: str
    number: tuple[int, int]


def _cause(unit: str, output_id: str, until: _Until) -> _Cause | None:
    """None where the id names none (rules/engine/outputs.py). What no source has said is a deadline's."""
    parts = output_id.removeprefix(f"{unit}:").rsplit(":", 3)
    if len(parts) != 4 or not parts[2].isdecimal():
        return None
    name, middle, number = parts[0], parts[1], int(parts[2])
    if name == FORGED and middle.isdecimal():
        return _Cause(FORGED, (0, int(middle)))
    if middle.isdecimal() and (unit, name) in until.last:
        return _Cause(name, (int(middle), number))
    return _Cause("", (0, number))


def _has_seen(unit: str, cause: _Cause, seen: _Until) -> bool:
    if cause.source == FORGED:
        # behind the tick of its time: before the cut for certain only with the next one
        return cause.number[1] < seen.now_ns.get(unit, 0) + seen.with_last_tick
    if cause.source:
        return cause.number <= seen.last.get((unit, cause.source), (-1, 0))
    return cause.number[1] <= seen.now_ns.get(unit, 0)


def between(recordings: Sequence[Recording], from_ns: int, to_ns: int | None) -> Sequence[Recording]:
    """Those that a cut has to read: from the one before `from_ns` on, for its snapshots, to the one behind `to_ns`."""
    first = max(file_at(recordings, from_ns) - 1, 0) if from_ns > 0 else 0
    last = len(recordings) if to_ns is None else file_at(recordings, to_ns) + 1
    return recordings[first : last + 1]


def rule_sets_before(recordings: Sequence[Recording], first: Recording) -> Iterator[tuple[int, int, Record]]:
    """What stands on `rule-sets` of its log before a recording, as `cut_records` gives it: it may rule still."""
    number, logs = recordings.index(first), logs_of(recordings)
    for recording, log in zip(recordings[:number], logs.begins[:number], strict=True):
        for stored in recording.of_topic(RULE_SETS.name) if log == logs.begins[number] else ():
            yield 0, stored[0], record_of(stored)


def plan_cut(recordings: Sequence[Recording], from_ns: int, to_ns: int, advance: Advance) -> CutPlan:
    """Find where a cut begins and ends in each partition; `from_ns` 0: with the first record. Reads once."""
    plan = CutPlan(from_ns, to_ns)
    logs = logs_of(recordings)
    finder = _SnapshotFinder(logs)
    partitions: dict[str, int] = {}
    now_ns: dict[int, int] = {}
    asked: dict[int, LogPlace] = {}
    here: dict[int, LogPlace] = {}
    for log, stored in in_logs(recordings, logs, advance, {EVENTS.name, SNAPSHOTS.name}):
        record = record_of(stored)
        place = LogPlace(log, record.offset)
        if record.topic == SNAPSHOTS.name:
            finder.take(record, place, asked, here)
        elif record.topic == EVENTS.name:
            here[record.partition] = place
            if from_ns <= 0:
                asked.setdefault(record.partition, place)
        if record.topic != EVENTS.name or header(record.headers, "schema") != _TICK:
            continue
        try:
            tick = decode_input(record.key, record.headers, record.value)
        except UndecodableError:
            continue
        if not isinstance(tick, Tick):
            continue
        partition = record.partition
        partitions[tick.unit] = partition
        now_ns[partition] = max(tick.time_ns, now_ns.get(partition, 0))
        if now_ns[partition] >= from_ns:
            asked.setdefault(partition, place)
        if now_ns[partition] > to_ns:
            plan.end.setdefault(partition, place)
    asked = {one: place for one, place in asked.items() if place < plan.end.get(one, _END)}
    plan.begin = dict(asked)
    for unit, partition in sorted(partitions.items()):
        if from_ns <= 0 or partition not in asked:
            continue
        snapshot = finder.newest(unit, asked[partition])
        if snapshot is None:
            plan.without_snapshot.append(unit)
            continue
        plan.snapshots[unit] = snapshot
        plan.begin[partition] = min(plan.begin[partition], snapshot.next_place)
    return plan


def cut_heads(recordings: Sequence[Recording], plan: CutPlan) -> list[Head]:
    """With what the cut begins, and the fresh logs in it: on `events` it has no holes."""
    begins = {TopicPartition(EVENTS.name, partition): place for partition, place in plan.begin.items()}
    last = max((place.log for place in plan.end.values()), default=None)
    heads = []
    for number, one in enumerate(joined_heads(recordings)[: None if last is None else last + 1]):
        positions = {where: place.offset for where, place in begins.items() if place.log == number}
        for where, offset in one.positions.items():
            if where in begins and begins[where].log < number:
                positions[where] = offset
        heads.append(Head(positions, one.logs, one.missed if number else ""))
    return heads


def cut_records(
    recordings: Sequence[Recording], plan: CutPlan, advance: Advance
) -> Iterator[tuple[int, int, Record]]:
    """The records of the cut, each with the number of its log and the recorder's time. Reads the recordings twice."""
    before, until = _Until(), _Until(with_last_tick=True)
    logs = logs_of(recordings)
    for log, stored in in_logs(recordings, logs, advance, {EVENTS.name}):
        _see(record_of(stored), LogPlace(log, stored[2]), plan, before, until)
    chosen = {(one.partition, place) for one in plan.snapshots.values() for place in one.records}
    first: dict[int, LogPlace] = {}
    for partition, place in chosen:
        first[partition] = min(place, first.get(partition, place))
    for log, stored in in_logs(recordings, logs, advance):
        record = record_of(stored)
        if _is_kept(record, LogPlace(log, record.offset), plan, before, until, first):
            yield log, stored[0], record


def _is_kept(
    record: Record, place: LogPlace, plan: CutPlan, before: _Until, until: _Until, first: dict[int, LogPlace]
) -> bool:
    if record.topic == EVENTS.name:
        return plan.holds_input(record.partition, place)
    if record.topic == RULE_SETS.name:
        return True
    if record.topic == SNAPSHOTS.name:
        if record.key is not None and record.key.startswith(LOG_KEY):
            return True
        if record.partition in first:
            return place >= first[record.partition] and record.timestamp_ms * _NS_PER_MS <= plan.to_ns
    if record.topic in _OUTPUTS:
        unit, output_id = _said(record)
        cause = _cause(unit, output_id, until)
        if cause is not None:
            return _has_seen(unit, cause, until) and not _has_seen(unit, cause, before)
    return plan.from_ns <= record.timestamp_ms * _NS_PER_MS <= plan.to_ns


def _said(record: Record) -> tuple[str, str]:
    """Unit and id of an output; empty for what is none."""
    try:
        body = orjson.loads(record.value or b"")
        return str(body["unit"]), str(body["id"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "", ""


def _see(record: Record, place: LogPlace, plan: CutPlan, before: _Until, until: _Until) -> None:
    begin = plan.begin.get(record.partition)
    is_before = begin is None or place < begin
    if not is_before and place >= plan.end.get(record.partition, _END):
        return
    try:
        value = decode_input(record.key, record.headers, record.value)
    except UndecodableError:
        return
    tick_ns = value.time_ns if isinstance(value, Tick) else None
    # a sample behind the last tick has fired the deadlines of its conditions up to its own time
    until.see(value.unit, value.identity, value.ingest_ns if isinstance(value, Frame | Readings) else tick_ns)
    if is_before:
        before.see(value.unit, value.identity, tick_ns)


class _SnapshotFinder:
    """Complete snapshots of each unit, as far as one of them may turn out to be the newest before the cut."""

    def __init__(self, logs: Logs) -> None:
        self._found = logs.found
        self._chunks: dict[tuple[int, bytes], dict[bytes, LogPlace]] = {}
        self._candidates: dict[str, list[CutSnapshot]] = {}
        self._logs: dict[str, int] = {}
        """In which log each log id was first seen."""

    def take(
        self, record: Record, place: LogPlace, asked: dict[int, LogPlace], here: dict[int, LogPlace]
    ) -> None:
        """A record of the topic.

        `asked`: where `from_ns` is in each partition of `events`, once it is known; `here`: the last place read.
        """
        digest, schema = header(record.headers, "digest"), header(record.headers, "schema")
        if record.key is None or record.value is None or digest is None:
            return
        chunks = self._chunks.setdefault((record.partition, digest), {})
        if schema == CHUNK_SCHEMA:
            chunks[record.key] = place
            return
        if schema != MANIFEST_SCHEMA:
            return
        del self._chunks[record.partition, digest]
        try:
            said = orjson.loads(record.value)
            unit, log_id = str(said["unit"]), str(said["log_id"])
            count, offset = int(said["chunks"]), int(said["next_offset"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return
        if len(chunks) != count:
            return  # torn, or its chunks lie before the recording
        first_log = self._logs.setdefault(log_id, place.log)
        ids = self._found[place.log].ids
        is_native = log_id in ids if ids else first_log == place.log
        next_place = LogPlace(place.log, offset if is_native else 0)
        made = CutSnapshot(unit, record.partition, next_place, frozenset({*chunks.values(), place}))
        known = self._candidates.setdefault(unit, [])
        limit = asked.get(record.partition, here.get(record.partition, LogPlace(0, 0)))
        if next_place > limit and record.partition in asked:
            return
        # of those that fit by now the newest is enough; later ones may fit yet
        newest = max((one for one in (*known, made) if one.next_place <= limit), key=_next, default=None)
        later = [one for one in (*known, made) if one.next_place > limit]
        self._candidates[unit] = later if newest is None else [newest, *later]

    def newest(self, unit: str, limit: LogPlace) -> CutSnapshot | None:
        """The newest that goes on no later than at `limit`."""
        fitting = [one for one in self._candidates.get(unit, ()) if one.next_place <= limit]
        return max(fitting, key=_next, default=None)


def _next(snapshot: CutSnapshot) -> LogPlace:
    return snapshot.next_place
