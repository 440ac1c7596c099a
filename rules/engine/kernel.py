"""The hot path: samples through the rules' operations, in machine code (decisions 0012 to 0014, 0016).

Rules that it obeys:
- Bit-identical results come first: no fastmath, no parallel, no function whose result depends on a library; a sum is
  made in the order that docs/rules.md gives.
- Tables and state are arguments and callees are in this file: Numba's cache notices neither a changed global
  array nor a changed callee in another file.
- An operation goes over a block: neighbouring lanes, and samples that they all have. Where it remembers nothing it
  goes over all cells at once, else sample by sample. It gets whole arrays and row numbers, no slices.
  Unknown is NaN; a truth has two masks, true and false, made where they are needed.
- Only faces count references of arrays: to do so takes longer than an operation on one cell.
- The quiet path first: where nothing is true and every lane is normal, the rest of a rule is jumped over; all of it
  where the bounds of its numbers say already that nothing is true.
- Order of events: sample, then rule, then lane; the caller sorts them.
- Time is int64 nanoseconds; the caller has corrected it, sums can't overflow below 2**62.

`tests/rules/engine/twin.py` is the slow and obvious form of all this.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba.experimental import structref
from numpy.typing import NDArray

from rules.engine.arrays import (
    BLOCK,
    CODE,
    EVENTS,
    F64_2,
    HELD,
    HELD_FIELDS,
    I64,
    I64_2,
    INT,
    LANES,
    NOTHING,
    PAIR,
    POINTS,
    TRUTHS,
    WHOLE,
    WORK,
    Block,
    Code,
    Events,
    Held,
    Lanes,
    Points,
    Whole,
    Work,
    compiled,
    face,
    read_only,
)

(
    NUMBER, LANE_NUMBER, POINT, LANE_POINT,
    ADD, SUB, MUL, DIV, NEG, ABS, LEAST, MOST,
    LT, LE, GT, GE, EQ, NE,
    LT_NUMBER, LE_NUMBER, GT_NUMBER, GE_NUMBER, EQ_NUMBER, NE_NUMBER,
    AND, OR, LACKS,
    RATE, DELTA, AVG, TWA, MIN, MAX, STDDEV, INTEGRAL, COUNT, EWMA, CUSUM, SINCE,
    RATE_ANEW, DELTA_ANEW, AVG_ANEW, TWA_ANEW, MIN_ANEW, MAX_ANEW, STDDEV_ANEW, INTEGRAL_ANEW, COUNT_ANEW,
    QUIET, STEP, NO_DATA,
    TRUTH, KEEP, OVER, OVER_GPUS, OVER_PARTS, TELL,
    BOUNDS, RULED_OUT,
) = range(59)  # fmt: skip
"""Operations. Columns of `Code.ops`: the operation, D (where to), A, B, C, E, F, G (what they mean, each says)."""
OP, D, A, B, C, E, F, G = range(8)

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]
Times = NDArray[np.int64]

NORMAL, RAISING, ACTIVE, CLEARING = range(4)
"""Phases of a condition: not true; true, on-delay running; in alarm; false again, off-delay running."""
ON, OFF = range(2)
DELAY, TOLD = 1, 2
"""Bits of `held`, while a condition is unknown: its delay stands still; it is in alarm, and being unknown was said."""

RAISED, CLEARED, UNKNOWN, KNOWN, FACT = range(5)
CONDITION, TRANSITION, AT, BY_DEADLINE, SAMPLE = range(5)
"""Columns of `Events.what`."""

USABLE, UNCERTAIN, LATE = range(3)
"""What became of a sample's time."""

OUT_OF_ORDER, NOT_GOOD, LATE_COUNT, CORRECTED = range(4)
"""Entries of the counts that a kernel adds to, in samples (a GPU's sample is 24 readings)."""

NEVER = 1 << 62
START_GRACE_NS = 30_000_000_000
"""What was never seen has as much longer from the first tick on: a gateway of thousands of points starts slowly."""
FIELDS = 24
LANES_TOGETHER = 128
"""GPUs at a time."""
CELLS = 776
"""Cells at a time, of a GPU and a sample each. Not a power of two: rows would then share the same few cache sets."""
PANES = 16
KEPT = PANES + 1
"""Panes of a window, the one being filled included."""
BACK = 2 * PANES + 1
"""Panes of which `rate` and `delta` keep the last sample."""
LOW, HIGH, LACKING = range(3)
"""Columns of `Work.bounds`: the smallest and the largest known number, and 0 where all are known."""
INFINITE = 0x7FF0000000000000
"""The bits of infinity: finite positive numbers have less."""
MAGNITUDE = 0x7FFFFFFFFFFFFFFF
"""All bits of a number but its sign."""
ALWAYS = -1
"""The bit of a sample that every function takes."""


# -- operations on the cells of a block: r numbers, m truths


@compiled()
def _numbers(op: int, r: Numbers, d: int, a: int, b: int, cells: Whole) -> None:
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
def _compare(op: int, r: Numbers, m: Truths, d: int, a: int, b: int, cells: Whole) -> None:
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
def _compare_number(op: int, r: Numbers, m: Truths, d: int, a: int, limit: float, cells: Whole) -> None:
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
def _masks(op: int, m: Truths, d: int, a: int, b: int, cells: Whole) -> None:
    if op == AND:
        for x in range(cells):
            m[d, x] = m[a, x] & m[b, x]
    else:
        for x in range(cells):
            m[d, x] = m[a, x] | m[b, x]


# -- bounds of a block's numbers, and what they rule out


@compiled()
def _bounds(r: Numbers, bits: Times, row: int, bounds: Numbers, cells: Whole) -> None:
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
def _not_ruled_out(
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
def _is_quiet(m: Truths, a: int, phases: NDArray[np.int8], k: int, block: Block) -> bool:
    loud = False
    for x in range(block.samples * block.width):
        loud = loud | m[a, x]
    return not loud and _is_normal(phases, k, block)


# -- functions of time. Rows of state begin at f (numbers) and j (times and panes); all lanes of a block that go
# through one of them together have had their newest sample together: `_is_uniform` says so, else they go one by one.


@compiled()
def _is_uniform(marks: Times, row: int, block: Block) -> bool:
    first = marks[row, block.lane]
    differs = False
    for i in range(block.lane, block.lane + block.width):
        differs = differs | (marks[row, i] != first)
    return not differs


@compiled()
def _is_known(r: Numbers, a: int, bounds: Numbers, block: Block) -> bool:
    if bounds[a, LACKING] == 0.0:
        return True
    unknown = False
    for x in range(block.samples * block.width):
        unknown = unknown | (r[a, x] != r[a, x])
    return not unknown


@compiled()
def _clear(floats: Numbers, row: int, value: float, block: Block) -> None:
    for i in range(block.lane, block.lane + block.width):
        floats[row, i] = value


@compiled()
def _clear_marks(marks: Times, row: int, value: int, block: Block) -> None:
    for i in range(block.lane, block.lane + block.width):
        marks[row, i] = value


@compiled()
def _add_row(floats: Numbers, to: int, row: int, block: Block) -> None:
    for i in range(block.lane, block.lane + block.width):
        floats[to, i] += floats[row, i]


@compiled()
def _merge(floats: Numbers, mean: int, weight: int, other: int, other_weight: int, block: Block) -> None:
    """Rows `mean` and `weight` of a weighted mean take in another one."""
    for i in range(block.lane, block.lane + block.width):
        more = floats[other_weight, i]
        total = floats[weight, i] + more
        merged = floats[mean, i] + (floats[other, i] - floats[mean, i]) * (more / total)
        floats[mean, i] = merged if total > 0.0 else floats[mean, i]
        floats[weight, i] = total


@compiled()
def _see(r: Numbers, a: int, x: Whole, marks: Times, j: int, p: int, block: Block) -> None:
    """Since when the window was never empty. Marks: j the newest pane, j+1 that since, j+2 the last known one."""
    for i in range(block.width):
        known = r[a, x + i] == r[a, x + i]
        was, since = marks[j + 2, block.lane + i], marks[j + 1, block.lane + i]
        marks[j + 1, block.lane + i] = p if known and p - was > PANES else since
        marks[j + 2, block.lane + i] = p if known else was


@compiled()
def _average(
    r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, x: Whole, look: bool,
    block: Block,
) -> None:  # fmt: skip
    """Rows f …: 17 means, 17 counts, mean and count of the panes that are closed.

    Means rather than sums: that of equal samples is that sample, to the last bit.
    """
    newest, closed, lane, width = marks[j, block.lane], f + 2 * KEPT, block.lane, block.width
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, 0.0, block)
            _clear(floats, f + KEPT + q % KEPT, 0.0, block)
        _clear_marks(marks, j, p, block)
        _clear(floats, closed, 0.0, block)
        _clear(floats, closed + 1, 0.0, block)
        for q in range(max(p - PANES, 0), p):
            _merge(floats, closed, closed + 1, f + q % KEPT, f + KEPT + q % KEPT, block)
    if look:
        _see(r, a, x, marks, j, p, block)
    now = f + p % KEPT
    # Three loops: one would have more rows than the compiler tells apart before it vectorises.
    for i in range(width):
        floats[now + KEPT, lane + i] += 1.0 if r[a, x + i] == r[a, x + i] else 0.0
    for i in range(width):
        v, was = r[a, x + i], floats[now, lane + i]
        mean = was + (v - was) * (1.0 / floats[now + KEPT, lane + i])
        floats[now, lane + i] = mean if v == v else was  # noqa: PLR0124
    for i in range(width):
        v, base, count = r[a, x + i], floats[closed, lane + i], floats[now + KEPT, lane + i]
        whole = base + (floats[now, lane + i] - base) * (count / (floats[closed + 1, lane + i] + count))
        full = marks[j + 1, lane + i] <= p - PANES
        r[d, x + i] = whole if (v == v) & full else math.nan  # noqa: PLR0124


@compiled()
def _extreme(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, x: Whole, look: bool,
    block: Block,
) -> None:  # fmt: skip
    """Rows f …: 17 extremes, and that of the panes that are closed."""
    newest, closed, lane, width = marks[j, block.lane], f + KEPT, block.lane, block.width
    none = math.inf if op == MIN else -math.inf
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, none, block)
        _clear_marks(marks, j, p, block)
        _clear(floats, closed, none, block)
        for q in range(max(p - PANES, 0), p):
            row = f + q % KEPT
            for i in range(lane, lane + width):
                y, z = floats[row, i], floats[closed, i]
                floats[closed, i] = (y if y < z else z) if op == MIN else (y if y > z else z)
    if look:
        _see(r, a, x, marks, j, p, block)
    now = f + p % KEPT
    for i in range(width):
        v, y, z = r[a, x + i], floats[now, lane + i], floats[closed, lane + i]
        if op == MIN:
            y = v if v < y else y
            best = y if y < z else z
        else:
            y = v if v > y else y
            best = y if y > z else z
        floats[now, lane + i] = y
        full = marks[j + 1, lane + i] <= p - PANES
        r[d, x + i] = best if (v == v) & full else math.nan  # noqa: PLR0124


@compiled()
def _count(
    r: Numbers, m: Truths, d: int, a: int, b: int, floats: Numbers, f: int, marks: Times, j: int, p: int, x: Whole,
    block: Block,
) -> None:  # fmt: skip
    """Rows f …: 17 counts, and that of the panes that are closed; a and b: where it is true, where false."""
    newest, closed, lane, width = marks[j, block.lane], f + KEPT, block.lane, block.width
    for i in range(width):
        r[d, x + i] = 1.0 if m[a, x + i] else 0.0 if m[b, x + i] else math.nan
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, 0.0, block)
        _clear_marks(marks, j, p, block)
        _clear(floats, closed, 0.0, block)
        for q in range(max(p - PANES, 0), p):
            _add_row(floats, closed, f + q % KEPT, block)
    _see(r, d, x, marks, j, p, block)
    now = f + p % KEPT
    for i in range(width):
        v = r[d, x + i]
        known = v == v  # noqa: PLR0124
        floats[now, lane + i] += v if known else 0.0
        total = floats[closed, lane + i] + floats[now, lane + i]
        full = marks[j + 1, lane + i] <= p - PANES
        r[d, x + i] = total if known & full else math.nan


@compiled()
def _deviation(
    r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, x: Whole, look: bool,
    block: Block,
) -> None:  # fmt: skip
    """Rows f …: 17 counts, 17 means, 17 sums of squared distances (Welford), merged as Chan et al. do (1979)."""
    newest = marks[j, block.lane]
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            for part in range(3):
                _clear(floats, f + part * KEPT + q % KEPT, 0.0, block)
        _clear_marks(marks, j, p, block)
    if look:
        _see(r, a, x, marks, j, p, block)
    now = f + p % KEPT
    for i in range(block.width):
        v, lane = r[a, x + i], block.lane + i
        if v != v:  # noqa: PLR0124
            r[d, x + i] = math.nan
            continue
        floats[now, lane] += 1.0
        away = v - floats[now + KEPT, lane]
        floats[now + KEPT, lane] += away / floats[now, lane]
        floats[now + 2 * KEPT, lane] += away * (v - floats[now + KEPT, lane])
        if marks[j + 1, lane] > p - PANES:
            r[d, x + i] = math.nan
            continue
        count, mean, squares = 0.0, 0.0, 0.0
        for q in range(p - PANES, p + 1):
            row = f + q % KEPT
            more = floats[row, lane]
            if more == 0.0:
                continue
            if count == 0.0:
                count, mean, squares = more, floats[row + KEPT, lane], floats[row + 2 * KEPT, lane]
                continue
            total = count + more
            apart = floats[row + KEPT, lane] - mean
            mean = mean + apart * more / total
            squares = squares + floats[row + 2 * KEPT, lane] + apart * apart * count * more / total
            count = total
        r[d, x + i] = math.sqrt(squares / count)


@compiled()
def _area(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, t: int, pane: int, x: Whole,
    block: Block,
) -> None:  # fmt: skip
    """TWA, INTEGRAL of one sample, the cells from x on. Rows f …: 17 means or areas, 17 durations, the last known
    value; marks j+3: when that was, the same for all lanes of the block.
    """
    p, newest = t // pane, marks[j, block.lane]
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, 0.0, block)
            _clear(floats, f + KEPT + q % KEPT, 0.0, block)
        _clear_marks(marks, j, p, block)
    before = marks[j + 3, block.lane]
    if before != -NEVER:
        for q in range(max(before // pane, p - PANES), p + 1):
            seconds = (min(t, (q + 1) * pane) - max(before, q * pane)) / 1e9
            row = f + q % KEPT
            for i in range(block.width):
                if r[a, x + i] != r[a, x + i]:
                    continue
                lane = block.lane + i
                value = floats[f + 2 * KEPT, lane]
                total = floats[row + KEPT, lane] + seconds
                floats[row + KEPT, lane] = total
                if op == INTEGRAL:
                    floats[row, lane] += value * seconds
                elif total > 0.0:
                    floats[row, lane] += (value - floats[row, lane]) * (seconds / total)
    _see(r, a, x, marks, j, p, block)
    for i in range(block.width):
        v, lane = r[a, x + i], block.lane + i
        if v != v:  # noqa: PLR0124
            r[d, x + i] = math.nan
            continue
        floats[f + 2 * KEPT, lane] = v
        marks[j + 3, lane] = t
        whole, duration = 0.0, 0.0
        for q in range(max(p - PANES, 0), p + 1):
            part, seconds = floats[f + q % KEPT, lane], floats[f + KEPT + q % KEPT, lane]
            duration += seconds
            if op == INTEGRAL:
                whole += part
            elif duration > 0.0:
                whole += (part - whole) * (seconds / duration)
        full = marks[j + 1, lane] <= p - PANES
        r[d, x + i] = whole if full and (op == INTEGRAL or duration > 0.0) else math.nan


@compiled()
def _slope(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, t: int, p: int, x: Whole,
    last: bool, block: Block,
) -> None:  # fmt: skip
    """RATE and DELTA. Rows f …: 33 last samples of panes, marks j+1 … their times, -NEVER for an empty pane.

    `last`: the sample may be the last one of its pane.
    """
    newest, lane, width = marks[j, block.lane], block.lane, block.width
    if p != newest:
        for q in range(max(newest + 1, p - 2 * PANES), p + 1):
            _clear_marks(marks, j + 1 + q % BACK, -NEVER, block)
        _clear_marks(marks, j, p, block)
    alike = False
    for q in range(p - PANES, max(p - 2 * PANES, 0) - 1, -1):
        row = q % BACK
        then = marks[j + 1 + row, lane]
        alike = _is_uniform(marks, j + 1 + row, block)
        if not alike:
            break
        if then != -NEVER:
            seconds = (t - then) / 1e9 if op == RATE else 1.0
            for i in range(width):
                r[d, x + i] = (r[a, x + i] - floats[f + row, lane + i]) / seconds
            break
    else:
        for i in range(width):
            r[d, x + i] = math.nan
        alike = True
    if not alike:
        for i in range(width):
            slope = math.nan
            for q in range(p - PANES, max(p - 2 * PANES, 0) - 1, -1):
                then = marks[j + 1 + q % BACK, lane + i]
                if then != -NEVER:
                    seconds = (t - then) / 1e9 if op == RATE else 1.0
                    slope = (r[a, x + i] - floats[f + q % BACK, lane + i]) / seconds
                    break
            r[d, x + i] = slope
    if last:
        now = p % BACK
        for i in range(width):
            v, was, at = r[a, x + i], floats[f + now, lane + i], marks[j + 1 + now, lane + i]
            floats[f + now, lane + i] = v if v == v else was  # noqa: PLR0124
            marks[j + 1 + now, lane + i] = t if v == v else at  # noqa: PLR0124


@compiled()
def _smooth(
    r: Numbers, d: int, a: int, bounds: Numbers, floats: Numbers, f: int, marks: Times, j: int, times: Times,
    tau_ns: int, block: Block,
) -> None:  # fmt: skip
    """EWMA. Row f: the value, marks j when it was. Backward Euler: no exponential, whose last bit is the library's."""
    lane, width, tau = block.lane, block.width, tau_ns / 1e9
    before = marks[j, lane]
    if _is_known(r, a, bounds, block) and _is_uniform(marks, j, block):
        for s in range(block.samples):
            x, seconds = s * block.width, (times[s] - before) / 1e9
            share = seconds / (tau + seconds)
            if before == -NEVER:
                for i in range(width):
                    floats[f, lane + i] = r[a, x + i]
            else:
                for i in range(width):
                    was = floats[f, lane + i]
                    floats[f, lane + i] = was + share * (r[a, x + i] - was)
            for i in range(width):
                r[d, x + i] = floats[f, lane + i]
            before = times[s]
        _clear_marks(marks, j, before, block)
        return
    for s in range(block.samples):
        x, t = s * block.width, times[s]
        for i in range(width):
            v, was, then = r[a, x + i], floats[f, lane + i], marks[j, lane + i]
            seconds = (t - then) / 1e9
            value = was + seconds / (tau + seconds) * (v - was)
            value = v if then == -NEVER else value
            known = v == v  # noqa: PLR0124
            floats[f, lane + i] = value if known else was
            marks[j, lane + i] = t if known else then
            r[d, x + i] = value if known else math.nan


@compiled()
def _cumulate(
    r: Numbers, d: int, a: int, target: int, allowance: int, floats: Numbers, f: int, block: Block
) -> None:
    for s in range(block.samples):
        x = s * block.width
        for i in range(block.width):
            step = r[a, x + i] - r[target, x + i] - r[allowance, x + i]
            was = floats[f, block.lane + i]
            total = was + step if was + step > 0.0 else 0.0
            known = step == step  # noqa: PLR0124
            floats[f, block.lane + i] = total if known else was
            r[d, x + i] = total if known else math.nan


@compiled()
def _since(
    r: Numbers, m: Truths, d: int, a: int, b: int, marks: Times, j: int, times: Times, block: Block
) -> None:
    for s in range(block.samples):
        x, t = s * block.width, times[s]
        for i in range(block.width):
            lane = block.lane + i
            if m[a, x + i]:
                marks[j, lane] = t
            known = (m[a, x + i] | m[b, x + i]) & (marks[j, lane] != -NEVER)
            r[d, x + i] = (t - marks[j, lane]) / 1e9 if known else math.nan


@compiled()
def _take(
    op: int, v: float, t: int, floats: Numbers, f: int, marks: Times, j: int, begun: bool, lane: Whole
) -> None:
    """One known sample of a function that begins anew: see there."""
    count = floats[f + 1, lane]
    if op in (TWA_ANEW, INTEGRAL_ANEW):
        if begun and marks[j + 1, lane] != -NEVER:
            seconds, value = (t - marks[j + 1, lane]) / 1e9, floats[f + 2, lane]
            floats[f + 1, lane] = count + seconds
            if op == INTEGRAL_ANEW:
                floats[f, lane] += value * seconds
            elif count + seconds > 0.0:
                floats[f, lane] += (value - floats[f, lane]) * (seconds / (count + seconds))
        floats[f + 2, lane] = v
        marks[j + 1, lane] = t
        return
    if not begun:
        return
    floats[f + 1, lane] = count + 1.0
    was = floats[f, lane]
    if op == COUNT_ANEW:
        floats[f, lane] = was + v
    elif op in (AVG_ANEW, STDDEV_ANEW):
        mean = was + (v - was) / (count + 1.0)
        floats[f, lane] = mean
        floats[f + 2, lane] += (v - was) * (v - mean)
    elif count == 0.0 or (op == MIN_ANEW and v < was) or (op == MAX_ANEW and v > was):
        floats[f, lane] = v
        marks[j + 1, lane] = t
    if op == DELTA_ANEW:
        floats[f + 2, lane] = v - floats[f, lane]
    elif op == RATE_ANEW:
        seconds = (t - marks[j + 1, lane]) / 1e9
        floats[f + 2, lane] = (v - floats[f, lane]) / seconds if seconds > 0.0 else math.nan


@compiled()
def _taken_so_far(op: int, floats: Numbers, f: int, lane: Whole) -> float:
    """What a function that begins anew is after the samples that it has taken."""
    value: float = floats[f, lane]
    count, last = floats[f + 1, lane], floats[f + 2, lane]
    if op in (INTEGRAL_ANEW, COUNT_ANEW):
        return value
    if count == 0.0:
        return math.nan
    if op == STDDEV_ANEW:
        return math.sqrt(last / count)
    return last if op in (RATE_ANEW, DELTA_ANEW) else value


@compiled()
def _anew(
    op: int, r: Numbers, m: Truths, d: int, a: int, b: int, unless: int, floats: Numbers, f: int, marks: Times, j: int,
    times: Times, is_sampled: bool, block: Block,
) -> None:  # fmt: skip
    """Since a condition was last true: b where it is, `unless` where it is not. `is_sampled`: a takes a sample.

    Rows f …: the value (of RATE and DELTA the first one); of how many samples, or seconds; squared distances, the value
    that holds until the next sample, or what RATE and DELTA are. Marks: j since when, -NEVER for never; j+1 when the
    held or first value was.
    """
    for s in range(block.samples):
        t = times[s]
        for i in range(block.width):
            x, lane = s * block.width + i, block.lane + i
            v = r[a, x]
            if m[b, x]:
                floats[f, lane] = floats[f + 1, lane] = 0.0
                marks[j, lane] = t
                if op in (TWA_ANEW, INTEGRAL_ANEW):
                    if marks[j + 1, lane] != -NEVER:
                        marks[j + 1, lane] = t
                else:
                    floats[f + 2, lane] = 0.0
            begun = marks[j, lane] != -NEVER
            known = v == v and (m[b, x] or m[unless, x])  # noqa: PLR0124
            if known and is_sampled:
                _take(op, v, t, floats, f, marks, j, begun, lane)
            r[d, x] = _taken_so_far(op, floats, f, lane) if known and begun else math.nan


@compiled()
def _function(
    op: int, r: Numbers, m: Truths, d: int, a: int, b: int, bounds: Numbers, floats: Numbers, f: int, marks: Times,
    j: int, window: int, times: Times, is_sampled: bool, block: Block,
) -> None:  # fmt: skip
    """A function of time over a block. `window`: of CUSUM the register of its third argument, of those that begin anew
    the mask where they don't.
    """
    if op >= RATE_ANEW:
        _anew(op, r, m, d, a, b, window, floats, f, marks, j, times, is_sampled, block)
        return
    if op == EWMA:
        _smooth(r, d, a, bounds, floats, f, marks, j, times, window, block)
        return
    if op == CUSUM:
        _cumulate(r, d, a, b, window, floats, f, block)
        return
    if op == SINCE:
        _since(r, m, d, a, b, marks, j, times, block)
        return
    pane = max(window // PANES, 1)
    known = op != COUNT and _is_known(r, a, bounds, block)
    p, edge = 0, -NEVER
    for s in range(block.samples):
        t = times[s]
        # Where all is known, what looks at panes alone is done once in each.
        look = t >= edge or not known
        if t >= edge:
            p = t // pane
            edge = (p + 1) * pane
        last = s + 1 == block.samples or times[s + 1] >= edge or not known
        # Once through, all of them have had the sample before.
        together = s > 0 or _is_uniform(marks, j, block)
        if op in (TWA, INTEGRAL):
            together = together and _is_uniform(marks, j + 3, block)
        step = block.width if together else np.uint64(1)
        i = np.uint64(0)
        while i < block.width:
            x, some = (
                s * block.width + i,
                Block(block.lane + i, step, block.samples, block.place, block.places),
            )
            if op == AVG:
                _average(r, d, a, floats, f, marks, j, p, x, look, some)
            elif op in (MIN, MAX):
                _extreme(op, r, d, a, floats, f, marks, j, p, x, look, some)
            elif op == COUNT:
                _count(r, m, d, a, b, floats, f, marks, j, p, x, some)
            elif op == STDDEV:
                _deviation(r, d, a, floats, f, marks, j, p, x, look, some)
            elif op in (TWA, INTEGRAL):
                _area(op, r, d, a, floats, f, marks, j, t, pane, x, some)
            else:
                _slope(op, r, d, a, floats, f, marks, j, t, p, x, last, some)
            i += step


# -- of several assets

SUM, MEAN, LOWEST, HIGHEST, COVERAGE, HOW_MANY = range(6)
"""What OVER makes of the numbers that are known, or how many are; of truths, 1 and 0, SUM is how many are true."""


@compiled()
def _gather(kind: int, value: float, total: float, known: int) -> float:
    """One more number into `total`, of which `known` are in it already."""
    if kind == LOWEST:
        return value if known == 0 or value < total else total
    if kind == HIGHEST:
        return value if known == 0 or value > total else total
    return total + value


@compiled()
def _gathered(kind: int, total: float, known: int, members: int) -> float:
    if kind == COVERAGE:
        return known / members
    if kind == HOW_MANY:
        return known * 1.0
    if known == 0:
        return math.nan
    return total / known if kind == MEAN else total


@compiled()
def _over(kind: int, r: Numbers, d: int, registers: Times, first: int, members: int, cells: Whole) -> None:
    """OVER: of `members` registers, whose numbers are in `registers` from `first` on."""
    for x in range(cells):
        total, known = 0.0, 0
        for n in range(first, first + members):
            value = r[registers[n], x]
            if value == value:  # noqa: PLR0124
                total = _gather(kind, value, total, known)
                known += 1
        r[d, x] = _gathered(kind, total, known, members)


@compiled()
def _over_gpus(
    kind: int, r: Numbers, d: int, row: int, first: int, members: int, points: Points, times: Times, block: Block,
) -> None:  # fmt: skip
    """OVER_GPUS: of what GPUs have kept in `row`; a GPU without a sample for three periods is not known.

    Of GPUs of the frame that is worked off, sample by sample as they kept it.
    """
    kept, newest, stale_after, lanes = points.kept, points.gpu_times, points.gpu_stale_after, points.members
    places, now = points.places, row - (points.kept.shape[0] - points.frame_kept.shape[0])
    for s in range(block.samples):
        total, known, t, x = 0.0, 0, times[s], s * block.places
        for n in range(first, first + members):
            lane = lanes[n]
            place = places[lane]
            if place >= 0:
                value, then = points.frame_kept[now, x + np.uint64(place)], points.frame_times[s]
            else:
                value, then = kept[row, lane], newest[lane]
            if value == value and t - then <= stale_after[lane]:  # noqa: PLR0124
                total = _gather(kind, value, total, known)
                known += 1
        r[d, s] = _gathered(kind, total, known, members)


@compiled()
def _over_parts(
    kind: int, r: Numbers, d: int, registers: Times, first: int, parts: int, members: int, cells: Whole,
) -> None:  # fmt: skip
    """OVER_PARTS: of `parts` pairs of registers: what some of the members make, and how many of them are known."""
    for c in range(cells):
        total, known = 0.0, 0
        for n in range(first, first + 2 * parts, 2):
            value, of = r[registers[n], c], r[registers[n + 1], c]
            if value == value and of >= 1.0:  # noqa: PLR0124
                total = _gather(kind, value, total, known)
                known += int(of)
        r[d, c] = _gathered(kind, total, known, members)


# -- conditions


@compiled(INT(EVENTS, INT, INT, INT, INT, INT, INT, F64_2, INT, WHOLE))
def _emit(
    events: Events, count: int, condition: int, transition: int, at: int, by_deadline: int, sample: int,
    shown: Numbers, k: int, i: int,
) -> int:  # fmt: skip
    events.what[count, CONDITION] = condition
    events.what[count, TRANSITION] = transition
    events.what[count, AT] = at
    events.what[count, BY_DEADLINE] = by_deadline
    events.what[count, SAMPLE] = sample
    width = events.values.shape[1]
    for v in range(width):
        events.values[count, v] = shown[k * width + v, i]
    return count + 1


@compiled(NOTHING(LANES, INT, WHOLE, INT, I64))
def _start(lanes: Lanes, k: int, i: int, deadline: int, soonest: Times) -> None:
    lanes.deadlines[k, i] = deadline
    soonest[0] = min(soonest[0], deadline)


@compiled(NOTHING(LANES, INT, WHOLE, INT))
def _stop(lanes: Lanes, k: int, i: int, phase: int) -> None:
    lanes.phases[k, i] = phase
    lanes.held[k, i] = 0
    lanes.deadlines[k, i] = NEVER


@compiled(INT(LANES, INT, WHOLE, INT, INT, EVENTS, INT))
def _fire(lanes: Lanes, k: int, i: int, condition: int, sample: int, events: Events, count: int) -> int:
    """The delay or time-out is over: its transition, stamped with the deadline itself."""
    at = lanes.deadlines[k, i]
    raised = lanes.phases[k, i] != CLEARING
    _stop(lanes, k, i, ACTIVE if raised else NORMAL)
    lanes.changed[k, i] = at
    return _emit(events, count, condition, RAISED if raised else CLEARED, at, 1, sample, lanes.shown, k, i)


@compiled(INT(CODE, LANES, F64_2, TRUTHS, INT, INT, WHOLE, INT, INT, I64, BLOCK, EVENTS, INT))
def _step(
    code: Code, lanes: Lanes, r: Numbers, m: Truths, o: int, t: int, x: Whole, sample: int, base: int, soonest: Times,
    block: Block, events: Events, count: int,
) -> int:  # fmt: skip
    """STEP for the sample whose cells begin at x: D the condition's row; A, B where `when` is true, false; C, E where
    `until` is; F, G what to show.
    """
    k, when, unless = code.ops[o, D], code.ops[o, A], code.ops[o, B]
    until, still = code.ops[o, C], code.ops[o, E]
    first, shows = code.ops[o, F], code.ops[o, G]
    phases, width, every = lanes.phases, events.values.shape[1], lanes.phases.shape[1]
    for n in range(block.width):
        i, c = block.lane + n, x + n
        if phases[k, i] == NORMAL and not m[when, c]:
            continue
        if phases[k, i] == RAISING and m[when, c] and lanes.held[k, i] == 0 and lanes.deadlines[k, i] > t:
            for v in range(shows):  # still true, and its delay runs on
                lanes.shown[k * width + v, i] = r[code.registers[first + v], c]
            continue
        condition = base + k * every + np.int64(i)
        if lanes.deadlines[k, i] <= t:
            count = _fire(lanes, k, i, condition, sample, events, count)
            if lanes.phases[k, i] == NORMAL and not m[when, c]:
                continue
        phase = lanes.phases[k, i]
        if phase in (NORMAL, RAISING):
            true, false, delay = m[when, c], m[unless, c], code.delays[k, ON]
            back, running, done, transition = NORMAL, RAISING, ACTIVE, RAISED
        else:
            true, false, delay = m[until, c], m[still, c], code.delays[k, OFF]
            back, running, done, transition = ACTIVE, CLEARING, NORMAL, CLEARED
        if not (true or false):
            # Unknown neither raises nor clears; a running delay stands still until the next known sample.
            if phase == running and lanes.held[k, i] & DELAY == 0:
                lanes.remaining[k, i] = lanes.deadlines[k, i] - t
                lanes.deadlines[k, i] = NEVER
                lanes.held[k, i] |= DELAY
            if phase in (ACTIVE, CLEARING) and lanes.held[k, i] & TOLD == 0:
                lanes.held[k, i] |= TOLD
                lanes.changed[k, i] = max(t, lanes.changed[k, i])
                at = lanes.changed[k, i]
                count = _emit(events, count, condition, UNKNOWN, at, 0, sample, lanes.shown, k, i)
            continue
        if lanes.held[k, i] & TOLD != 0:
            lanes.held[k, i] &= DELAY
            lanes.changed[k, i] = max(t, lanes.changed[k, i])
            at = lanes.changed[k, i]
            count = _emit(events, count, condition, KNOWN, at, 0, sample, lanes.shown, k, i)
        for v in range(shows):
            lanes.shown[k * width + v, i] = r[code.registers[first + v], c]
        if false:
            if phase != back:
                _stop(lanes, k, i, back)
        elif phase == running:
            if lanes.held[k, i] & DELAY != 0:
                lanes.held[k, i] = 0
                _start(lanes, k, i, t + lanes.remaining[k, i], soonest)
        else:
            # A transition never lies before the last one, whatever came late.
            at = max(t, lanes.changed[k, i])
            if delay > 0:
                lanes.phases[k, i] = running
                _start(lanes, k, i, at + delay, soonest)
            else:
                lanes.phases[k, i] = done
                lanes.changed[k, i] = at
                count = _emit(events, count, condition, transition, at, 0, sample, lanes.shown, k, i)
    return count


@compiled()
def _tell(
    code: Code, lanes: Lanes, r: Numbers, o: int, t: int, c: Whole, sample: int, base: int, events: Events,
    count: int,
) -> int:  # fmt: skip
    """TELL: D the fact's row, A the number, B of how many members, C the period, in each of which it is told once."""
    k, period, width = code.ops[o, D], code.ops[o, C], events.values.shape[1]
    if t // period <= lanes.changed[k, 0] // period:
        return count
    lanes.changed[k, 0] = t
    lanes.shown[k * width, 0] = r[code.ops[o, A], c]
    lanes.shown[k * width + 1, 0] = r[code.ops[o, B], c]
    return _emit(events, count, base + k, FACT, t, 0, sample, lanes.shown, k, 0)


@compiled()
def _all_heard(
    r: Numbers, a: int, bounds: Numbers, phases: NDArray[np.int8], deadlines: Times, timeouts: Times, k: int,
    times: Times, block: Block,
) -> int:  # fmt: skip
    """The quiet path of NO_DATA: every sample is good and in time, and the time-out begins again with the last."""
    widest = 0
    for s in range(1, block.samples):
        widest = max(widest, times[s] - times[s - 1])
    loud = not _is_known(r, a, bounds, block)
    first, last = times[0], times[block.samples - 1]
    for i in range(block.lane, block.lane + block.width):
        loud = loud | (phases[k, i] != NORMAL) | (deadlines[k, i] <= first) | (timeouts[k, i] <= widest)
    if loud:
        return -1
    nearest: int = first + NEVER // 2
    for i in range(block.lane, block.lane + block.width):
        deadlines[k, i] = last + timeouts[k, i]
        nearest = min(nearest, first + timeouts[k, i])
    return nearest


@compiled(INT(CODE, LANES, WORK, INT, INT, INT, I64, BLOCK, EVENTS, INT))
def _no_data(
    code: Code, lanes: Lanes, work: Work, o: int, sample: int, base: int, soonest: Times, block: Block,
    events: Events, count: int,
) -> int:  # fmt: skip
    """NO_DATA: D the condition's row, A the signal."""
    k, a, r, times = code.ops[o, D], code.ops[o, A], work.numbers, work.times
    nearest = _all_heard(r, a, work.bounds, lanes.phases, lanes.deadlines, code.timeouts, k, times, block)
    if nearest >= 0:
        soonest[0] = min(soonest[0], nearest)
        return count
    every = lanes.phases.shape[1]
    for s in range(block.samples):
        x, t = s * block.width, times[s]
        which: Any = sample + np.int64(s)
        for n in range(block.width):
            i = block.lane + n
            condition = base + k * every + np.int64(i)
            if lanes.deadlines[k, i] <= t:
                count = _fire(lanes, k, i, condition, which, events, count)
            if r[a, x + n] != r[a, x + n]:
                continue
            if lanes.phases[k, i] == ACTIVE:
                if t + code.timeouts[k, i] <= lanes.changed[k, i]:
                    continue  # its time-out was over when the alarm was raised: it came late, and ends no silence
                at = max(t, lanes.changed[k, i])
                lanes.phases[k, i] = NORMAL
                lanes.changed[k, i] = at
                count = _emit(events, count, condition, CLEARED, at, 0, which, lanes.shown, k, i)
            _start(lanes, k, i, t + code.timeouts[k, i], soonest)
    return count


@compiled()
def _said(p: int, points: Points, sampled: int, t: int) -> float:
    """What a point says at t: unknown once it is stale. `sampled` is the one that speaks now, -1 for none."""
    if p >= 0 and (p == sampled or t - points.times[p] <= points.stale_after[p]):
        value: float = points.values[p]
        return value
    return math.nan


@compiled(NOTHING(F64_2, INT, INT, I64_2, POINTS, INT, I64, BLOCK))
def _point(
    r: Numbers, d: int, row: int, lane_points: Times, points: Points, sampled: int, times: Times, block: Block,
) -> None:  # fmt: skip
    """What points say; neighbouring lanes often have the same."""
    alike = _is_uniform(lane_points, row, block)
    for s in range(block.samples):
        x = s * block.width
        if alike:
            value = _said(lane_points[row, block.lane], points, sampled, times[s])
            for i in range(block.width):
                r[d, x + i] = value
        else:
            for i in range(block.width):
                r[d, x + i] = _said(lane_points[row, block.lane + i], points, sampled, times[s])


@compiled()
def _timed(code: Code, lanes: Lanes, work: Work, o: int, bit: int, block: Block) -> None:
    """A function of time. `bit`: of the sample; G the bits of those that it takes, 0 for all."""
    ops, r, floats, cells = code.ops, work.numbers, lanes.floats, block.samples * block.width
    bits, d, c = ops[o, G], ops[o, D], ops[o, C]
    if bits == 0 or bits & bit != 0:
        # the lowest bit is of the signal; a second one begins it anew
        is_sampled = bits == 0 or bit & bits & -bits != 0
        f = c if bits == 0 else c + 1
        _function(
            ops[o, OP], r, work.truths, d, ops[o, A], ops[o, B], work.bounds, floats, f, lanes.marks, ops[o, E],
            ops[o, F], work.times, is_sampled, block,
        )  # fmt: skip
        if bits != 0:
            floats[c, block.lane] = r[d, cells - np.uint64(1)]
    else:  # a sample of another signal: as it was
        for x in range(cells):
            r[d, x] = floats[c, block.lane]


@compiled(INT(CODE, LANES, WORK, POINTS, INT, INT, INT, INT, INT, INT, I64, BLOCK, EVENTS, INT))
def _run(
    code: Code, lanes: Lanes, work: Work, points: Points, first: int, last: int, sampled: int, bit: int,
    sample: int, base: int, soonest: Times, block: Block, events: Events, count: int,
) -> int:  # fmt: skip
    """Operations first … last over a block whose first sample is `sample`; the number of events by then."""
    ops, constants = code.ops, code.numbers
    r, m, times, floats = work.numbers, work.truths, work.times, lanes.floats
    phases, lane, width, cells = lanes.phases, block.lane, block.width, block.samples * block.width
    o = first
    while o < last:
        op, d, a, b, c = ops[o, OP], ops[o, D], ops[o, A], ops[o, B], ops[o, C]
        if op == RULED_OUT:
            o = _not_ruled_out(ops, constants, work.bounds, m, phases, o, last, block)
            continue
        if op >= LT_NUMBER and op <= NE_NUMBER:
            _compare_number(op, r, m, d, a, constants[b], cells)
        elif op == QUIET:
            if _is_quiet(m, a, phases, d, block):
                o += b
        elif op >= LT and op <= NE:
            _compare(op, r, m, d, a, b, cells)
        elif op in (AND, OR):
            _masks(op, m, d, a, b, cells)
        elif op >= ADD and op <= MOST:
            _numbers(op, r, d, a, b, cells)
        elif op >= RATE and op <= COUNT_ANEW:
            _timed(code, lanes, work, o, bit, block)
        elif op == NUMBER:
            for x in range(cells):
                r[d, x] = constants[a]
        elif op == LANE_NUMBER:
            for s in range(block.samples):
                for i in range(width):
                    r[d, s * width + i] = code.lane_numbers[a, lane + i]
        elif op == LANE_POINT:
            _point(r, d, a, code.lane_points, points, sampled, times, block)
        elif op == BOUNDS:
            _bounds(r, work.bits, a, work.bounds, cells)
        elif op == LACKS:
            for x in range(cells):
                m[d, x] = r[a, x] != r[a, x]
        elif op == TRUTH:
            for x in range(cells):
                r[d, x] = 1.0 if m[a, x] else 0.0 if m[b, x] else math.nan
        elif op == KEEP:
            for i in range(width):
                floats[d, lane + i] = r[a, cells - width + i]
            if block.samples > 1:
                for s in range(block.samples):
                    for i in range(width):
                        points.frame_kept[b, s * block.places + block.place + i] = r[a, s * width + i]
        elif op == OVER:
            _over(ops[o, E], r, d, code.registers, a, c, cells)
        elif op == OVER_GPUS:
            _over_gpus(ops[o, E], r, d, a, b, c, points, times, block)
        elif op == OVER_PARTS:
            _over_parts(ops[o, E], r, d, code.registers, a, b, c, cells)
        elif op == TELL:
            for s in range(block.samples):
                told_at: Any = sample + np.int64(s)
                count = _tell(code, lanes, r, o, times[s], s, told_at, base, events, count)
        elif op == STEP:
            for s in range(block.samples):
                which: Any = sample + np.int64(s)
                count = _step(
                    code, lanes, r, m, o, times[s], s * width, which, base, soonest, block, events,
                    count,
                )  # fmt: skip
        else:
            count = _no_data(code, lanes, work, o, sample, base, soonest, block, events, count)
        o += 1
    return count


@compiled(INT(CODE, LANES, WORK, POINTS, INT, INT, INT, INT, INT, INT, I64, BLOCK, EVENTS, INT))
def _run_cell(
    code: Code, lanes: Lanes, work: Work, points: Points, first: int, last: int, sampled: int, bit: int,
    sample: int, base: int, soonest: Times, block: Block, events: Events, count: int,
) -> int:  # fmt: skip
    """As `_run`, for one sample of a plant condition: simple operations on the spot, as a call would take longer."""
    ops, constants, r, m = code.ops, code.numbers, work.numbers, work.truths
    t = work.times[0]
    o = first
    while o < last:
        op, d, a, b = ops[o, OP], np.uint64(ops[o, D]), np.uint64(ops[o, A]), np.uint64(ops[o, B])
        if op == NUMBER:
            r[d, 0] = constants[a]
        elif op == LANE_NUMBER:
            r[d, 0] = code.lane_numbers[a, 0]
        elif op == LANE_POINT:
            r[d, 0] = _said(code.lane_points[a, 0], points, sampled, t)
        elif op == ADD:
            r[d, 0] = r[a, 0] + r[b, 0]
        elif op == SUB:
            r[d, 0] = r[a, 0] - r[b, 0]
        elif op == MUL:
            r[d, 0] = r[a, 0] * r[b, 0]
        elif op == DIV:
            r[d, 0] = r[a, 0] / r[b, 0] if r[b, 0] != 0.0 else math.nan
        elif op == NEG:
            r[d, 0] = -r[a, 0]
        elif op == ABS:
            r[d, 0] = abs(r[a, 0])
        elif op == LEAST:
            r[d, 0] = r[a, 0] if r[a, 0] <= r[b, 0] else r[b, 0] if r[b, 0] < r[a, 0] else math.nan
        elif op == MOST:
            r[d, 0] = r[a, 0] if r[a, 0] >= r[b, 0] else r[b, 0] if r[b, 0] > r[a, 0] else math.nan
        elif op == LT:
            m[d, 0] = r[a, 0] < r[b, 0]
        elif op == LE:
            m[d, 0] = r[a, 0] <= r[b, 0]
        elif op == GT:
            m[d, 0] = r[a, 0] > r[b, 0]
        elif op == GE:
            m[d, 0] = r[a, 0] >= r[b, 0]
        elif op == EQ:
            m[d, 0] = r[a, 0] == r[b, 0]
        elif op == NE:
            m[d, 0] = (r[a, 0] < r[b, 0]) | (r[a, 0] > r[b, 0])
        elif op == LT_NUMBER:
            m[d, 0] = r[a, 0] < constants[b]
        elif op == LE_NUMBER:
            m[d, 0] = r[a, 0] <= constants[b]
        elif op == GT_NUMBER:
            m[d, 0] = r[a, 0] > constants[b]
        elif op == GE_NUMBER:
            m[d, 0] = r[a, 0] >= constants[b]
        elif op == EQ_NUMBER:
            m[d, 0] = r[a, 0] == constants[b]
        elif op == NE_NUMBER:
            m[d, 0] = (r[a, 0] < constants[b]) | (r[a, 0] > constants[b])
        elif op == AND:
            m[d, 0] = m[a, 0] & m[b, 0]
        elif op == OR:
            m[d, 0] = m[a, 0] | m[b, 0]
        elif op == LACKS:
            m[d, 0] = r[a, 0] != r[a, 0]
        elif op == TRUTH:
            r[d, 0] = 1.0 if m[a, 0] else 0.0 if m[b, 0] else math.nan
        elif op == QUIET:
            if not m[a, 0] and lanes.phases[d, 0] == NORMAL:
                o += ops[o, B]
        elif op >= RATE and op <= COUNT_ANEW:
            _timed(code, lanes, work, o, bit, block)
        elif op == OVER:
            _over(ops[o, E], r, ops[o, D], code.registers, ops[o, A], ops[o, C], np.uint64(1))
        else:
            count = _run(
                code, lanes, work, points, o, o + 1, sampled, bit, sample, base, soonest, block, events, count,
            )  # fmt: skip
        o += 1
    return count


# -- frames and readings


@compiled(
    NOTHING(read_only(numba.float32, 3), INT, INT, read_only(numba.uint8, 2), numba.boolean, WORK, BLOCK, I64)
)
def _columns(
    values: NDArray[np.float32], sample: int, g: int, quality: NDArray[np.uint8], believed: bool, work: Work,
    block: Block, counts: Times,
) -> None:  # fmt: skip
    """A block of GPUs, from `sample` and the frame's GPU `g` on, as columns of numbers and their bounds.

    What is not good is unknown.
    """
    width, r, bounds = block.width, work.numbers, work.bounds
    for s in range(block.samples):
        x = s * width
        for i in range(width):
            for field in range(FIELDS):
                r[field, x + i] = values[sample + np.int64(s), g + np.int64(i), field]
    for field in range(FIELDS):
        _bounds(r, work.bits, field, bounds, block.samples * width)
        if bounds[field, LOW] == -math.inf or bounds[field, HIGH] == math.inf:
            for x in range(block.samples * width):
                value = r[field, x]
                r[field, x] = value if abs(value) < math.inf else math.nan
            _bounds(r, work.bits, field, bounds, block.samples * width)
    bad = False
    for s in range(block.samples):
        for i in range(width):
            bad = bad | (quality[sample + np.int64(s), g + np.int64(i)] != 0)
    if bad or not believed:
        for field in range(FIELDS):
            bounds[field, LACKING] = 1.0
        for s in range(block.samples):
            for i in range(width):
                good = quality[sample + np.int64(s), g + np.int64(i)] == 0
                counts[NOT_GOOD] += 0 if good else 1
                counts[CORRECTED] += 0 if believed else 1
                if not good or not believed:
                    for field in range(FIELDS):
                        r[field, s * width + i] = math.nan


@compiled()
def _block(lane: int, width: int, samples: int, place: int, places: int) -> Block:
    return Block(np.uint64(lane), np.uint64(width), np.uint64(samples), np.uint64(place), np.uint64(places))


@compiled()
def _samples_together(
    times_ns: Times, verdicts: Times, start: int, most: int, members: Times, newest: Times
) -> int:
    """How many samples from `start` on every GPU of a frame can take one after the other; at least 1."""
    for lane in members:
        if lane >= 0 and newest[lane] >= times_ns[start]:
            return 1
    s = start + 1
    while s < start + most and times_ns[s] > times_ns[s - 1] and verdicts[s] == verdicts[start]:
        s += 1
    return s - start


@compiled(
    PAIR(
        read_only(numba.int64, 1), I64, I64, read_only(numba.float32, 3), read_only(numba.uint8, 2), INT,
        *HELD_FIELDS,
    )
)  # fmt: skip
def _frame(
    times_ns: Times, verdicts: Times, members: Times, values: NDArray[np.float32], quality: NDArray[np.uint8],
    start: int, code: Code, lanes: Lanes, work: Work, plant_code: Code, plant: Lanes, plant_work: Work,
    points: Points, soonest: Times, events: Events, counts: Times,
) -> tuple[int, int]:  # fmt: skip
    """As `frame` says."""
    samples, gpus = times_ns.shape[0], members.shape[0]
    count, last, base = 0, code.ops.shape[0], lanes.phases.size
    newest, watch = points.gpu_times, points.watch
    watching = watch.shape[0] > 0
    # A sample fires a deadline of a condition, makes it known again and moves it on, at most.
    room_each = 3 * (
        min(gpus * lanes.phases.shape[0], lanes.phases.size) + (plant.phases.size if watching else 0)
    )
    each = gpus if watching else min(gpus, LANES_TOGETHER)  # what is kept is kept of the whole frame
    fitting = max(CELLS // max(each, 1), 1)
    s = start
    while s < samples:
        room = (events.values.shape[0] - count) // max(room_each, 1)
        if room == 0:
            return count, s
        # In equal parts: 10 samples of which 7 fit go as 5 and 5.
        left = samples - s
        parts = -(-left // min(fitting, room))
        together = _samples_together(times_ns, verdicts, s, -(-left // parts), members, newest)
        first, final = times_ns[s], times_ns[s + together - 1]
        for n in range(together):
            work.times[n] = points.frame_times[n] = times_ns[s + n]
        g = 0
        while g < gpus:
            lane = members[g]
            if lane < 0:
                g += 1
                continue
            if verdicts[s] == LATE:
                counts[LATE_COUNT] += together
                g += 1
                continue
            if first <= newest[lane]:  # of several, only where the frame names a GPU twice
                counts[OUT_OF_ORDER] += together
                g += 1
                continue
            newest[lane] = final
            end = g + 1
            while (
                end < gpus
                and end - g < LANES_TOGETHER
                and members[end] == lane + (end - g)
                and newest[members[end]] < first
            ):
                newest[members[end]] = final
                end += 1
            block = _block(lane, end - g, together, g, gpus)
            _columns(values, s, g, quality, verdicts[s] != UNCERTAIN, work, block, counts)
            count = _run(
                code, lanes, work, points, 0, last, -1, ALWAYS, s, 0, soonest, block, events, count
            )  # fmt: skip
            for h in range(watch.shape[0]):
                if watch[h, 2] < lane + (end - g) and lane < watch[h, 3]:
                    points.touched[watch[h, 0]] |= watch[h, 1]
            g = end
        # Else the frame's GPUs have kept the one sample, or none of theirs was taken.
        looked_back = watching and together > 1 and verdicts[s] != LATE
        if looked_back:
            # Backwards: where the frame names a GPU twice, the first one counts.
            for g in range(gpus - 1, -1, -1):
                if members[g] >= 0:
                    points.places[members[g]] = g
        for h in range(watch.shape[0]):
            k = watch[h, 0]
            bits = points.touched[k]
            if bits == 0:
                continue
            points.touched[k] = 0
            for n in range(together):
                points.evaluated[k] = max(times_ns[s + n], points.evaluated[k])
                plant_work.times[n] = points.evaluated[k]
            begin, end, block = (
                points.code_first[k],
                points.code_first[k + 1],
                _block(0, 1, together, 0, gpus),
            )
            if together == 1:
                count = _run_cell(
                    plant_code, plant, plant_work, points, begin, end, -1, bits, s, base, soonest, block, events,
                    count,
                )  # fmt: skip
            else:
                count = _run(
                    plant_code, plant, plant_work, points, begin, end, -1, bits, s, base, soonest, block, events,
                    count,
                )  # fmt: skip
        if looked_back:
            for g in range(gpus):
                if members[g] >= 0:
                    points.places[members[g]] = -1
        s += together
    return count, samples


@compiled(
    PAIR(
        I64, read_only(numba.int64, 1), read_only(numba.float64, 1), read_only(numba.uint8, 1), INT, INT, INT, INT,
        INT, INT, CODE, LANES, WORK, POINTS, I64, EVENTS, I64,
    )
)  # fmt: skip
def _readings(
    index: Times, times_ns: Times, values: Numbers, quality: NDArray[np.uint8], ingest_ns: int, now_ns: int,
    tolerance_ns: int, lateness_ns: int, start: int, base: int, code: Code, lanes: Lanes, work: Work, points: Points,
    soonest: Times, events: Events, counts: Times,
) -> tuple[int, int]:  # fmt: skip
    """As `readings` says; `base`: the first condition of the plant."""
    capacity = events.values.shape[0]
    count = 0
    block = _block(0, 1, 1, 0, 1)
    for n in range(start, index.shape[0]):
        p = index[n]
        if p < 0:
            continue
        first, last = points.first[p], points.first[p + 1]
        if count + 3 * (last - first) > capacity:
            return count, n
        t = times_ns[n]
        good = True
        if t > ingest_ns + tolerance_ns or t < ingest_ns - tolerance_ns:
            t = ingest_ns
            good = False
        if t > now_ns + tolerance_ns:
            t = now_ns
            good = False
        if t < now_ns - lateness_ns:
            counts[LATE_COUNT] += 1
            continue
        if t <= points.times[p]:
            counts[OUT_OF_ORDER] += 1
            continue
        points.times[p] = t
        if not good:
            counts[CORRECTED] += 1
        if quality[n] != 0:
            counts[NOT_GOOD] += 1
            good = False
        points.values[p] = values[n] if good and math.isfinite(values[n]) else math.nan
        for h in range(first, last):
            k, bit = points.conditions[h, 0], points.conditions[h, 1]
            at = max(t, points.evaluated[k])
            points.evaluated[k] = at
            work.times[0] = at
            count = _run_cell(
                code, lanes, work, points, points.code_first[k], points.code_first[k + 1], p, bit, 0, base,
                soonest, block, events, count,
            )  # fmt: skip
    return count, index.shape[0]


# -- the faces of the kernel


@face(HELD(*HELD_FIELDS))
def hold(
    code: Code, lanes: Lanes, work: Work, plant_code: Code, plant: Lanes, plant_work: Work, points: Points,
    soonest: Times, events: Events, counts: Times,
) -> Held:  # fmt: skip
    """What `frame` and `readings` work on; who replaces one of these arrays has to hold them anew."""
    held: Held = structref.new(HELD)
    held.code, held.lanes, held.work = code, lanes, work
    held.plant_code, held.plant, held.plant_work = plant_code, plant, plant_work
    held.points, held.soonest, held.events, held.counts = points, soonest, events, counts
    return held


@face(
    PAIR(
        read_only(numba.int64, 1), I64, I64, read_only(numba.float32, 3), read_only(numba.uint8, 2), INT, HELD,
    )
)  # fmt: skip
def frame(
    times_ns: NDArray[np.int64],
    verdicts: NDArray[np.int64],
    members: NDArray[np.int64],
    values: NDArray[np.float32],
    quality: NDArray[np.uint8],
    start: int,
    held: Held,
) -> tuple[int, int]:
    """A frame from its sample `start`: (events written, sample to go on at).

    As many samples go together as cells hold. Then the plant conditions that look at one of the GPUs are evaluated,
    each at all of these samples with what GPUs kept at them; their functions take them as `touched` says.

    times_ns (S,) and verdicts (S,): corrected times and what became of them; members (G,): the lane of each GPU, -1 for
    one that is not ours; values (S, G, 24); quality (S, G).
    """
    return _frame(
        times_ns, verdicts, members, values, quality, start, held.code, held.lanes, held.work, held.plant_code,
        held.plant, held.plant_work, held.points, held.soonest, held.events, held.counts,
    )  # fmt: skip


@face(
    PAIR(
        I64, read_only(numba.int64, 1), read_only(numba.float64, 1), read_only(numba.uint8, 1), INT, INT, INT, INT,
        INT, HELD,
    )
)  # fmt: skip
def readings(
    index: NDArray[np.int64],
    times_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    quality: NDArray[np.uint8],
    ingest_ns: int,
    now_ns: int,
    tolerance_ns: int,
    lateness_ns: int,
    start: int,
    held: Held,
) -> tuple[int, int]:
    """Readings from place `start`: (events written, place to go on at). All columns (N,); index -1: not ours."""
    return _readings(
        index, times_ns, values, quality, ingest_ns, now_ns, tolerance_ns, lateness_ns, start,
        held.lanes.phases.size, held.plant_code, held.plant, held.plant_work, held.points, held.soonest,
        held.events, held.counts,
    )  # fmt: skip


@face(numba.int64(numba.int64, LANES, numba.int64, I64, I64, numba.int64))
def due(
    now_ns: int, lanes: Lanes, base: int, soonest: NDArray[np.int64], found: NDArray[np.int64], count: int,
) -> int:  # fmt: skip
    """Conditions whose deadline is not after `now_ns` into `found` from `count` on, unsorted; the new count.

    `soonest` becomes the nearest of the others, if that is before what it is.
    """
    nearest = NEVER
    rows, width = lanes.deadlines.shape
    for k in range(rows):
        for i in range(width):
            deadline = lanes.deadlines[k, i]
            if deadline <= now_ns:
                found[count] = base + k * width + i
                count += 1
            else:
                nearest = min(nearest, deadline)
    soonest[0] = min(soonest[0], nearest)
    return count


@face(numba.int64(I64, LANES, LANES, EVENTS))
def fire(conditions: NDArray[np.int64], gpus: Lanes, plant: Lanes, events: Events) -> int:
    """Fire `conditions` in the order given; `events` has room for one each."""
    count, base, width = 0, gpus.phases.size, gpus.phases.shape[1]
    for c in conditions:
        if c < base:
            count = _fire(gpus, c // width, c % width, c, 0, events, count)
        else:
            count = _fire(plant, c - base, 0, c, 0, events, count)
    return count


@face(numba.void(numba.int64, CODE, LANES, I64))
def begin(now_ns: int, code: Code, lanes: Lanes, soonest: NDArray[np.int64]) -> None:
    """The first tick: what was never seen is silent from here on, and has a grace."""
    rows, width = lanes.deadlines.shape
    for k in range(rows):
        for i in range(width):
            idle = lanes.phases[k, i] == NORMAL and lanes.deadlines[k, i] == NEVER
            if code.timeouts[k, i] != NEVER and idle:
                _start(lanes, k, i, now_ns + code.timeouts[k, i] + START_GRACE_NS, soonest)
