"""Operations on the cells of a block, which remember nothing; what the bounds of its numbers rule out before.

`r` are numbers, `m` truths; cells `x` are counted in both from 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rules.engine.kernel.arrays import Block, Whole
from rules.engine.kernel.codes import (
    ABS,
    ADD,
    AND,
    DIV,
    EQ,
    EQ_NUMBER,
    GE,
    GE_NUMBER,
    GT,
    GT_NUMBER,
    HIGH,
    INFINITE,
    LACKING,
    LACKS,
    LE,
    LE_NUMBER,
    LEAST,
    LOW,
    LT,
    LT_NUMBER,
    MAGNITUDE,
    MOST,
    MUL,
    NE,
    NE_NUMBER,
    NEG,
    NORMAL,
    NUMBER,
    OP,
    OR,
    RULED_OUT,
    SUB,
    A,
    B,
    C,
    D,
    Numbers,
    Times,
    Truths,
)
from rules.engine.kernel.compiling import compiled


@compiled()
def numbers(op: int, r: Numbers, d: int, a: int, b: int, cells: Whole) -> None:
    if op == ADD:
        for x in range(cells):
            r[d, x] = r[a, x] + r[b, x]
    elif op == SUB:
        for x in range(cells):
            r[d, x] = r[a, x] - r[b, x]
    elif op == MUL:
        for x in range(cells):
            r[d, x] = r[a, x] * r[b, x]
    elif op == DIV:
        for x in range(cells):
            divisor = r[b, x]
            r[d, x] = r[a, x] / divisor if divisor != 0.0 else math.nan
    elif op == NEG:
        for x in range(cells):
            r[d, x] = -r[a, x]
    elif op == ABS:
        for x in range(cells):
            r[d, x] = abs(r[a, x])
    elif op == LEAST:
        for x in range(cells):
            p, q = r[a, x], r[b, x]
            r[d, x] = p if p <= q else q if q < p else math.nan
    else:
        for x in range(cells):
            p, q = r[a, x], r[b, x]
            r[d, x] = p if p >= q else q if q > p else math.nan


@compiled()
def compare(op: int, r: Numbers, m: Truths, d: int, a: int, b: int, cells: Whole) -> None:
    if op == LT:
        for x in range(cells):
            m[d, x] = r[a, x] < r[b, x]
    elif op == LE:
        for x in range(cells):
            m[d, x] = r[a, x] <= r[b, x]
    elif op == GT:
        for x in range(cells):
            m[d, x] = r[a, x] > r[b, x]
    elif op == GE:
        for x in range(cells):
            m[d, x] = r[a, x] >= r[b, x]
    elif op == EQ:
        for x in range(cells):
            m[d, x] = r[a, x] == r[b, x]
    else:  # known and different
        for x in range(cells):
            m[d, x] = (r[a, x] < r[b, x]) | (r[a, x] > r[b, x])


@compiled()
def compare_number(op: int, r: Numbers, m: Truths, d: int, a: int, limit: float, cells: Whole) -> None:
    if op == LT_NUMBER:
        for x in range(cells):
            m[d, x] = r[a, x] < limit
    elif op == LE_NUMBER:
        for x in range(cells):
            m[d, x] = r[a, x] <= limit
    elif op == GT_NUMBER:
        for x in range(cells):
            m[d, x] = r[a, x] > limit
    elif op == GE_NUMBER:
        for x in range(cells):
            m[d, x] = r[a, x] >= limit
    elif op == EQ_NUMBER:
        for x in range(cells):
            m[d, x] = r[a, x] == limit
    else:
        for x in range(cells):
            m[d, x] = (r[a, x] < limit) | (r[a, x] > limit)


@compiled()
def join_masks(op: int, m: Truths, d: int, a: int, b: int, cells: Whole) -> None:
    if op == AND:
        for x in range(cells):
            m[d, x] = m[a, x] & m[b, x]
    else:
        for x in range(cells):
            m[d, x] = m[a, x] | m[b, x]


# -- bounds of a block's numbers, and what they rule out


@compiled()
def find_bounds(r: Numbers, bits: Times, row: int, bounds: Numbers, cells: Whole) -> None:
    """As integers, which are in the order of the numbers once negative ones are turned over: that is vectorised."""
    low, high = INFINITE, -INFINITE - 1
    for x in range(cells):
        key = bits[row, x] ^ ((bits[row, x] >> 63) & MAGNITUDE)
        low, high = min(key, low), max(key, high)
    unknown = low < -INFINITE - 1 or high > INFINITE  # beyond the infinities there is only NaN
    if unknown:
        low, high = INFINITE, -INFINITE - 1
        for x in range(cells):
            key = bits[row, x] ^ ((bits[row, x] >> 63) & MAGNITUDE)
            lacks = r[row, x] != r[row, x]
            low = min(INFINITE if lacks else key, low)
            high = max(-INFINITE - 1 if lacks else key, high)
    bounds[row, LOW] = np.int64(low ^ ((low >> 63) & MAGNITUDE)).view(np.float64)
    bounds[row, HIGH] = np.int64(high ^ ((high >> 63) & MAGNITUDE)).view(np.float64)
    bounds[row, LACKING] = 1.0 if unknown else 0.0


@compiled()
def _of_four(p: float, q: float, s: float, t: float) -> tuple[float, float]:
    """The smallest and the largest; anything where one of them is no number."""
    if p + q + s + t != p + q + s + t:
        return -math.inf, math.inf
    return min(p, q, s, t), max(p, q, s, t)


@compiled()
def _between(op: int, low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """Bounds of an operation on two numbers within low … high and least … most; rounding keeps the order."""
    below, above = -math.inf, math.inf
    if op == ADD:
        below, above = low + least, high + most
    elif op == SUB:
        below, above = low - most, high - least
    elif op == MUL:
        below, above = _of_four(low * least, low * most, high * least, high * most)
    elif op == DIV and (least > 0.0 or most < 0.0):
        below, above = _of_four(low / least, low / most, high / least, high / most)
    elif op == NEG:
        below, above = -high, -low
    elif op == ABS:
        below, above = max(low, -high, 0.0), max(-low, high)
    elif op == LEAST:
        below, above = min(low, least), min(high, most)
    elif op == MOST:
        below, above = max(low, least), max(high, most)
    return (below if below == below else -math.inf), (above if above == above else math.inf)  # noqa: PLR0124


@compiled()
def _may_hold(op: int, low: float, high: float, least: float, most: float) -> bool:
    """Whether a comparison can be true of two numbers within low … high and least … most."""
    if op == LT:
        return low < most
    if op == LE:
        return low <= most
    if op == GT:
        return high > least
    if op == GE:
        return high >= least
    if op == EQ:
        return low <= most and high >= least
    return low < most or high > least


@compiled()
def _may_be_true(
    ops: Times, constants: Numbers, bounds: Numbers, m: Truths, first: int, last: int, mask: int
) -> bool:
    """Operations first … last over bounds instead of cells: whether `mask` may be true anywhere.

    Masks are the rule's own, and not made yet: their first cell has the answer meanwhile.
    """
    for o in range(first, last):
        op, d, a, b = ops[o, OP], ops[o, D], ops[o, A], ops[o, B]
        if op >= LT_NUMBER and op <= NE_NUMBER:
            m[d, 0] = _may_hold(
                op - LT_NUMBER + LT, bounds[a, LOW], bounds[a, HIGH], constants[b], constants[b]
            )
        elif op == AND:
            m[d, 0] = m[a, 0] & m[b, 0]
        elif op == OR:
            m[d, 0] = m[a, 0] | m[b, 0]
        elif op == LACKS:
            m[d, 0] = bounds[a, LACKING] != 0.0
        elif op >= LT and op <= NE:
            m[d, 0] = _may_hold(op, bounds[a, LOW], bounds[a, HIGH], bounds[b, LOW], bounds[b, HIGH])
        elif op == NUMBER:
            bounds[d, LOW] = bounds[d, HIGH] = constants[a]
        elif op >= ADD and op <= MOST:
            bounds[d, LOW], bounds[d, HIGH] = _between(
                op, bounds[a, LOW], bounds[a, HIGH], bounds[b, LOW], bounds[b, HIGH]
            )
        else:
            bounds[d, LOW], bounds[d, HIGH] = -math.inf, math.inf
    may: bool = m[mask, 0]
    return may


@compiled()
def _is_normal(phases: NDArray[np.int8], k: int, block: Block) -> bool:
    loud = False
    for i in range(block.lane, block.lane + block.width):
        loud = loud | (phases[k, i] != NORMAL)
    return not loud


@compiled()
def not_ruled_out(
    ops: Times, constants: Numbers, bounds: Numbers, m: Truths, phases: NDArray[np.int8], o: int, last: int,
    block: Block,
) -> int:  # fmt: skip
    """From a RULED_OUT at `o` on: the first operation that has to be looked at.

    D the condition's row, A its mask, B how far to jump, C operations that make the mask. All such rules in one call.
    """
    while o < last and ops[o, OP] == RULED_OUT:
        may = not _is_normal(phases, ops[o, D], block)
        may = may or _may_be_true(ops, constants, bounds, m, o + 1, o + 1 + ops[o, C], ops[o, A])
        o += 1 if may else ops[o, B] + 1
        if may:
            break
    return o


@compiled()
def is_quiet(m: Truths, a: int, phases: NDArray[np.int8], k: int, block: Block) -> bool:
    loud = False
    for x in range(block.samples * block.width):
        loud = loud | m[a, x]
    return not loud and _is_normal(phases, k, block)
