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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Footer, Statistics
from mcap.stream_reader import get_chunk_data_stream

from streams.times import iso_utc

MAGIC: Final = b"\x89MCAP0\r\n"
RECORD_HEAD: Final = struct.Struct("<BQ")
CHUNK_SPAN: Final = struct.Struct("<QQ")
"""How the body of a chunk begins: when its first and its last message were recorded, ns."""

_HELD_BYTES = 32 << 20
"""So much of a file stays mapped behind the reader: what was read counts as the process's memory until then."""

_CHUNK_BEFORE_COMPRESSION = 28
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


class FileIndex(NamedTuple):
    """What stands behind the data: `start` to `end` in the file, and the number of messages by channel id."""

    start: int
    end: int
    is_moved: bool
    channels: tuple[Channel, ...]
    messages: Mapping[int, int]
    first_ns: int
    last_ns: int


@dataclass(slots=True)
class Damage:
    """What can't be read, in words, and whether records are missing because of it."""

    lines: list[str] = field(default_factory=list)
    lacks_records: bool = False

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
    view: mmap.mmap, index: FileIndex | None, wanted: Collection[int], damage: Damage
) -> Iterator[tuple[int, bytes]]:
    """Opcode and body of the wanted records; of a chunk, its records. `damage` is complete at the end."""
    at = search_from = len(MAGIC)
    held_from = 0
    while True:
        held_from = release(view, held_from, at)
        length = _length(view, at, index)
        if length is None:
            found = _search(view, search_from, index)
            if found is None:
                rest = f", and nothing can be read from byte {at} on" if at < len(view) else ""
                damage.lost(f"the file ends at byte {len(view)} without its index: it was cut off{rest}")
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
            body = view[start:end]
            try:
                records = unpacked(body)
            except Exception as error:  # decompressors and the parser share no class of errors
                resumed = end
                if _length(view, end, index) is None:
                    resumed = _search(view, search_from, index) or len(view)
                damage.lost(
                    f"the chunk at byte {at}{_recorded_span(body)} is damaged and left out "
                    f"(bytes {at} to {resumed}): {error}"
                )
                at = resumed
                continue
            search_from = end
            yield opcode, records
        elif opcode in wanted:
            yield opcode, view[start:end]
        at = end


def unpacked(chunk: bytes) -> bytes:
    """The records of a chunk's body. Raises whatever the library and its decompressors do when it is damaged."""
    stream, length = get_chunk_data_stream(Chunk.read(ReadDataStream(BytesIO(chunk))), validate_crc=True)
    data: bytes = stream.read(length)
    return data


def _recorded_span(chunk: bytes) -> str:
    """When the records of a chunk were written, which its first 16 bytes say."""
    first_ns, last_ns = CHUNK_SPAN.unpack_from(chunk)
    return f" (recorded {iso_utc(first_ns)} to {iso_utc(last_ns)})"


def _length(view: mmap.mmap, at: int, index: FileIndex | None) -> int | None:
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


def _search(view: mmap.mmap, at: int, index: FileIndex | None) -> int | None:
    """Where the next chunk or the end of the data begins."""
    while (found := _CHUNK_OR_DATA_END.search(view, at)) is not None:
        if _length(view, found.start(), index) is not None:
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
    channels: list[Channel] = []
    statistics: Statistics | None = None
    while at < footer_at:
        opcode, length = RECORD_HEAD.unpack_from(view, at)
        body, at = at + RECORD_HEAD.size, at + RECORD_HEAD.size + length
        if opcode == Opcode.CHANNEL:
            channels.append(Channel.read(_stream(view, body, at)))
        elif opcode == Opcode.STATISTICS:
            statistics = Statistics.read(_stream(view, body, at))
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
    )


def _stream(view: mmap.mmap, start: int, end: int) -> ReadDataStream:
    return ReadDataStream(BytesIO(view[start:end]))
