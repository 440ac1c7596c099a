"""Which log each of several recordings is of: one that was rolled to a fresh one starts its offsets again.

Rules: a log is known by its ids, which the head of a segment and the records `log:ID` name; where a recording names
none, it goes on with the log before it if its offsets do. What the indexes and heads say is enough: no record is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.recording.chunks import Place, Stored
from streams.recording.recording import Advance, Recording, watched
from streams.recording.segments import Head, heads_of
from streams.snapshots import LOG_KEY, Snapshot
from streams.topics import EVENTS, SNAPSHOTS


class LogPlace(NamedTuple):
    """A place on `events` of one partition: which log, counted from 0, and the offset in it."""

    log: int
    offset: int


@dataclass(slots=True)
class Log:
    """One log, as far as it was recorded. `firsts`: the first offset by partition of `events`."""

    ids: set[str] = field(default_factory=set)
    firsts: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    """Offsets up to which it was recorded at least; what `last` adds to that stands in its index."""

    last: Recording | None = None

    def join(self, other: Log) -> None:
        """Add what a later recording has of it."""
        self.ids |= other.ids
        self.last = other.last
        for partition, first in other.firsts.items():
            self.firsts[partition] = min(first, self.firsts.get(partition, first))
        self.ends |= other.ends

    def goes_on_in(self, other: Log) -> bool:
        """Whether a later recording is of the same log."""
        if self.ids and other.ids:
            return bool(self.ids & other.ids)
        return all(self._end(partition) <= first for partition, first in other.firsts.items())

    def has(self, partition: int, offset: int) -> bool:
        """Whether reading can go on from an offset."""
        first = self.firsts.get(partition)
        return first is not None and first <= offset <= self._end(partition)

    def _end(self, partition: int) -> int:
        end = self.ends.get(partition, 0)
        named = self.last.found.get((EVENTS.name, partition)) if self.last is not None else None
        return end if named is None else max(end, named.first_offset + named.records)


@dataclass(slots=True)
class Logs:
    """The logs in their order; `begins`: which of them each recording begins with."""

    found: list[Log]
    begins: list[int]

    def of(self, file: int, place: Place) -> int:
        """Which log a record of a recording is of."""
        return self.begins[file] + place.log

    def next_place(self, number: int, partition: int, snapshot: Snapshot) -> LogPlace | None:
        """Where an engine goes on that is restored from a snapshot on log `number`; None where that isn't recorded.

        One that a roll carried over from an older log goes on with the first record of its own (streams/snapshots.py).
        """
        log = self.found[number]
        if not log.ids or snapshot.log_id in log.ids:
            is_there = log.has(partition, snapshot.next_offset)
            return LogPlace(number, snapshot.next_offset) if is_there else None
        is_carried = any(snapshot.log_id in one.ids for one in self.found[:number])
        return LogPlace(number, 0) if is_carried and log.has(partition, 0) else None


def logs_of(recordings: Sequence[Recording]) -> Logs:
    """The logs of recordings that follow each other."""
    logs = Logs([], [])
    for recording in recordings:
        if not recording.is_readable:
            logs.begins.append(max(len(logs.found) - 1, 0))
            continue
        first, *others = _pieces(recording)
        if logs.found and logs.found[-1].goes_on_in(first):
            logs.found[-1].join(first)
        else:
            logs.found.append(first)
        logs.begins.append(len(logs.found) - 1)
        logs.found += others
    return logs


def _pieces(recording: Recording) -> list[Log]:
    """What one file has of each log in it, one at least: by its heads, else by its index."""
    heads = heads_of(recording)
    firsts = [
        {place.partition: offset for place, offset in one.positions.items() if place.topic == EVENTS.name}
        for one in heads
    ]
    pieces = [Log(set(one.logs), begins, dict(begins)) for one, begins in zip(heads, firsts, strict=True)]
    if len(pieces) == 1 and firsts[0]:
        pieces[0].last = recording
        return pieces
    count = 1 + max((place.log for place in recording.places.values()), default=0)
    pieces += [Log() for _ in range(len(pieces), count)]
    ends: Counter[tuple[int, int]] = Counter()
    counts = recording.index.messages if recording.is_sought else {}
    for number, place in recording.places.items():
        piece = pieces[place.log]
        if place.topic == SNAPSHOTS.name and place.key is not None and place.key.startswith(LOG_KEY):
            piece.ids.add(place.key.removeprefix(LOG_KEY).decode("ascii", "replace"))
        if place.topic == EVENTS.name:
            first = piece.firsts.get(place.partition, place.base_offset)
            piece.firsts[place.partition] = min(first, place.base_offset)
            ends[place.log, place.partition] += counts.get(number, 0)
    for (log, partition), count in ends.items():
        pieces[log].ends[partition] = pieces[log].firsts[partition] + count
    return pieces


def in_logs(
    recordings: Sequence[Recording], logs: Logs, advance: Advance, topics: Collection[str] | None = None
) -> Iterator[tuple[int, Stored]]:
    """Every record of recordings that follow each other, with the number of its log."""
    for file, recording in enumerate(recordings):
        for stored in watched(recording.stored(topics), advance):
            yield logs.of(file, stored[1]), stored


def joined_heads(recordings: Sequence[Recording]) -> list[Head]:
    """The heads of a copy of recordings that follow each other: of the log that they begin with, and of fresh ones."""
    logs, said = logs_of(recordings), dict[int, Head]()
    for recording, begin in zip(recordings, logs.begins, strict=True):
        if not recording.is_readable:
            continue
        for number, one in enumerate(heads_of(recording), begin):
            said.setdefault(number, one)
    found = ((said.get(number, Head({}, frozenset())), one) for number, one in enumerate(logs.found))
    return [head._replace(logs=head.logs | one.ids) for head, one in found]
