"""What becomes of a condition: delays, being unknown, silence; and the events that say so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rules.engine.kernel.arrays import (
    BLOCK,
    CODE,
    EVENTS,
    F64_2,
    I64,
    INT,
    LANES,
    NOTHING,
    TRUTHS,
    WHOLE,
    WORK,
    Block,
    Code,
    Events,
    Lanes,
    Whole,
    Work,
)
from rules.engine.kernel.codes import (
    ACTIVE,
    AT,
    BY_DEADLINE,
    CLEARED,
    CLEARING,
    CONDITION,
    DELAY,
    FACT,
    KNOWN,
    NEVER,
    NORMAL,
    OFF,
    ON,
    RAISED,
    RAISING,
    SAMPLE,
    TOLD,
    TRANSITION,
    UNKNOWN,
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
from rules.engine.kernel.windows import is_known


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
def start_delay(lanes: Lanes, k: int, i: int, deadline: int, soonest: Times) -> None:
    lanes.deadlines[k, i] = deadline
    soonest[0] = min(soonest[0], deadline)


@compiled(NOTHING(LANES, INT, WHOLE, INT))
def _stop(lanes: Lanes, k: int, i: int, phase: int) -> None:
    lanes.phases[k, i] = phase
    lanes.held[k, i] = 0
    lanes.deadlines[k, i] = NEVER


@compiled(INT(LANES, INT, WHOLE, INT, INT, EVENTS, INT))
def fire_delay(lanes: Lanes, k: int, i: int, condition: int, sample: int, events: Events, count: int) -> int:
    """The delay or time-out is over: its transition, stamped with the deadline itself."""
    at = lanes.deadlines[k, i]
    raised = lanes.phases[k, i] != CLEARING
    _stop(lanes, k, i, ACTIVE if raised else NORMAL)
    lanes.changed[k, i] = at
    return _emit(events, count, condition, RAISED if raised else CLEARED, at, 1, sample, lanes.shown, k, i)


@compiled(INT(CODE, LANES, F64_2, TRUTHS, INT, INT, WHOLE, INT, INT, I64, BLOCK, EVENTS, INT))
def step_condition(
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
            count = fire_delay(lanes, k, i, condition, sample, events, count)
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
                start_delay(lanes, k, i, t + lanes.remaining[k, i], soonest)
        else:
            # A transition never lies before the last one, whatever came late.
            at = max(t, lanes.changed[k, i])
            if delay > 0:
                lanes.phases[k, i] = running
                start_delay(lanes, k, i, at + delay, soonest)
            else:
                lanes.phases[k, i] = done
                lanes.changed[k, i] = at
                count = _emit(events, count, condition, transition, at, 0, sample, lanes.shown, k, i)
    return count


@compiled()
def tell_fact(
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
    loud = not is_known(r, a, bounds, block)
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
def no_data(
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
                count = fire_delay(lanes, k, i, condition, which, events, count)
            if r[a, x + n] != r[a, x + n]:
                continue
            if lanes.phases[k, i] == ACTIVE:
                if t + code.timeouts[k, i] <= lanes.changed[k, i]:
                    continue  # its time-out was over when the alarm was raised: it came late, and ends no silence
                at = max(t, lanes.changed[k, i])
                lanes.phases[k, i] = NORMAL
                lanes.changed[k, i] = at
                count = _emit(events, count, condition, CLEARED, at, 0, which, lanes.shown, k, i)
            start_delay(lanes, k, i, t + code.timeouts[k, i], soonest)
    return count
