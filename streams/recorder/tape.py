"""What a recorder writes to: one file, or a folder of segments that goes on where the recorder before it ended.

Rules: a segment ends between two records, so that none is lost or twice at the border; it carries the rule set that
rules when it begins; a fresh log begins a fresh segment, which says whether anybody recorded the end of the old one.
What was taken is on the disk within a second, so that a power cut costs no more; where the disk has no room, the
segment is ended, and recording goes on behind it once there is some.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.bus.bus import Bus, Reader, Start
from streams.output_file import sync_folder
from streams.record import Record, TopicPartition
from streams.recorder.incidents import IncidentMarks
from streams.recorder.retention import Retention
from streams.recording.recorded_site import recorded_rules, recording_metadata, site_attachments
from streams.recording.recording import Recording, RecordingWriter
from streams.recording.segments import (
    UNFINISHED,
    LastSegment,
    Positions,
    begin_ns,
    head,
    last_segment,
    segment_name,
    segments_in,
)
from streams.role import RoleContext
from streams.rule_sets.rule_set import (
    RuleSet,
    newest_believed,
    note_rule_set,
    published_rule_sets,
    rule_set_of,
    taken_up,
)
from streams.snapshots import covered_offsets, log_ids
from streams.topics import ALARMS, EVENTS, RULE_SETS, TOPICS, partition_of

log = logging.getLogger(__name__)


class Tape(Protocol):
    """Takes the log's records in order."""

    @property
    def file(self) -> Path:
        """The file that is being written."""
        ...

    async def take(self, records: Sequence[Record]) -> None:
        """Append; each partition's come in offset order."""
        ...

    async def look(self) -> bool:
        """Once a second: what was taken is on the disk. False: no more can be taken now."""
        ...

    def close(self) -> None:
        """End the file."""
        ...


class FileTape:
    """One file for the whole log."""

    def __init__(
        self,
        file: Path,
        metadata: Mapping[str, str],
        attachments: Mapping[str, bytes],
        clock_ns: Callable[[], int],
    ) -> None:
        self.file = file
        self._clock_ns = clock_ns
        self._writer = RecordingWriter(file, attachments=attachments, metadata=metadata)

    async def take(self, records: Sequence[Record]) -> None:
        """Append."""
        for record in records:
            self._writer.write(record, self._clock_ns())

    async def look(self) -> bool:
        """End the chunk."""
        self._writer.flush()
        await asyncio.to_thread(self._writer.sync)
        return True

    def close(self) -> None:
        """End the file."""
        self._writer.close()


@dataclass(slots=True)
class _Ruling:
    """Which rule set rules, as the log says it. `known`: by digest."""

    known: dict[str, RuleSet]
    current: RuleSet

    def see(self, record: Record) -> None:
        if record.topic == RULE_SETS.name:
            note_rule_set(record, self.known)
        elif (found := taken_up(record)) is not None:
            self.activate(found[1])

    def activate(self, digest: str) -> None:
        self.current = self.known.get(digest, self.current)


class SegmentTape:
    """Segments in a folder. `begin` writes the first one."""

    def __init__(
        self,
        context: RoleContext,
        folder: Path,
        ruling: _Ruling,
        retention: Retention,
    ) -> None:
        self.file = folder
        self.retention = retention
        self._context = context
        self._settings = context.settings.recorder
        self._folder = folder
        self._ruling = ruling
        self._clock_ns = context.clock
        self._positions: dict[TopicPartition, int] = {}
        self._logs: frozenset[str] = frozenset()
        self._writer: RecordingWriter | None = None
        self._began_ns = 0
        self._named_ns = 0
        """When the segment begins by its name."""

        self._marks = IncidentMarks(
            folder,
            round(self._settings.incident_before_s * 1e9),
            round(self._settings.incident_after_s * 1e9),
        )

    def begin(self, positions: Positions, logs: Iterable[str], missed: str) -> None:
        """The first segment of a log begins at these offsets; `missed`: what of the log before it nobody has."""
        self._positions, self._logs = dict(positions), frozenset(logs)
        if missed:
            self._context.metrics["missed"] = self._context.metrics.get("missed", 0) + 1
            log.warning("%s", missed)
        self._begin_segment(missed)

    async def take(self, records: Sequence[Record]) -> None:
        """Append. Where offsets start again, the log is a fresh one."""
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            if record.offset < self._positions.get(place, 0):
                await self._begin_on_fresh_log()
            assert self._writer is not None
            now_ns = self._clock_ns()
            self._writer.write(record, now_ns)
            self._positions[place] = record.offset + 1
            self._ruling.see(record)
            self._marks.note(record, max(now_ns, self._named_ns))
        self._marks.flush()

    def mark_again(self, last: Recording) -> None:
        """The incidents of a segment whose recorder may have died before it had marked them."""
        for log_ns, record in last.timed_records({ALARMS.name}):
            self._marks.note(record, max(log_ns, begin_ns(last.path)))
        self._marks.flush()

    async def look(self) -> bool:
        """End the chunk, and the segment where it is large or old enough; make room, or end it for want of room."""
        if self._writer is not None:
            self._writer.flush()
            await asyncio.to_thread(self._writer.sync)
            is_old = self._clock_ns() - self._began_ns >= self._settings.segment_s * 1e9
            is_large = self._writer.size_bytes >= self._settings.segment_mb * 1e6
            if self._writer.records and (is_old or is_large):
                self._begin_segment()
        has_room = self.retention.make_room()
        if not has_room and self._writer is not None:
            self.close()
        if has_room and self._writer is None:
            self._begin_segment()
        return has_room

    def close(self) -> None:
        """End the last segment."""
        self._marks.flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _begin_segment(self, missed: str = "") -> None:
        self.close()
        others = segments_in(self._folder)
        after_ns = begin_ns(others[-1]) + 1_000_000 if others else 0
        self._began_ns = self._clock_ns()
        self._named_ns = max(self._began_ns, after_ns)
        file = self._folder / segment_name(self._named_ns)
        attachments = site_attachments(self._ruling.current)
        metadata = recording_metadata(self._context.site, attachments)
        metadata.update(head(self._positions, self._logs, missed))
        stub = file.with_name(file.name + UNFINISHED)
        self._writer = RecordingWriter(stub, attachments=attachments, metadata=metadata)
        self._writer.flush()
        self._writer.sync()
        stub.rename(file)
        sync_folder(self._folder)
        self.file = file

    async def _begin_on_fresh_log(self) -> None:
        logs = await _ids_of(self._context.bus)
        missed = await _missed(self._context, self._positions, self._logs)
        self.begin(dict.fromkeys(self._positions, 0), logs, missed)


async def open_segments(
    context: RoleContext, folder: Path, start: Start | Positions, retention: Retention
) -> tuple[SegmentTape, Reader]:
    """A tape that goes on behind the segments of `folder`, with a reader of what follows; at `start` where it has none.

    Raises ConfigurationError where the folder is another site's, UnreachableError.
    """
    bus = context.bus
    last = await asyncio.to_thread(last_segment, folder)
    known = await published_rule_sets(bus)
    logs = await _ids_of(bus)
    missed = ""
    if last is None:
        newest = newest_believed(known, context.site)
        ruling = _Ruling(known, newest or rule_set_of(context.site_dir, context.site))
    else:
        _refuse_other_site(context.site.name, folder, last)
        ruling = _Ruling(known, recorded_rules(last.recording))
        ruling.activate(last.activated)
        if last.logs & logs:
            start = dict.fromkeys(await _places(bus), 0) | dict(last.positions)
        else:
            start = "earliest"
            missed = await _missed(context, last.positions, last.logs)
    reader = await bus.reader([topic.name for topic in TOPICS], start)
    tape = SegmentTape(context, folder, ruling, retention)
    if last is not None:
        await asyncio.to_thread(tape.mark_again, last.recording)
    tape.begin(reader.positions(), logs, missed)
    return tape, reader


async def _places(bus: Bus) -> list[TopicPartition]:
    return [place for topic in TOPICS for place in await bus.ends(topic.name)]


async def _ids_of(bus: Bus) -> frozenset[str]:
    producer = await bus.producer("recorder")
    try:
        return await log_ids(bus, producer)
    finally:
        await producer.close()


async def _missed(context: RoleContext, positions: Positions, logs: frozenset[str]) -> str:
    """What of `events` on an old log nobody recorded, in words; '' where it was recorded to its end.

    The snapshots that a fresh log was given say how far the old one went: to its end, when it was rolled.
    """
    covered = await covered_offsets(context.bus, logs)
    partitions = sum(place.topic == EVENTS.name for place in positions)
    unknown, short = set(), 0
    for unit in context.site.units:
        place = TopicPartition(EVENTS.name, partition_of(unit, max(1, partitions)))
        if unit not in covered:
            unknown.add(unit)
        else:
            short = max(short, covered[unit] - positions.get(place, 0))
    if unknown:
        return (
            "the log was replaced by a fresh one; whether all of the old one was recorded is not known for "
            + ", ".join(sorted(unknown))
        )
    return (
        f"the log was replaced by a fresh one; {short} inputs of the old one were not recorded"
        if short > 0
        else ""
    )


def _refuse_other_site(name: str, folder: Path, last: LastSegment) -> None:
    recorded = last.recording.metadata.get("site", name)
    if recorded != name:
        raise ConfigurationError(
            [
                Finding(
                    str(folder),
                    0,
                    0,
                    f"holds recordings of site '{recorded}', and this is '{name}'",
                    "take a folder of its own",
                )
            ]
        )
