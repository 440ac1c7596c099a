"""The simulated plant in event time: what gateways and ticker would put on the log, as fast as it can be computed.

Rules: no clock, no process, no bus; the same site, seed and faults give the same inputs. Samples stand before the tick
of their time, as on a log whose ticker holds back; nothing acts on the plant but its own PLC.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from gateways.sim.faults import Fault
from gateways.sim.frames import frame_sources
from gateways.sim.plant import Plant
from gateways.sim.telemetry import Telemetry
from rules.engine.inputs import Frame, Identity, Input, Readings, Tick
from rules.quality import quality_of_status
from rules.site.model import Site

START_NS: Final = 1_800_000_000_000_000_000
STEP_NS: Final = 100_000_000


class EventTimePlant:
    """A plant whose clock is its own step. `now_ns`: event time of the last step."""

    def __init__(self, site: Site, seed: int) -> None:
        self.plant = Plant(site, seed)
        self._site = site
        self._telemetry = Telemetry(self.plant)
        self._frames = frame_sources(site, ("simulator", "nvml"))
        self._sequences: Counter[tuple[str, str]] = Counter()
        points = self.plant.sensors.points
        self._period_ns = np.array([max(point.period_ns // STEP_NS, 1) * STEP_NS for point in points])
        unit_of = [site.assets[point.asset].unit for point in points]
        self._groups = {
            (unit, source): np.array(
                [p for p, point in enumerate(points) if (unit_of[p], point.source) == (unit, source)], np.intp
            )
            for unit, source in dict.fromkeys(
                (u, point.source) for u, point in zip(unit_of, points, strict=True)
            )
        }

    @property
    def now_ns(self) -> int:
        """Event time of the last step."""
        return START_NS + self.plant.time_ns

    def inject(self, fault: Fault) -> None:
        """As `Plant.inject`; `at_s` counts from the plant's start."""
        self.plant.inject(fault)

    def step(self) -> dict[str, list[Input]]:
        """The inputs of the next 100 ms, by unit, in the order of the log."""
        inputs: dict[str, list[Input]] = {unit: [] for unit in self._site.units}
        if self.plant.time_ns == 0:
            self._tick(inputs)
        self.plant.step(STEP_NS / 1e9)
        self._telemetry.update(STEP_NS / 1e9)
        for source in self._frames:
            if self.plant.time_ns % source.period_ns < STEP_NS:
                for columns in source.columns(self._telemetry, self.now_ns):
                    identity = self._identity(columns.unit, source.id)
                    inputs[columns.unit].append(Frame(columns.unit, identity, self.now_ns, *columns[1:]))
        self._readings(inputs)
        if self.now_ns % self._site.tick_ns == 0:
            self._tick(inputs)
        return inputs

    def _identity(self, unit: str, source: str) -> Identity:
        self._sequences[unit, source] += 1
        return Identity(source, 1, self._sequences[unit, source])

    def _tick(self, inputs: dict[str, list[Input]]) -> None:
        identity = Identity("ticker", 0, self.now_ns // self._site.tick_ns)
        for unit, into in inputs.items():
            into.append(Tick(unit, identity, self.now_ns))

    def _readings(self, inputs: dict[str, list[Input]]) -> None:
        due = self.plant.time_ns % self._period_ns == 0
        if not due.any():
            return
        shown = self.plant.points()
        due &= ~self.plant.sensors.stale
        for (unit, source), places in self._groups.items():
            at = places[due[places]]
            if len(at):
                quality = np.array([quality_of_status(int(code)) for code in shown.status[at]], np.uint8)
                inputs[unit].append(
                    Readings(
                        unit,
                        self._identity(unit, source),
                        self.now_ns,
                        tuple(shown.ids[p] for p in at),
                        shown.time_ns[at] + START_NS,
                        np.zeros(len(at), np.int64),
                        shown.values[at],
                        quality,
                        shown.status[at],
                    )
                )
