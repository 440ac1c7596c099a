"""GPUs: a seeded workload, power under a limit, and one thermal mass each.

Rules: pure (time step and random generator are arguments), vectorised over GPUs; heat in W, temperatures in °C.

A package (400-900 J/K) loses heat to the coolant that enters its rack: q = ṁc·(1 - exp(-UA/ṁc))·(T - T_in) with
1/UA = R_solid + R_film·f^-0.6, f the flow over its design. UA is set so that the whole is the site file's resistance
(0.02-0.03 K/W) at design flow; unlike a fixed resistance it goes to no heat at no flow. What is left then is a weak
path into the coolant that stands in the plate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gateways.sim.physics_curves import Array

SOLID_SHARE = 0.55
"""Share of 1/UA that is solid (die, interface, plate) and does not depend on flow; the rest is the film."""
FILM_EXPONENT = -0.6
STANDING_W_K = 1.5
"""Conductance to standing coolant, W/K."""
BASE_W = 1310.0
"""Mean demand of a GPU at full load of its job."""
DEMAND_MAX_W = 1400.0
POWER_TIME_S = 0.08
"""A power limit is regulated within some 0.1-0.3 s."""
SLOWDOWN_C = 105.0
"""The GPU's own hardware slow-down: above any site's critical limit, so that a demonstration stays clear of it."""
SLOWDOWN_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class GpuDesign:
    """What the site file says of its GPUs. `flow_w_k` is the coolant's heat capacity rate per GPU at design flow."""

    heat_capacity_j_k: float = 600.0
    resistance_k_w: float = 0.02
    idle_w: float = 150.0
    limit_w: float = 1400.0
    flow_w_k: float = 121.0

    @property
    def ua_w_k(self) -> float:
        """UA that gives `resistance_k_w` at design flow: ε = 1/(R·ṁc), UA = -ln(1 - ε)·ṁc."""
        share = min(1.0 / (self.resistance_k_w * self.flow_w_k), 0.99)
        return float(-np.log1p(-share) * self.flow_w_k)


@dataclass(slots=True)
class Gpus:
    """State of N GPUs; every array is (N,). `powered` is 0 where the tray is off, `contact` 1 where the plate is."""

    design: GpuDesign
    temperature_c: Array
    power_w: Array
    mean_power_w: Array
    energy_j: Array
    limit_w: Array
    demand_w: Array
    powered: Array
    contact: Array
    solid_k_w: Array
    film_k_w: float
    base_w: Array
    wander_w: Array
    heat_w: Array
    """Heat to the coolant over the last step."""

    @classmethod
    def create(cls, count: int, design: GpuDesign, inlet_c: float, random: Generator) -> Gpus:
        """GPUs at work, near their steady state. Spread: 5 % of the solid resistance, 1.5 % of power."""
        spread = 1.0 + np.clip(random.normal(0.0, 0.05, count), -0.12, 0.12)
        base = BASE_W * (1.0 + np.clip(random.normal(0.0, 0.015, count), -0.04, 0.04))
        power = np.minimum(base, design.limit_w)
        return cls(
            design=design,
            temperature_c=inlet_c + power * design.resistance_k_w,
            power_w=power.copy(),
            mean_power_w=power.copy(),
            energy_j=random.uniform(1e6, 1e9, count),
            limit_w=np.full(count, design.limit_w),
            demand_w=power.copy(),
            powered=np.ones(count),
            contact=np.ones(count),
            solid_k_w=spread * SOLID_SHARE / design.ua_w_k,
            film_k_w=(1.0 - SOLID_SHARE) / design.ua_w_k,
            base_w=base,
            wander_w=np.zeros(count),
            heat_w=power.copy(),
        )

    def step_power(self, dt_s: float, job: Array, random: Generator) -> None:
        """Demand of the workload, then power below the limit. `job` (N,): the running job's share of full load."""
        keep = np.exp(-dt_s / 20.0)
        self.wander_w *= keep
        self.wander_w += random.normal(0.0, 12.0 * np.sqrt(1.0 - keep * keep), len(self.wander_w))
        self.demand_w = np.clip((self.base_w + self.wander_w) * job, self.design.idle_w, DEMAND_MAX_W)
        target = np.minimum(self.demand_w, self.limit_w)
        target = np.where(self.temperature_c > SLOWDOWN_C, target * SLOWDOWN_SHARE, target) * self.powered
        self.power_w += (target - self.power_w) * -np.expm1(-dt_s / POWER_TIME_S)
        self.mean_power_w += (self.power_w - self.mean_power_w) * -np.expm1(-dt_s / 1.0)
        self.energy_j += self.power_w * dt_s

    def step_heat(self, dt_s: float, inlet_c: Array, standing_c: Array, flow: Array) -> None:
        """Warm or cool for one step. All arguments (N,); `flow` is the share of design flow.

        The package relaxes exactly towards its equilibrium, so that a long step stays stable, and `heat_w` is what
        the balance leaves: power less the change of stored heat.
        """
        film = self.film_k_w * np.maximum(flow, 1e-3) ** FILM_EXPONENT
        ua = self.contact / (self.solid_k_w + film)
        flow_w_k = np.maximum(flow * self.design.flow_w_k, 1e-9)
        to_inlet = flow_w_k * -np.expm1(-ua / flow_w_k)
        standing = STANDING_W_K * self.contact
        conductance = np.maximum(to_inlet + standing, 1e-3)
        capacity = self.design.heat_capacity_j_k
        settled = (self.power_w + to_inlet * inlet_c + standing * standing_c) / conductance
        before = self.temperature_c
        self.temperature_c = settled + (before - settled) * np.exp(-conductance * dt_s / capacity)
        self.heat_w = self.power_w - capacity * (self.temperature_c - before) / dt_s

    @property
    def stored_j(self) -> Array:
        """Heat stored above 0 °C."""
        return self.design.heat_capacity_j_k * self.temperature_c
