"""The facility's water: from the rows' exchangers through heat pump, sea-water dump and chiller, and on to the sinks.

Rules: pure; heat in W, temperatures in °C, flows as heat capacity rates in W/K; one account per loop.

Three loops. Facility: return header, heat pump's source, dump, chiller, tank, exchangers; its flow is constant, what
an exchanger's valve holds back passes it by. Sink: the heat pump's condenser, and the sinks that it feeds side by
side. Sea: the chiller's condenser. The heat pump holds its sink's supply temperature, so that the sinks' valves say
how much heat is exported; above 5 K over that it trips by its own pressure switch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gateways.sim.physics_curves import (
    WATER_CP,
    Array,
    chiller_capacity,
    chiller_power,
    exchanged_heat,
    heat_pump_cop,
)
from gateways.sim.physics_rows import Account

TANK_J_K = 10_000 * WATER_CP
"""10 m³ of buffer: without the chiller the supply warms by some 0.5 K/min."""
HEADER_J_K = 1_500 * WATER_CP
SINK_LOOP_J_K = 600 * WATER_CP
SEA_LOOP_J_K = 1_000 * WATER_CP
CHILLER_SEA_W_K = 60_000.0
FACILITY_PUMP_W = 15_000.0
HEAT_PUMP_LOW = 0.3
"""A heat pump can't go below this share of its capacity."""
TRIP_OVER_K = 5.0
RESTART_S = 120.0


@dataclass(slots=True)
class Sinks:
    """Heat sinks, S of them. `on_heat_pump` 1: behind the heat pump's condenser, 0: on the facility's own water."""

    on_heat_pump: Array
    design_flow_w_k: Array
    ua_w_k: Array
    cold_c: Array
    """What the sink itself brings back: the town's return, the fish farm's water, the sea."""
    valve: Array
    lost: Array
    """Share of the flow that is lost, 0 when sound."""
    heat_w: Array
    supply_c: Array
    return_c: Array

    @property
    def flow_w_k(self) -> Array:
        """(S,) Linear valves behind the heat pump; equal percentage (1:50) at the dump, whose range is wide."""
        dump = np.where(self.valve > 0, 50.0 ** (self.valve - 1.0), 0.0)
        return np.where(self.on_heat_pump > 0, self.valve, dump) * (1.0 - self.lost) * self.design_flow_w_k


@dataclass(slots=True)
class Facility:
    """State of the three loops and their machines. `*_health`: the share of capacity that a machine still has."""

    flow_w_k: float
    chiller_w: float
    heat_pump_w: float
    heat_pump_eta: float
    sinks: Sinks
    chiller_setpoint_c: float = 15.0
    heat_pump_setpoint_c: float = 85.0
    chiller_health: float = 1.0
    powered: bool = True
    sea_c: float = 7.0
    return_c: float = 24.0
    tank_c: float = 15.0
    sink_c: float = 85.0
    sea_loop_c: float = 15.0
    source_return_c: float = 20.0
    chiller_in_c: float = 19.0
    chiller_out_c: float = 15.0
    chiller_power_w: float = 0.0
    chiller_heat_w: float = 0.0
    heat_pump_heat_w: float = 0.0
    heat_pump_power_w: float = 0.0
    heat_pump_source_w: float = 0.0
    heat_pump_share: float = 0.6
    tripped_s: float = 0.0
    """Seconds until a heat pump that tripped may start again; 0 while it runs."""
    account: dict[str, Account] = field(
        default_factory=lambda: {name: Account.empty(1) for name in ("facility", "sink", "sea")}
    )

    @property
    def cop(self) -> float:
        """Heat given per electricity, 0 at rest."""
        return self.heat_pump_heat_w / self.heat_pump_power_w if self.heat_pump_power_w > 0 else 0.0

    @property
    def heat_pump_runs(self) -> bool:
        """Whether the heat pump is on."""
        return self.tripped_s <= 0 and self.heat_pump_w > 0 and self.powered

    @property
    def power_w(self) -> float:
        """Electricity of chiller, heat pump and facility pumps."""
        return self.chiller_power_w + self.heat_pump_power_w + FACILITY_PUMP_W

    def step(self, dt_s: float, exchanged_w: float) -> None:
        """Move everything for one step; `exchanged_w` is what the rows' exchangers gave to the water."""
        self._heat_pump(dt_s)
        source_in = self.return_c
        self.source_return_c = source_in - self.heat_pump_source_w / self.flow_w_k
        dump_w = self._sinks(self.source_return_c)
        self.chiller_in_c = self.source_return_c - dump_w / self.flow_w_k
        self._chiller(dt_s)
        self.chiller_out_c = self.chiller_in_c - self.chiller_heat_w / self.flow_w_k
        warmed = self.tank_c + (exchanged_w + FACILITY_PUMP_W) / self.flow_w_k
        self.return_c += self.flow_w_k * (warmed - source_in) * dt_s / HEADER_J_K
        self.tank_c += self.flow_w_k * (self.chiller_out_c - self.tank_c) * dt_s / TANK_J_K
        on_pump = self.sinks.on_heat_pump > 0
        exported_w = float(self.sinks.heat_w[on_pump].sum())
        self.sink_c += (self.heat_pump_heat_w - exported_w) * dt_s / SINK_LOOP_J_K
        rejected_w = CHILLER_SEA_W_K * (self.sea_loop_c - self.sea_c)
        self.sea_loop_c += (self.chiller_heat_w + self.chiller_power_w - rejected_w) * dt_s / SEA_LOOP_J_K
        taken_w = self.heat_pump_source_w + dump_w + self.chiller_heat_w
        for name, came, went in (
            ("facility", exchanged_w + FACILITY_PUMP_W, taken_w),
            ("sink", self.heat_pump_source_w + self.heat_pump_power_w, exported_w),
            ("sea", self.chiller_heat_w + self.chiller_power_w, rejected_w),
        ):
            self.account[name].heat_in_j += came * dt_s
            self.account[name].heat_out_j += went * dt_s

    def _heat_pump(self, dt_s: float) -> None:
        error_k = self.heat_pump_setpoint_c - self.sink_c
        if self.tripped_s <= 0 and error_k < -TRIP_OVER_K:
            self.tripped_s = RESTART_S
        elif self.tripped_s > 0 and error_k > -1.0:
            self.tripped_s = max(0.0, self.tripped_s - dt_s)
        if not self.heat_pump_runs:
            self.heat_pump_heat_w = self.heat_pump_power_w = self.heat_pump_source_w = 0.0
            return
        exported_w = float(self.sinks.heat_w[self.sinks.on_heat_pump > 0].sum())
        wanted = min(max((exported_w + 40_000.0 * error_k) / self.heat_pump_w, HEAT_PUMP_LOW), 1.0)
        self.heat_pump_share += (wanted - self.heat_pump_share) * -math.expm1(-dt_s / 15.0)
        heat_w = self.heat_pump_share * self.heat_pump_w
        evaporating_c = self.source_return_c - 3.0
        cop = heat_pump_cop(self.sink_c + 3.0, evaporating_c, self.heat_pump_eta)
        self.heat_pump_heat_w = heat_w
        self.heat_pump_power_w = heat_w / cop
        self.heat_pump_source_w = heat_w - heat_w / cop

    def _sinks(self, facility_c: float) -> float:
        """Heat of every sink; returns what those on the facility's own water take."""
        sinks = self.sinks
        sinks.supply_c = np.where(sinks.on_heat_pump > 0, self.sink_c, facility_c)
        flow = np.minimum(sinks.flow_w_k, np.where(sinks.on_heat_pump > 0, np.inf, self.flow_w_k))
        heat = exchanged_heat(sinks.ua_w_k, flow, sinks.design_flow_w_k, sinks.supply_c, sinks.cold_c)
        sinks.heat_w = np.maximum(heat, 0.0)
        drop = np.divide(sinks.heat_w, flow, out=np.zeros_like(flow), where=flow > 0)
        sinks.return_c = sinks.supply_c - drop
        return float(sinks.heat_w[sinks.on_heat_pump == 0].sum())

    def _chiller(self, dt_s: float) -> None:
        reference_w = self.chiller_w * self.chiller_health * self.powered
        available_w = chiller_capacity(reference_w, self.chiller_setpoint_c, self.sea_loop_c)
        needed_w = self.flow_w_k * max(self.chiller_in_c - self.chiller_setpoint_c, 0.0)
        target_w = min(needed_w, available_w)
        # a compressor stops at once and loads within half a minute
        time_s = 2.0 if target_w < self.chiller_heat_w else 15.0
        self.chiller_heat_w += (target_w - self.chiller_heat_w) * -math.expm1(-dt_s / time_s)
        self.chiller_power_w = chiller_power(
            reference_w, self.chiller_heat_w, self.chiller_setpoint_c, self.sea_loop_c
        )

    @property
    def stored_j(self) -> dict[str, float]:
        """Heat in each loop above 0 °C."""
        return {
            "facility": HEADER_J_K * self.return_c + TANK_J_K * self.tank_c,
            "sink": SINK_LOOP_J_K * self.sink_c,
            "sea": SEA_LOOP_J_K * self.sea_loop_c,
        }
