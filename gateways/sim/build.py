"""The parts of the simulated plant from the constants of a site file.

Rules: each constant has one name and one default here, in the unit of the site file's templates; nothing moves here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from gateways.sim.constants import constant
from gateways.sim.layout import Layout
from gateways.sim.physics_curves import WATER_CP, Array
from gateways.sim.physics_facility import Facility, Sinks
from gateways.sim.physics_gpus import GpuDesign
from gateways.sim.physics_hydraulics import Pumps
from gateways.sim.physics_power import Feeds, HydroUnit
from gateways.sim.physics_rows import Account, RowDesign, RowLoops

SEA_C = 7.0
"""Also what comes back from a sink that isn't behind the heat pump, where it has no `cold_temperature`."""
SINK_DESIGN_C = 85.0
DUMP_DESIGN_C = 25.0


def liquid_w_k(flow_l_min: Array | float, density_kg_m3: float, cp_j_kgk: float) -> Array:
    """Heat capacity rate in W/K of a flow in L/min."""
    return np.asarray(flow_l_min, dtype=np.float64) / 60_000.0 * density_kg_m3 * cp_j_kgk


def coolant(layout: Layout) -> tuple[float, float]:
    """(density kg/m³, specific heat J/kgK) of the rows' coolant: the fluid is a parameter of the site."""
    cdu = layout.one("CDU")
    return (
        constant(cdu, "CDU", "coolant_density"),
        constant(cdu, "CDU", "coolant_specific_heat"),
    )


def build_rows(layout: Layout, random: Generator) -> RowLoops:
    """Rows at their working point: 22 °C supply, some 11 K of rise."""
    density, cp = coolant(layout)
    rows = len(layout.ids["CDU"])
    ua_w_k, primary_w_k = np.full(rows, 1e-3), np.full(rows, 1.0)
    ua_w_k[layout.exchanger_row] = layout.constants("HX", "design_conductance") * 1e3
    primary_w_k[layout.exchanger_row] = liquid_w_k(layout.constants("HX", "design_flow"), 1000.0, WATER_CP)
    volume_j_k = density / 1000.0 * cp
    rack_volume = layout.constants("Rack", "coolant_volume")
    row_volume = layout.constants("CDU", "coolant_volume")
    design = RowDesign(
        rack_row=layout.rack_row,
        rack_flow_w_k=liquid_w_k(layout.constants("Rack", "design_flow"), density, cp),
        rack_capacity_j_k=rack_volume * volume_j_k,
        pipe_capacity_j_k=row_volume * volume_j_k,
        exchanger_ua_w_k=ua_w_k,
        primary_flow_w_k=primary_w_k,
    )
    return RowLoops(
        design=design,
        supply_c=np.full(rows, 22.0),
        rack_c=np.full(len(rack_volume), 32.5),
        return_c=np.full(rows, 32.5),
        fouling_m2k_w=random.uniform(0.05e-4, 0.2e-4, rows),
        account=Account.empty(rows),
    )


def build_gpu_design(layout: Layout, rows: RowLoops) -> GpuDesign:
    """The GPUs' part of a rack's coolant is their part of its design heat."""
    gpu = layout.one("GPU")
    limit_w = constant(gpu, "GPU", "default_power_limit")
    per_rack = np.bincount(layout.gpu_rack, minlength=len(rows.rack_c))
    other_w = layout.constants("Rack", "other_power") * 1e3
    share = limit_w / (per_rack * limit_w + other_w)
    return GpuDesign(
        heat_capacity_j_k=constant(gpu, "GPU", "heat_capacity"),
        resistance_k_w=constant(gpu, "GPU", "thermal_resistance"),
        idle_w=constant(gpu, "GPU", "idle_power"),
        limit_w=limit_w,
        flow_w_k=float(np.mean(share * rows.design.rack_flow_w_k)),
    )


def build_pumps(layout: Layout) -> Pumps:
    """Places (R, P); the first pump of each CDU is on duty."""
    present = np.zeros((len(layout.ids["CDU"]), int(layout.pump_place.max()) + 1))
    present[layout.pump_row, layout.pump_place] = 1.0
    return Pumps.create(present)


def build_facility(layout: Layout, rows: RowLoops) -> Facility:
    """Without a chiller or heat pump in the site its capacity is 0."""
    chiller, heat_pump = layout.one("Chiller"), layout.one("HeatPump")
    return Facility(
        flow_w_k=float(rows.design.primary_flow_w_k.sum()),
        chiller_w=constant(chiller, "Chiller", "design_cooling") * 1e3 if chiller else 0.0,
        heat_pump_w=constant(heat_pump, "HeatPump", "design_heat") * 1e3 if heat_pump else 0.0,
        heat_pump_eta=constant(heat_pump, "HeatPump", "lift_efficiency"),
        sinks=_build_sinks(layout),
        sea_c=SEA_C,
    )


def _build_sinks(layout: Layout) -> Sinks:
    on_pump = layout.sink_on_heat_pump
    cold_c = np.array(
        [
            SEA_C
            if not on_heat_pump and "cold_temperature" not in sink.constants
            else constant(sink, "HeatSink", "cold_temperature")
            for sink, on_heat_pump in zip(layout.assets("HeatSink"), on_pump, strict=True)
        ]
    )
    hot_c = np.where(on_pump > 0, SINK_DESIGN_C, DUMP_DESIGN_C)
    flow_w_k = liquid_w_k(layout.constants("HeatSink", "design_flow"), 1000.0, WATER_CP)
    heat_w = layout.constants("HeatSink", "design_heat") * 1e3
    share = np.clip(heat_w / (flow_w_k * np.maximum(hot_c - cold_c, 1.0)), 0.02, 0.85)
    count = len(on_pump)
    return Sinks(
        on_heat_pump=on_pump,
        design_flow_w_k=flow_w_k,
        ua_w_k=share / (1.0 - share) * flow_w_k,
        cold_c=cold_c,
        valve=np.full(count, 0.5),
        lost=np.zeros(count),
        heat_w=np.zeros(count),
        supply_c=hot_c.copy(),
        return_c=cold_c.copy(),
    )


def build_hydro(layout: Layout) -> HydroUnit:
    """The hydro unit as the site file sizes it."""
    unit = layout.one("HydroUnit")
    return HydroUnit(
        rated_w=constant(unit, "HydroUnit", "rated_power") * 1e3,
        head_m=constant(unit, "HydroUnit", "design_head"),
        efficiency=constant(unit, "HydroUnit", "design_efficiency"),
        droop=constant(unit, "HydroUnit", "droop") / 100.0,
        water_start_s=constant(unit, "HydroUnit", "water_start_time"),
    )


def build_feeds(layout: Layout) -> Feeds:
    """One UPS a feed, in the order of both; a site without feeds has one that never fails."""
    rated_w = layout.constants("PowerMeter", "rated_power") * 1e3
    nominal_v = layout.constants("PowerMeter", "nominal_voltage")
    if len(rated_w) == 0:
        rated_w, nominal_v = np.array([math.inf]), np.array([400.0])
    stored = np.zeros(len(rated_w))
    batteries = layout.constants("UPS", "stored_energy")[: len(rated_w)] * 3.6e6
    stored[: len(batteries)] = batteries
    return Feeds.create(rated_w, nominal_v, stored)
