"""Functions of time: of a window, smoothed or summed up, or begun anew when something was true."""

from __future__ import annotations

import math

import numpy as np

from rules.engine.kernel.arrays import Block, Code, Lanes, Whole, Work
from rules.engine.kernel.codes import (
    AVG,
    AVG_ANEW,
    COUNT,
    COUNT_ANEW,
    CUSUM,
    DELTA_ANEW,
    EWMA,
    INTEGRAL,
    INTEGRAL_ANEW,
    MAX,
    MAX_ANEW,
    MIN,
    MIN_ANEW,
    NEVER,
    OP,
    PANES,
    RATE_ANEW,
    SINCE,
    STDDEV,
    STDDEV_ANEW,
    TWA,
    TWA_ANEW,
    A,
    B,
    C,
    D,
    E,
    F,
    G,
    Numbers,
    Times,
    Truths,
)
from rules.engine.kernel.compiling import compiled
from rules.engine.kernel.windows import (
    area,
    average,
    clear_marks,
    count_true,
    deviation,
    extreme,
    is_known,
    is_uniform,
    slope,
)


@compiled()
def _smooth(
    r: Numbers, d: int, a: int, bounds: Numbers, floats: Numbers, f: int, marks: Times, j: int, times: Times,
    tau_ns: int, block: Block,
) -> None:  # fmt: skip
    """EWMA. Row f: the value, marks j when it was. Backward Euler: no exponential, whose last bit is the library's."""
    lane, width, tau = block.lane, block.width, tau_ns / 1e9
    before = marks[j, lane]
    if is_known(r, a, bounds, block) and is_uniform(marks, j, block):
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
        clear_marks(marks, j, before, block)
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
    known = op != COUNT and is_known(r, a, bounds, block)
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
        together = s > 0 or is_uniform(marks, j, block)
        if op in (TWA, INTEGRAL):
            together = together and is_uniform(marks, j + 3, block)
        step = block.width if together else np.uint64(1)
        i = np.uint64(0)
        while i < block.width:
            x, some = (
                s * block.width + i,
                Block(block.lane + i, step, block.samples, block.place, block.places),
            )
            if op == AVG:
                average(r, d, a, floats, f, marks, j, p, x, look, some)
            elif op in (MIN, MAX):
                extreme(op, r, d, a, floats, f, marks, j, p, x, look, some)
            elif op == COUNT:
                count_true(r, m, d, a, b, floats, f, marks, j, p, x, some)
            elif op == STDDEV:
                deviation(r, d, a, floats, f, marks, j, p, x, look, some)
            elif op in (TWA, INTEGRAL):
                area(op, r, d, a, floats, f, marks, j, t, pane, x, some)
            else:
                slope(op, r, d, a, floats, f, marks, j, t, p, x, last, some)
            i += step


@compiled()
def function_of_time(code: Code, lanes: Lanes, work: Work, o: int, bit: int, block: Block) -> None:
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
