"""The simulated plant as a whole: `step`, `write`, `inject`, `points`, and the state that the sensors read.

Rules: no clock, no I/O: time is what `step` was given; the same site, seed, steps, writes and faults give the same
state, bit by bit. Faults change parameters (`effects.py`) or sensors (`sensors.py`); nobody else knows of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateways.sim import build, setpoints
from gateways.sim.effects import apply_faults, resolve
from gateways.sim.faults import Fault
from gateways.sim.layout import layout_of
from gateways.sim.physics_curves import Array, exchanged_heat
from gateways.sim.physics_gpus import Gpus
from gateways.sim.physics_power import Grid
from gateways.sim.plc import Plc
from gateways.sim.sensors import Sensors, Snapshot
from gateways.sim.valves import RACK_DESIGN, Leaks, Valves
from rules.site.model import Site

SUPPLY_C = 22.0
WARM_UP_S = 600.0


@dataclass(frozen=True, slots=True)
class Weather:
    """Held constant: a demonstration lasts minutes."""

    outdoor_c: float = -2.0
    hall_c: float = 24.0
    dew_c: float = 9.0


class Plant:
    """A plant built from a site file. It starts warmed up, at its working point; `time_s` counts from there."""

    def __init__(self, site: Site, seed: int = 1, plc: bool = True) -> None:
        self.layout = layout = layout_of(site)
        setpoints.check_actuators(layout)
        self._random = np.random.Generator(np.random.PCG64([seed, 0]))
        self.coolant = build.coolant(layout)
        self.rows = build.build_rows(layout, self._random)
        self.gpus = Gpus.create(
            len(layout.gpu_tray), build.build_gpu_design(layout, self.rows), SUPPLY_C, self._random
        )
        self.pumps = build.build_pumps(layout)
        self.facility = build.build_facility(layout, self.rows)
        self.hydro = build.build_hydro(layout)
        self.feeds = build.build_feeds(layout)
        self.grid = Grid()
        self.weather = Weather()
        trays, racks, rows = len(layout.tray_rack), len(layout.rack_row), len(self.rows.supply_c)
        critical_c = layout.constants("GPU", "temperature_critical")
        self.plc = Plc.create(rows, trays, racks, float(critical_c.min()), plc)
        self.valves = Valves.create(rows, racks, len(layout.sink_on_heat_pump), SUPPLY_C)
        self.leaks = Leaks.create(trays, racks, layout.constants("CDU", "coolant_volume"))
        self.rack_power_w = np.zeros(racks)
        self.rack_on = np.ones(racks)
        self.rack_dark_request = np.zeros(racks)
        self.xid = np.zeros(len(layout.gpu_tray), dtype=np.int64)
        self.time_ns = 0
        self._job_phase = self._random.uniform(0.0, 2.0 * np.pi, rows)
        self._job_period_s = self._random.uniform(60.0, 180.0, rows)
        self._gpu_rack = layout.gpu_rack
        self._gpu_row = layout.rack_row[layout.gpu_rack]
        self._other_w = layout.constants("Rack", "other_power") * 1e3
        self._trays_per_rack = np.maximum(np.bincount(layout.tray_rack, minlength=racks), 1)
        self._waiting: list[Fault] = []
        self._active: list[Fault] = []
        self.sensors = Sensors(self, seed)
        self._warm_up()

    @property
    def time_s(self) -> float:
        """Seconds since the start."""
        return self.time_ns / 1e9

    @property
    def active_faults(self) -> tuple[Fault, ...]:
        """Faults at work."""
        return tuple(self._active)

    @property
    def load_w(self) -> float:
        """What the site takes, W: racks, pumps, chiller and heat pump."""
        machines_w = float(self.rack_power_w.sum() + self.pumps.power_w.sum())
        return machines_w + self.facility.power_w

    def step(self, dt_s: float) -> None:
        """Move everything by `dt_s` (0.05 to 1 s): faults that are due, machines, heat, PLC."""
        self.time_ns += round(dt_s * 1e9)
        self._take_due_faults()
        sinks = self.facility.sinks
        sinks.valve = self.valves.step(dt_s, self.rows.supply_c, self.plc.rack_dry, sinks.valve)
        self._electricity(dt_s)
        self._heat(dt_s)
        self.leaks.step(dt_s, self.layout.rack_row, (self.valves.rack > 0.02).astype(np.float64))
        hottest_c = np.full(len(self.plc.hot_s), -np.inf)
        np.maximum.at(hottest_c, self.layout.gpu_tray, self.gpus.temperature_c)
        self.plc.step(dt_s, self.pumps, hottest_c, self.leaks.rack_l_min)

    def write(self, actuator: str, value: float) -> None:
        """Set an actuator, in its unit. Raises KeyError (unknown) or ValueError (outside its range)."""
        setpoints.write(self, actuator, value)

    def inject(self, fault: Fault) -> None:
        """Schedule a fault or a removal. Raises ConfigurationError where the site has no such target."""
        target = "" if fault.remove and not fault.target else resolve(self.layout, fault)
        resolved = Fault(fault.name, fault.at_s, target, fault.size, fault.remove)
        self._waiting = sorted([*self._waiting, resolved], key=lambda waiting: waiting.at_s)

    def points(self) -> Snapshot:
        """Every plant point as its sensor shows it now."""
        return self.sensors.read(self)

    def stored_j(self) -> dict[str, Array]:
        """Heat stored in each loop above 0 °C: 'rows' (R,), and the facility's three (1,) each."""
        gpus_j = np.bincount(self._gpu_row, self.gpus.stored_j, len(self.rows.supply_c))
        facility = {name: np.array([value]) for name, value in self.facility.stored_j.items()}
        return {"rows": self.rows.stored_j + gpus_j, **facility}

    def _warm_up(self) -> None:
        """Run to the working point, then begin to count: a demonstration starts in a plant at rest."""
        for _ in range(round(WARM_UP_S)):
            self.step(1.0)
        self.time_ns = 0
        for account in (self.rows.account, *self.facility.account.values()):
            account.heat_in_j[:] = 0.0
            account.heat_out_j[:] = 0.0

    def _job(self) -> Array:
        """(R,) Share of full load of each row's job: a slow swing, and a checkpoint of 8 s every 15 minutes."""
        swing = np.sin(2.0 * np.pi * self.time_s / self._job_period_s + self._job_phase)
        is_checkpoint = (self.time_s + 30.0 * self._job_phase) % 900.0 > 892.0
        return np.where(is_checkpoint, 0.75, 1.0 + 0.02 * swing)

    def _electricity(self, dt_s: float) -> None:
        layout, gpus, racks = self.layout, self.gpus, len(self.rack_on)
        self.grid.step(dt_s, self._random)
        carried = self.feeds.step(dt_s, self.load_w)
        self.facility.powered = carried
        self.hydro.closed = bool((self.feeds.closed > 0).any())
        self.hydro.step(dt_s, float(self.feeds.power_w.sum()), self.grid.frequency_hz)
        self.rack_on = float(carried) * (1.0 - np.maximum(self.plc.rack_dark, self.rack_dark_request))
        tray_on = self.rack_on[layout.tray_rack] * (1.0 - self.plc.tray_tripped)
        gpus.powered = tray_on[layout.gpu_tray]
        gpus.step_power(dt_s, self._job()[self._gpu_row], self._random)
        lit = np.bincount(layout.tray_rack, tray_on, racks) / self._trays_per_rack
        other_w = self._other_w * self.rack_on * (0.4 + 0.6 * lit)
        self.rack_power_w = np.bincount(self._gpu_rack, gpus.power_w, racks) + other_w

    def _heat(self, dt_s: float) -> None:
        rows, gpus, row, gpu_rack = self.rows, self.gpus, self.layout.rack_row, self._gpu_rack
        opening = rows.set_flow(self.pumps.flow, self.valves.rack / RACK_DESIGN)
        self.pumps.step(dt_s, opening)
        gpus.step_heat(dt_s, rows.supply_c[self._gpu_row], rows.rack_c[gpu_rack], rows.rack_flow[gpu_rack])
        racks = len(rows.rack_c)
        # what a rack takes beside its GPUs is heat at once; the GPUs' own comes through their packages
        heat_w = self.rack_power_w + np.bincount(gpu_rack, gpus.heat_w - gpus.power_w, racks)
        pump_w = self.pumps.power_w.sum(axis=1)
        cold_w_k = self.valves.row * rows.design.primary_flow_w_k
        tank_c = np.full_like(rows.return_c, self.facility.tank_c)
        exchanged_w = exchanged_heat(rows.ua_w_k, rows.flow_w_k, cold_w_k, rows.return_c, tank_c)
        rows.step(dt_s, heat_w, pump_w, exchanged_w)
        rows.account.heat_in_j += (np.bincount(row, self.rack_power_w, len(pump_w)) + pump_w) * dt_s
        self.facility.step(dt_s, float(exchanged_w.sum()))

    def _take_due_faults(self) -> None:
        if not self._waiting or self._waiting[0].at_s > self.time_s:
            return
        while self._waiting and self._waiting[0].at_s <= self.time_s:
            fault = self._waiting.pop(0)
            kept = [f for f in self._active if f.name != fault.name or fault.target not in ("", f.target)]
            self._active = kept if fault.remove else [*kept, fault]
        apply_faults(self, self._active)
        self.sensors.set_faults(self._active, self.time_ns)
