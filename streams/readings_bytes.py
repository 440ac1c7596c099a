"""The bytes of plant readings: an Arrow IPC record batch of one row, handled without Arrow once its shape is known.

Rules: those of `frame_bytes`. What is written depends on how many points there are and how long their names are
together: a template of each such shape is filled in. A source reads the same points again and again, whose names are
then the same bytes; in reading they are a part of the layout, which is learned when the same points come a second time.
Bytes that are not exactly of a known layout are left to Arrow.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rules.engine.inputs import Readings
from rules.errors import InvariantError
from streams.frame_bytes import one_row
from streams.layouts import head_of, numbers_at, places_of, remember

READINGS_SCHEMA: Final = pa.schema(
    [
        ("sequence", pa.int64()),
        ("ingest_ns", pa.int64()),
        ("point", pa.list_(pa.utf8())),
        ("time_ns", pa.list_(pa.int64())),
        ("server_ns", pa.list_(pa.int64())),
        ("value", pa.list_(pa.float64())),
        ("quality", pa.list_(pa.uint8())),
        ("status", pa.list_(pa.uint32())),
    ]
)
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


def encode_readings(readings: Readings) -> bytes:
    """The bytes that Arrow would write, by filling in readings of the same shape: 10 times as fast."""
    offsets, names = _names(readings.points)
    count = len(readings.points)
    columns = [
        np.ascontiguousarray(column, kind)
        for column, kind in zip(
            (readings.time_ns, readings.server_ns, readings.values, readings.quality, readings.status),
            _LISTS,
            strict=True,
        )
    ]
    if any(column.shape != (count,) for column in columns):
        raise InvariantError(f"readings of {count} points with columns of other lengths")
    template, places = _template(count, len(names))
    body = bytearray(template)
    sequence_at, ingest_at, offsets_at, names_at, *lists_at = places
    struct.pack_into("<q", body, sequence_at, readings.identity.sequence)
    struct.pack_into("<q", body, ingest_at, readings.ingest_ns)
    body[offsets_at : offsets_at + len(offsets)] = offsets
    body[names_at : names_at + len(names)] = names
    for place, column in zip(lists_at, columns, strict=True):
        body[place : place + column.nbytes] = column.tobytes()
    return bytes(body)


@lru_cache(maxsize=_SHAPES)
def _names(points: tuple[str, ...]) -> tuple[bytes, bytes]:
    """Where each name ends, as Arrow has it, and all of them together."""
    encoded = [point.encode() for point in points]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return ends.tobytes(), b"".join(encoded)


@lru_cache(maxsize=_SHAPES)
def _template(count: int, names_size: int) -> tuple[bytes, tuple[int, ...]]:
    """Readings of this shape as Arrow writes them, and where the bytes of each column begin in them."""
    points = ["x" * names_size, *[""] * (count - 1)][:count]
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([0], pa.int64()),
            pa.array([0], pa.int64()),
            one_row(pa.array(points, pa.utf8())),
            *(one_row(np.zeros(count, kind)) for kind in _LISTS),
        ],
        schema=READINGS_SCHEMA,
    )
    body = pa.py_buffer(batch.serialize().to_pybytes())
    written: Any = pa.ipc.read_record_batch(body, READINGS_SCHEMA)
    names = written.column(2).values.buffers()
    numbers = [written.column(index).buffers()[-1] for index in (0, 1)]
    data = [written.column(index).buffers()[-1] for index in range(3, 8)]
    places = tuple(
        buffer.address - body.address if buffer is not None and buffer.size else 0
        for buffer in (*numbers, names[1], names[2], *data)
    )
    return body.to_pybytes(), places


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
