"""The arrays that the kernel works on, and what Numba calls them.

Rules: struct of arrays, rows of one value for all lanes, so that an operation goes over a block of lanes.

GPU rules and plant rules are the same to the kernel: a *code* and its *lanes*. The GPUs' code runs over W lanes at
once, its rows are rules; a plant condition has its own piece of code over one lane, its rows are conditions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numba.experimental import structref
from numpy.typing import NDArray

Whole = Any
"""np.uint64: Numba then knows that no index counts from the end, and vectorises the loops."""


class Code(NamedTuple):
    """What rules are to the kernel; never changes while it runs. W lanes, K rules or conditions."""

    ops: NDArray[np.int64]  # (O, 8), see `codes`
    numbers: NDArray[np.float64]  # (N,) that are the same for all lanes
    lane_numbers: NDArray[np.float64]  # (M, W)
    lane_points: NDArray[np.int64]  # (Q, W) index of a point, -1 for a lane without
    delays: NDArray[np.int64]  # (K, 2): on, off
    timeouts: NDArray[np.int64]  # (K, W) of no_data, NEVER elsewhere
    registers: NDArray[np.int64]  # lists of them: what messages show, members of an aggregate


class Lanes(NamedTuple):
    """What the kernel remembers of K rules or conditions over W lanes."""

    phases: NDArray[np.int8]  # (K, W)
    held: NDArray[np.int8]  # (K, W) 1 where a delay stands still
    deadlines: NDArray[np.int64]  # (K, W)
    remaining: NDArray[np.int64]  # (K, W) of a delay that stands still
    changed: NDArray[np.int64]  # (K, W) the last transition
    shown: NDArray[np.float64]  # (K * V, W) numbers of the last evaluation that was not quiet
    floats: NDArray[np.float64]  # (F, W) of functions of time
    marks: NDArray[np.int64]  # (I, W) of functions of time: times and panes


class Points(NamedTuple):
    """The last word of every point, and which conditions hang on it. P points."""

    values: NDArray[np.float64]  # (P,) NaN where it was not good
    times: NDArray[np.int64]  # (P,) of the newest accepted sample
    stale_after: NDArray[np.int64]  # (P,) ns
    first: NDArray[np.int64]  # (P + 1,) of `conditions`
    conditions: NDArray[np.int64]  # (H, 2): condition, and the bits of its functions that take this point
    code_first: NDArray[np.int64]  # (K + 1,) of the plant's operations
    evaluated: NDArray[np.int64]  # (K,) time of each condition
    kept: NDArray[np.float64]  # (F, W) the numbers of the GPUs' functions, some of them kept for the plant
    gpu_times: NDArray[np.int64]  # (W,) newest sample
    gpu_stale_after: NDArray[np.int64]  # (W,) ns
    members: NDArray[np.int64]  # lanes that plant conditions look at
    watch: NDArray[np.int64]  # (H, 4): condition, bits, and a span of such lanes: first, behind the last
    touched: NDArray[np.int64]  # (K,) bits, within a frame only
    places: NDArray[np.int64]  # (W,) in the frame whose samples are evaluated together, -1 elsewhere
    frame_times: NDArray[np.int64]  # (C,) of these samples
    frame_kept: NDArray[np.float64]  # (N, C) the last N rows of `kept` at each of them, by place in the frame


class Work(NamedTuple):
    """Registers: what is worked with, and never remembered. C cells: each a lane at a sample."""

    numbers: NDArray[np.float64]  # (R, C)
    bits: NDArray[np.int64]  # (R, C) the same memory
    bounds: NDArray[np.float64]  # (R, 3) of the GPUs' fields, functions and shared numbers, see `codes`
    truths: NDArray[np.bool_]  # (T, C)
    times: NDArray[np.int64]  # (C,) of the samples


class Block(NamedTuple):
    """Neighbouring lanes and some samples of each: sample s of the i-th lane is cell `s * width + i`.

    `place`: of its first lane in the frame, which has `places`.
    """

    lane: Whole
    width: Whole
    samples: Whole
    place: Whole
    places: Whole


class Events(NamedTuple):
    """Where a kernel writes transitions: it stops when there is no room, and the caller calls again."""

    what: NDArray[np.int64]  # (E, 5)
    values: NDArray[np.float64]  # (E, V)


I8_2 = numba.types.Array(numba.int8, 2, "C")
I64, I64_2 = numba.types.Array(numba.int64, 1, "C"), numba.types.Array(numba.int64, 2, "C")
F64, F64_2 = numba.types.Array(numba.float64, 1, "C"), numba.types.Array(numba.float64, 2, "C")
TRUTHS = numba.types.Array(numba.boolean, 2, "C")
CODE = numba.types.NamedTuple([I64_2, F64, F64_2, I64_2, I64_2, I64_2, I64], Code)
LANES = numba.types.NamedTuple([I8_2, I8_2, I64_2, I64_2, I64_2, F64_2, F64_2, I64_2], Lanes)
POINTS = numba.types.NamedTuple(
    [F64, I64, I64, I64, I64_2, I64, I64, F64_2, I64, I64, I64, I64_2, I64, I64, I64, F64_2], Points
)
WORK = numba.types.NamedTuple([F64_2, I64_2, F64_2, TRUTHS, I64], Work)
EVENTS = numba.types.NamedTuple([I64_2, F64_2], Events)
INT, WHOLE, NOTHING = numba.int64, numba.uint64, numba.void
BLOCK = numba.types.NamedUniTuple(WHOLE, 5, Block)
PAIR = numba.types.UniTuple(numba.int64, 2)


@structref.register
class HeldType(numba.types.StructRef):  # type: ignore[misc]
    """What Numba calls it."""


class Held(structref.StructRefProxy):  # type: ignore[misc]
    """All that the kernels of an engine work on: handed over once, because each call would unpack 60 arrays."""


structref.define_boxing(HeldType, Held)
HELD_FIELDS = (CODE, LANES, WORK, CODE, LANES, WORK, POINTS, I64, EVENTS, I64)
HELD = HeldType(
    list(
        zip(
            (
                "code", "lanes", "work", "plant_code", "plant", "plant_work", "points",
                "soonest", "events", "counts",
            ),
            HELD_FIELDS,
            strict=True,
        )
    )
)  # fmt: skip


def read_only(kind: Any, dimensions: int) -> Any:
    """An array that a kernel only reads: a view of a record's bytes, or one that could be written to."""
    return numba.types.Array(kind, dimensions, "C", readonly=True)
