"""Control valves and their commands: CDU valves with their temperature controllers, rack valves, valves of sinks.

Rules: positions are shares of travel; a stuck valve keeps its place while its command moves on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateways.sim.physics_curves import Array

TRAVEL_S = 30.0
"""Full stroke of a valve; a rack's small valve takes half of it."""
GAIN = 0.04
"""Share of travel per kelvin."""
RESET = 0.0015
"""Share of travel per kelvin and second."""
LOW = 0.05
RACK_DESIGN = 0.6
"""A rack's valve at this position gives the design flow."""


@dataclass(slots=True)
class Valves:
    """R rows, K racks, S sinks. A CDU whose valve was written by hand stays there until its set point is written."""

    row: Array
    row_command: Array
    row_setpoint_c: Array
    row_automatic: Array
    rack: Array
    rack_command: Array
    rack_shut: Array
    """1 where somebody asked for isolation from the coolant."""
    sink_command: Array
    stuck_row: Array
    stuck_sink: Array
    _integral: Array

    @classmethod
    def create(cls, rows: int, racks: int, sinks: int, setpoint_c: float) -> Valves:
        """All in automatic, at their working point."""
        return cls(
            row=np.full(rows, 0.6),
            row_command=np.full(rows, 0.6),
            row_setpoint_c=np.full(rows, setpoint_c),
            row_automatic=np.ones(rows),
            rack=np.full(racks, RACK_DESIGN),
            rack_command=np.full(racks, RACK_DESIGN),
            rack_shut=np.zeros(racks),
            sink_command=np.full(sinks, 0.5),
            stuck_row=np.full(rows, np.nan),
            stuck_sink=np.full(sinks, np.nan),
            _integral=np.full(rows, 0.6),
        )

    def step(self, dt_s: float, supply_c: Array, rack_tripped: Array, sink: Array) -> Array:
        """Move CDU and rack valves in place; returns the new positions of the sinks' valves (S,)."""
        error_k = supply_c - self.row_setpoint_c
        self._integral = np.clip(self._integral + error_k * dt_s * RESET, LOW, 1.0)
        self._integral = np.where(self.row_automatic > 0, self._integral, self.row_command)
        held = np.clip(self._integral + GAIN * error_k, LOW, 1.0)
        self.row_command = np.where(self.row_automatic > 0, held, self.row_command)
        travel = dt_s / TRAVEL_S
        moved = self.row + np.clip(self.row_command - self.row, -travel, travel)
        self.row = np.where(np.isnan(self.stuck_row), moved, self.stuck_row)
        target = self.rack_command * (1.0 - np.maximum(rack_tripped, self.rack_shut))
        self.rack = self.rack + np.clip(target - self.rack, -2.0 * travel, 2.0 * travel)
        sink = sink + np.clip(self.sink_command - sink, -travel, travel)
        return np.where(np.isnan(self.stuck_sink), sink, self.stuck_sink)


@dataclass(slots=True)
class Leaks:
    """Coolant that gets lost: wet trays (T,), litres a minute of racks (K,) and rows (R,), level of the tanks (R,)."""

    tray: Array
    rack_l_min: Array
    row_l_min: Array
    tank_level: Array
    volume_l: Array

    @classmethod
    def create(cls, trays: int, racks: int, volume_l: Array) -> Leaks:
        """Dry, the tanks at 70 %. A tank holds a quarter of its loop's volume."""
        rows = len(volume_l)
        return cls(np.zeros(trays), np.zeros(racks), np.zeros(rows), np.full(rows, 0.7), 0.25 * volume_l)

    def step(self, dt_s: float, rack_row: NDArray[np.intp], rack_open: Array) -> None:
        """Lower the tanks' levels; a rack that is shut off loses nothing."""
        lost = self.row_l_min + np.bincount(rack_row, self.rack_l_min * rack_open, len(self.row_l_min))
        self.tank_level = np.maximum(self.tank_level - lost * dt_s / 60.0 / self.volume_l, 0.0)
