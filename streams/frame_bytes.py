"""The bytes of a GPU frame: an Arrow IPC record batch of one row, handled without Arrow once its layout is known.

Rules: what Arrow would write is what is written, byte for byte; what is read here is what Arrow would read. A record
batch's layout (`layouts`) is learned from Arrow once and used for every later frame of that shape. Bytes that are not
exactly of a known layout are left to Arrow.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rules.engine.inputs import Frame
from rules.errors import InvariantError
from rules.gpu_fields import FIELD_COUNT
from streams.layouts import head_of, numbers_at, places_of, remember

_FIELDS: Final[list[tuple[str, Any]]] = [
    ("sequence", pa.int64()),
    ("ingest_ns", pa.int64()),
    ("asset", pa.utf8()),
    ("time_ns", pa.list_(pa.int64())),
    ("gpu", pa.list_(pa.uint16())),
    ("quality", pa.list_(pa.uint8())),
    ("energy_mj", pa.list_(pa.int64())),
    ("values", pa.list_(pa.float32())),
]
FRAME_SCHEMA: Final = pa.schema(_FIELDS)
_LISTS: Final = tuple(map(np.dtype, (np.int64, np.uint16, np.uint8, np.int64, np.float32)))
_SHAPES: Final = 4096
"""How many layouts are remembered: one for each number of samples and GPUs, and length of an asset's name."""


class Columns(NamedTuple):
    """What a frame holds; arrays are read-only views of its bytes."""

    sequence: int
    ingest_ns: int
    asset: str
    lists: list[NDArray[Any]]
    """time_ns (S,), gpu (G,), quality (S, G), energy_mj (S, G), values (S, G, 24)."""


class _Layout(NamedTuple):
    head: bytes
    numbers: struct.Struct
    """Sequence, ingest_ns, then the two offsets of the asset's name and of each list, wherever they lie."""

    offsets: list[int]
    """What those offsets have to be."""

    asset: slice
    gpu: slice
    quality: slice
    lists: tuple[tuple[tuple[int, ...], Any, int], ...]
    """Shape and type of each list's values, and where they begin."""


_learned: dict[int, list[_Layout]] = {}
"""By the size of a message. A rack's frames are of one or two."""


def one_row(column: NDArray[Any] | pa.Array[Any]) -> pa.ListArray[Any]:
    """A list column of one row."""
    values = column if isinstance(column, pa.Array) else pa.array(column)
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def encode_frame(frame: Frame) -> bytes:
    """The bytes that Arrow would write, by filling in a frame of the same shape: 12 times as fast."""
    samples, gpus = frame.quality.shape
    if frame.values.shape != (samples, gpus, FIELD_COUNT) or frame.energy_mj.shape != (samples, gpus):
        raise InvariantError(f"a frame of {samples} samples of {gpus} GPUs with other columns")
    template, places = _template(samples, gpus, frame.asset)
    body = bytearray(template)
    sequence_at, ingest_at, *lists_at = places
    struct.pack_into("<q", body, sequence_at, frame.identity.sequence)
    struct.pack_into("<q", body, ingest_at, frame.ingest_ns)
    columns: tuple[NDArray[Any], ...] = (
        np.ascontiguousarray(frame.time_ns, np.int64),
        np.ascontiguousarray(frame.gpu, np.uint16),
        np.ascontiguousarray(frame.quality, np.uint8),
        np.ascontiguousarray(frame.energy_mj, np.int64),
        np.ascontiguousarray(frame.values, np.float32),
    )
    if columns[0].shape != (samples,) or columns[1].shape != (gpus,):
        raise InvariantError(f"a frame of {samples} samples of {gpus} GPUs with other columns")
    for place, column in zip(lists_at, columns, strict=True):
        body[place : place + column.nbytes] = column.tobytes()
    return bytes(body)


@lru_cache(maxsize=_SHAPES)
def _template(samples: int, gpus: int, asset: str) -> tuple[bytes, tuple[int, ...]]:
    """A frame of this shape as Arrow writes it, and where the bytes of each column but `asset` begin in it."""
    cells = samples * gpus
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([0], pa.int64()),
            pa.array([0], pa.int64()),
            pa.array([asset], pa.utf8()),
            one_row(np.zeros(samples, np.int64)),
            one_row(np.zeros(gpus, np.uint16)),
            one_row(np.zeros(cells, np.uint8)),
            one_row(np.zeros(cells, np.int64)),
            one_row(np.zeros(cells * FIELD_COUNT, np.float32)),
        ],
        schema=FRAME_SCHEMA,
    )
    body = pa.py_buffer(batch.serialize().to_pybytes())
    written = pa.ipc.read_record_batch(body, FRAME_SCHEMA)
    data = [column.buffers()[-1] for index, column in enumerate(written.columns) if index != 2]
    places = tuple(
        buffer.address - body.address if buffer is not None and buffer.size else 0 for buffer in data
    )
    return body.to_pybytes(), places


def read_known(value: bytes) -> Columns | None:
    """The columns of a frame whose layout was learned; None for all other bytes, which are Arrow's to read."""
    for layout in _learned.get(len(value), ()):
        if value.startswith(layout.head):
            break
    else:
        return None
    sequence, ingest_ns, *offsets = layout.numbers.unpack_from(value)
    if offsets != layout.offsets:
        return None
    try:
        asset = value[layout.asset].decode()
    except UnicodeDecodeError:
        return None
    times, gpu, quality, energy, values = layout.lists
    # Which GPUs, and that all is good, is nearly always the same: one array for all frames that say it.
    return Columns(
        sequence,
        ingest_ns,
        asset,
        [
            np.ndarray(times[0], times[1], value, times[2]),
            _small(value[layout.gpu], *gpu[:2]),
            _small(value[layout.quality], *quality[:2]),
            np.ndarray(energy[0], energy[1], value, energy[2]),
            np.ndarray(values[0], values[1], value, values[2]),
        ],
    )


@lru_cache(maxsize=_SHAPES)
def _small(data: bytes, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    return np.ndarray(shape, kind, data)


def learn(value: bytes, body: pa.Buffer, batch: Any) -> None:
    """Remember the layout of a frame that Arrow has read (`batch`, from `body`, the buffer of `value`) as valid."""
    places = places_of(value, body, batch)
    if places is None:
        return
    sequence_at, ingest_at, asset_offsets_at, asset_at, *of_lists = places
    numbers = numbers_at(
        [(sequence_at, "q"), (ingest_at, "q"), *((at, "ii") for at in (asset_offsets_at, *of_lists[::2]))]
    )
    if numbers is None:
        return
    counts = [len(column.values) for column in batch.columns[3:]]
    samples, gpus = counts[:2]
    shapes = (samples,), (gpus,), (samples, gpus), (samples, gpus), (samples, gpus, FIELD_COUNT)
    if counts != [math.prod(shape) for shape in shapes]:
        return
    asset_bytes = len(batch.column(2)[0].as_py().encode())
    begins = of_lists[1::2]
    layout = _Layout(
        head_of(value),
        numbers,
        [number for count in (asset_bytes, *counts) for number in (0, count)],
        slice(asset_at, asset_at + asset_bytes),
        slice(begins[1], begins[1] + 2 * gpus),
        slice(begins[2], begins[2] + samples * gpus),
        tuple(zip(shapes, _LISTS, begins, strict=True)),
    )
    remember(_learned, len(value), layout, lambda one: one.head == layout.head, _SHAPES)
