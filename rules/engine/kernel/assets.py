"""OVER and its like: one number of many assets, of a block's registers, of GPUs, or of parts that other units tell."""

from __future__ import annotations

import math

import numpy as np

from rules.engine.kernel.arrays import Block, Points, Whole
from rules.engine.kernel.codes import COVERAGE, HIGHEST, HOW_MANY, LOWEST, MEAN, Numbers, Times
from rules.engine.kernel.compiling import compiled


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
def over(kind: int, r: Numbers, d: int, registers: Times, first: int, members: int, cells: Whole) -> None:
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
def over_gpus(
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
def over_parts(
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
