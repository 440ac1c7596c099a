"""What is missing from recordings: records that the offsets, or a file's index, say there were.

Two things cost records: damage, and a recorder that was away for longer than the log kept them. The second leaves a
hole in the offsets, within a recording, or between two that say by their heads that they are of one log. Where a topic
is compacted a hole means nothing; a recording without a head, and a cut, are held to those of `events` alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from streams.recording.recording import CUT, Recording
from streams.recording.segments import Head, heads_of
from streams.topics import EVENTS, TOPICS

HOLES: Final = 1000
_Partition = tuple[str, int]
WITHOUT_HOLES: Final = frozenset(topic.name for topic in TOPICS if topic.cleanup == "delete")
"""A compacted topic has holes where an older record of a key was."""


@dataclass(slots=True)
class Missing:
    """Records of one partition that are missing, in one span or more. Offsets: first and last.

    `from_ns`, `to_ns`: when the recorder wrote the record before the first, and the one after the last. Where nothing
    can be read before or after them, it is the time of the file's first or last record.
    """

    partition: int
    records: int
    first_offset: int
    last_offset: int
    from_ns: int
    to_ns: int


class MissingRecords:
    """Looks on while recordings are read one after the other as one log. `spans`: by topic and partition."""

    def __init__(self, topics: Collection[str]) -> None:
        self.topics = topics
        self.spans: dict[_Partition, Missing] = {}
        self.holes: list[tuple[str, Missing]] = []
        """Each span by itself, with its topic; the first thousand."""

        self._before: dict[_Partition, tuple[int, int]] = {}
        """Offset and recorder's time of the last record of each partition."""

        self._logs: frozenset[str] = frozenset()
        self._counted: Collection[str] = ()
        """The topics whose holes count in the recording that is being read."""

        self._log = 0
        self._heads: list[Head] = []
        self._due: Counter[_Partition] = Counter()
        """Records of the recording that is being read that its index names, less those read or found missing."""

    def begin(self, recording: Recording, is_intact: bool, is_part: bool = False) -> None:
        """Before the first record of a recording; `is_intact`: all of those before it could be read.

        `is_part`: reading begins somewhere in the recording, and what lies before that is not missed.
        """
        if not recording.is_readable:  # what follows it goes on behind what was before it, as its offsets say
            self._due.clear()
            return
        self._heads = heads_of(recording)
        begins, logs, _ = self._heads[0]
        # what a cut holds beside `events` was chosen by its cause, not by its offset
        is_whole = bool(begins) and CUT not in recording.metadata
        self._counted = WITHOUT_HOLES if is_whole else {EVENTS.name}
        self._log = 0
        if is_part:
            self._logs = logs
            return
        if not self._logs & logs and (begins or is_intact):
            self._before.clear()  # a fresh log, whose offsets start again, or nobody knows
        self._logs = logs
        for begin, offset in begins.items():
            self._before.setdefault(begin, (offset - 1, recording.first_ns))
        named = {place: one for place, one in recording.named.items() if place[0] in self.topics}
        for place, one in named.items():
            self._come_to(place, one.first_offset, recording.first_ns, is_intact)
            self._before[place] = one.first_offset - 1, recording.first_ns
        self._due = Counter({place: one.records for place, one in named.items()})

    def pass_by(self, place: _Partition, offset: int, log_ns: int, is_intact: bool, log: int = 0) -> None:
        """A record; `is_intact`: all before it could be read; `log`: which of the logs in the recording it is of."""
        if log != self._log:
            self._begin_log(log, log_ns)
        self._come_to(place, offset, log_ns, is_intact)
        self._before[place] = offset, log_ns
        self._due[place] -= 1

    def _begin_log(self, log: int, log_ns: int) -> None:
        """The log was rolled to a fresh one within a recording."""
        begins = self._heads[log].positions if log < len(self._heads) else {}
        self._before = {place: (offset - 1, log_ns) for place, offset in begins.items()}
        self._log = log

    def end(self, recording: Recording) -> None:
        """After the last record of a recording that could be read."""
        for place, records in self._due.items():
            if recording.lacks_records and records > 0:
                self._add(place, records, recording.last_ns)
                self._before[place] = self.spans[place].last_offset, recording.last_ns

    def _come_to(self, place: _Partition, offset: int, log_ns: int, is_intact: bool) -> None:
        """A rolled log starts again at a lower offset."""
        before = self._before.get(place)
        if (place[0] in self._counted or not is_intact) and before is not None and offset > before[0] + 1:
            self._add(place, offset - before[0] - 1, log_ns)

    def _add(self, place: _Partition, records: int, to_ns: int) -> None:
        """So many are missing behind the last one of the partition."""
        offset, from_ns = self._before.get(place, (-1, to_ns))
        self._due[place] -= records
        hole = Missing(place[1], records, offset + 1, offset + records, from_ns, to_ns)
        if len(self.holes) < HOLES:
            self.holes.append((place[0], hole))
        known = self.spans.setdefault(place, Missing(place[1], 0, offset + 1, offset + 1, from_ns, to_ns))
        known.records += records
        known.last_offset, known.to_ns = offset + records, to_ns
