"""Pumps of a CDU and the flow through its racks.

Rules: pure, vectorised over rows (loops) and their pumps; speeds are shares of full speed, flows of design flow.

A pump's head is s² - a·q² (affinity laws), the loop needs k·Q²/opening² above the spring of the discharge check valve.
That spring (0.2 bar of 2.3 bar) is why a pump that loses 70 % of its speed loses nearly all of its flow: head goes
with the square of the speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateways.sim.physics_curves import Array

PUMP_SLOPE = 0.25
CHECK_VALVE_HEAD = 0.092
NOMINAL_SPEED = 0.8
"""Speed, as a share of full speed, that gives the design flow."""
LOOP_RESISTANCE = NOMINAL_SPEED**2 - PUMP_SLOPE - CHECK_VALVE_HEAD * NOMINAL_SPEED**2
HEAD_KPA = 230.0
"""Head of a pump at nominal speed and no flow."""
RAMP_UP_PER_S = 0.2
"""A drive ramps from rest to nominal speed in 4 s."""
COAST_S = 0.45
"""Time constant of a pump that coasts down, and of the coolant's inertia below."""
FLOW_INERTIA_S = 0.35
PUMP_RATED_W = 9000.0
PUMP_RATED_A = 16.0


@dataclass(slots=True)
class Pumps:
    """Pumps of R rows: arrays (R, P), unused places with `present` 0. Speeds are shares of full speed."""

    present: Array
    setpoint: Array
    running: Array
    health: Array
    """Share of the speed that the pump can still turn with: 1 sound, 0 tripped."""
    speed: Array
    flow: Array
    """(R,) share of the design flow."""
    share: Array
    """(R, P) each pump's part of the flow."""
    _solved: tuple[bytes, Array, Array] | None = None

    @classmethod
    def create(cls, present: Array) -> Pumps:
        """The first pump of each row on duty at nominal speed, the others stand by."""
        duty = np.zeros_like(present)
        duty[:, 0] = present[:, 0]
        return cls(
            present=present,
            setpoint=duty * NOMINAL_SPEED,
            running=duty.copy(),
            health=np.ones_like(present),
            speed=duty * NOMINAL_SPEED,
            flow=np.ones(len(present)),
            share=duty.copy(),
        )

    def step(self, dt_s: float, opening: Array) -> None:
        """Move speeds and flow. `opening` (R,): conductance of all racks together over its design."""
        target = self.setpoint * self.running * self.health * self.present
        up = np.minimum(target, self.speed + RAMP_UP_PER_S * dt_s)
        down = target + (self.speed - target) * np.exp(-dt_s / COAST_S)
        self.speed = np.where(target >= self.speed, up, np.maximum(down, target))
        steady, parts = self._steady_flow(opening)
        self.flow += (steady - self.flow) * (1.0 - np.exp(-dt_s / FLOW_INERTIA_S))
        self.flow[self.flow < 1e-4] = 0.0
        total = parts.sum(axis=1, keepdims=True)
        self.share = np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)

    def _steady_flow(self, opening: Array) -> tuple[Array, Array]:
        """Flow at which the pumps' head equals what the loop needs; solved anew only when something moved."""
        speed = np.round(self.speed, 5)
        key = speed.tobytes() + np.round(opening, 5).tobytes()
        if self._solved is not None and self._solved[0] == key:
            return self._solved[1], self._solved[2]
        resistance = LOOP_RESISTANCE / np.maximum(opening, 1e-6) ** 2
        check = CHECK_VALVE_HEAD * NOMINAL_SPEED**2
        low, high = np.zeros(len(speed)), (speed**2).max(axis=1)
        for _ in range(30):  # bisection on the head at the common header
            head = (low + high) / 2
            need = check + resistance * _pump_flow(speed, head).sum(axis=1) ** 2
            low, high = np.where(need > head, head, low), np.where(need > head, high, head)
        parts = _pump_flow(speed, high)
        parts[(speed**2).max(axis=1) <= check] = 0.0
        self._solved = (key, parts.sum(axis=1), parts)
        return self._solved[1], self._solved[2]

    @property
    def power_w(self) -> Array:
        """(R, P) shaft power, all of which ends as heat in the coolant: the cube law."""
        return PUMP_RATED_W * self.speed**3

    @property
    def current_a(self) -> Array:
        """(R, P) motor current: no-load part plus load, nothing when tripped."""
        turning = (self.speed > 0.01) * self.running * (self.health > 0)
        return (
            PUMP_RATED_A
            * turning
            * (0.25 * self.speed + 0.75 * self.speed**2 * np.clip(self.flow, 0, 1)[:, None])
        )

    @property
    def design_head_kpa(self) -> float:
        """Pressure difference over the racks at design flow."""
        return HEAD_KPA * LOOP_RESISTANCE / NOMINAL_SPEED**2

    @property
    def head_kpa(self) -> Array:
        """(R,) pressure difference over the racks."""
        return self.design_head_kpa * self.flow**2


def _pump_flow(speed: Array, head: Array) -> Array:
    """(R, P) flow of each pump against a common head (R,), 0 where its check valve is shut."""
    return np.sqrt(np.maximum(speed**2 - head[:, None], 0.0) / PUMP_SLOPE)
