"""The example's rules on the simulated plant, in event time: quiet while it is sound, quick when a sensor lies."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gateways.sim.faults import parse_fault
from gateways.sim.plant import Plant
from gateways.sim.sensors import Snapshot
from rules.engine.engine import Engine
from rules.engine.inputs import Identity, Readings, Tick
from rules.engine.outputs import Alarm
from rules.language.load import load_rules
from rules.language.program import Program
from rules.quality import quality_of_status
from rules.site.model import Site
from streams.rule_sets.rule_folder import rule_texts
from streams.site_folder import load_site
from tests.gateways.sim.conftest import SITE

START_NS = 1_700_000_000_000_000_000
FAULT_S = 200
"""By then the windows of the rules in question are full."""


@cache
def program_of(site: Path) -> Program:
    found, _ = load_rules(rule_texts(site, load_site(site)), load_site(site))
    assert found is not None
    return found


class Watched:
    """A plant whose points, but no GPUs, are read once a second by the engines of its units."""

    def __init__(self, site: Site, seed: int, *faults: str, folder: Path = SITE) -> None:
        program = program_of(folder)
        self._plant = Plant(site, seed)
        for fault in faults:
            self._plant.inject(parse_fault(fault))
        self._engines = {unit: Engine(program, site, unit) for unit in site.units}
        points = self._plant.sensors.points
        self._places = {
            unit: [place for place, point in enumerate(points) if site.assets[point.asset].unit == unit]
            for unit in site.units
        }
        self._sequence: Counter[str] = Counter()

    def raised(self, seconds: int) -> dict[tuple[str, str], float]:
        """When each alarm of a plant rule was raised first, in seconds from the start, by rule and asset."""
        found: dict[tuple[str, str], float] = {}
        for second in range(seconds + 1):
            if second:
                self._plant.step(1.0)
            shown = self._plant.points()
            for unit, engine in self._engines.items():
                for one in engine.step([self._tick(unit), self._readings(unit, shown)]):
                    if isinstance(one, Alarm) and not one.rule.startswith("gpu-"):
                        found.setdefault((one.rule, one.asset), (one.raised_ns - START_NS) / 1e9)
        return found

    def _tick(self, unit: str) -> Tick:
        now_ns = START_NS + self._plant.time_ns
        return Tick(unit, Identity("ticker", 0, now_ns // 100_000_000), now_ns)

    def _readings(self, unit: str, shown: Snapshot) -> Readings:
        places = self._places[unit]
        self._sequence[unit] += 1
        return Readings(
            unit,
            Identity("plant-opcua", 1, self._sequence[unit]),
            START_NS + self._plant.time_ns,
            tuple(shown.ids[place] for place in places),
            START_NS + shown.time_ns[places],
            np.zeros(len(places), np.int64),
            shown.values[places],
            np.array([quality_of_status(int(code)) for code in shown.status[places]], np.uint8),
            shown.status[places],
        )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sound_plant_raises_nothing(site: Site, seed: int) -> None:
    """Long enough for every window and delay, and for the job to save its state once."""
    assert Watched(site, seed).raised(1000) == {}


def test_the_small_sound_plant_raises_nothing() -> None:
    """Its loops carry one rack each: their limits are those of one."""
    folder = SITE.parent / "narvik-small"
    assert Watched(load_site(folder), 1, folder=folder).raised(1000) == {}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("fault", "rule", "within_s"), [
    ("sensor_frozen:R01.RackLiquidReturnTemperature", ("rack-temperature-frozen", "R01"), 60),
    ("sensor_drift:R01.RackLiquidReturnTemperature", ("rack-heat-balance-off", "R01"), 120),
    ("sensor_drift:CDU-B.LiquidFlow", ("cdu-flow-differs", "CDU-B"), 90),
])  # fmt: skip
def test_a_sensor_that_lies_is_found(
    site: Site, fault: str, rule: tuple[str, str], within_s: int, seed: int
) -> None:
    """Domain notes of the plant: frozen within 60 s; drift within an hour, and it runs away fast here."""
    found = Watched(site, seed, f"{fault}@{FAULT_S}s").raised(FAULT_S + within_s)
    assert found.keys() == {rule}
    assert found[rule] > FAULT_S
