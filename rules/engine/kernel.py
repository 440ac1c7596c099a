"""The hot path: samples through the rules' operations, in machine code (decisions 0012 and 0013).

Rules that it obeys:
- Bit-identical results come first: no fastmath, no parallel, no function whose result depends on a library; a sum is
  made in the order that docs/rules.md gives.
- Tables and state are arguments and callees are in this file: Numba's cache notices neither a changed global
  array nor a changed callee in another file.
- An operation goes over a block of lanes with one time. It gets whole arrays and row numbers: a slice of a row would
  count a reference each time. Unknown is NaN; a truth has two masks, true and false, made where they are needed.
- The quiet path first: where nothing is true and every lane is normal, the rest of a rule is jumped over.
- Order of events: sample, then rule, then lane (the caller sorts those of one sample).
- Time is int64 nanoseconds; the caller has corrected it, sums can't overflow below 2**62.

`tests/rules/engine/twin.py` is the slow and obvious form of all this.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from rules.engine.arrays import (
    CODE,
    EVENTS,
    F64_2,
    I64,
    I64_2,
    INT,
    LANE,
    LANES,
    NOTHING,
    PAIR,
    POINTS,
    TRUTHS,
    WORK,
    Code,
    Events,
    Lanes,
    Points,
    Work,
    compiled,
    read_only,
)

(
    NUMBER, LANE_NUMBER, POINT, LANE_POINT,
    ADD, SUB, MUL, DIV, NEG, ABS, LEAST, MOST,
    LT, LE, GT, GE, EQ, NE,
    LT_NUMBER, LE_NUMBER, GT_NUMBER, GE_NUMBER, EQ_NUMBER, NE_NUMBER,
    AND, OR,
    RATE, DELTA, AVG, TWA, MIN, MAX, STDDEV, INTEGRAL, COUNT, EWMA, CUSUM, SINCE,
    QUIET, STEP, NO_DATA,
    TRUTH, KEEP, OVER, OVER_GPUS, OVER_PARTS, TELL,
) = range(47)  # fmt: skip
"""Operations. Columns of `Code.ops`: the operation, D (where to), A, B, C, E, F, G (what they mean, each says)."""
OP, D, A, B, C, E, F, G = range(8)

Lane = Any
"""The bounds of a block, np.uint64: Numba then knows that no index counts from the end, and vectorises the loops."""
Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]
Times = NDArray[np.int64]

NORMAL, RAISING, ACTIVE, CLEARING = range(4)
"""Phases of a condition: not true; true, on-delay running; in alarm; false again, off-delay running."""
ON, OFF = range(2)

RAISED, CLEARED, TOLD = range(3)
CONDITION, TRANSITION, AT, BY_DEADLINE, SAMPLE = range(5)
"""Columns of `Events.what`."""

USABLE, UNCERTAIN, LATE = range(3)
"""What became of a sample's time."""

OUT_OF_ORDER, NOT_GOOD, LATE_COUNT, CORRECTED = range(4)
"""Entries of the counts that a kernel adds to, in samples (a GPU's sample is 24 readings)."""

NEVER = 1 << 62
START_GRACE_NS = 10_000_000_000
FIELDS = 24
BLOCK = 128
"""Lanes at a time: what a block touches stays in the first-level cache."""
PANES = 16
KEPT = PANES + 1
"""Panes of a window, the one being filled included."""
BACK = 2 * PANES + 1
"""Panes of which `rate` and `delta` keep the last sample."""
ALWAYS = -1
"""The bit of a sample that every function takes."""


# -- operations on a block of lanes: r numbers, m truths, lo … hi lanes


@compiled()
def _numbers(op: int, r: Numbers, d: int, a: int, b: int, lo: Lane, hi: Lane) -> None:
    if op == ADD:
        for i in range(lo, hi):
            r[d, i] = r[a, i] + r[b, i]
    elif op == SUB:
        for i in range(lo, hi):
            r[d, i] = r[a, i] - r[b, i]
    elif op == MUL:
        for i in range(lo, hi):
            r[d, i] = r[a, i] * r[b, i]
    elif op == DIV:
        for i in range(lo, hi):
            divisor = r[b, i]
            r[d, i] = r[a, i] / divisor if divisor != 0.0 else math.nan
    elif op == NEG:
        for i in range(lo, hi):
            r[d, i] = -r[a, i]
    elif op == ABS:
        for i in range(lo, hi):
            r[d, i] = abs(r[a, i])
    elif op == LEAST:
        for i in range(lo, hi):
            x, y = r[a, i], r[b, i]
            r[d, i] = x if x <= y else y if y < x else math.nan
    else:
        for i in range(lo, hi):
            x, y = r[a, i], r[b, i]
            r[d, i] = x if x >= y else y if y > x else math.nan


@compiled()
def _compare(op: int, r: Numbers, m: Truths, d: int, a: int, b: int, lo: Lane, hi: Lane) -> None:
    if op == LT:
        for i in range(lo, hi):
            m[d, i] = r[a, i] < r[b, i]
    elif op == LE:
        for i in range(lo, hi):
            m[d, i] = r[a, i] <= r[b, i]
    elif op == GT:
        for i in range(lo, hi):
            m[d, i] = r[a, i] > r[b, i]
    elif op == GE:
        for i in range(lo, hi):
            m[d, i] = r[a, i] >= r[b, i]
    elif op == EQ:
        for i in range(lo, hi):
            m[d, i] = r[a, i] == r[b, i]
    else:  # known and different
        for i in range(lo, hi):
            m[d, i] = (r[a, i] < r[b, i]) | (r[a, i] > r[b, i])


@compiled()
def _compare_number(op: int, r: Numbers, m: Truths, d: int, a: int, limit: float, lo: Lane, hi: Lane) -> None:
    if op == LT_NUMBER:
        for i in range(lo, hi):
            m[d, i] = r[a, i] < limit
    elif op == LE_NUMBER:
        for i in range(lo, hi):
            m[d, i] = r[a, i] <= limit
    elif op == GT_NUMBER:
        for i in range(lo, hi):
            m[d, i] = r[a, i] > limit
    elif op == GE_NUMBER:
        for i in range(lo, hi):
            m[d, i] = r[a, i] >= limit
    elif op == EQ_NUMBER:
        for i in range(lo, hi):
            m[d, i] = r[a, i] == limit
    else:
        for i in range(lo, hi):
            m[d, i] = (r[a, i] < limit) | (r[a, i] > limit)


@compiled()
def _masks(op: int, m: Truths, d: int, a: int, b: int, lo: Lane, hi: Lane) -> None:
    if op == AND:
        for i in range(lo, hi):
            m[d, i] = m[a, i] & m[b, i]
    else:
        for i in range(lo, hi):
            m[d, i] = m[a, i] | m[b, i]


@compiled()
def _is_quiet(m: Truths, a: int, phases: NDArray[np.int8], k: int, lo: Lane, hi: Lane) -> bool:
    loud = False
    for i in range(lo, hi):
        loud = loud | m[a, i] | (phases[k, i] != NORMAL)
    return not loud


# -- functions of time. Rows of state begin at f (numbers) and j (times and panes); all lanes of a block that go
# through one of them together have had their newest sample together: `_is_uniform` says so, else they go one by one.


@compiled()
def _is_uniform(marks: Times, row: int, lo: Lane, hi: Lane) -> bool:
    first = marks[row, lo]
    differs = False
    for i in range(lo, hi):
        differs = differs | (marks[row, i] != first)
    return not differs


@compiled()
def _clear(floats: Numbers, row: int, value: float | int, lo: Lane, hi: Lane) -> None:
    for i in range(lo, hi):
        floats[row, i] = value


@compiled()
def _clear_marks(marks: Times, row: int, value: float | int, lo: Lane, hi: Lane) -> None:
    for i in range(lo, hi):
        marks[row, i] = value


@compiled()
def _add_row(floats: Numbers, to: int, row: int, lo: Lane, hi: Lane) -> None:
    for i in range(lo, hi):
        floats[to, i] += floats[row, i]


@compiled()
def _merge(
    floats: Numbers, mean: int, weight: int, other: int, other_weight: int, lo: Lane, hi: Lane
) -> None:
    """Rows `mean` and `weight` of a weighted mean take in another one."""
    for i in range(lo, hi):
        more = floats[other_weight, i]
        total = floats[weight, i] + more
        merged = floats[mean, i] + (floats[other, i] - floats[mean, i]) * (more / total)
        floats[mean, i] = merged if total > 0.0 else floats[mean, i]
        floats[weight, i] = total


@compiled()
def _see(r: Numbers, a: int, marks: Times, j: int, p: int, lo: Lane, hi: Lane) -> None:
    """Since when the window was never empty. Marks: j the newest pane, j+1 that since, j+2 the last known one."""
    for i in range(lo, hi):
        known = r[a, i] == r[a, i]
        was = marks[j + 2, i]
        marks[j + 1, i] = p if known and p - was > PANES else marks[j + 1, i]
        marks[j + 2, i] = p if known else was


@compiled()
def _average(
    r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    """Rows f …: 17 means, 17 counts, mean and count of the panes that are closed.

    Means rather than sums: that of equal samples is that sample, to the last bit.
    """
    newest, closed = marks[j, lo], f + 2 * KEPT
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, 0.0, lo, hi)
            _clear(floats, f + KEPT + q % KEPT, 0.0, lo, hi)
        _clear_marks(marks, j, p, lo, hi)
        _clear(floats, closed, 0.0, lo, hi)
        _clear(floats, closed + 1, 0.0, lo, hi)
        for q in range(max(p - PANES, 0), p):
            _merge(floats, closed, closed + 1, f + q % KEPT, f + KEPT + q % KEPT, lo, hi)
    _see(r, a, marks, j, p, lo, hi)
    now = f + p % KEPT
    for i in range(lo, hi):
        v = r[a, i]
        known = v == v  # noqa: PLR0124
        count = floats[now + KEPT, i] + 1.0
        mean = floats[now, i] + (v - floats[now, i]) * (1.0 / count)
        floats[now + KEPT, i] = count if known else floats[now + KEPT, i]
        floats[now, i] = mean if known else floats[now, i]
        whole = floats[closed, i] + (mean - floats[closed, i]) * (count / (floats[closed + 1, i] + count))
        r[d, i] = whole if known & (marks[j + 1, i] <= p - PANES) else math.nan


@compiled()
def _extreme(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    """Rows f …: 17 extremes, and that of the panes that are closed."""
    newest, closed = marks[j, lo], f + KEPT
    none = math.inf if op == MIN else -math.inf
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, none, lo, hi)
        _clear_marks(marks, j, p, lo, hi)
        _clear(floats, closed, none, lo, hi)
        for q in range(max(p - PANES, 0), p):
            row = f + q % KEPT
            for i in range(lo, hi):
                x, y = floats[row, i], floats[closed, i]
                floats[closed, i] = (x if x < y else y) if op == MIN else (x if x > y else y)
    _see(r, a, marks, j, p, lo, hi)
    now = f + p % KEPT
    for i in range(lo, hi):
        v = r[a, i]
        x, y = floats[now, i], floats[closed, i]
        if op == MIN:
            x = v if v < x else x
            best = x if x < y else y
        else:
            x = v if v > x else x
            best = x if x > y else y
        floats[now, i] = x
        known = v == v  # noqa: PLR0124
        r[d, i] = best if known & (marks[j + 1, i] <= p - PANES) else math.nan


@compiled()
def _count(
    r: Numbers, m: Truths, d: int, a: int, b: int, floats: Numbers, f: int, marks: Times, j: int, p: int, lo: Lane,
    hi: Lane,
) -> None:  # fmt: skip
    """Rows f …: 17 counts, and that of the panes that are closed; a and b: where it is true, where false."""
    for i in range(lo, hi):
        r[d, i] = 1.0 if m[a, i] else 0.0 if m[b, i] else math.nan
    newest, closed = marks[j, lo], f + KEPT
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, 0.0, lo, hi)
        _clear_marks(marks, j, p, lo, hi)
        _clear(floats, closed, 0.0, lo, hi)
        for q in range(max(p - PANES, 0), p):
            _add_row(floats, closed, f + q % KEPT, lo, hi)
    _see(r, d, marks, j, p, lo, hi)
    now = f + p % KEPT
    for i in range(lo, hi):
        v = r[d, i]
        known = v == v  # noqa: PLR0124
        floats[now, i] += v if known else 0.0
        total = floats[closed, i] + floats[now, i]
        r[d, i] = total if known & (marks[j + 1, i] <= p - PANES) else math.nan


@compiled()
def _deviation(
    r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    """Rows f …: 17 counts, 17 means, 17 sums of squared distances (Welford), merged as Chan et al. do (1979)."""
    newest = marks[j, lo]
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            for part in range(3):
                _clear(floats, f + part * KEPT + q % KEPT, 0.0, lo, hi)
        _clear_marks(marks, j, p, lo, hi)
    _see(r, a, marks, j, p, lo, hi)
    now = f + p % KEPT
    for i in range(lo, hi):
        v = r[a, i]
        if v != v:  # noqa: PLR0124
            r[d, i] = math.nan
            continue
        floats[now, i] += 1.0
        away = v - floats[now + KEPT, i]
        floats[now + KEPT, i] += away / floats[now, i]
        floats[now + 2 * KEPT, i] += away * (v - floats[now + KEPT, i])
        if marks[j + 1, i] > p - PANES:
            r[d, i] = math.nan
            continue
        count, mean, squares = 0.0, 0.0, 0.0
        for q in range(p - PANES, p + 1):
            row = f + q % KEPT
            more = floats[row, i]
            if more == 0.0:
                continue
            if count == 0.0:
                count, mean, squares = more, floats[row + KEPT, i], floats[row + 2 * KEPT, i]
                continue
            total = count + more
            apart = floats[row + KEPT, i] - mean
            mean = mean + apart * more / total
            squares = squares + floats[row + 2 * KEPT, i] + apart * apart * count * more / total
            count = total
        r[d, i] = math.sqrt(squares / count)


@compiled()
def _area(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, t: int, pane: int, lo: Lane,
    hi: Lane,
) -> None:  # fmt: skip
    """TWA, INTEGRAL. Rows f …: 17 means or areas, 17 durations, the last known value; marks j+3: when that was."""
    p, newest = t // pane, marks[j, lo]
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, 0.0, lo, hi)
            _clear(floats, f + KEPT + q % KEPT, 0.0, lo, hi)
        _clear_marks(marks, j, p, lo, hi)
    before = marks[j + 3, lo]
    if before != -NEVER:
        for q in range(max(before // pane, p - PANES), p + 1):
            seconds = (min(t, (q + 1) * pane) - max(before, q * pane)) / 1e9
            row = f + q % KEPT
            for i in range(lo, hi):
                if r[a, i] != r[a, i]:
                    continue
                value = floats[f + 2 * KEPT, i]
                total = floats[row + KEPT, i] + seconds
                floats[row + KEPT, i] = total
                if op == INTEGRAL:
                    floats[row, i] += value * seconds
                elif total > 0.0:
                    floats[row, i] += (value - floats[row, i]) * (seconds / total)
    _see(r, a, marks, j, p, lo, hi)
    for i in range(lo, hi):
        v = r[a, i]
        if v != v:  # noqa: PLR0124
            r[d, i] = math.nan
            continue
        floats[f + 2 * KEPT, i] = v
        marks[j + 3, i] = t
        whole, duration = 0.0, 0.0
        for q in range(max(p - PANES, 0), p + 1):
            part, seconds = floats[f + q % KEPT, i], floats[f + KEPT + q % KEPT, i]
            duration += seconds
            if op == INTEGRAL:
                whole += part
            elif duration > 0.0:
                whole += (part - whole) * (seconds / duration)
        full = marks[j + 1, i] <= p - PANES
        r[d, i] = whole if full and (op == INTEGRAL or duration > 0.0) else math.nan


@compiled()
def _slope(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, t: int, pane: int, lo: Lane,
    hi: Lane,
) -> None:  # fmt: skip
    """RATE and DELTA. Rows f …: 33 last samples of panes, marks j+1 … their times, -NEVER for an empty pane."""
    p, newest = t // pane, marks[j, lo]
    if p != newest:
        for q in range(max(newest + 1, p - 2 * PANES), p + 1):
            _clear_marks(marks, j + 1 + q % BACK, -NEVER, lo, hi)
        _clear_marks(marks, j, p, lo, hi)
    alike = False
    for q in range(p - PANES, max(p - 2 * PANES, 0) - 1, -1):
        row = q % BACK
        then = marks[j + 1 + row, lo]
        alike = _is_uniform(marks, j + 1 + row, lo, hi)
        if not alike:
            break
        if then != -NEVER:
            seconds = (t - then) / 1e9 if op == RATE else 1.0
            for i in range(lo, hi):
                r[d, i] = (r[a, i] - floats[f + row, i]) / seconds
            break
    else:
        for i in range(lo, hi):
            r[d, i] = math.nan
        alike = True
    if not alike:
        for i in range(lo, hi):
            slope = math.nan
            for q in range(p - PANES, max(p - 2 * PANES, 0) - 1, -1):
                then = marks[j + 1 + q % BACK, i]
                if then != -NEVER:
                    seconds = (t - then) / 1e9 if op == RATE else 1.0
                    slope = (r[a, i] - floats[f + q % BACK, i]) / seconds
                    break
            r[d, i] = slope
    now = p % BACK
    for i in range(lo, hi):
        v = r[a, i]
        known = v == v  # noqa: PLR0124
        floats[f + now, i] = v if known else floats[f + now, i]
        marks[j + 1 + now, i] = t if known else marks[j + 1 + now, i]


@compiled()
def _smooth(
    r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, t: int, tau_ns: int, lo: Lane,
    hi: Lane,
) -> None:  # fmt: skip
    """EWMA. Row f: the value, marks j when it was. Backward Euler: no exponential, whose last bit is the library's."""
    tau = tau_ns / 1e9
    for i in range(lo, hi):
        v = r[a, i]
        if v == v:  # noqa: PLR0124
            if marks[j, i] == -NEVER:
                floats[f, i] = v
            else:
                seconds = (t - marks[j, i]) / 1e9
                floats[f, i] += seconds / (tau + seconds) * (v - floats[f, i])
            marks[j, i] = t
            r[d, i] = floats[f, i]
        else:
            r[d, i] = math.nan


@compiled()
def _cumulate(
    r: Numbers, d: int, a: int, target: int, allowance: int, floats: Numbers, f: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    for i in range(lo, hi):
        step = r[a, i] - r[target, i] - r[allowance, i]
        if step == step:  # noqa: PLR0124
            total = floats[f, i] + step
            floats[f, i] = total if total > 0.0 else 0.0
            r[d, i] = floats[f, i]
        else:
            r[d, i] = math.nan


@compiled()
def _since(
    r: Numbers, m: Truths, d: int, a: int, b: int, marks: Times, j: int, t: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    for i in range(lo, hi):
        if m[a, i]:
            marks[j, i] = t
        known = (m[a, i] | m[b, i]) & (marks[j, i] != -NEVER)
        r[d, i] = (t - marks[j, i]) / 1e9 if known else math.nan


@compiled()
def _function(
    op: int, r: Numbers, m: Truths, d: int, a: int, b: int, floats: Numbers, f: int, marks: Times, j: int,
    extra: int, window: int, t: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    """A function of time over a block. `extra`: the third argument of CUSUM."""
    if op == EWMA:
        _smooth(r, d, a, floats, f, marks, j, t, window, lo, hi)
        return
    if op == CUSUM:
        _cumulate(r, d, a, b, extra, floats, f, lo, hi)
        return
    if op == SINCE:
        _since(r, m, d, a, b, marks, j, t, lo, hi)
        return
    pane = max(window // PANES, 1)
    together = _is_uniform(marks, j, lo, hi)
    if op in (TWA, INTEGRAL):
        together = together and _is_uniform(marks, j + 3, lo, hi)
    start: Lane = lo
    step: Lane = hi - lo if together else np.uint64(1)
    while start < hi:
        end = start + step
        if op == AVG:
            _average(r, d, a, floats, f, marks, j, t // pane, start, end)
        elif op in (MIN, MAX):
            _extreme(op, r, d, a, floats, f, marks, j, t // pane, start, end)
        elif op == COUNT:
            _count(r, m, d, a, b, floats, f, marks, j, t // pane, start, end)
        elif op == STDDEV:
            _deviation(r, d, a, floats, f, marks, j, t // pane, start, end)
        elif op in (TWA, INTEGRAL):
            _area(op, r, d, a, floats, f, marks, j, t, pane, start, end)
        else:
            _slope(op, r, d, a, floats, f, marks, j, t, pane, start, end)
        start = end


# -- of several assets

SUM, MEAN, LOWEST, HIGHEST, COVERAGE, KNOWN = range(6)
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
    if kind == KNOWN:
        return known * 1.0
    if known == 0:
        return math.nan
    return total / known if kind == MEAN else total


@compiled()
def _over(
    kind: int, r: Numbers, d: int, registers: Times, first: int, members: int, lo: Lane, hi: Lane
) -> None:
    """OVER: of `members` registers, whose numbers are in `registers` from `first` on."""
    for i in range(lo, hi):
        total, known = 0.0, 0
        for n in range(first, first + members):
            value = r[registers[n], i]
            if value == value:  # noqa: PLR0124
                total = _gather(kind, value, total, known)
                known += 1
        r[d, i] = _gathered(kind, total, known, members)


@compiled()
def _over_gpus(
    kind: int,
    r: Numbers,
    d: int,
    row: int,
    first: int,
    members: int,
    points: Points,
    t: int,
    lo: Lane,
    hi: Lane,
) -> None:
    """OVER_GPUS: of what GPUs have kept in `row`; a GPU without a sample for three periods is not known."""
    kept, times, stale_after, lanes = points.kept, points.gpu_times, points.gpu_stale_after, points.members
    total, known = 0.0, 0
    for n in range(first, first + members):
        lane = lanes[n]
        value = kept[row, lane]
        if value == value and t - times[lane] <= stale_after[lane]:  # noqa: PLR0124
            total = _gather(kind, value, total, known)
            known += 1
    for i in range(lo, hi):
        r[d, i] = _gathered(kind, total, known, members)


@compiled(NOTHING(INT, F64_2, INT, I64, INT, INT, INT, LANE, LANE))
def _over_parts(
    kind: int, r: Numbers, d: int, registers: Times, first: int, parts: int, members: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    """OVER_PARTS: of `parts` pairs of registers: what some of the members make, and how many of them are known."""
    for i in range(lo, hi):
        total, known = 0.0, 0
        for n in range(first, first + 2 * parts, 2):
            value, of = r[registers[n], i], r[registers[n + 1], i]
            if value == value and of >= 1.0:  # noqa: PLR0124
                total = _gather(kind, value, total, known)
                known += int(of)
        r[d, i] = _gathered(kind, total, known, members)


# -- conditions


@compiled(INT(EVENTS, INT, INT, INT, INT, INT, INT, F64_2, INT, LANE))
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


@compiled(NOTHING(LANES, INT, LANE, INT, I64))
def _start(lanes: Lanes, k: int, i: int, deadline: int, soonest: Times) -> None:
    lanes.deadlines[k, i] = deadline
    soonest[0] = min(soonest[0], deadline)


@compiled(NOTHING(LANES, INT, LANE, INT))
def _stop(lanes: Lanes, k: int, i: int, phase: int) -> None:
    lanes.phases[k, i] = phase
    lanes.held[k, i] = 0
    lanes.deadlines[k, i] = NEVER


@compiled(INT(LANES, INT, LANE, INT, INT, EVENTS, INT))
def _fire(lanes: Lanes, k: int, i: int, condition: int, sample: int, events: Events, count: int) -> int:
    """The delay or time-out is over: its transition, stamped with the deadline itself."""
    at = lanes.deadlines[k, i]
    raised = lanes.phases[k, i] != CLEARING
    _stop(lanes, k, i, ACTIVE if raised else NORMAL)
    lanes.changed[k, i] = at
    return _emit(events, count, condition, RAISED if raised else CLEARED, at, 1, sample, lanes.shown, k, i)


@compiled(INT(CODE, LANES, F64_2, TRUTHS, INT, INT, INT, INT, I64, LANE, LANE, EVENTS, INT))
def _step(
    code: Code, lanes: Lanes, r: Numbers, m: Truths, o: int, t: int, sample: int, base: int, soonest: Times,
    lo: Lane, hi: Lane, events: Events, count: int,
) -> int:  # fmt: skip
    """STEP: D the condition's row; A, B where `when` is true, false; C, E where `until` is; F, G what to show."""
    k, when, unless = code.ops[o, D], code.ops[o, A], code.ops[o, B]
    until, still = code.ops[o, C], code.ops[o, E]
    phases, width, every = lanes.phases, events.values.shape[1], lanes.phases.shape[1]
    for i in range(lo, hi):
        if phases[k, i] == NORMAL and not m[when, i]:
            continue
        condition = base + k * every + np.int64(i)
        if lanes.deadlines[k, i] <= t:
            count = _fire(lanes, k, i, condition, sample, events, count)
            if lanes.phases[k, i] == NORMAL and not m[when, i]:
                continue
        phase = lanes.phases[k, i]
        if phase in (NORMAL, RAISING):
            true, false, delay = m[when, i], m[unless, i], code.delays[k, ON]
            back, running, done, transition = NORMAL, RAISING, ACTIVE, RAISED
        else:
            true, false, delay = m[until, i], m[still, i], code.delays[k, OFF]
            back, running, done, transition = ACTIVE, CLEARING, NORMAL, CLEARED
        if not (true or false):
            # Unknown neither raises nor clears; a running delay stands still until the next known sample.
            if phase == running and lanes.held[k, i] == 0:
                lanes.remaining[k, i] = lanes.deadlines[k, i] - t
                lanes.deadlines[k, i] = NEVER
                lanes.held[k, i] = 1
            continue
        for v in range(code.ops[o, G]):
            lanes.shown[k * width + v, i] = r[code.registers[code.ops[o, F] + v], i]
        if false:
            if phase != back:
                _stop(lanes, k, i, back)
        elif phase == running:
            if lanes.held[k, i] != 0:
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


@compiled(INT(CODE, LANES, F64_2, INT, INT, INT, INT, LANE, EVENTS, INT))
def _tell(
    code: Code, lanes: Lanes, r: Numbers, o: int, t: int, sample: int, base: int, i: Lane, events: Events,
    count: int,
) -> int:  # fmt: skip
    """TELL: D the fact's row, A the number, B of how many members, C the period, in each of which it is told once."""
    k, period, width = code.ops[o, D], code.ops[o, C], events.values.shape[1]
    if t // period <= lanes.changed[k, i] // period:
        return count
    lanes.changed[k, i] = t
    lanes.shown[k * width, i] = r[code.ops[o, A], i]
    lanes.shown[k * width + 1, i] = r[code.ops[o, B], i]
    return _emit(events, count, base + k, TOLD, t, 0, sample, lanes.shown, k, i)


@compiled()
def _all_heard(
    r: Numbers, a: int, phases: NDArray[np.int8], deadlines: Times, timeouts: Times, k: int, t: int, lo: Lane,
    hi: Lane,
) -> int:  # fmt: skip
    """The quiet path of NO_DATA: every lane had a good sample in time, and its time-out begins again."""
    loud = False
    for i in range(lo, hi):
        loud = loud | (r[a, i] != r[a, i]) | (phases[k, i] != NORMAL) | (deadlines[k, i] <= t)
    if loud:
        return -1
    nearest = t + NEVER // 2
    for i in range(lo, hi):
        deadline = t + timeouts[k, i]
        deadlines[k, i] = deadline
        nearest = min(nearest, deadline)
    return nearest


@compiled(INT(CODE, LANES, F64_2, INT, INT, INT, INT, I64, LANE, LANE, EVENTS, INT))
def _no_data(
    code: Code, lanes: Lanes, r: Numbers, o: int, t: int, sample: int, base: int, soonest: Times, lo: Lane,
    hi: Lane, events: Events, count: int,
) -> int:  # fmt: skip
    """NO_DATA: D the condition's row, A the signal."""
    k, a = code.ops[o, D], code.ops[o, A]
    nearest = _all_heard(r, a, lanes.phases, lanes.deadlines, code.timeouts, k, t, lo, hi)
    if nearest >= 0:
        soonest[0] = min(soonest[0], nearest)
        return count
    every = lanes.phases.shape[1]
    for i in range(lo, hi):
        condition = base + k * every + np.int64(i)
        if lanes.deadlines[k, i] <= t:
            count = _fire(lanes, k, i, condition, sample, events, count)
        if r[a, i] != r[a, i]:
            continue
        if lanes.phases[k, i] == ACTIVE:
            at = max(t, lanes.changed[k, i])
            lanes.phases[k, i] = NORMAL
            lanes.changed[k, i] = at
            count = _emit(events, count, condition, CLEARED, at, 0, sample, lanes.shown, k, i)
        _start(lanes, k, i, t + code.timeouts[k, i], soonest)
    return count


@compiled(NOTHING(F64_2, INT, INT, I64_2, POINTS, INT, INT, LANE, LANE))
def _point(
    r: Numbers, d: int, row: int, lane_points: Times, points: Points, sampled: int, t: int, lo: Lane, hi: Lane,
) -> None:  # fmt: skip
    """What points say at t: unknown once they are stale. `sampled` is the one that speaks now, -1 for none."""
    values, times, stale_after = points.values, points.times, points.stale_after
    for i in range(lo, hi):
        p = lane_points[row, i]
        r[d, i] = math.nan
        if p >= 0 and (p == sampled or t - times[p] <= stale_after[p]):
            r[d, i] = values[p]


@compiled(INT(CODE, LANES, WORK, POINTS, INT, INT, INT, INT, INT, INT, INT, I64, LANE, LANE, EVENTS, INT))
def _run(
    code: Code, lanes: Lanes, work: Work, points: Points, first: int, last: int, sampled: int, bit: int, t: int,
    sample: int, base: int, soonest: Times, lo: Lane, hi: Lane, events: Events, count: int,
) -> int:  # fmt: skip
    """Operations first … last over lanes lo … hi at time t; the number of events by then."""
    ops, constants = code.ops, code.numbers
    r, m, floats, marks, phases = work.numbers, work.truths, lanes.floats, lanes.marks, lanes.phases
    o = first
    while o < last:
        op, d, a, b, c = ops[o, OP], ops[o, D], ops[o, A], ops[o, B], ops[o, C]
        if op >= LT_NUMBER and op <= NE_NUMBER:
            _compare_number(op, r, m, d, a, constants[b], lo, hi)
        elif op == QUIET:
            if _is_quiet(m, a, phases, d, lo, hi):
                o += b
        elif op >= LT and op <= NE:
            _compare(op, r, m, d, a, b, lo, hi)
        elif op in (AND, OR):
            _masks(op, m, d, a, b, lo, hi)
        elif op >= ADD and op <= MOST:
            _numbers(op, r, d, a, b, lo, hi)
        elif op >= RATE and op <= SINCE:
            bits = ops[o, G]
            if bits == 0:
                _function(op, r, m, d, a, b, floats, c, marks, ops[o, E], ops[o, F], ops[o, F], t, lo, hi)
            elif bits & bit != 0:
                _function(op, r, m, d, a, b, floats, c + 1, marks, ops[o, E], ops[o, F], ops[o, F], t, lo, hi)
                floats[c, lo] = r[d, lo]
            else:  # a sample of another signal: as it was
                r[d, lo] = floats[c, lo]
        elif op == NUMBER:
            for i in range(lo, hi):
                r[d, i] = constants[a]
        elif op == LANE_NUMBER:
            for i in range(lo, hi):
                r[d, i] = code.lane_numbers[a, i]
        elif op == LANE_POINT:
            _point(r, d, a, code.lane_points, points, sampled, t, lo, hi)
        elif op == TRUTH:
            for i in range(lo, hi):
                r[d, i] = 1.0 if m[a, i] else 0.0 if m[b, i] else math.nan
        elif op == KEEP:
            for i in range(lo, hi):
                floats[d, i] = r[a, i]
        elif op == OVER:
            _over(ops[o, E], r, d, code.registers, a, c, lo, hi)
        elif op == OVER_GPUS:
            _over_gpus(ops[o, E], r, d, a, b, c, points, t, lo, hi)
        elif op == OVER_PARTS:
            _over_parts(ops[o, E], r, d, code.registers, a, b, c, lo, hi)
        elif op == TELL:
            count = _tell(code, lanes, r, o, t, sample, base, lo, events, count)
        elif op == STEP:
            count = _step(code, lanes, r, m, o, t, sample, base, soonest, lo, hi, events, count)
        else:
            count = _no_data(code, lanes, r, o, t, sample, base, soonest, lo, hi, events, count)
        o += 1
    return count


# -- the faces of the kernel


@compiled(
    NOTHING(
        read_only(numba.float32, 3),
        INT,
        INT,
        read_only(numba.uint8, 2),
        numba.boolean,
        F64_2,
        LANE,
        LANE,
        I64,
    )
)
def _columns(
    values: NDArray[np.float32], s: int, g: int, quality: NDArray[np.uint8], believed: bool, r: Numbers, lo: Lane,
    hi: Lane, counts: Times,
) -> None:  # fmt: skip
    """A block of GPUs of one sample as columns of numbers; what is not good is unknown."""
    for i in range(lo, hi):
        row = g + np.int64(i - lo)
        for field in range(FIELDS):
            r[field, i] = values[s, row, field]
    for field in range(FIELDS):
        for i in range(lo, hi):
            x = r[field, i]
            r[field, i] = x if abs(x) < math.inf else math.nan
    bad = False
    for i in range(lo, hi):
        bad = bad | (quality[s, g + np.int64(i - lo)] != 0)
    if bad or not believed:
        for i in range(lo, hi):
            good = quality[s, g + np.int64(i - lo)] == 0
            counts[NOT_GOOD] += 0 if good else 1
            counts[CORRECTED] += 0 if believed else 1
            if not good or not believed:
                for field in range(FIELDS):
                    r[field, i] = math.nan


@compiled()
def _watching(
    code: Code, lanes: Lanes, work: Work, points: Points, t: int, sample: int, base: int, soonest: Times,
    events: Events, count: int,
) -> int:  # fmt: skip
    """Plant conditions that look at a GPU that had a sample now; `touched` says which functions take it."""
    for k in range(points.touched.shape[0]):
        bits = points.touched[k]
        if bits != 0:
            points.touched[k] = 0
            at = max(t, points.evaluated[k])
            points.evaluated[k] = at
            count = _run(
                code, lanes, work, points, points.code_first[k], points.code_first[k + 1], -1, bits, at, sample,
                base, soonest, np.uint64(0), np.uint64(1), events, count,
            )  # fmt: skip
    return count


@compiled(
    PAIR(
        I64, I64, I64, read_only(numba.float32, 3), read_only(numba.uint8, 2), numba.int64,
        CODE, LANES, WORK, CODE, LANES, WORK, POINTS, I64, EVENTS, I64,
    )
)  # fmt: skip
def frame(
    times_ns: NDArray[np.int64],
    verdicts: NDArray[np.int64],
    members: NDArray[np.int64],
    values: NDArray[np.float32],
    quality: NDArray[np.uint8],
    start: int,
    code: Code,
    lanes: Lanes,
    work: Work,
    plant_code: Code,
    plant: Lanes,
    plant_work: Work,
    points: Points,
    soonest: NDArray[np.int64],
    events: Events,
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """A frame from its sample `start`: (events written, sample to go on at).

    After a sample's GPUs, the plant conditions that look at one of them are evaluated.

    times_ns (S,) and verdicts (S,): corrected times and what became of them; members (G,): the lane of each GPU, -1 for
    one that is not ours; values (S, G, 24); quality (S, G).
    """
    samples, gpus = times_ns.shape[0], members.shape[0]
    room = events.values.shape[0] - 2 * (lanes.phases.size + plant.phases.size)
    count, last, base = 0, code.ops.shape[0], lanes.phases.size
    newest, watch = points.gpu_times, points.watch
    for s in range(start, samples):
        if count > room:
            return count, s
        t = times_ns[s]
        g = 0
        while g < gpus:
            lane = members[g]
            if lane < 0:
                g += 1
                continue
            if verdicts[s] == LATE:
                counts[LATE_COUNT] += 1
                g += 1
                continue
            if t <= newest[lane]:
                counts[OUT_OF_ORDER] += 1
                g += 1
                continue
            newest[lane] = t
            end = g + 1
            while (
                end < gpus
                and end - g < BLOCK
                and members[end] == lane + (end - g)
                and newest[members[end]] < t
            ):
                newest[members[end]] = t
                end += 1
            lo, hi = np.uint64(lane), np.uint64(lane + (end - g))
            _columns(values, s, g, quality, verdicts[s] != UNCERTAIN, work.numbers, lo, hi, counts)
            count = _run(
                code, lanes, work, points, 0, last, -1, ALWAYS, t, s, 0, soonest, lo, hi, events, count
            )  # fmt: skip
            g = end
            for h in range(watch.shape[0]):
                if np.uint64(watch[h, 2]) < hi and lo < np.uint64(watch[h, 3]):
                    points.touched[watch[h, 0]] |= watch[h, 1]
        if watch.shape[0] > 0:
            count = _watching(plant_code, plant, plant_work, points, t, s, base, soonest, events, count)
    return count, samples


@compiled(
    PAIR(
        I64, read_only(numba.int64, 1), read_only(numba.float64, 1), read_only(numba.uint8, 1),
        numba.int64, numba.int64, numba.int64, numba.int64, numba.int64, numba.int64,
        CODE, LANES, WORK, POINTS, I64, EVENTS, I64,
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
    base: int,
    code: Code,
    lanes: Lanes,
    work: Work,
    points: Points,
    soonest: NDArray[np.int64],
    events: Events,
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """Readings from place `start`: (events written, place to go on at). All columns (N,); index -1: not ours."""
    capacity = events.values.shape[0]
    count = 0
    lo, hi = np.uint64(0), np.uint64(1)
    for n in range(start, index.shape[0]):
        p = index[n]
        if p < 0:
            continue
        first, last = points.first[p], points.first[p + 1]
        if count + 2 * (last - first) > capacity:
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
            count = _run(
                code, lanes, work, points, points.code_first[k], points.code_first[k + 1], p, bit, at, 0, base,
                soonest, lo, hi, events, count,
            )  # fmt: skip
    return count, index.shape[0]


@compiled(numba.int64(numba.int64, LANES, numba.int64, I64, I64, numba.int64))
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


@compiled(numba.int64(I64, LANES, LANES, EVENTS))
def fire(conditions: NDArray[np.int64], gpus: Lanes, plant: Lanes, events: Events) -> int:
    """Fire `conditions` in the order given; `events` has room for one each."""
    count, base, width = 0, gpus.phases.size, gpus.phases.shape[1]
    for c in conditions:
        if c < base:
            count = _fire(gpus, c // width, c % width, c, 0, events, count)
        else:
            count = _fire(plant, c - base, 0, c, 0, events, count)
    return count


@compiled(numba.void(numba.int64, CODE, LANES, I64))
def begin(now_ns: int, code: Code, lanes: Lanes, soonest: NDArray[np.int64]) -> None:
    """The first tick: what was never seen is silent from here on, and has a grace: its gateway may still start."""
    rows, width = lanes.deadlines.shape
    for k in range(rows):
        for i in range(width):
            idle = lanes.phases[k, i] == NORMAL and lanes.deadlines[k, i] == NEVER
            if code.timeouts[k, i] != NEVER and idle:
                _start(lanes, k, i, now_ns + code.timeouts[k, i] + START_GRACE_NS, soonest)
