"""Functions of time over a window, kept in panes of a sixteenth of it.

Rows of state begin at f (numbers) and j (times and panes). All lanes of a block that go through one of them together
have had their newest sample together: `is_uniform` says so, else they go one by one.
"""

from __future__ import annotations

import math

from rules.engine.kernel.arrays import Block, Whole
from rules.engine.kernel.codes import (
    BACK,
    INTEGRAL,
    KEPT,
    LACKING,
    MIN,
    NEVER,
    PANES,
    RATE,
    Numbers,
    Times,
    Truths,
)
from rules.engine.kernel.compiling import compiled


@compiled()
def is_uniform(marks: Times, row: int, block: Block) -> bool:
    first = marks[row, block.lane]
    differs = False
    for i in range(block.lane, block.lane + block.width):
        differs = differs | (marks[row, i] != first)
    return not differs


@compiled()
def is_known(r: Numbers, a: int, bounds: Numbers, block: Block) -> bool:
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
def clear_marks(marks: Times, row: int, value: int, block: Block) -> None:
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
def average(
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
        clear_marks(marks, j, p, block)
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
def extreme(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, x: Whole, look: bool,
    block: Block,
) -> None:  # fmt: skip
    """Rows f …: 17 extremes, and that of the panes that are closed."""
    newest, closed, lane, width = marks[j, block.lane], f + KEPT, block.lane, block.width
    none = math.inf if op == MIN else -math.inf
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            _clear(floats, f + q % KEPT, none, block)
        clear_marks(marks, j, p, block)
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
def count_true(
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
        clear_marks(marks, j, p, block)
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
def deviation(
    r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, p: int, x: Whole, look: bool,
    block: Block,
) -> None:  # fmt: skip
    """Rows f …: 17 counts, 17 means, 17 sums of squared distances (Welford), merged as Chan et al. do (1979)."""
    newest = marks[j, block.lane]
    if p != newest:
        for q in range(max(newest + 1, p - PANES), p + 1):
            for part in range(3):
                _clear(floats, f + part * KEPT + q % KEPT, 0.0, block)
        clear_marks(marks, j, p, block)
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
def area(
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
        clear_marks(marks, j, p, block)
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
def slope(
    op: int, r: Numbers, d: int, a: int, floats: Numbers, f: int, marks: Times, j: int, t: int, p: int, x: Whole,
    last: bool, block: Block,
) -> None:  # fmt: skip
    """RATE and DELTA. Rows f …: 33 last samples of panes, marks j+1 … their times, -NEVER for an empty pane.

    `last`: the sample may be the last one of its pane.
    """
    newest, lane, width = marks[j, block.lane], block.lane, block.width
    if p != newest:
        for q in range(max(newest + 1, p - 2 * PANES), p + 1):
            clear_marks(marks, j + 1 + q % BACK, -NEVER, block)
        clear_marks(marks, j, p, block)
    alike = False
    for q in range(p - PANES, max(p - 2 * PANES, 0) - 1, -1):
        row = q % BACK
        then = marks[j + 1 + row, lane]
        alike = is_uniform(marks, j + 1 + row, block)
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
