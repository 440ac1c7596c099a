"""What `headrace bench kernels` measures of one unit: a rule by its phase, cost by number of rules, plant readings.

Rules: programs come from YAML text through the loader, as a site's do; medians of several passes.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any, Final

import numpy as np

from gateways.bench.kernel_load import PERIOD_NS, SAMPLES, START_NS, Share, shares
from rules.engine.engine import Engine
from rules.engine.inputs import Identity, Readings, Tick
from rules.errors import ConfigurationError
from rules.gpu_fields import FIELD_COUNT
from rules.language.load import load_rules
from rules.language.program import Program
from rules.site.model import Point, Site, Unit

BATCH: Final = 500
_FRAME: Final = "{asset}: {value:.0f}"
_LIMITS: Final = (
    "temperature > 9{0} degC", "memory_temperature > 9{0} degC", "power_instant > 209{0} W",
    "power_mean > 209{0} W", "temperature_margin < 1{0} K", "gpu_utilization > 9{0} percent",
    "sm_clock < 19{0} MHz", "xid == 4{0}",
)  # fmt: skip
"""Never true for a quiet GPU; the number is between 0.0 and 9.9."""
_BOTH: Final = "temperature > 9{0} degC and power_instant > 59{0} W"
_WINDOWS: Final = ("rate(temperature, {1} s) > 9{0} K/s", "avg(power_mean, {1} s) > 209{0} W")


def program_of(text: str, site: Site) -> Program:
    """The program of a rule file's text. ConfigurationError with what is wrong with it."""
    program, findings = load_rules({"bench.yaml": text}, site)
    if program is None:
        raise ConfigurationError(findings)
    return program


def many_rules(count: int) -> str:
    """A rule file: of 32 rules 22 limits, 6 pairs of limits, 4 windows of their own; all with delays."""
    rows = ["rules:"]
    for number in range(count):
        kind = number % 32
        if kind < 22:
            when = _LIMITS[kind % len(_LIMITS)]
        elif kind < 28:
            when = _BOTH
        else:
            when = _WINDOWS[kind % len(_WINDOWS)]
        when = when.format(number % 100 / 10, 2 + number // 32 * 2 + kind // 30)
        rows.append(f'  r{number}: {{for: GPU, when: "{when}", on_delay: 1 s, off_delay: 5 s,')
        rows.append(f'    severity: low, message: "{_FRAME}"}}')
    return "\n".join(rows)


def phase_cost_ns(site: Site, passes: int) -> dict[str, float]:
    """Nanoseconds per GPU sample of an engine with one rule: on no GPU true, pending on all, active on all.

    `no_data` is a rule that waits for silence. Each includes what a frame costs without any rule.
    """
    rule = "rules: {one: {for: GPU, when: temperature > %s degC, on_delay: %s, severity: low, message: '%s'}}"
    silent = (
        "rules: {one: {for: GPU, when: no_data(temperature), after: 3 s, severity: low, message: '{asset}'}}"
    )
    programs = {
        "quiet": rule % (95, "1 h", _FRAME),
        "pending": rule % (20, "1 h", _FRAME),
        "active": rule % (20, "0 s", _FRAME),
        "no_data": silent,
    }
    found = {name: _one_unit(site, program_of(text, site)) for name, text in programs.items()}
    return {name: round(1e9 / rate * FIELD_COUNT, 2) for name, rate in readings_per_s(found, passes).items()}


def growth(site: Site, counts: tuple[int, ...], passes: int) -> list[dict[str, Any]]:
    """Readings a second with as many quiet rules, and what each rule costs a GPU sample."""
    found = {str(count): _one_unit(site, program_of(many_rules(count), site)) for count in counts}
    return [
        {
            "rules": int(count),
            "readings_per_s": round(rate),
            "ns_per_sample_and_rule": round(1e9 / rate * FIELD_COUNT / int(count), 2),
        }
        for count, rate in readings_per_s(found, passes).items()
    ]


def readings_per_s(found: dict[str, Share], passes: int) -> dict[str, float]:
    """Readings a second of each, in alternation; the first two seconds of each are not counted."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for number in range(passes + 2):
        for name, share in found.items():
            inputs = [share.next_second() for _ in range(5)]
            begun_s = time.perf_counter()
            for second in inputs:
                share.engine.step(second)
            taken[name] += [time.perf_counter() - begun_s] if number >= 2 else []
    return {
        name: 5 * share.gpus * SAMPLES * FIELD_COUNT / median(taken[name]) for name, share in found.items()
    }


def _one_unit(site: Site, program: Program) -> Share:
    gpus = next(len(unit.gpus) for unit in site.units.values() if unit.gpus)
    return shares(site, program, gpus)[0]


def plant_readings_per_s(site: Site, program: Program, passes: int) -> dict[str, float]:
    """Readings a second of a unit's points, single and at irregular times, in batches; a tick for each batch.

    `all` goes over every point of the unit with the most, `watched` over those that a rule reads.
    """
    unit = max(site.units.values(), key=lambda one: len(one.points))
    read = {
        signal.points[of]
        for rule in program.rules
        for top in (rule.when, rule.until, rule.silent)
        if top is not None
        for asset in rule.assets
        if site.assets[asset].unit == unit.id
        for signal, of in top.signals(asset)
        if signal.op == "point"
    }
    watched = [point for point in unit.points if point.id in read]
    return {
        "all": round(_plant(site, program, unit, list(unit.points), passes)),
        "watched": round(_plant(site, program, unit, watched, passes)),
    }


def _plant(site: Site, program: Program, unit: Unit, points: list[Point], passes: int) -> float:
    if not points:
        return 0.0
    engine = Engine(program, site, unit.id)
    dice = np.random.default_rng(1)
    now_ns, taken = START_NS, []
    engine.step([Tick(unit.id, Identity("ticker", 0, now_ns // PERIOD_NS), now_ns)])
    for number in range(20 * (passes + 1)):
        chosen = [points[index] for index in dice.integers(0, len(points), BATCH)]
        # As long as the points take to say as much, but no longer than a sample is believed to be on its way.
        times_ns = now_ns + np.cumsum(dice.integers(1, 10**9 // max(len(points) // 2, BATCH), BATCH))
        now_ns = int(times_ns[-1])
        tick = Tick(unit.id, Identity("ticker", 0, now_ns // PERIOD_NS), now_ns)
        batch = Readings(
            unit.id,
            Identity(chosen[0].source, 1, number + 1),
            now_ns,
            tuple(point.id for point in chosen),
            times_ns,
            np.zeros(BATCH, np.int64),
            np.array([_quiet(point) for point in chosen]) * dice.uniform(0.999, 1.001, BATCH),
            np.zeros(BATCH, np.uint8),
            np.zeros(BATCH, np.uint32),
        )
        begun_s = time.perf_counter()
        engine.step([tick, batch])
        taken.append(time.perf_counter() - begun_s)
    refused = sum(engine.counters[name] for name in ("late", "out_of_order", "clock_corrected"))
    assert not refused, f"{refused} readings of the bench were not taken"
    return BATCH / median(taken[20:])


def _quiet(point: Point) -> float:
    """A value in the middle of things; switches that say a fault are off, others on."""
    if point.high - point.low <= 1 or not np.isfinite(point.high):
        return 1.0 if point.point_type in {"Status", "Available"} else 0.0
    share = 0.3 if "Temperature" in point.point_type else 0.6
    return point.low + share * (point.high - point.low)
