"""Electricity: grid frequency, the hydro unit, two feeds with breakers and UPS.

Rules: pure; power in W, frequency in Hz, speeds and gates as shares of nominal.

The grid is one mass: df/dt = ΔP·50/(2·E_k), held by governors that answer to the deviation with a lag. The hydro unit
follows its own dispatch with droop; its water column first gives less when the gate opens (water starting time).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gateways.sim.physics_curves import GRAVITY, Array, francis_efficiency

NOMINAL_HZ = 50.0
KINETIC_WS = 150e9
"""Kinetic energy of the Nordic system on a light day; 120-250 GWs is its span."""
INCIDENT_W = 1.4e9
"""The reference incident: the largest unit that may be lost."""
GOVERNORS_W_HZ = 2.8e9
GOVERNOR_TIME_S = 5.0
LOAD_DAMPING_W_HZ = 0.45e9
GATE_TIME_S = 8.0
"""Full stroke; faster would let the water hammer break the penstock."""
SOURCE_IMPEDANCE = 0.02
"""Relative voltage drop of a feed at its rated power."""
HAND_OVER_S = 5.0


@dataclass(slots=True)
class Grid:
    """Frequency of the public grid. `lost_w` is generation that is missing."""

    frequency_hz: float = NOMINAL_HZ
    governors_w: float = 0.0
    lost_w: float = 0.0
    noise_w: float = 0.0

    def step(self, dt_s: float, random: Generator) -> None:
        """Move the frequency for one step, in parts short enough for the governors."""
        keep = math.exp(-dt_s / 30.0)
        self.noise_w = self.noise_w * keep + float(random.normal(0.0, 35e6)) * math.sqrt(1.0 - keep * keep)
        parts = max(1, math.ceil(dt_s / 0.1))
        for _ in range(parts):
            deviation_hz = self.frequency_hz - NOMINAL_HZ
            self.governors_w += (-GOVERNORS_W_HZ * deviation_hz - self.governors_w) * (
                -math.expm1(-dt_s / parts / GOVERNOR_TIME_S)
            )
            missing_w = self.governors_w - LOAD_DAMPING_W_HZ * deviation_hz - self.lost_w + self.noise_w
            self.frequency_hz += missing_w * NOMINAL_HZ / (2.0 * KINETIC_WS) * dt_s / parts


@dataclass(slots=True)
class HydroUnit:
    """A Francis unit in parallel with the grid."""

    rated_w: float = 2e6
    head_m: float = 300.0
    efficiency: float = 0.9
    droop: float = 0.05
    water_start_s: float = 1.4
    dispatch_w: float = 1.2e6
    gate: float = 0.6
    flow: float = 0.6
    """Relative flow through the turbine."""
    net_head: float = 1.0
    closed: bool = True
    """Whether a breaker joins it to anything."""

    def step(self, dt_s: float, load_w: float, frequency_hz: float) -> None:
        """Dispatch follows the site's load within half a minute; droop answers to the grid."""
        wanted_w = min(load_w, 0.95 * self.rated_w) if self.closed else 0.0
        self.dispatch_w += (wanted_w - self.dispatch_w) * -math.expm1(-dt_s / 30.0)
        regulation = (NOMINAL_HZ - frequency_hz) / NOMINAL_HZ / self.droop
        target = min(max(self.dispatch_w / self.rated_w + regulation, 0.0), 1.0)
        stroke = dt_s / GATE_TIME_S
        self.gate += min(max(target - self.gate, -stroke), stroke)
        # rigid water column: dq/dt = (1 - h)/T_w, h = (q/gate)²
        parts = max(1, math.ceil(dt_s / 0.05))
        for _ in range(parts):
            self.net_head = min((self.flow / max(self.gate, 0.02)) ** 2, 2.5)
            self.flow = max(self.flow + (1.0 - self.net_head) / self.water_start_s * dt_s / parts, 0.0)

    @property
    def power_w(self) -> float:
        """Electrical output: relative flow times net head times efficiency, all over their design."""
        relative = francis_efficiency(self.flow) / 0.93
        return self.rated_w * self.flow * self.net_head * relative

    @property
    def flow_m3_s(self) -> float:
        """P = ρ·g·Q·H·η at rated power gives the design flow."""
        return self.flow * self.rated_w / (1000.0 * GRAVITY * self.head_m * self.efficiency)


@dataclass(slots=True)
class Feeds:
    """F feeds that share the site's load, each with a breaker and a UPS; all arrays (F,)."""

    rated_w: Array
    nominal_v: Array
    ups_capacity_j: Array
    closed: Array
    power_w: Array
    ups_w: Array
    ups_j: Array
    since_trip_s: float = math.inf

    @classmethod
    def create(cls, rated_w: Array, nominal_v: Array, ups_capacity_j: Array) -> Feeds:
        """All closed, batteries full."""
        zeros = np.zeros(len(rated_w))
        return cls(
            rated_w,
            nominal_v,
            ups_capacity_j,
            np.ones(len(rated_w)),
            zeros,
            zeros.copy(),
            ups_capacity_j.copy(),
        )

    def step(self, dt_s: float, load_w: float) -> bool:
        """Share out the load; returns whether all of it was carried.

        Racks have two cords. When a feed opens, its UPS carries its part for 5 s, hands over to what is left, and
        keeps what is above the rating of that; when it is empty, the overload stays on the feeds.
        """
        count = len(self.closed)
        alive = self.closed > 0
        self.since_trip_s = (
            math.inf if alive.all() else (0.0 if math.isinf(self.since_trip_s) else self.since_trip_s + dt_s)
        )
        self.ups_w = np.zeros(count)
        if not alive.all():
            part_w = load_w * float((~alive).sum()) / count
            carried_w = float(self.rated_w[alive].sum())
            held_w = part_w if self.since_trip_s < HAND_OVER_S else max(load_w - carried_w, 0.0)
            if not alive.any():
                held_w = load_w
            ready = ~alive & (self.ups_j > 0)
            if ready.any():
                self.ups_w = np.where(ready, held_w / ready.sum(), 0.0)
                self.ups_w = np.minimum(self.ups_w, self.ups_j / dt_s)
        charge_w = np.where(alive & (self.ups_j < self.ups_capacity_j), 0.05 * self.rated_w, 0.0)
        self.ups_j = np.clip(self.ups_j + (charge_w - self.ups_w) * dt_s, 0.0, self.ups_capacity_j)
        rest_w = load_w - float(self.ups_w.sum())
        self.power_w = np.where(alive, rest_w / max(int(alive.sum()), 1) + charge_w, 0.0)
        return bool(alive.any() or rest_w < 1.0 + 0.01 * load_w)

    @property
    def voltage_v(self) -> Array:
        """(F,) Voltage behind the source's impedance, 0 behind an open breaker."""
        return self.closed * self.nominal_v * (1.015 - SOURCE_IMPEDANCE * self.power_w / self.rated_w)
