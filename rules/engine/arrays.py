"""The arrays that a kernel works on, what Numba calls them, and how a kernel is compiled.

Rules: struct of arrays, so that a loop over conditions reads what it needs and no more; a kernel's constants are not
here but in its own file, because Numba's cache does not notice a global that changes in another one. What does change
here, the number and type of arrays, is part of every signature.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

UNCACHED: Final = (
    "compiled rules can't be cached, so that every start compiles them anew (some 7 s): "
    "set NUMBA_CACHE_DIR to a folder that can be written"
)


class Tables(NamedTuple):
    """What a program is to the kernel; never changes while it runs. R rules, C conditions, P points."""

    rules: NDArray[np.int64]  # (R, 8), the GPU's rules first
    limits: NDArray[np.float64]  # (2, C): when, until
    timeouts: NDArray[np.int64]  # (C,) of no_data
    rings: NDArray[np.int64]  # (C,) which ring a rate keeps its samples in, -1 for none
    condition_rule: NDArray[np.int64]  # (C,) row of `rules`
    point_first: NDArray[np.int64]  # (P + 1,)
    point_conditions: NDArray[np.int64]


class State(NamedTuple):
    """Everything that the kernel remembers. C conditions, K rings, G GPUs, P points."""

    timers: NDArray[np.int64]  # (3, C)
    values: NDArray[np.float64]  # (C,) last known value, NaN for none
    phases: NDArray[np.int8]  # (2, C)
    ring_times: NDArray[np.int64]  # (K, RING)
    ring_values: NDArray[np.float64]  # (K, RING)
    ring_ends: NDArray[np.int64]  # (K, 2): place of the next sample, samples held
    newest_gpu: NDArray[np.int64]  # (G,) newest sample
    newest_point: NDArray[np.int64]  # (P,)
    next_deadline: NDArray[np.int64]  # (1,) no deadline lies before it


class Events(NamedTuple):
    """Where a kernel writes transitions: it stops when there is no room, and the caller calls again."""

    what: NDArray[np.int64]  # (E, 4)
    values: NDArray[np.float64]  # (E,)


F = TypeVar("F", bound=Callable[..., Any])

I8 = numba.types.Array(numba.int8, 2, "C")
I64, I64_2 = numba.types.Array(numba.int64, 1, "C"), numba.types.Array(numba.int64, 2, "C")
F64, F64_2 = numba.types.Array(numba.float64, 1, "C"), numba.types.Array(numba.float64, 2, "C")
TABLES = numba.types.NamedTuple([I64_2, F64_2, I64, I64, I64, I64, I64], Tables)
STATE = numba.types.NamedTuple([I64_2, F64, I8, I64_2, F64_2, I64_2, I64, I64, I64], State)
EVENTS = numba.types.NamedTuple([I64_2, F64], Events)
PAIR = numba.types.UniTuple(numba.int64, 2)


def read_only(kind: Any, dimensions: int) -> Any:
    """An array that a kernel only reads: a view of a record's bytes, or one that could be written to."""
    return numba.types.Array(kind, dimensions, "C", readonly=True)


def compiled(*signature: Any) -> Callable[[F], F]:
    """Numba with its cache on disk; without, and with a word about it, where no cache can be written."""

    def decorate(function: F) -> F:
        try:
            return cast("F", numba.njit(*signature, cache=True)(function))
        except RuntimeError:
            warnings.warn(UNCACHED, stacklevel=1)
            return cast("F", numba.njit(*signature)(function))

    return decorate
