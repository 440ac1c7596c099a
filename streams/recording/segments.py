"""A folder of segments: one log recorded in many files, each a whole recording by itself.

Rules: a segment's name is the time of its beginning (UTC), above that of every segment before it, so that names sort
as the log does; a file has such a name only once its head is on disk. The head says with what the segment begins
(`positions`: the offset of the next record, by topic and partition; `logs`: the ids of the log that gave them), and
`missed`, what of the log before it nobody recorded. So the files alone say where a recorder has to go on, and a hole
between two of them is found by their offsets. A segment of which nothing can be read keeps its place among them.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.output_file import sync_folder
from streams.record import TopicPartition
from streams.recording.chunks import Stored
from streams.recording.file import UNREADABLE, Damage
from streams.recording.recording import Recording, RecordingWriter
from streams.rule_sets.rule_set import taken_up

POSITIONS_KEY: Final = "positions"
LOGS_KEY: Final = "logs"
MISSED_KEY: Final = "missed"
FRESH_LOGS_KEY: Final = "fresh_logs"
"""The heads of the logs that follow in a copy of several segments, in their order."""
_HEAD_KEYS: Final = frozenset({POSITIONS_KEY, LOGS_KEY, MISSED_KEY, FRESH_LOGS_KEY})

LOCK: Final = "recorder.lock"
UNFINISHED: Final = ".new"
"""What a file that has no whole head yet is called behind its name."""

_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z\.mcap")
_NO_HELP: Final = "nothing in it can be repaired: let a second recorder's copy take its place"
_FORMAT: Final = "%Y%m%dT%H%M%S"

Positions = Mapping[TopicPartition, int]


def segment_name(begin_ns: int) -> str:
    """`20261127T123015.123Z.mcap`: to the millisecond, so that it sorts and any file system takes it."""
    seconds, rest = divmod(begin_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):{_FORMAT}}.{rest // 1_000_000:03d}Z.mcap"


def begin_ns(segment: Path) -> int:
    """When a segment begins, by its name, in ns."""
    seconds, milliseconds = segment.name[: -len("Z.mcap")].split(".")
    begin = datetime.strptime(seconds, _FORMAT).replace(tzinfo=UTC)
    return (int(begin.timestamp()) * 1000 + int(milliseconds)) * 1_000_000


def segments_in(folder: Path) -> list[Path]:
    """The segments of a folder in the order of the log; what else lies there is none of ours."""
    return sorted(file for file in folder.iterdir() if _NAME.fullmatch(file.name))


def with_segments(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as their segments. Raises ConfigurationError for a folder that has none."""
    files: list[Path] = []
    for path in paths:
        found = segments_in(path) if path.is_dir() else [path]
        if not found:
            raise ConfigurationError([Finding(str(path), 0, 0, "no segments of a recording in this folder")])
        files += found
    return files


class UnreadableSegment(Recording):
    """A segment of which nothing can be read, in the place where it lies: no records, and damage that says why.

    Site and rules are those of a segment `beside` it, so that a log can begin with it.
    """

    is_readable = False

    def __init__(self, path: Path, why: str, beside: Recording) -> None:
        self.path = path
        self.attachments = beside.attachments
        self.metadata = {key: text for key, text in beside.metadata.items() if key not in _HEAD_KEYS}
        self._damage = Damage()
        self._damage.lost(f"nothing of the segment {path.name} can be read: {why}")
        self._damage.is_cut_off = True

    @cached_property
    def _index(self) -> None:
        return

    @cached_property
    def _to_find_by(self) -> None:
        return

    @property
    def lacks_only_its_end(self) -> bool:
        """It lacks all."""
        return False

    def stored(self, topics: Collection[str] | None = None, chunk: int = 0) -> Iterator[Stored]:
        """No record."""
        return iter(())

    def in_chunks(self, numbers: Iterable[int], topics: Collection[str]) -> Iterator[tuple[int, Stored]]:
        """No record."""
        return iter(())


def open_recordings(paths: Iterable[Path]) -> list[Recording]:
    """Files, and folders as their segments, to be read one after the other as one log.

    Of several segments one that can't be read is an `UnreadableSegment`. Raises ConfigurationError for any other file
    that can't be read or isn't there, for a folder without segments, and where no segment at all can be read.
    """
    opened: list[tuple[Path, Recording | ConfigurationError]] = []
    for path in with_segments(paths):
        try:
            opened.append((path, _open_segment(path) if _NAME.fullmatch(path.name) else Recording(path)))
        except ConfigurationError as error:
            if not (_NAME.fullmatch(path.name) and path.exists()):
                raise
            opened.append((path, error))
    readable = [one for _, one in opened if isinstance(one, Recording)]
    if not readable:
        errors = (one for _, one in opened if isinstance(one, ConfigurationError))
        raise ConfigurationError([replace(one, hint=_NO_HELP) for error in errors for one in error.findings])
    return [
        one if isinstance(one, Recording) else UnreadableSegment(path, one.findings[0].message, readable[0])
        for path, one in opened
    ]


def _open_segment(path: Path) -> Recording:
    recording = Recording(path)
    if not recording.metadata and next(recording.stored(), None) is None:
        raise ConfigurationError([Finding(str(path), 0, 0, "it was cut off within its head")])
    return recording


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder against a second recorder, which would take the open segment for one that was cut off.

    The system lets go of it when the process ends, however it does. Raises UnreachableError while another has it.
    """
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnreachableError(f"another recorder writes to {folder}") from None
        yield


class Head(NamedTuple):
    """With what a segment, or in a copy of several a fresh log, begins. Empty where it isn't said."""

    positions: Positions
    logs: frozenset[str]
    missed: str = ""


def head(positions: Positions, logs: Iterable[str], missed: str) -> dict[str, str]:
    """The metadata with which a segment begins."""
    by_topic: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(positions.items()):
        by_topic.setdefault(topic, {})[str(partition)] = offset
    said = {POSITIONS_KEY: orjson.dumps(by_topic).decode(), LOGS_KEY: orjson.dumps(sorted(logs)).decode()}
    return {**said, MISSED_KEY: missed} if missed else said


def heads_of(recording: Recording) -> list[Head]:
    """The heads of a recording: of the log that it begins with, and of each to which that was rolled in it.

    Raises ConfigurationError where its metadata don't say that in our form.
    """
    try:
        fresh = orjson.loads(recording.metadata.get(FRESH_LOGS_KEY, "[]"))
        return [_head_in(said) for said in (recording.metadata, *fresh)]
    except UNREADABLE:
        text = "its metadata don't say where it begins: they are damaged, or none of Headrace's"
        raise ConfigurationError([Finding(str(recording.path), 0, 0, text)]) from None


def _head_in(metadata: Mapping[str, str]) -> Head:
    by_topic = orjson.loads(metadata.get(POSITIONS_KEY, "{}"))
    positions = {
        TopicPartition(topic, int(partition)): offset
        for topic, offsets in by_topic.items()
        for partition, offset in offsets.items()
    }
    logs = frozenset(orjson.loads(metadata.get(LOGS_KEY, "[]")))
    return Head(positions, logs, metadata.get(MISSED_KEY, ""))


def with_heads(metadata: Mapping[str, str], heads: Sequence[Head]) -> dict[str, str]:
    """The metadata of a copy that begins with the first of `heads`, and has the others where fresh logs begin."""
    kept = {key: text for key, text in metadata.items() if key not in _HEAD_KEYS}
    first, *others = heads
    if first.positions or first.logs:
        kept |= head(*first)
    if others:
        kept[FRESH_LOGS_KEY] = orjson.dumps([head(*one) for one in others]).decode()
    return kept


def head_positions(recording: Recording) -> Positions:
    """Where a recording begins, by its head; empty where that isn't said."""
    return heads_of(recording)[0].positions


def missed_before(recordings: Sequence[Recording]) -> list[str]:
    """What nobody recorded of the logs between these recordings, a line for each."""
    return [
        f"{'within' if number else 'before'} {one.path.name}: {said.missed}"
        for file, one in enumerate(recordings)
        for number, said in enumerate(heads_of(one))
        if said.missed and (file or number)
    ]


@dataclass(frozen=True, slots=True)
class LastSegment:
    """The end of what a folder holds. `positions`: one past the last recorded offset of each partition;
    `activated`: digest of the last rule set that was taken up in it, or ''.
    """

    recording: Recording
    positions: Positions
    logs: frozenset[str]
    activated: str


def last_segment(folder: Path) -> LastSegment | None:
    """Where to go on behind a folder's segments; None where it has none.

    One that was cut off (its recorder was killed) is made whole first. Raises ConfigurationError for a last segment
    that can't be read, OSError where the disk takes no more.
    """
    for stub in folder.glob(f"*{UNFINISHED}"):
        stub.unlink()  # a recorder was killed before the first record was in it
    found = segments_in(folder)
    if not found:
        return None
    recording = Recording(found[-1])
    positions, activated = dict(head_positions(recording)), ""
    for record in recording.records():
        positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        if (ruling := taken_up(record)) is not None:
            activated = ruling[1]
    if recording.lacks_only_its_end:
        _make_whole(recording)
        recording = Recording(found[-1])
    return LastSegment(recording, positions, heads_of(recording)[0].logs, activated)


def _make_whole(recording: Recording) -> None:
    """Write a segment that was cut off again, up to its last whole chunk and with its index."""
    copy = recording.path.with_name(recording.path.name + UNFINISHED)
    with RecordingWriter(copy, attachments=recording.attachments, metadata=recording.metadata) as writer:
        for log_ns, record in recording.timed_records():
            writer.write(record, log_ns)
        writer.sync()  # and again at its end: what it takes the place of was on the disk
    copy.replace(recording.path)
    sync_folder(recording.path.parent)
