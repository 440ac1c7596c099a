"""Operations one after the other, over a block or over one cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rules.engine.kernel.arrays import (
    BLOCK,
    CODE,
    EVENTS,
    F64_2,
    I64,
    I64_2,
    INT,
    LANES,
    NOTHING,
    POINTS,
    WORK,
    Block,
    Code,
    Events,
    Lanes,
    Points,
    Work,
)
from rules.engine.kernel.assets import over, over_gpus, over_parts
from rules.engine.kernel.cells import (
    compare,
    compare_number,
    find_bounds,
    is_quiet,
    join_masks,
    not_ruled_out,
    numbers,
)
from rules.engine.kernel.codes import (
    ABS,
    ADD,
    AND,
    BOUNDS,
    COUNT_ANEW,
    DIV,
    EQ,
    EQ_NUMBER,
    GE,
    GE_NUMBER,
    GT,
    GT_NUMBER,
    KEEP,
    LACKS,
    LANE_NUMBER,
    LANE_POINT,
    LE,
    LE_NUMBER,
    LEAST,
    LT,
    LT_NUMBER,
    MOST,
    MUL,
    NE,
    NE_NUMBER,
    NEG,
    NORMAL,
    NUMBER,
    OP,
    OR,
    OVER,
    OVER_GPUS,
    OVER_PARTS,
    QUIET,
    RATE,
    RULED_OUT,
    STEP,
    SUB,
    TELL,
    TRUTH,
    A,
    B,
    C,
    D,
    E,
    Numbers,
    Times,
)
from rules.engine.kernel.compiling import compiled
from rules.engine.kernel.conditions import no_data, step_condition, tell_fact
from rules.engine.kernel.functions import function_of_time
from rules.engine.kernel.windows import is_uniform


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
    alike = is_uniform(lane_points, row, block)
    for s in range(block.samples):
        x = s * block.width
        if alike:
            value = _said(lane_points[row, block.lane], points, sampled, times[s])
            for i in range(block.width):
                r[d, x + i] = value
        else:
            for i in range(block.width):
                r[d, x + i] = _said(lane_points[row, block.lane + i], points, sampled, times[s])


@compiled(INT(CODE, LANES, WORK, POINTS, INT, INT, INT, INT, INT, INT, I64, BLOCK, EVENTS, INT))
def run(
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
            o = not_ruled_out(ops, constants, work.bounds, m, phases, o, last, block)
            continue
        if op >= LT_NUMBER and op <= NE_NUMBER:
            compare_number(op, r, m, d, a, constants[b], cells)
        elif op == QUIET:
            if is_quiet(m, a, phases, d, block):
                o += b
        elif op >= LT and op <= NE:
            compare(op, r, m, d, a, b, cells)
        elif op in (AND, OR):
            join_masks(op, m, d, a, b, cells)
        elif op >= ADD and op <= MOST:
            numbers(op, r, d, a, b, cells)
        elif op >= RATE and op <= COUNT_ANEW:
            function_of_time(code, lanes, work, o, bit, block)
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
            find_bounds(r, work.bits, a, work.bounds, cells)
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
            over(ops[o, E], r, d, code.registers, a, c, cells)
        elif op == OVER_GPUS:
            over_gpus(ops[o, E], r, d, a, b, c, points, times, block)
        elif op == OVER_PARTS:
            over_parts(ops[o, E], r, d, code.registers, a, b, c, cells)
        elif op == TELL:
            for s in range(block.samples):
                told_at: Any = sample + np.int64(s)
                count = tell_fact(code, lanes, r, o, times[s], s, told_at, base, events, count)
        elif op == STEP:
            for s in range(block.samples):
                which: Any = sample + np.int64(s)
                count = step_condition(
                    code, lanes, r, m, o, times[s], s * width, which, base, soonest, block, events,
                    count,
                )  # fmt: skip
        else:
            count = no_data(code, lanes, work, o, sample, base, soonest, block, events, count)
        o += 1
    return count


@compiled(INT(CODE, LANES, WORK, POINTS, INT, INT, INT, INT, INT, INT, I64, BLOCK, EVENTS, INT))
def run_cell(
    code: Code, lanes: Lanes, work: Work, points: Points, first: int, last: int, sampled: int, bit: int,
    sample: int, base: int, soonest: Times, block: Block, events: Events, count: int,
) -> int:  # fmt: skip
    """As `run`, for one sample of a plant condition: simple operations on the spot, as a call would take longer."""
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
            function_of_time(code, lanes, work, o, bit, block)
        elif op == OVER:
            over(ops[o, E], r, ops[o, D], code.registers, ops[o, A], ops[o, C], np.uint64(1))
        else:
            count = run(
                code, lanes, work, points, o, o + 1, sampled, bit, sample, base, soonest, block, events, count,
            )  # fmt: skip
        o += 1
    return count
