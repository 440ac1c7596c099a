"""A frame of GPUs, or readings of plant points, in the order of their samples."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from rules.engine.kernel.arrays import (
    BLOCK,
    CODE,
    EVENTS,
    HELD_FIELDS,
    I64,
    INT,
    LANES,
    NOTHING,
    PAIR,
    POINTS,
    WORK,
    Block,
    Code,
    Events,
    Lanes,
    Points,
    Work,
    read_only,
)
from rules.engine.kernel.cells import find_bounds
from rules.engine.kernel.codes import (
    ALWAYS,
    CELLS,
    CORRECTED,
    FIELDS,
    HIGH,
    LACKING,
    LANES_TOGETHER,
    LATE,
    LATE_COUNT,
    LOW,
    NOT_GOOD,
    OUT_OF_ORDER,
    UNCERTAIN,
    Numbers,
    Times,
)
from rules.engine.kernel.compiling import compiled
from rules.engine.kernel.run import run, run_cell


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
        find_bounds(r, work.bits, field, bounds, block.samples * width)
        if bounds[field, LOW] == -math.inf or bounds[field, HIGH] == math.inf:
            for x in range(block.samples * width):
                value = r[field, x]
                r[field, x] = value if abs(value) < math.inf else math.nan
            find_bounds(r, work.bits, field, bounds, block.samples * width)
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
def work_off_frame(
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
            count = run(
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
                count = run_cell(
                    plant_code, plant, plant_work, points, begin, end, -1, bits, s, base, soonest, block, events,
                    count,
                )  # fmt: skip
            else:
                count = run(
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
def work_off_readings(
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
            count = run_cell(
                code, lanes, work, points, points.code_first[k], points.code_first[k + 1], p, bit, 0, base,
                soonest, block, events, count,
            )  # fmt: skip
    return count, index.shape[0]
