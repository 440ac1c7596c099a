"""Coolant loops of the rows: racks, pipes and the warm side of each row's exchanger.

Rules: pure, vectorised; every loop keeps an account of the heat that crosses its border, so that heat in = heat out +
heat stored can be checked. R rows, K racks. Loop: exchanger, supply pipe, racks side by side, return pipe, exchanger;
each is a mixed volume, which is where the transport time comes from. What a leak loses is made up at the same
temperature: it costs level, not heat.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gateways.sim.physics_curves import Array

CLEAN_U_W_M2K = 5000.0
PIPE_SHARE = 0.5
"""The coolant of a CDU is half in the supply and half in the return pipe."""


@dataclass(slots=True)
class Account:
    """Heat over a loop's border since the start, J (R,) each."""

    heat_in_j: Array
    heat_out_j: Array

    @classmethod
    def empty(cls, count: int) -> Account:
        """Nothing yet."""
        return cls(np.zeros(count), np.zeros(count))


@dataclass(frozen=True, slots=True)
class RowDesign:
    """Constants of R rows and their K racks. Flows are heat capacity rates at design, W/K; volumes in J/K."""

    rack_row: NDArray[np.intp]
    rack_flow_w_k: Array
    rack_capacity_j_k: Array
    pipe_capacity_j_k: Array
    exchanger_ua_w_k: Array
    primary_flow_w_k: Array

    @property
    def row_flow_w_k(self) -> Array:
        """(R,) design flow of each row: that of its racks together."""
        return np.bincount(self.rack_row, self.rack_flow_w_k, len(self.pipe_capacity_j_k)).astype(np.float64)


@dataclass(slots=True)
class RowLoops:
    """State: temperatures of the volumes, fouling, and the flows and heat of the last step."""

    design: RowDesign
    supply_c: Array
    rack_c: Array
    return_c: Array
    fouling_m2k_w: Array
    account: Account
    flow_w_k: Array = field(init=False)
    rack_flow: Array = field(init=False)
    """(K,) share of each rack's design flow."""
    exchanged_w: Array = field(init=False)

    def __post_init__(self) -> None:
        """Flows start at their design."""
        self.flow_w_k = self.design.row_flow_w_k
        self.rack_flow = np.ones(len(self.rack_c))
        self.exchanged_w = np.zeros(len(self.supply_c))

    @property
    def ua_w_k(self) -> Array:
        """(R,) UA with fouling: 1/U = 1/U₀ + R_f."""
        return self.design.exchanger_ua_w_k / (1.0 + CLEAN_U_W_M2K * self.fouling_m2k_w)

    def set_flow(self, flow: Array, valve: Array) -> Array:
        """Share out the rows' flow (R,) over the racks by their valves (K,). Returns each row's opening (R,)."""
        row, design_w_k = self.design.rack_row, self.design.row_flow_w_k
        weight = valve * self.design.rack_flow_w_k
        total = np.bincount(row, weight, len(flow))
        self.flow_w_k = np.where(total > 0, flow * design_w_k, 0.0)
        part = np.divide(weight, total[row], out=np.zeros_like(weight), where=total[row] > 0)
        self.rack_flow = part * self.flow_w_k[row] / self.design.rack_flow_w_k
        return total / design_w_k

    def step(self, dt_s: float, rack_heat_w: Array, pump_w: Array, exchanged_w: Array) -> None:
        """Move heat for one step: `rack_heat_w` (K,) into racks, `pump_w` (R,) and less `exchanged_w` (R,)."""
        row, rows = self.design.rack_row, len(self.supply_c)
        rack_w_k = self.rack_flow * self.design.rack_flow_w_k
        supply, rack, back = self.supply_c, self.rack_c, self.return_c
        flowing = self.flow_w_k > 0
        # the exchanger's outlet: what the return brings, less what was exchanged, with the pumps' work
        outlet = np.where(
            flowing, self.flow_w_k * (back - supply) - exchanged_w + pump_w, -exchanged_w + pump_w
        )
        pipe = self.design.pipe_capacity_j_k * PIPE_SHARE
        self.supply_c = supply + outlet * dt_s / pipe
        into_rack = rack_w_k * (supply[row] - rack) + rack_heat_w
        self.rack_c = rack + into_rack * dt_s / self.design.rack_capacity_j_k
        into_return = np.bincount(row, rack_w_k * (rack - back[row]), rows)
        self.return_c = back + into_return * dt_s / pipe
        self.exchanged_w = exchanged_w
        self.account.heat_out_j += exchanged_w * dt_s

    @property
    def stored_j(self) -> Array:
        """(R,) heat in the coolant above 0 °C."""
        pipes = self.design.pipe_capacity_j_k * PIPE_SHARE * (self.supply_c + self.return_c)
        racks = np.bincount(self.design.rack_row, self.design.rack_capacity_j_k * self.rack_c, len(pipes))
        return pipes + racks
