"""Signals that cross every limit of `tests/golden/functions` again and again: triangles of whole numbers, and holes.

Rules: whole numbers and halves only, so that some samples lie on a limit exactly; what is bad or silent, and when,
stands in `SILENT`, `BAD` and `STANDING`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from gateways.bench.event_time_run import Step
from gateways.sim.event_time import START_NS
from rules.engine.inputs import Frame, Identity, Input, Readings, Tick
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.quality import BAD_NO_COMMUNICATION, GOOD_STATUS, Quality
from rules.site.model import Site

S: Final = 1_000_000_000
SILENT: Final = {
    "R1.RackPower": (22, 28),
    "R3.RackPower": (58, 66),
    "CDU-1.LiquidFlow": (68, 76),
    "R2": (40, 48),
}
"""Points and racks of which nothing is heard from one second to before another."""
BAD: Final = {"R2.RackPower": (50, 53), "R2.RackLiquidFlow": (54, 56), "R1": (30, 32)}
STANDING: Final = {"R2.RackLiquidFlow": (30, 38)}


def waves(site: Site, seconds: int) -> Iterator[Step]:
    """Points each second, GPUs two samples at a time, a tick every 500 ms behind them."""
    heard = dict.fromkeys(("hall", "annex"), 0)
    for half in range(2 * seconds + 1):
        at_s, now_ns = half // 2, START_NS + half * S // 2
        inputs: dict[str, list[Input]] = {unit: [] for unit in site.units}
        for unit in site.units:
            if half % 2 == 0 and half:
                heard[unit] += 1
                inputs[unit].append(_readings(site, unit, heard[unit], at_s))
        if half % 4 == 0 and half:
            for number, rack in enumerate(("R1", "R2")):
                if not _lies(SILENT, rack, at_s):
                    heard[rack] = heard.get(rack, 0) + 1
                    inputs["hall"].append(
                        _frame(rack, number, sum(heard.get(one, 0) for one in ("R1", "R2")), at_s)
                    )
        for unit in site.units:
            tick = Identity("ticker", 0, now_ns // site.tick_ns)
            inputs[unit].append(Tick(unit, tick, now_ns))
        yield now_ns, inputs


def triangle(at_s: int, period_s: int, low: int, high: int) -> int:
    """Up and down between low and high, a whole number at each second."""
    place = at_s % period_s
    return low + (high - low) * min(place, period_s - place) * 2 // period_s


def _lies(spans: dict[str, tuple[int, int]], name: str, at_s: int) -> bool:
    first, end = spans.get(name, (0, 0))
    return first <= at_s < end


def _readings(site: Site, unit: str, sequence: int, at_s: int) -> Readings:
    points = [p.id for p in site.units[unit].points if not _lies(SILENT, p.id, at_s)]
    values = [_shown(point, at_s) for point in points]
    bad = np.array([_lies(BAD, point, at_s) for point in points])
    times = np.full(len(points), START_NS + at_s * S)
    return Readings(
        unit, Identity("plc", 1, sequence), START_NS + at_s * S, tuple(points), times, np.zeros(len(points), np.int64),
        np.array(values), np.where(bad, Quality.BAD, Quality.GOOD).astype(np.uint8),
        np.where(bad, BAD_NO_COMMUNICATION, GOOD_STATUS).astype(np.uint32),
    )  # fmt: skip


def _shown(point: str, at_s: int) -> float:
    asset, _, kind = point.partition(".")
    number = int(asset[-1])
    at_s = STANDING[point][0] if _lies(STANDING, point, at_s) else at_s
    if kind == "RackPower":
        return float(triangle(at_s + 7 * number, 36, 20, 80))
    if kind == "RackLiquidFlow":
        return float(triangle(at_s + 9 * number, 54, 90, 240))
    return float(triangle(at_s, 60, 400, 800))


def _frame(rack: str, number: int, sequence: int, at_s: int) -> Frame:
    """Two GPUs, at the second before and at this one."""
    values = np.full((2, 2, FIELD_COUNT), np.nan, np.float32)
    for sample in range(2):
        for gpu in range(2):
            then_s = at_s - 1 + sample + 13 * number + 5 * gpu
            values[sample, gpu, FIELD_INDEX["temperature"]] = triangle(then_s, 50, 90, 140) / 2
            values[sample, gpu, FIELD_INDEX["power_instant"]] = triangle(then_s, 38, 700, 1300)
    times = np.array([START_NS + (at_s - 1) * S, START_NS + at_s * S])
    quality = np.full((2, 2), Quality.BAD if _lies(BAD, rack, at_s) else Quality.GOOD, np.uint8)
    return Frame(
        "hall", Identity("gpus", 1, sequence), START_NS + at_s * S, rack, times, np.arange(2, dtype=np.uint16), values,
        quality, np.full((2, 2), -1, np.int64),
    )  # fmt: skip
