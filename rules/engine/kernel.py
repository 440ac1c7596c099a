"""The hot path: samples through conditions, in machine code.

Rules that it obeys:
- Bit-identical results come first: no fastmath, no parallel, no function whose result depends on a library.
- Tables and state are arguments and callees are in this file: Numba's cache notices neither a changed global
  array nor a changed callee in another file.
- Order of events: sample, then lane, then rule. The caller decides nothing about it.
- Time is int64 nanoseconds; the caller has corrected it (`engine.event_time`), sums can't overflow below
  2**62.

A *condition* is one rule on one asset. GPU conditions are lane-major (`lane * gpu_rules + rule`), so that a
GPU's rules lie together; those of plant points follow, and `point_first`/`point_conditions` say which hang
on a point. `tests/rules/engine/twin.py` is the slow and obvious form of all this.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from rules.engine.arrays import (
    EVENTS,
    I64,
    PAIR,
    STATE,
    TABLES,
    Events,
    State,
    Tables,
    compiled,
    read_only,
)

VALUE, RATE, NO_DATA = range(3)
OPERATORS = ("<", "<=", ">", ">=", "==", "!=")
LT, LE, GT, GE, EQ, NE = range(6)

NORMAL, RAISING, ACTIVE, CLEARING = range(4)
"""Phases of a condition: not true; true, on-delay running; in alarm; false again, off-delay running."""

DEADLINE, REMAINING, CHANGED = range(3)
"""Rows of `State.timers`: when the running delay ends, what is left of a held one, the last transition."""
PHASE, HELD = range(2)

KIND, OPERATOR, UNTIL_OPERATOR, FIELD, WINDOW, SPACING, ON_DELAY, OFF_DELAY = range(8)
"""Columns of `Tables.rules`. FIELD is the column of a frame; SPACING the least distance of kept samples."""

RAISED, CLEARED = range(2)
CONDITION, TRANSITION, AT, BY_DEADLINE = range(4)
"""Columns of `Events.what`."""

USABLE, UNCERTAIN, LATE = range(3)
"""What became of a sample's time."""

OUT_OF_ORDER, NOT_GOOD, LATE_COUNT, CORRECTED = range(4)
"""Entries of the counts that a kernel adds to, in samples (a GPU's sample is 24 readings)."""

NEVER = 1 << 62
START_GRACE_NS = 10_000_000_000
RING = 34
"""Kept samples of a rate: 32 steps of a window, one more on each side."""


@compiled()
def _compare(operator: int, value: float, limit: float) -> bool:
    if operator == LT:
        return value < limit
    if operator == LE:
        return value <= limit
    if operator == GT:
        return value > limit
    if operator == GE:
        return value >= limit
    if operator == EQ:
        return value == limit
    return value != limit


@compiled()
def _emit(
    events: Events, count: int, condition: int, transition: int, at: int, by_deadline: int, value: float
) -> int:
    events.what[count, CONDITION] = condition
    events.what[count, TRANSITION] = transition
    events.what[count, AT] = at
    events.what[count, BY_DEADLINE] = by_deadline
    events.values[count] = value
    return count + 1


@compiled()
def _start(state: State, c: int, deadline: int) -> None:
    state.timers[DEADLINE, c] = deadline
    state.next_deadline[0] = min(state.next_deadline[0], deadline)


@compiled()
def _stop(state: State, c: int, phase: int) -> None:
    state.phases[PHASE, c] = phase
    state.phases[HELD, c] = 0
    state.timers[DEADLINE, c] = NEVER


@compiled()
def _fire(state: State, c: int, events: Events, count: int) -> int:
    """The delay or time-out of condition `c` is over: its transition, stamped with the deadline itself."""
    at = state.timers[DEADLINE, c]
    raised = state.phases[PHASE, c] != CLEARING
    _stop(state, c, ACTIVE if raised else NORMAL)
    state.timers[CHANGED, c] = at
    return _emit(events, count, c, RAISED if raised else CLEARED, at, 1, state.values[c])


@compiled()
def _rate(tables: Tables, state: State, c: int, rule: int, t: int, value: float) -> float:
    """Slope per second to the newest kept sample that is a window old; NaN if none, or older than two
    windows.
    """
    ring = tables.rings[c]
    times, values = state.ring_times[ring], state.ring_values[ring]
    window, spacing = tables.rules[rule, WINDOW], tables.rules[rule, SPACING]
    place, held = state.ring_ends[ring, 0], state.ring_ends[ring, 1]
    slope = math.nan
    # Kept samples are in the order of time: halve until the newest one that is a window old.
    nearest, beyond = 1, held + 1
    while nearest < beyond:
        back = (nearest + beyond) // 2
        if t - times[place - back if back <= place else place - back + RING] >= window:
            beyond = back
        else:
            nearest = back + 1
    if nearest <= held:
        k = place - nearest if nearest <= place else place - nearest + RING
        age = t - times[k]
        if age <= 2 * window:
            slope = (value - values[k]) / (age / 1e9)
    if held == 0 or t - times[place - 1] >= spacing:
        times[place] = t
        values[place] = value
        state.ring_ends[ring, 0] = (place + 1) % RING
        state.ring_ends[ring, 1] = min(held + 1, RING)
    return slope


@compiled()
def _no_data(tables: Tables, state: State, c: int, t: int, good: bool, events: Events, count: int) -> int:
    if not good:
        return count
    if state.phases[PHASE, c] == ACTIVE:
        at = max(t, state.timers[CHANGED, c])
        state.phases[PHASE, c] = NORMAL
        state.timers[CHANGED, c] = at
        count = _emit(events, count, c, CLEARED, at, 0, math.nan)
    _start(state, c, t + tables.timeouts[c])
    return count


@compiled()
def _sample(
    tables: Tables,
    state: State,
    c: int,
    rule: int,
    t: int,
    value: float,
    good: bool,
    events: Events,
    count: int,
) -> int:
    """One sample for one condition; at most two transitions."""
    if state.timers[DEADLINE, c] <= t:
        count = _fire(state, c, events, count)
    kind = tables.rules[rule, KIND]
    if kind == NO_DATA:
        return _no_data(tables, state, c, t, good, events, count)
    if good and kind == RATE:
        value = _rate(tables, state, c, rule, t, value)
    timers, phases = state.timers, state.phases
    phase = phases[PHASE, c]
    if not good or math.isnan(value):
        # Unknown neither raises nor clears; a running delay stands still until the next known sample.
        if phase in (RAISING, CLEARING) and phases[HELD, c] == 0:
            timers[REMAINING, c] = timers[DEADLINE, c] - t
            timers[DEADLINE, c] = NEVER
            phases[HELD, c] = 1
        return count
    state.values[c] = value
    if phase in (NORMAL, RAISING):
        true = _compare(tables.rules[rule, OPERATOR], value, tables.limits[0, c])
        delay = tables.rules[rule, ON_DELAY]
        back, running, done, transition = NORMAL, RAISING, ACTIVE, RAISED
    else:
        true = _compare(tables.rules[rule, UNTIL_OPERATOR], value, tables.limits[1, c])
        delay = tables.rules[rule, OFF_DELAY]
        back, running, done, transition = ACTIVE, CLEARING, NORMAL, CLEARED
    if not true:
        if phase != back:
            _stop(state, c, back)
    elif phase == running:
        if phases[HELD, c] != 0:
            phases[HELD, c] = 0
            _start(state, c, t + timers[REMAINING, c])
    else:
        # A transition never lies before the last one, whatever came late.
        at = max(t, timers[CHANGED, c])
        if delay > 0:
            phases[PHASE, c] = running
            _start(state, c, at + delay)
        else:
            phases[PHASE, c] = done
            timers[CHANGED, c] = at
            count = _emit(events, count, c, transition, at, 0, value)
    return count


@compiled(
    PAIR(
        I64, I64, I64, read_only(numba.float32, 3), read_only(numba.uint8, 2), numba.int64, numba.int64,
        TABLES, STATE, EVENTS, I64,
    )
)  # fmt: skip
def frame(
    times_ns: NDArray[np.int64],
    verdicts: NDArray[np.int64],
    lanes: NDArray[np.int64],
    values: NDArray[np.float32],
    quality: NDArray[np.uint8],
    start: int,
    gpu_rules: int,
    tables: Tables,
    state: State,
    events: Events,
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """A frame from its cell `start` (sample * GPUs + GPU): (events written, cell to go on at).

    times_ns (S,) and verdicts (S,): corrected times and what became of them; lanes (G,), -1 for a GPU that
    is not ours; values (S, G, 24); quality (S, G).
    """
    gpus = lanes.shape[0]
    cells = times_ns.shape[0] * gpus
    room = events.values.shape[0] - 2 * gpu_rules
    # Every use of a tuple's array counts a reference: in the inner loop they are locals.
    rows, limits, timeouts = tables.rules, tables.limits, tables.timeouts
    timers, phases, last, soonest = state.timers, state.phases, state.values, state.next_deadline
    newest = state.newest_gpu
    count = 0
    for cell in range(start, cells):
        if count > room:
            return count, cell
        s = cell // gpus
        g = cell - s * gpus
        lane = lanes[g]
        if lane < 0:
            continue
        if verdicts[s] == LATE:
            counts[LATE_COUNT] += 1
            continue
        t = times_ns[s]
        if t <= newest[lane]:
            counts[OUT_OF_ORDER] += 1
            continue
        newest[lane] = t
        good = True
        if verdicts[s] == UNCERTAIN:
            counts[CORRECTED] += 1
            good = False
        if quality[s, g] != 0:
            counts[NOT_GOOD] += 1
            good = False
        for rule in range(gpu_rules):
            c = lane * gpu_rules + rule
            value = float(values[s, g, rows[rule, FIELD]])
            known = good and math.isfinite(value)
            if known and phases[PHASE, c] == NORMAL:
                # Nearly every sample of nearly every condition ends here, as it would in `_sample`.
                kind = rows[rule, KIND]
                if kind == VALUE and not _compare(rows[rule, OPERATOR], value, limits[0, c]):
                    last[c] = value
                    continue
                if kind == NO_DATA and timers[DEADLINE, c] > t:
                    timers[DEADLINE, c] = t + timeouts[c]
                    soonest[0] = min(soonest[0], timers[DEADLINE, c])
                    continue
            count = _sample(tables, state, c, rule, t, value, known, events, count)
    return count, cells


@compiled(
    PAIR(
        I64, read_only(numba.int64, 1), read_only(numba.float64, 1), read_only(numba.uint8, 1),
        numba.int64, numba.int64, numba.int64, numba.int64, numba.int64, TABLES, STATE, EVENTS, I64,
    )
)  # fmt: skip
def readings(
    points: NDArray[np.int64],
    times_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    quality: NDArray[np.uint8],
    ingest_ns: int,
    now_ns: int,
    tolerance_ns: int,
    lateness_ns: int,
    start: int,
    tables: Tables,
    state: State,
    events: Events,
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """Readings from index `start`: (events written, index to go on at). All columns (N,); points -1: not
    ours.
    """
    capacity = events.values.shape[0]
    count = 0
    for i in range(start, points.shape[0]):
        p = points[i]
        if p < 0:
            continue
        first, last = tables.point_first[p], tables.point_first[p + 1]
        if count + 2 * (last - first) > capacity:
            return count, i
        t = times_ns[i]
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
        if t <= state.newest_point[p]:
            counts[OUT_OF_ORDER] += 1
            continue
        state.newest_point[p] = t
        if not good:
            counts[CORRECTED] += 1
        if quality[i] != 0:
            counts[NOT_GOOD] += 1
            good = False
        value = values[i]
        known = good and math.isfinite(value)
        for k in range(first, last):
            c = tables.point_conditions[k]
            count = _sample(tables, state, c, tables.condition_rule[c], t, value, known, events, count)
    return count, points.shape[0]


@compiled(numba.int64(numba.int64, STATE, I64))
def due(now_ns: int, state: State, found: NDArray[np.int64]) -> int:
    """Conditions whose deadline is not after `now_ns` into `found` (C,), unsorted; sets the next deadline
    anew.
    """
    count = 0
    nearest = NEVER
    for c in range(state.timers.shape[1]):
        deadline = state.timers[DEADLINE, c]
        if deadline <= now_ns:
            found[count] = c
            count += 1
        else:
            nearest = min(nearest, deadline)
    state.next_deadline[0] = nearest
    return count


@compiled(numba.int64(I64, STATE, EVENTS))
def fire(conditions: NDArray[np.int64], state: State, events: Events) -> int:
    """Fire `conditions` in the order given; `events` has room for one each."""
    count = 0
    for c in conditions:
        count = _fire(state, c, events, count)
    return count


@compiled(numba.void(numba.int64, TABLES, STATE))
def begin(now_ns: int, tables: Tables, state: State) -> None:
    """The first tick: what was never seen is silent from here on, and has a grace: its gateway may still start."""
    for c in range(state.timers.shape[1]):
        idle = state.phases[PHASE, c] == NORMAL and state.timers[DEADLINE, c] == NEVER
        if tables.rules[tables.condition_rule[c], KIND] == NO_DATA and idle:
            _start(state, c, now_ns + tables.timeouts[c] + START_GRACE_NS)
