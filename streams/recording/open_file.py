"""The index of a recording that has none yet, as its recorder writes it or was killed: made by following its records.

Rules: what follows each chunk names its channels and how many messages each has, so that only chunks that are first to
name a channel are unpacked; the file is followed as far as one record begins where the last one ends. Where a chunk
lies behind that, the file is damaged, and no index is made: what lies in between nobody can name.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from contextlib import suppress
from typing import Final

from mcap.opcode import Opcode

from streams.recording.chunks import channel_of
from streams.recording.file import (
    CHUNK_SPAN,
    MAGIC,
    RECORD_HEAD,
    UNREADABLE,
    ChunkEntry,
    FileIndex,
    length_at,
    release,
    search,
    unpacked,
)

_INDEX_HEAD: Final = struct.Struct("<HI")
_ENTRY_BYTES: Final = 16


def follow(view: mmap.mmap) -> FileIndex | None:
    """What an index of this file would say, up to its last whole record; None where more lies behind that."""
    at, held_from = len(MAGIC), 0
    channels: dict[int, bytes] = {}
    messages: Counter[int] = Counter()
    chunks: list[tuple[int, set[int]]] = []
    others: list[int] = []
    first_ns, last_ns = 0, 0
    while (length := length_at(view, at, None)) is not None:
        opcode, start, end = view[at], at + RECORD_HEAD.size, at + RECORD_HEAD.size + length
        if opcode == Opcode.DATA_END:
            break
        if opcode == Opcode.CHUNK:
            begin_ns, end_ns = CHUNK_SPAN.unpack_from(view, start)
            first_ns, last_ns = first_ns or begin_ns, max(last_ns, end_ns)
            chunks.append((at, set()))
        elif opcode == Opcode.MESSAGE_INDEX and chunks and length >= _INDEX_HEAD.size:
            channel, size = _INDEX_HEAD.unpack_from(view, start)
            messages[channel] += size // _ENTRY_BYTES
            chunks[-1][1].add(channel)
            if channel not in channels:
                _learn(view, chunks[-1][0], channels)
        elif opcode in (Opcode.ATTACHMENT, Opcode.METADATA):
            others.append(at)
        elif opcode == Opcode.CHANNEL:
            _keep(view[start:end], channels)
        at = end
        held_from = release(view, held_from, at)
    if length is None and search(view, at + 1, None) is not None:
        return None
    entries = tuple(ChunkEntry(begin, channels=frozenset(named)) for begin, named in chunks if named)
    found = tuple(channels[number] for number in sorted(channels))
    return FileIndex(at, len(view), False, found, messages, first_ns, last_ns, entries, tuple(others))


def _learn(view: mmap.mmap, chunk_at: int, channels: dict[int, bytes]) -> None:
    """The channels that a chunk is first to name; a chunk that can't be unpacked names none."""
    _, length = RECORD_HEAD.unpack_from(view, chunk_at)
    start = chunk_at + RECORD_HEAD.size
    with suppress(
        Exception
    ):  # decompressors and the parser share no class of errors; who reads the file says it
        records, at = unpacked(view[start : start + length]), 0
        while at < len(records):
            opcode, size = RECORD_HEAD.unpack_from(records, at)
            body, at = at + RECORD_HEAD.size, at + RECORD_HEAD.size + size
            if opcode == Opcode.CHANNEL:
                _keep(records[body:at], channels)


def _keep(body: bytes, channels: dict[int, bytes]) -> None:
    with suppress(*UNREADABLE):  # its messages are homeless then, and are counted
        channels.setdefault(channel_of(body).id, body)
