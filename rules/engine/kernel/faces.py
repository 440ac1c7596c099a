"""What Python calls."""

from __future__ import annotations

import numba
import numpy as np
from numba.experimental import structref
from numpy.typing import NDArray

from rules.engine.kernel.arrays import (
    CODE,
    EVENTS,
    HELD,
    HELD_FIELDS,
    I64,
    INT,
    LANES,
    PAIR,
    Code,
    Events,
    Held,
    Lanes,
    Points,
    Work,
    read_only,
)
from rules.engine.kernel.codes import NEVER, NORMAL, START_GRACE_NS, Times
from rules.engine.kernel.compiling import face
from rules.engine.kernel.conditions import fire_delay, start_delay
from rules.engine.kernel.frames import work_off_frame, work_off_readings


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
    return work_off_frame(
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
    return work_off_readings(
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
            count = fire_delay(gpus, c // width, c % width, c, 0, events, count)
        else:
            count = fire_delay(plant, c - base, 0, c, 0, events, count)
    return count


@face(numba.void(numba.int64, CODE, LANES, I64))
def begin(now_ns: int, code: Code, lanes: Lanes, soonest: NDArray[np.int64]) -> None:
    """The first tick: what was never seen is silent from here on, and has a grace."""
    rows, width = lanes.deadlines.shape
    for k in range(rows):
        for i in range(width):
            idle = lanes.phases[k, i] == NORMAL and lanes.deadlines[k, i] == NEVER
            if code.timeouts[k, i] != NEVER and idle:
                start_delay(lanes, k, i, now_ns + code.timeouts[k, i] + START_GRACE_NS, soonest)
