"""The bytes of plant readings: an Arrow IPC record batch of one row, read without Arrow once its points are known.

Rules: those of `frame_bytes`. A source reads the same points again and again, whose names are then the same bytes; they
are a part of the layout, which is learned when the same points come a second time. Bytes that are not exactly of a
known layout are left to Arrow.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.layouts import head_of, numbers_at, places_of, remember

_LISTS: Final = tuple(map(np.dtype, (np.int64, np.int64, np.float64, np.uint8, np.uint32)))
_SHAPES: Final = 512
"""How many layouts are remembered: one for each set of points that a source reads together."""


class Columns(NamedTuple):
    """What readings hold; arrays are read-only views of their bytes."""

    sequence: int
    ingest_ns: int
    points: tuple[str, ...]
    lists: list[NDArray[Any]]
    """time_ns, server_ns, values, quality, status."""


class _Layout(NamedTuple):
    head: bytes
    numbers: Any
    """A struct.Struct of sequence, ingest_ns, then the two offsets of each list but that of the points."""

    points: tuple[str, ...]
    names: bytes
    names_at: int
    lists: tuple[tuple[Any, int], ...]
    """Type of each list's values, and where they begin."""


_learned: dict[int, list[_Layout]] = {}
"""By the size of a message."""
_came: dict[int, tuple[str, ...]] = {}
"""Points that came once, by the size of their message."""


def read_known(value: bytes) -> Columns | None:
    """The columns of readings whose layout was learned; None for all other bytes, which are Arrow's to read."""
    for layout in _learned.get(len(value), ()):
        if value.startswith(layout.names, layout.names_at) and value.startswith(layout.head):
            break
    else:
        return None
    count = len(layout.points)
    sequence, ingest_ns, *offsets = layout.numbers.unpack_from(value)
    if offsets != [0, count] * len(_LISTS):
        return None
    lists = [np.ndarray(count, kind, value, at) for kind, at in layout.lists]
    return Columns(sequence, ingest_ns, layout.points, lists)


def learn(value: bytes, body: pa.Buffer, batch: Any, points: tuple[str, ...]) -> None:
    """Remember the layout of readings that Arrow has read (`batch`, from `body`, the buffer of `value`) as valid."""
    if _came.get(len(value)) != points:
        if len(_came) >= _SHAPES:
            _came.clear()
        _came[len(value)] = points
        return
    places = places_of(value, body, batch)
    if places is None:
        return
    sequence_at, ingest_at, names_at, _, text_at, *of_lists = places
    numbers = numbers_at([(sequence_at, "q"), (ingest_at, "q"), *((at, "ii") for at in of_lists[::2])])
    names_end = text_at + batch.column(2).values.buffers()[-1].size
    if numbers is None or not ingest_at < names_at < text_at < names_end <= of_lists[0]:
        return
    layout = _Layout(
        head_of(value),
        numbers,
        points,
        value[names_at:names_end],
        names_at,
        tuple(zip(_LISTS, of_lists[1::2], strict=True)),
    )
    remember(
        _learned,
        len(value),
        layout,
        lambda one: (one.head, one.names) == (layout.head, layout.names),
        _SHAPES,
    )
