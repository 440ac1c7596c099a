"""Whether the index of an MCAP file leads where it says: what every indexed reader relies on.

Rules: the index is followed, the file is not searched; a chunk that can't be unpacked is the framing's damage and is
said there (`recording_file`), not twice. One chunk is held at a time.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import AttachmentIndex, ChunkIndex, MetadataIndex

from streams.recording.file import (
    CHUNK_SPAN,
    RECORD_HEAD,
    UNREADABLE,
    FileIndex,
    find_index,
    release,
    summary_start,
    unpacked,
)

_MESSAGE_HEAD: Final = struct.Struct("<HIQ")
_INDEX_HEAD: Final = struct.Struct("<HI")
_ENTRY: Final = struct.Struct("<QQ")


def index_findings(path: Path) -> Iterator[str]:
    """Each entry of the index that leads to something else, in words; nothing where there is no index."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        index = find_index(view)
        if index is None:
            return
        if index.is_moved:
            yield "the index was moved: bytes were inserted or deleted before it, so its offsets lead nowhere"
            return
        try:
            yield from _follow(view, index)
        except UNREADABLE as error:
            yield f"the index can't be followed to its end, though its checksum is right: {error}"


def _follow(view: mmap.mmap, index: FileIndex) -> Iterator[str]:
    messages = held_from = 0
    at = summary_start(index)
    while view[at] != Opcode.FOOTER:
        opcode, length = RECORD_HEAD.unpack_from(view, at)
        body, at = at + RECORD_HEAD.size, at + RECORD_HEAD.size + length
        stream = ReadDataStream(BytesIO(view[body:at]))
        if opcode == Opcode.CHUNK_INDEX:
            entry = ChunkIndex.read(stream)
            found, indexed = _chunk_findings(view, index, entry)
            held_from = release(view, held_from, min(entry.chunk_start_offset, index.start))
            messages += indexed
            yield from found
        elif opcode in {Opcode.ATTACHMENT_INDEX, Opcode.METADATA_INDEX}:
            kind = AttachmentIndex if opcode == Opcode.ATTACHMENT_INDEX else MetadataIndex
            other = kind.read(stream)
            target = Opcode.ATTACHMENT if kind is AttachmentIndex else Opcode.METADATA
            if not _leads_to(view, index, target, other.offset, other.length):
                yield f"the index places '{other.name}' at byte {other.offset}, where it is not"
    due = sum(index.messages.values())
    if messages != due:
        yield f"the index leads to {messages} messages, and says that there are {due}"


def _leads_to(view: mmap.mmap, index: FileIndex, opcode: int, at: int, length: int) -> bool:
    if at + length > index.start or length < RECORD_HEAD.size:
        return False
    return bool(RECORD_HEAD.unpack_from(view, at) == (opcode, length - RECORD_HEAD.size))


def _chunk_findings(view: mmap.mmap, index: FileIndex, entry: ChunkIndex) -> tuple[list[str], int]:
    """What is wrong with the index of one chunk, and how many messages it names."""
    at = entry.chunk_start_offset
    if not _leads_to(view, index, Opcode.CHUNK, at, entry.chunk_length):
        return [f"the index places a chunk at byte {at}, where none begins"], 0
    body = view[at + RECORD_HEAD.size : at + entry.chunk_length]
    wrong = []
    if CHUNK_SPAN.unpack_from(body) != (entry.message_start_time, entry.message_end_time):
        wrong.append(f"the index gives other times than the chunk at byte {at} has")
    try:
        records: bytes | None = unpacked(body)
    except Exception:  # said as damage of the framing
        records = None
    indexed = 0
    for channel, place in entry.message_index_offsets.items():
        entries = _entries(view, index, channel, place)
        if entries is None:
            wrong.append(
                f"the index places messages of channel {channel} at byte {place}, where they are not"
            )
            continue
        indexed += len(entries) // _ENTRY.size
        if records is not None and not _all_there(records, channel, entries):
            wrong.append(
                f"the message index at byte {place} leads to no messages of channel {channel} in the chunk at {at}"
            )
    return wrong, indexed


def _entries(view: mmap.mmap, index: FileIndex, channel: int, at: int) -> bytes | None:
    """The bytes of a message index's entries; None where none of that channel begins."""
    if at + RECORD_HEAD.size + _INDEX_HEAD.size > index.start:
        return None
    opcode, length = RECORD_HEAD.unpack_from(view, at)
    start = at + RECORD_HEAD.size
    if opcode != Opcode.MESSAGE_INDEX or start + length > index.start:
        return None
    found, size = _INDEX_HEAD.unpack_from(view, start)
    if found != channel or size != length - _INDEX_HEAD.size or size % _ENTRY.size:
        return None
    return view[start + _INDEX_HEAD.size : start + length]


def _all_there(records: bytes, channel: int, entries: bytes) -> bool:
    last = len(records) - RECORD_HEAD.size - _MESSAGE_HEAD.size
    for log_ns, at in _ENTRY.iter_unpack(entries):
        if at > last or records[at] != Opcode.MESSAGE:
            return False
        found, _, time_ns = _MESSAGE_HEAD.unpack_from(records, at + RECORD_HEAD.size)
        if (found, time_ns) != (channel, log_ns):
            return False
    return True
