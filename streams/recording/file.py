"""The framing of an MCAP file that may be damaged: its records in order, and what its index names.

Rules: a record begins only where its head can be one: a known opcode, an end inside the file, and in a chunk two
lengths that agree. Where none begins, reading goes on at the next chunk, or at the end of the data. The index is
found by its place before the footer and proved by its checksum, not by the offsets in it: those are wrong once
bytes were inserted or deleted. The library's own reader needs a file that is whole.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, NamedTuple

from lz4.frame import LZ4FrameDecompressor
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Footer, Statistics
from zstandard import ZstdDecompressor

from streams.times import iso_utc

MAGIC: Final = b"\x89MCAP0\r\n"
RECORD_HEAD: Final = struct.Struct("<BQ")
CHUNK_SPAN: Final = struct.Struct("<QQ")
"""How the body of a chunk begins: when its first and its last message were recorded, ns."""

UNREADABLE: Final = (struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError, McapError)
"""What a record that is none of ours makes of the parsers."""

CHUNK_MAX_BYTES: Final = 32 << 20
"""Ours hold 4 MB and the record that goes beyond it."""

_HELD_BYTES = 32 << 20
"""So much of a file stays mapped behind the reader: what was read counts as the process's memory until then."""

_CHUNK_BEFORE_COMPRESSION = 28
_CHUNK_HEAD = struct.Struct("<QQQII")
"""Times of the first and last record, bytes and checksum of the records, bytes of the compression's name."""
_PACKED_BYTES = struct.Struct("<Q")
_CHUNK_INDEX = struct.Struct("<QQQQI")
"""Of a chunk: its first and last time, where it begins, its length, bytes of the map from channels to places."""
_CHANNEL_AT = struct.Struct("<HQ")
_DATA_END = RECORD_HEAD.pack(Opcode.DATA_END, 4)
_DATA_END_BYTES = len(_DATA_END) + 4
_FOOTER = RECORD_HEAD.pack(Opcode.FOOTER, 20)
_END_BYTES = len(_FOOTER) + 20 + len(MAGIC)
_END = re.compile(re.escape(_FOOTER) + b".{20}" + re.escape(MAGIC), re.DOTALL)
_CHUNK_OR_DATA_END = re.compile(rb"\x06.{4}\0{4}|" + re.escape(_DATA_END), re.DOTALL)
_OF_DATA = frozenset(
    {
        Opcode.HEADER,
        Opcode.SCHEMA,
        Opcode.CHANNEL,
        Opcode.MESSAGE,
        Opcode.CHUNK,
        Opcode.MESSAGE_INDEX,
        Opcode.ATTACHMENT,
        Opcode.METADATA,
    }
)
_PRIVATE = 0x80
"""Opcodes from here on are an application's own."""


class ChunkEntry(NamedTuple):
    """Where a chunk begins in the file, and where the index names its channels, or `channels` themselves."""

    at: int
    channels_at: int = 0
    channels_end: int = 0
    channels: frozenset[int] | None = None


class FileIndex(NamedTuple):
    """What stands behind the data: `start` to `end` in the file, and the number of messages by channel id.

    `channels` as they lie there, which are many where a day of a folder is opened. `chunks` in the order of the file;
    `others`: where attachments and metadata begin. Both are right unless `is_moved`.
    """

    start: int
    end: int
    is_moved: bool
    channels: tuple[bytes, ...]
    messages: Mapping[int, int]
    first_ns: int
    last_ns: int
    chunks: tuple[ChunkEntry, ...]
    others: tuple[int, ...]


@dataclass(slots=True)
class Damage:
    """What can't be read, in words, and whether records are missing because of it."""

    lines: list[str] = field(default_factory=list)
    lacks_records: bool = False
    is_cut_off: bool = False
    """Whether the data have no end: what lay behind the last record nobody knows."""

    def lost(self, line: str) -> None:
        """Something that costs records."""
        self.lines.append(line)
        self.lacks_records = True


def find_index(view: mmap.mmap) -> FileIndex | None:
    """The index of the file, or of the first of several that were appended to each other. None: it isn't whole."""
    index = _index_before(view, len(view))
    if index is None or index.is_moved:
        first = _END.search(view)
        index = _index_before(view, first.end()) if first is not None else None
    return index


def summary_start(index: FileIndex) -> int:
    """Where the first record behind the data begins."""
    return index.start + _DATA_END_BYTES


def release(view: mmap.mmap, begin: int, at: int) -> int:
    """Give back the memory of the file's pages from `begin` to `at`, where they are many; from where on it is held."""
    if at - begin < _HELD_BYTES:
        return begin
    end = at - at % mmap.PAGESIZE
    view.madvise(mmap.MADV_DONTNEED, begin, end - begin)
    return end


def walk(
    view: mmap.mmap,
    index: FileIndex | None,
    wanted: Collection[int],
    damage: Damage,
    begin_at: int = len(MAGIC),
) -> Iterator[tuple[int, bytes]]:
    """Opcode and body of the wanted records from `begin_at` on; of a chunk, its records.

    `damage` is complete at the end.
    """
    at = search_from = begin_at
    held_from = begin_at - begin_at % mmap.PAGESIZE
    while True:
        held_from = release(view, held_from, at)
        length = length_at(view, at, index)
        if length is None:
            found = search(view, search_from, index)
            if found is None:
                rest = f", and nothing can be read from byte {at} on" if at < len(view) else ""
                damage.lost(f"the file ends at byte {len(view)} without its index: it was cut off{rest}")
                damage.is_cut_off = True
                return
            damage.lost(f"no record begins at byte {at}: reading goes on at byte {found}")
            at = search_from = found
            continue
        opcode, start = view[at], at + RECORD_HEAD.size
        end = start + length
        search_from = at + 1
        if opcode == Opcode.DATA_END:
            _look_behind(view, end, index, damage)
            return
        if opcode == Opcode.CHUNK and opcode in wanted:
            try:
                records = _unpacked(view, start, end)
            except Exception as error:  # decompressors and the parser share no class of errors
                resumed = end
                if length_at(view, end, index) is None:
                    resumed = search(view, search_from, index) or len(view)
                span = _recorded_span(view[start : start + CHUNK_SPAN.size])
                damage.lost(
                    f"the chunk at byte {at}{span} is damaged and left out (bytes {at} to {resumed}): {error}"
                )
                at = resumed
                continue
            search_from = end
            yield opcode, records
        elif opcode in wanted:
            yield opcode, view[start:end]
        at = end


def records_at(view: mmap.mmap, index: FileIndex, places: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Opcode and body of the records that an index says begin at `places`; those that don't are left out."""
    for at in places:
        length = length_at(view, at, index)
        if length is None:
            continue
        start = at + RECORD_HEAD.size
        if view[at] == Opcode.CHUNK:
            with suppress(Exception):  # damage is told by who walks over it
                yield Opcode.CHUNK, _unpacked(view, start, start + length)
        else:
            yield view[at], view[start : start + length]


def others_ahead(view: mmap.mmap) -> list[tuple[int, bytes]] | None:
    """Attachments and metadata that stand before the first chunk; None where it isn't reached."""
    at, found = len(MAGIC), list[tuple[int, bytes]]()
    while (length := length_at(view, at, None)) is not None:
        start = at + RECORD_HEAD.size
        if view[at] in (Opcode.CHUNK, Opcode.DATA_END):
            return found
        if view[at] in (Opcode.ATTACHMENT, Opcode.METADATA):
            found.append((view[at], view[start : start + length]))
        at = start + length
    return None


def channels_of(view: mmap.mmap, entry: ChunkEntry) -> frozenset[int]:
    """Ids of the channels that have a message in a chunk."""
    if entry.channels is not None:
        return entry.channels
    pairs = view[entry.channels_at : entry.channels_end]
    return frozenset(channel for channel, _ in _CHANNEL_AT.iter_unpack(pairs))


def unpacked(chunk: bytes | memoryview) -> bytes:
    """The records of a chunk's body. Raises whatever the decompressors do when it is damaged, and ValueError.

    Nothing is unpacked beyond the size that the chunk says, and no chunk of more than `CHUNK_MAX_BYTES`: a small file
    may unpack to more than the memory holds.
    """
    _, _, size, crc, name_bytes = _CHUNK_HEAD.unpack_from(chunk)
    packed_at = _CHUNK_HEAD.size + name_bytes + _PACKED_BYTES.size
    if size > CHUNK_MAX_BYTES:
        raise ValueError(f"it says that it holds {size} bytes, which is more than {CHUNK_MAX_BYTES}")
    name = bytes(chunk[_CHUNK_HEAD.size : packed_at - _PACKED_BYTES.size]).decode()
    data = _decompressed(name, chunk[packed_at:], size)
    if len(data) != size:
        raise ValueError(f"it does not hold the {size} bytes that it says")
    if crc and zlib.crc32(data) != crc:
        raise ValueError("its checksum is wrong")
    return data


def _decompressed(name: str, packed: bytes | memoryview, size: int) -> bytes:
    """At most one byte more than `size`."""
    if name == "lz4":
        return bytes(LZ4FrameDecompressor().decompress(packed, max_length=size + 1))
    if name == "zstd":
        with ZstdDecompressor().stream_reader(packed) as reader:
            return reader.read(size + 1)
    if name:
        raise ValueError(f"nobody knows the compression '{name[:20]}'")
    return bytes(packed[: size + 1])


def _unpacked(view: mmap.mmap, start: int, end: int) -> bytes:
    """The records of the chunk whose body lies there, decompressed out of the file without a copy before it."""
    with memoryview(view) as whole, whole[start:end] as chunk:
        return unpacked(chunk)


def _recorded_span(chunk: bytes) -> str:
    """When the records of a chunk were written, which its first 16 bytes say."""
    first_ns, last_ns = CHUNK_SPAN.unpack_from(chunk)
    return f" (recorded {iso_utc(first_ns)} to {iso_utc(last_ns)})"


def length_at(view: mmap.mmap, at: int, index: FileIndex | None) -> int | None:
    """Length of the body of the record that begins at `at`; None where none does."""
    start = at + RECORD_HEAD.size
    if start > len(view):
        return None
    opcode, length = RECORD_HEAD.unpack_from(view, at)
    if opcode == Opcode.DATA_END:
        fits = length == 4 and (index is None or at == index.start)
    else:
        fits = start + length <= (len(view) if index is None else index.start)
        fits = fits and (opcode in _OF_DATA or opcode >= _PRIVATE)
        fits = fits and (opcode != Opcode.CHUNK or _is_chunk(view, start, length))
    return length if fits else None


def _is_chunk(view: mmap.mmap, start: int, length: int) -> bool:
    """Whether the length of a chunk's records, which stands behind the compression's name, agrees with `length`."""
    name_at = start + _CHUNK_BEFORE_COMPRESSION
    if length < _CHUNK_BEFORE_COMPRESSION + 4 + 8:
        return False
    (name_bytes,) = struct.unpack_from("<I", view, name_at)
    left: int = length - _CHUNK_BEFORE_COMPRESSION - 4 - name_bytes - 8
    if left < 0:
        return False
    (said,) = struct.unpack_from("<Q", view, name_at + 4 + name_bytes)
    return bool(said == left)


def search(view: mmap.mmap, at: int, index: FileIndex | None) -> int | None:
    """Where the next chunk or the end of the data begins."""
    while (found := _CHUNK_OR_DATA_END.search(view, at)) is not None:
        if length_at(view, found.start(), index) is not None:
            return found.start()
        at = found.start() + 1
    return None


def _look_behind(view: mmap.mmap, data_end: int, index: FileIndex | None, damage: Damage) -> None:
    """What should follow the data is the index, and nothing behind it."""
    if index is None:
        damage.lines.append(
            f"the index behind byte {data_end} was cut off or is damaged: whether all records are there isn't known"
        )
    elif index.end < len(view):
        text = f"{len(view) - index.end} bytes follow the end of the recording at byte {index.end}"
        if view[index.end : index.end + len(MAGIC)] == MAGIC:
            damage.lost(f"{text}: another recording, which isn't read; give each as a file of its own")
        else:
            damage.lines.append(text)


def _index_before(view: mmap.mmap, end: int) -> FileIndex | None:
    """None too where its checksum is right and what it says can't be read: then it is none of ours."""
    try:
        return _read_index(view, end)
    except UNREADABLE:
        return None


def _read_index(view: mmap.mmap, end: int) -> FileIndex | None:
    footer_at = end - _END_BYTES
    if footer_at < 0 or _END.fullmatch(view, footer_at, end) is None:
        return None
    footer = Footer.read(_stream(view, footer_at + len(_FOOTER), end))
    data_end = view.rfind(_DATA_END, 0, footer_at)
    if data_end < 0:
        return None
    at = start = data_end + _DATA_END_BYTES
    if zlib.crc32(view[start : end - len(MAGIC) - 4]) != footer.summary_crc:
        return None
    channels: list[bytes] = []
    statistics: Statistics | None = None
    chunks: list[ChunkEntry] = []
    others: list[int] = []
    while at < footer_at:
        opcode, length = RECORD_HEAD.unpack_from(view, at)
        body, at = at + RECORD_HEAD.size, at + RECORD_HEAD.size + length
        if opcode == Opcode.CHANNEL:
            channels.append(view[body:at])
        elif opcode == Opcode.STATISTICS:
            statistics = Statistics.read(_stream(view, body, at))
        elif opcode == Opcode.CHUNK_INDEX:
            _, _, chunk_at, _, map_bytes = _CHUNK_INDEX.unpack_from(view, body)
            map_at = body + _CHUNK_INDEX.size
            if map_bytes % _CHANNEL_AT.size or map_at + map_bytes > at:
                raise ValueError("an entry of the index is longer than its record")
            chunks.append(ChunkEntry(chunk_at, map_at, map_at + map_bytes))
        elif opcode in (Opcode.ATTACHMENT_INDEX, Opcode.METADATA_INDEX):
            others.extend(_PACKED_BYTES.unpack_from(view, body))
    if statistics is None:
        return None
    return FileIndex(
        data_end,
        end,
        footer.summary_start != start,
        tuple(channels),
        statistics.channel_message_counts,
        statistics.message_start_time,
        statistics.message_end_time,
        tuple(chunks),
        tuple(others),
    )


def _stream(view: mmap.mmap, start: int, end: int) -> ReadDataStream:
    return ReadDataStream(BytesIO(view[start:end]))
