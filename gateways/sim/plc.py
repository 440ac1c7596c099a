"""What the plant does by itself, hard-wired, below any supervision: three functions, switchable as one.

Rules: it acts on what its own transmitters measure, never on a fault's name; its trips latch until the PLC is reset.

1. A row whose flow stays below 70 % of design for 20 s gets its standby pump.
2. A tray with a GPU over the critical limit plus 15 K for 1 s is switched off.
3. A rack whose leak detector stays on for 3 s is isolated: electrically, 2 s later from the coolant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateways.sim.physics_curves import Array
from gateways.sim.physics_hydraulics import NOMINAL_SPEED, Pumps

LOW_FLOW = 0.7
STANDBY_AFTER_S = 20.0
OVER_CRITICAL_K = 15.0
OVER_TEMPERATURE_AFTER_S = 1.0
LEAK_AFTER_S = 3.0
LIQUID_AFTER_S = LEAK_AFTER_S + 2.0


@dataclass(slots=True)
class Plc:
    """Timers and trips: rows (R,), trays (T,), racks (K,). `enabled` False: nothing is done, nothing is timed."""

    enabled: bool
    trip_c: float
    low_flow_s: Array
    hot_s: Array
    leak_s: Array
    tray_tripped: Array
    rack_dark: Array
    rack_dry: Array
    standby_starts: int = 0

    @classmethod
    def create(cls, rows: int, trays: int, racks: int, critical_c: float, enabled: bool = True) -> Plc:
        """Nothing tripped."""
        return cls(
            enabled,
            critical_c + OVER_CRITICAL_K,
            np.zeros(rows),
            np.zeros(trays),
            np.zeros(racks),
            np.zeros(trays),
            np.zeros(racks),
            np.zeros(racks),
        )

    def step(self, dt_s: float, pumps: Pumps, tray_max_c: Array, rack_leak: Array) -> None:
        """One scan, after the physics of the step."""
        if not self.enabled:
            return
        self.low_flow_s = np.where(pumps.flow < LOW_FLOW, self.low_flow_s + dt_s, 0.0)
        for row in np.flatnonzero(self.low_flow_s >= STANDBY_AFTER_S):
            self._start_standby(int(row), pumps)
        self.hot_s = np.where(tray_max_c > self.trip_c, self.hot_s + dt_s, 0.0)
        self.tray_tripped[self.hot_s >= OVER_TEMPERATURE_AFTER_S] = 1.0
        self.leak_s = np.where(rack_leak > 0, self.leak_s + dt_s, 0.0)
        self.rack_dark[self.leak_s >= LEAK_AFTER_S] = 1.0
        self.rack_dry[self.leak_s >= LIQUID_AFTER_S] = 1.0

    def _start_standby(self, row: int, pumps: Pumps) -> None:
        idle = (pumps.present[row] > 0) & (pumps.running[row] == 0)
        if idle.any():
            pump = int(np.argmax(idle))
            pumps.running[row, pump] = 1.0
            pumps.setpoint[row, pump] = NOMINAL_SPEED
            self.low_flow_s[row] = 0.0
            self.standby_starts += 1

    def reset(self) -> None:
        """What a person does at the panel: every latch and timer back."""
        for latch in (
            self.low_flow_s,
            self.hot_s,
            self.leak_s,
            self.tray_tripped,
            self.rack_dark,
            self.rack_dry,
        ):
            latch[:] = 0.0
