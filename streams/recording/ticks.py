"""Event time in recordings: that of their ticks, which go up through a log.

Rule: what a recorder's clock says of a record is when it had it, so that one that catches up stamps a whole hour with
the present; the ticks alone say where a moment lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from rules.engine.inputs import Tick
from rules.errors import UndecodableError
from streams.record import header
from streams.recording.chunks import Stored
from streams.recording.recording import Recording
from streams.topics import EVENTS
from streams.wire import decode_input


def first_tick_ns(recording: Recording) -> int | None:
    """Event time of the first tick of a recording, None without any."""
    return next(ticks(recording.stored({EVENTS.name})), None)


def last_tick_ns(recording: Recording) -> int | None:
    """Event time of a tick at the end of a recording, None where its index names none in its last chunks."""
    last = range(recording.chunks - 1, max(recording.chunks - 9, -1), -1)
    return max(ticks(stored for _, stored in recording.in_chunks(last, {EVENTS.name})), default=None)


def begin_of_log_ns(recordings: Iterable[Recording]) -> int | None:
    """Event time of the first tick of recordings in their order, None without any."""
    return next((ns for ns in map(first_tick_ns, recordings) if ns is not None), None)


def end_of_log_ns(recordings: Sequence[Recording]) -> int | None:
    """Event time of a tick at the end of recordings in their order, None where `last_tick_ns` finds none."""
    return next((ns for ns in map(last_tick_ns, reversed(recordings)) if ns is not None), None)


def file_at(recordings: Sequence[Recording], at_ns: int) -> int:
    """The last recording whose first tick is not after a moment, counted from 0; the first where all are after it."""
    low, high = 0, len(recordings)
    while high - low > 1:
        middle = (low + high) // 2
        found = ((number, first_tick_ns(recordings[number])) for number in range(middle, high))
        number, tick_ns = next(((number, ns) for number, ns in found if ns is not None), (high, None))
        if tick_ns is not None and tick_ns <= at_ns:
            low = number
        else:
            high = middle
    return low


def chunk_at(recording: Recording, at_ns: int) -> int:
    """The last chunk of a recording whose first tick is not after a moment."""
    low, high = 0, recording.chunks
    while high - low > 1:
        middle = (low + high) // 2
        chunks = recording.in_chunks(range(middle, high), {EVENTS.name})
        for number, inputs in groupby(chunks, key=itemgetter(0)):
            tick_ns = next(ticks(stored for _, stored in inputs), None)
            if tick_ns is None:
                continue
            if tick_ns <= at_ns:
                low = number
            else:
                high = middle
            break
        else:
            high = middle
    return low


def ticks(found: Iterable[Stored]) -> Iterator[int]:
    """Event times of the ticks among records of `events`."""
    for _, place, _, _, value in found:
        if header(place.headers, "schema") == b"tick/1":
            try:
                tick = decode_input(place.key, place.headers, value)
            except UndecodableError:
                continue
            if isinstance(tick, Tick):
                yield tick.time_ns
