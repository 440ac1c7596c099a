"""Recordings: the log's records in an MCAP file and back, exactly.

Rules: a record comes back as it went in (topic, partition, offset, timestamp, key, value, headers). Values
are stored untouched, so that an Arrow or JSON reader needs nothing of ours. A file that was cut off opens up
to its last whole chunk, and a damaged chunk is skipped (`recording_file`); `Recording.damage` says what can't be
read, `Recording.named` how much there should be. No clock is read here.

One channel per (topic, partition, key, headers), named by its metadata: `partition`, `key`, `headers` (the
names in order) and `header.NAME`, `segment` (a log that was rolled to a fresh one starts the next),
`base_offset`. A message's `sequence` is the low 32 bits of its offset, which lies at or above the channel's
base; `publish_time` is the record's timestamp in ns. A record that no channel can name in UTF-8, a
tombstone, a record without a timestamp, and what comes after a topic's first 4096 channels goes to the
wrapped channel of its partition (`encoding: wrapped`) as JSON with key, headers and value in base64: a flood
of garbage makes no flood of channels.
"""

from __future__ import annotations

import base64
import mmap
import os
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self, TypeVar

import orjson
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment, Metadata
from mcap.writer import CompressionType, Writer

from rules.errors import ConfigurationError, InvariantError
from rules.findings import Finding
from streams.record import Headers, Record
from streams.recording.chunks import WRAPPED, Chunks, Place, Stored, channel_of, place_of, record_of
from streams.recording.file import (
    MAGIC,
    UNREADABLE,
    Damage,
    FileIndex,
    channels_of,
    find_index,
    others_ahead,
    records_at,
    walk,
)
from streams.recording.open_file import follow
from streams.wire import ARROW_SCHEMAS

PROFILE: Final = "headrace"
CHUNK_BYTES: Final = 4 << 20
CUT: Final = "cut"
"""The metadata that say, in a part of a recording, of which time it is."""
RECORD_SCHEMA: Final = (
    b'{"type":"object","properties":{"key":{"type":["string","null"],"contentEncoding":"base64"},'
    b'"headers":{"type":"array"},"value":{"type":["string","null"],"contentEncoding":"base64"},"timestamp_ms":{"type":"integer"}}}'
)
CHANNELS_PER_TOPIC: Final = 4096
"""What comes after them is wrapped: MCAP numbers channels with 16 bits."""

Advance = Callable[[int], None]
"""Is told how many records were read since it was last called."""

_ADVANCE_EVERY: Final = 1000
T = TypeVar("T")

_Key = tuple[str, int, int, bytes | None, Headers]
"""Topic, partition, offset >> 31 (so that 32 bits are enough within a channel), key and headers."""


class RecordingWriter:
    """Writes one file.

    Attachments and metadata come first, so that a file that was cut off still knows its site and rules.
    """

    def __init__(
        self,
        path: Path,
        *,
        attachments: Mapping[str, bytes] | None = None,
        metadata: Mapping[str, str] | None = None,
        compression: CompressionType = CompressionType.LZ4,
    ) -> None:
        self._stream: BinaryIO = path.open("wb")
        self._writer = Writer(self._stream, chunk_size=CHUNK_BYTES, compression=compression)
        self._writer.start(profile=PROFILE, library="headrace")
        self._writer.add_metadata(PROFILE, {"format": "1", **(metadata or {})})
        for name, data in sorted((attachments or {}).items()):
            self._writer.add_attachment(0, 0, name, "application/octet-stream", data)
        self._schemas: dict[tuple[str, bytes], int] = {}
        # Always in the file: a wrapped frame needs its schema too.
        self._arrow = {
            name: self._schema(name, "arrow", schema.serialize().to_pybytes())
            for name, schema in ARROW_SCHEMAS.items()
        }
        self._channels: dict[_Key, int] = {}
        self._wrapped: dict[tuple[str, int, int], int] = {}
        self._counts: dict[str, int] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._log = 0
        self._log_ns = 0
        self._is_synced = False
        self.records = 0

    def write(self, record: Record, log_ns: int) -> None:
        """Append one record; a partition's come in offset order. `log_ns` never goes back in the file."""
        self._log_ns = max(self._log_ns, log_ns)
        partition = (record.topic, record.partition)
        if record.offset < self._next.get(partition, 0):
            self.begin_log()
        self._next[partition] = record.offset + 1
        data, channel = record.value, None
        if data is not None and record.timestamp_ms >= 0:
            channel = self._channels.get(_key(record)) or self._register(record)
        if data is None or channel is None:
            data, channel = _wrap(record), self._wrapped_channel(record)
        self._writer.add_message(
            channel,
            log_time=self._log_ns,
            data=data,
            publish_time=max(0, record.timestamp_ms) * 1_000_000,
            sequence=record.offset & 0xFFFF_FFFF,
        )
        self.records += 1

    @property
    def size_bytes(self) -> int:
        """What was handed to the file; a chunk that has not ended is not in it."""
        return self._stream.tell()

    def flush(self) -> None:
        """End the chunk and hand it to the operating system: a process that dies now loses nothing of it."""
        self._writer.flush()

    def sync(self) -> None:
        """Wait until the disk has what was flushed: a power cut that comes now loses nothing of it."""
        os.fdatasync(self._stream.fileno())
        self._is_synced = True

    def close(self) -> None:
        """Write the index and end the file; who has called `sync` before has that on the disk, too."""
        if not self._stream.closed:
            self._writer.finish()
            if self._is_synced:
                self._stream.flush()
                self.sync()
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin_log(self) -> None:
        """What follows is of a fresh log, to which the one before it was rolled: all offsets start again."""
        self._log += 1
        self._next.clear()
        self._channels.clear()
        self._wrapped.clear()

    def _register(self, record: Record) -> int | None:
        """A new channel for records like this one; None where it must be wrapped."""
        metadata = _channel_metadata(record)
        count = self._counts.get(record.topic, 0)
        if metadata is None or count >= CHANNELS_PER_TOPIC:
            return None
        self._counts[record.topic] = count + 1
        name = metadata.get("header.schema", "")
        if name in ARROW_SCHEMAS:
            encoding, schema = "arrow", self._arrow[name]
        elif record.value is not None and record.value.startswith(b"{"):
            encoding, schema = "json", self._schema(name or "object", "jsonschema", b'{"type":"object"}')
        else:
            encoding, schema = "", 0
        channel = self._add_channel(record, encoding, schema, metadata)
        self._channels[_key(record)] = channel
        return channel

    def _wrapped_channel(self, record: Record) -> int:
        partition = (record.topic, record.partition, record.offset >> 31)
        if partition not in self._wrapped:
            schema = self._schema(WRAPPED, "jsonschema", RECORD_SCHEMA)
            self._wrapped[partition] = self._add_channel(record, "json", schema, {"encoding": WRAPPED})
        return self._wrapped[partition]

    def _schema(self, name: str, encoding: str, data: bytes) -> int:
        if (name, data) not in self._schemas:
            self._schemas[name, data] = self._writer.register_schema(name, encoding, data)
        return self._schemas[name, data]

    def _add_channel(self, record: Record, encoding: str, schema: int, metadata: dict[str, str]) -> int:
        place = {
            "topic": record.topic,
            "partition": str(record.partition),
            "segment": str(self._log),
            "base_offset": str(record.offset),
        }
        channel: int = self._writer.register_channel(record.topic, encoding, schema, {**place, **metadata})
        return channel


def watched(records: Iterable[T], advance: Advance) -> Iterator[T]:
    """The same records; `advance` hears of every thousand, and of the rest."""
    count = 0
    for count, record in enumerate(records, 1):
        if count % _ADVANCE_EVERY == 0:
            advance(_ADVANCE_EVERY)
        yield record
    advance(count % _ADVANCE_EVERY)


class Named(NamedTuple):
    """What a file's index names of one partition of a topic."""

    records: int
    first_offset: int

    def has(self, offset: int) -> bool:
        """Whether reading can go on from this offset without a hole."""
        return self.first_offset <= offset <= self.first_offset + self.records


class Recording:
    """An existing file. Attachments and metadata are read at once, records as one asks for them.

    The index is read when it is first asked for: of a folder's many segments few are. `size`: so many bytes of a file
    that may grow are read, 0 for all that are there.

    Raises ConfigurationError when the file isn't there or is no MCAP file.
    """

    is_readable = True
    """False of a segment that only keeps its place among others (`segments.open_recordings`)."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self._size = size
        self.attachments: dict[str, bytes] = {}
        self.metadata: dict[str, str] = {}
        self._left_out: list[str] = []
        self._damage = Damage()
        try:
            with self._opened() as view:
                for opcode, body in self._others(view):
                    if opcode == Opcode.ATTACHMENT:
                        self._keep_attachment(body)
                    else:
                        self._keep_metadata(body)
        except OSError as error:
            raise ConfigurationError([Finding(str(path), 0, 0, f"can't be read: {error.strerror}")]) from None

    @cached_property
    def _index(self) -> FileIndex | None:
        with self._opened() as view:
            return find_index(view)

    @cached_property
    def named(self) -> Mapping[tuple[str, int], Named]:
        """What the index names, by topic and partition; empty where it can't be read."""
        return {} if self._index is None else _named(self._index, self.places)

    @property
    def first_ns(self) -> int:
        """The recorder's time of the first record, 0 where the index can't be read."""
        return 0 if self._index is None else self._index.first_ns

    @property
    def last_ns(self) -> int:
        """The recorder's time of the last record, 0 where the index can't be read."""
        return 0 if self._index is None else self._index.last_ns

    def let_go_of_index(self) -> None:
        """Until it is asked for again: of a folder's many segments one is read at a time."""
        for name in ("_index", "_to_find_by", "named", "found", "places"):
            self.__dict__.pop(name, None)

    def _others(self, view: mmap.mmap) -> Iterable[tuple[int, bytes]]:
        """Attachments and metadata: our own stand before all else, others' are found by the index."""
        ahead = others_ahead(view)
        if ahead and ahead[0][0] == Opcode.METADATA:
            return ahead
        if self._index is not None and not self._index.is_moved:
            return records_at(view, self._index, self._index.others)
        return walk(view, self._index, {Opcode.ATTACHMENT, Opcode.METADATA}, Damage())

    @contextmanager
    def _opened(self) -> Iterator[mmap.mmap]:
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ConfigurationError([Finding(str(self.path), 0, 0, "not a recording (no MCAP file)")])
            with mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ) as view:
                yield view

    def _keep_attachment(self, body: bytes) -> None:
        if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
            self._left_out.append("a damaged attachment is left out")
            return
        try:
            attachment = Attachment.read(ReadDataStream(BytesIO(body)))
        except UNREADABLE:
            self._left_out.append("an attachment that can't be read is left out")
            return
        self.attachments[attachment.name] = attachment.data

    def _keep_metadata(self, body: bytes) -> None:
        try:
            metadata = Metadata.read(ReadDataStream(BytesIO(body)))
        except UNREADABLE:
            self._left_out.append("damaged metadata are left out")
            return
        if metadata.name == PROFILE:
            self.metadata = metadata.metadata

    @property
    def damage(self) -> list[str]:
        """What can't be read; complete when an iterator over the records has ended."""
        return self._damage.lines

    @property
    def lacks_records(self) -> bool:
        """Whether records are missing from what was read so far: a chunk was left out, or the file was cut off."""
        return self._damage.lacks_records

    @property
    def is_cut_off(self) -> bool:
        """Whether nobody knows what lay behind its last record; known when an iterator over the records has ended."""
        return self._damage.is_cut_off

    @property
    def lacks_only_its_end(self) -> bool:
        """Whether nothing is wrong but that the file was cut off; known when an iterator over the records has ended."""
        return self._index is None and len(self._damage.lines) == 1

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """Every record of `topics` (None: all) in the order of the file: offset order within each partition."""
        return (record for _, record in self.timed_records(topics))

    def timed_records(self, topics: Collection[str] | None = None) -> Iterator[tuple[int, Record]]:
        """The same with the recorder's own time of each record (`log_time`, ns) before it."""
        return ((stored[0], record_of(stored)) for stored in self.stored(topics))

    def stored(self, topics: Collection[str] | None = None, chunk: int = 0) -> Iterator[Stored]:
        """The same records as they lie in the file, no object made for each; from a chunk on (see `chunks`)."""
        self._damage = damage = Damage(list(self._left_out))
        taken = Chunks(topics, self.places if self._index is not None or chunk else {})
        begin_at = self.index.chunks[chunk].at if chunk else len(MAGIC)
        with self._opened() as view:
            for opcode, body in walk(view, self._index, {Opcode.CHUNK, Opcode.CHANNEL}, damage, begin_at):
                if opcode == Opcode.CHANNEL:
                    taken.learn(body)
                else:
                    yield from taken.stored(body)
        if taken.broken:
            damage.lost(
                f"{taken.broken} chunks or channels hold what can't be read: the rest of them is left out"
            )
        if taken.homeless:
            damage.lost(f"{taken.homeless} messages whose channel lay in a damaged chunk are left out")
        due = taken.read if self._index is None or chunk else sum(self._index.messages.values())
        if due != taken.read and not damage.lacks_records:
            damage.lost(f"the index names {due} records, and {taken.read} can be read")

    # By the index, without reading the rest of the file. What is damaged there is left out without a word.

    @cached_property
    def _to_find_by(self) -> FileIndex | None:
        """The file's index, or what it would say where the file has none yet."""
        if self._index is not None:
            return self._index
        with self._opened() as view:
            return follow(view)

    @property
    def is_sought(self) -> bool:
        """Whether chunks can be found: there is an index that can be trusted, or one can be made."""
        found = self._to_find_by
        return found is not None and not found.is_moved

    @property
    def chunks(self) -> int:
        """How many chunks can be found."""
        return len(self.index.chunks) if self.is_sought else 0

    @property
    def index(self) -> FileIndex:
        """By which chunks are found. Raises InvariantError where there is none to trust."""
        found = self._to_find_by
        if found is None or found.is_moved:
            raise InvariantError(f"{self.path} has no index to find chunks by")
        return found

    @cached_property
    def found(self) -> Mapping[tuple[str, int], Named]:
        """What can be found, by topic and partition: as `named`, and of a file that has no index yet, too."""
        return _named(self.index, self.places) if self.is_sought else {}

    @cached_property
    def places(self) -> dict[int, Place]:
        """What each channel that the index names says of its messages."""
        found = self._to_find_by
        places = {}
        for body in () if found is None else found.channels:
            with suppress(*UNREADABLE):  # its messages are homeless then, and are counted
                channel = channel_of(body)
                places[channel.id] = place_of(channel)
        return places

    def of_topic(self, topic: str) -> Iterator[Stored]:
        """The records of a topic that few chunks have."""
        if self.chunks:
            return (stored for _, stored in self.in_chunks(range(self.chunks), {topic}))
        return self.stored({topic})

    def in_chunks(self, numbers: Iterable[int], topics: Collection[str]) -> Iterator[tuple[int, Stored]]:
        """The records of some chunks, each with the number of its chunk; chunks without them are passed over."""
        taken = Chunks(topics, self.places)
        wanted = {number for number, place in self.places.items() if place.topic in topics}
        with self._opened() as view:
            for number in numbers:
                entry = self.index.chunks[number]
                if wanted.isdisjoint(channels_of(view, entry)):
                    continue
                for _, records in records_at(view, self.index, [entry.at]):
                    for stored in taken.stored(records):
                        yield number, stored


def _named(index: FileIndex, places: Mapping[int, Place]) -> dict[tuple[str, int], Named]:
    """A partition's first record is the first of a channel of its lowest segment."""
    records: Counter[tuple[str, int]] = Counter()
    firsts: dict[tuple[str, int], tuple[int, int]] = {}
    for channel, place in places.items():
        partition = place.topic, place.partition
        first = place.log, place.base_offset
        firsts[partition] = min(first, firsts.get(partition, first))
        records[partition] += index.messages.get(channel, 0)
    return {partition: Named(records[partition], first) for partition, (_, first) in firsts.items()}


def _key(record: Record) -> _Key:
    return record.topic, record.partition, record.offset >> 31, record.key, record.headers


def _channel_metadata(record: Record) -> dict[str, str] | None:
    """Key and headers as text; None where they don't fit into it."""
    names = [name for name, _ in record.headers]
    if len(set(names)) != len(names):
        return None
    try:
        metadata = {"key": record.key.decode()} if record.key is not None else {}
        metadata["headers"] = orjson.dumps(names).decode()
        metadata.update((f"header.{name}", value.decode()) for name, value in record.headers)
    except (UnicodeDecodeError, orjson.JSONEncodeError):
        return None
    return metadata


def _wrap(record: Record) -> bytes:
    def text(raw: bytes | None) -> str | None:
        return None if raw is None else base64.b64encode(raw).decode()

    headers = [[text(name.encode("utf-8", "surrogateescape")), text(value)] for name, value in record.headers]
    return orjson.dumps(
        {
            "key": text(record.key),
            "headers": headers,
            "value": text(record.value),
            "timestamp_ms": record.timestamp_ms,
        }
    )
