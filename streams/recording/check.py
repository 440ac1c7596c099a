"""Whether recordings are whole: framing, checksums, index, attachments, offsets, and the sequences of the sources.

Rules: the recordings are one log, one after the other, as for a replay; everything is read once, and what is kept does
not grow with a recording's length; a file that is sound may still hold a log from which something is missing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from rules.engine.inputs import Gap, Tick
from rules.errors import UndecodableError
from streams.record import Record
from streams.recording.chunks import record_of
from streams.recording.index import index_findings
from streams.recording.missing import WITHOUT_HOLES, Missing, MissingRecords
from streams.recording.recorded_site import RULES_KEY
from streams.recording.recording import CUT, Advance, Recording, watched
from streams.recording.segments import heads_of, missed_before
from streams.sequences import SequenceTracker
from streams.topics import EVENTS
from streams.wire import decode_input

FINDINGS: Final = 1000
"""So many of a kind are kept; more are counted."""


class SequenceGap(NamedTuple):
    """`missing` inputs of a source from `sequence` on, before the record at `offset` of `events`."""

    unit: str
    source: str
    epoch: int
    sequence: int
    missing: int
    partition: int
    offset: int
    log_ns: int


@dataclass(slots=True)
class CheckedFile:
    """One file. `unread`: records by topic that its index names and that can't be read."""

    recording: Recording
    records: int = 0
    damage: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Checked:
    """All files as one log. What `undecodable`, `rolled`, `tracker.restarts` and `tracker.gaps` count is no fault."""

    files: list[CheckedFile] = field(default_factory=list)
    holes: list[tuple[str, Missing]] = field(default_factory=list)
    """Records that the offsets of a topic say there were; the first thousand."""

    missing: int = 0
    unknown_behind: list[Path] = field(default_factory=list)
    """Files that were cut off, or that nobody can read, where no offset behind them says how much is missing."""

    missed: list[str] = field(default_factory=list)
    """What nobody recorded of logs that were replaced by fresh ones, a line for each."""

    sequence_gaps: list[SequenceGap] = field(default_factory=list)
    lost_inputs: int = 0
    tracker: SequenceTracker = field(default_factory=SequenceTracker)
    undecodable: Counter[str] = field(default_factory=Counter)
    rolled: int = 0
    """How often a partition's offsets started again: the log was rolled."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged, and nothing missing."""
        files = any(file.damage or file.index or file.attachments or file.unread for file in self.files)
        return not files and not self.missed and self.missing == 0 and self.lost_inputs == 0


def check_recordings(recordings: Sequence[Recording], advance: Advance) -> Checked:
    """Read everything once."""
    found = Checked()
    sources = _Sources(found)
    next_offset: dict[tuple[str, int], int] = {}
    # what a cut holds beside `events` was chosen by its cause, not by its offset
    is_cut = any(CUT in recording.metadata for recording in recordings)
    holes = MissingRecords({EVENTS.name} if is_cut else WITHOUT_HOLES)
    for recording in recordings:
        file = CheckedFile(recording)
        found.files.append(file)
        holes.begin(recording, is_intact=False)
        read: Counter[str] = Counter()
        for stored in watched(recording.stored(), advance):
            log_ns, record, log = stored[0], record_of(stored), stored[1].log
            file.records += 1
            read[record.topic] += 1
            place = record.topic, record.partition
            found.rolled += record.offset < next_offset.get(place, 0)
            next_offset[place] = record.offset + 1
            if record.topic in holes.topics:
                holes.pass_by(
                    (record.topic, record.partition), record.offset, log_ns, is_intact=False, log=log
                )
            if record.topic == EVENTS.name:
                sources.take(record, log_ns)
        holes.end(recording)
        named: Counter[str] = Counter()
        for (topic, _), one in recording.named.items():
            named[topic] += one.records
        file.unread = named - read
        file.damage = recording.damage
        if recording.is_readable:
            file.index = list(islice(index_findings(recording.path), FINDINGS))
            file.attachments = _attachment_findings(recording)
    found.holes = holes.holes
    found.unknown_behind = _unknown_behind(recordings)
    found.missed = missed_before(recordings)
    found.missing = sum(one.records for one in holes.spans.values())
    return found


class _Sources:
    """Follows the sequences of every source. The first input that is recorded of one is no gap: it may have joined."""

    def __init__(self, found: Checked) -> None:
        self._found = found
        self._known: set[tuple[str, str]] = set()

    def take(self, record: Record, log_ns: int) -> None:
        found = self._found
        try:
            value = decode_input(record.key, record.headers, record.value)
        except UndecodableError as error:
            found.undecodable[error.reason] += 1
            return
        if isinstance(value, Tick):
            return  # a ticker may skip
        identity = value.identity
        missing = found.tracker.see(value.unit, identity, value if isinstance(value, Gap) else None)
        is_first = (value.unit, identity.source) not in self._known
        self._known.add((value.unit, identity.source))
        if missing == 0 or is_first:
            return
        found.lost_inputs += missing
        if len(found.sequence_gaps) < FINDINGS:
            found.sequence_gaps.append(
                SequenceGap(
                    value.unit, identity.source, identity.epoch, identity.sequence - missing, missing,
                    record.partition, record.offset, log_ns,
                )
            )  # fmt: skip


def _unknown_behind(recordings: Sequence[Recording]) -> list[Path]:
    """Of those that were cut off, the ones behind which no segment says by its head that it is of the same log."""
    unknown: list[Path] = []
    waiting: list[Path] = []
    logs: frozenset[str] = frozenset()
    for recording in recordings:
        if recording.is_readable:
            heads = heads_of(recording)
            if not logs & heads[0].logs:
                unknown += waiting
            waiting, logs = [], heads[-1].logs
        if recording.is_cut_off:
            waiting.append(recording.path)
    return unknown + waiting


def _attachment_findings(recording: Recording) -> list[str]:
    """Attachments against the digests that the metadata give of them."""
    found = []
    for key, digest in sorted(recording.metadata.items()):
        name = key.removeprefix("sha256.")
        if name == key:
            continue
        data = recording.attachments.get(name)
        if data is None:
            found.append(f"the attachment '{name}' is missing")
        elif hashlib.sha256(data).hexdigest() != digest:
            found.append(f"the attachment '{name}' is not the one that was recorded: its SHA-256 differs")
    listed = orjson.loads(recording.metadata.get(RULES_KEY, "[]"))
    unnamed = [name for name in listed if f"sha256.{name}" not in recording.metadata]
    found += [f"the rule file '{name}' has no digest" for name in unnamed]
    return found
