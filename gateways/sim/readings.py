"""Every signal that the plant can show, by asset type (or place of a sensor) and point type, in native units.

Rules: true values, no noise and no sensor faults (`sensors.py`); one array per key, in the order of the assets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gateways.sim.physics_curves import WATER_CP, Array
from gateways.sim.physics_hydraulics import HEAD_KPA

if TYPE_CHECKING:
    from gateways.sim.plant import Plant

POWER_FACTOR = 0.98
STATIC_KPA = 180.0
RUNNER_RPM = 600.0
HX_DESIGN_KPA = 60.0
LEAK_SEEN_L_MIN = 0.01


def readings(plant: Plant) -> dict[tuple[str, str], Array]:
    """(key, point type) -> values. A key is an asset type, or `PARENT/PROCESS AREA` for a sensor below one."""
    out: dict[tuple[str, str], Array] = {}
    feeds = _feeds(plant)
    for key, values in (
        ("Rack", _racks(plant)),
        ("Tray", {"RackLeakDetectTray": plant.leaks.tray}),
        ("Pump", _pumps(plant)),
        ("CDU", _cdus(plant)),
        ("HX", _exchangers(plant)),
        ("Tank", {"LiquidLevel": plant.leaks.tank_level * 100.0}),
        ("PowerMeter", feeds),
        ("Breaker", _breakers(plant, feeds)),
        ("UPS", _ups(plant)),
        ("HydroUnit", _hydro(plant)),
        ("Chiller", _chiller(plant)),
        ("HeatPump", _heat_pump(plant)),
        ("HeatSink", _sinks(plant)),
        ("Sensor", {"LiquidTemperature": _one(plant.facility.sea_c)}),
        ("Sensor/outdoor", {"AirTemperature": _one(plant.weather.outdoor_c)}),
        (
            "Sensor/hall",
            {"AirTemperature": _one(plant.weather.hall_c), "DewPoint": _one(plant.weather.dew_c)},
        ),
    ):
        out |= {(key, name): array for name, array in values.items()}
    out |= {(place, "LiquidTemperature"): array for place, array in _temperatures(plant).items()}
    return out


def _one(value: float) -> Array:
    return np.array([value])


def _litres_min(flow_w_k: Array | float, density: float = 1000.0, cp: float = WATER_CP) -> Array:
    return np.asarray(flow_w_k) / (density * cp) * 60_000.0


def _racks(plant: Plant) -> dict[str, Array]:
    rows, valves, row = plant.rows, plant.valves, plant.layout.rack_row
    flow = _litres_min(rows.rack_flow * rows.design.rack_flow_w_k, *plant.coolant)
    count = len(row)
    dark = 1.0 - plant.rack_on
    return {
        "RackLiquidSupplyTemperature": rows.supply_c[row],
        "RackLiquidReturnTemperature": rows.rack_c,
        "RackLiquidFlow": flow,
        "RackLiquidDifferentialPressure": plant.pumps.head_kpa[row],
        "RackLiquidDifferentialPressureSp": np.full(count, math.floor(plant.pumps.design_head_kpa)),
        "RackControlValvePosition": valves.rack * 100.0,
        "RackControlValvePositionSp": valves.rack_command * 100.0,
        "RackPower": plant.rack_power_w / 1e3,
        "RackLeakDetect": (plant.leaks.rack_l_min > LEAK_SEEN_L_MIN).astype(np.float64),
        "RackLeakSensorFault": np.zeros(count),
        "RackLiquidIsolationStatus": (valves.rack < 0.02).astype(np.float64),
        "RackLiquidIsolationRequest": valves.rack_shut,
        "RackElectricalIsolationStatus": dark,
        "RackElectricalIsolationRequest": plant.rack_dark_request,
    }


def _pumps(plant: Plant) -> dict[str, Array]:
    """PumpSpeed is the drive's reference: at a trip it stays, and the current goes."""
    pumps, at = plant.pumps, (plant.layout.pump_row, plant.layout.pump_place)
    healthy = (pumps.health > 0).astype(np.float64)
    head = HEAD_KPA * np.maximum(
        (pumps.speed / 0.8) ** 2 - 0.39 * (pumps.share * pumps.flow[:, None]) ** 2, 0.0
    )
    return {
        "Status": (pumps.running * healthy)[at],
        "Available": healthy[at],
        "PumpSpeed": (pumps.setpoint * pumps.running)[at] * 100.0,
        "Current": pumps.current_a[at],
        "LiquidDifferentialPressure": head[at],
        "ActivePower": pumps.power_w[at] / 1e3,
        "LiquidFlow": (_litres_min(plant.rows.flow_w_k, *plant.coolant)[:, None] * pumps.share)[at],
    }


def _cdus(plant: Plant) -> dict[str, Array]:
    rows, valves, pumps = plant.rows, plant.valves, plant.pumps
    count = len(rows.supply_c)
    return {
        "Status": (pumps.flow > 0.1).astype(np.float64),
        "Available": np.ones(count),
        "LeakDetect": (plant.leaks.row_l_min > LEAK_SEEN_L_MIN).astype(np.float64),
        "LiquidFlow": _litres_min(rows.flow_w_k, *plant.coolant),
        "LiquidPressure": STATIC_KPA * np.minimum(plant.leaks.tank_level / 0.7, 1.0) + pumps.head_kpa,
        "LiquidDifferentialPressure": pumps.head_kpa,
        "LiquidTemperatureSpRequest": valves.row_setpoint_c,
        "ValvePosition": valves.row * 100.0,
        "ValvePositionSp": valves.row_command * 100.0,
        "PumpSpeed": (pumps.setpoint * pumps.running).max(axis=1) * 100.0,
        "ActivePower": pumps.power_w.sum(axis=1) / 1e3,
        "Current": pumps.current_a.sum(axis=1),
        "LiquidTemperature": rows.supply_c,
        "LiquidLevel": plant.leaks.tank_level * 100.0,
    }


def _exchangers(plant: Plant) -> dict[str, Array]:
    row = plant.layout.exchanger_row
    valve = plant.valves.row[row]
    fouled = 1.0 + 2e4 * plant.rows.fouling_m2k_w[row]
    return {
        "LiquidFlow": _litres_min(valve * plant.rows.design.primary_flow_w_k[row]),
        "LiquidDifferentialPressure": HX_DESIGN_KPA * valve**2 * fouled,
        "HeatPower": plant.rows.exchanged_w[row] / 1e3,
        "ValvePosition": valve * 100.0,
        "Status": np.ones(len(row)),
        "Available": np.ones(len(row)),
    }


def _feeds(plant: Plant) -> dict[str, Array]:
    feeds = plant.feeds
    apparent_va = feeds.power_w / POWER_FACTOR
    voltage = feeds.voltage_v
    current = np.divide(apparent_va, math.sqrt(3.0) * voltage, out=np.zeros_like(voltage), where=voltage > 0)
    return {
        "Voltage": voltage,
        "Frequency": feeds.closed * plant.grid.frequency_hz,
        "ActivePower": feeds.power_w / 1e3,
        "ApparentPower": apparent_va / 1e3,
        "Current": current,
        "PhaseCurrent": current,
        "CurrentLimit": feeds.rated_w / (math.sqrt(3.0) * feeds.nominal_v * POWER_FACTOR),
        "PowerFactor": np.where(feeds.closed > 0, POWER_FACTOR, 0.0),
        "Status": feeds.closed,
        "Available": np.ones(len(feeds.closed)),
    }


def _breakers(plant: Plant, feeds: dict[str, Array]) -> dict[str, Array]:
    feed = plant.layout.breaker_feed
    names = ("Status", "Available", "Current", "Voltage", "ActivePower", "Frequency")
    return {name: feeds[name][feed] for name in names}


def _ups(plant: Plant) -> dict[str, Array]:
    feeds = plant.feeds
    charge = np.divide(
        feeds.ups_j, feeds.ups_capacity_j, out=np.zeros_like(feeds.ups_j), where=feeds.ups_capacity_j > 0
    )
    return {
        "Status": (feeds.ups_w > 0).astype(np.float64),
        "Available": (charge > 0.02).astype(np.float64),
        "ActivePower": feeds.ups_w / 1e3,
        "StateOfCharge": charge * 100.0,
    }


def _hydro(plant: Plant) -> dict[str, Array]:
    unit, frequency = plant.hydro, plant.grid.frequency_hz
    return {
        "Status": _one(float(unit.gate > 0.02)),
        "Available": _one(1.0),
        "ActivePower": _one(unit.power_w / 1e3),
        "Frequency": _one(frequency),
        "Voltage": _one(float(plant.feeds.nominal_v[0]) * 1.02),
        "ShaftSpeed": _one(RUNNER_RPM * frequency / 50.0),
        "GatePosition": _one(unit.gate * 100.0),
        "LiquidFlow": _one(unit.flow_m3_s * 60_000.0),
        "Head": _one(unit.head_m * min(unit.net_head, 1.3)),
    }


def _chiller(plant: Plant) -> dict[str, Array]:
    water = plant.facility
    return {
        "Status": _one(float(water.chiller_health > 0 and water.powered)),
        "Available": _one(float(water.chiller_health > 0)),
        "ActivePower": _one(water.chiller_power_w / 1e3),
        "HeatPower": _one(water.chiller_heat_w / 1e3),
        "LiquidFlow": _litres_min(_one(water.flow_w_k)),
        "LiquidTemperatureSpRequest": _one(water.chiller_setpoint_c),
        "LiquidTemperature": _one(water.chiller_out_c),
        "CoefficientOfPerformance": _one(water.chiller_heat_w / max(water.chiller_power_w, 1.0)),
    }


def _heat_pump(plant: Plant) -> dict[str, Array]:
    water = plant.facility
    return {
        "Status": _one(float(water.heat_pump_runs)),
        "Available": _one(float(water.tripped_s <= 0)),
        "ActivePower": _one(water.heat_pump_power_w / 1e3),
        "HeatPower": _one(water.heat_pump_heat_w / 1e3),
        "CoefficientOfPerformance": _one(water.cop),
        "LiquidTemperatureSpRequest": _one(water.heat_pump_setpoint_c),
        "LiquidTemperature": _one(water.sink_c),
    }


def _sinks(plant: Plant) -> dict[str, Array]:
    sinks = plant.facility.sinks
    return {
        "Status": (sinks.flow_w_k > 0.05 * sinks.design_flow_w_k).astype(np.float64),
        "Available": (sinks.lost < 1).astype(np.float64),
        "LiquidFlow": _litres_min(sinks.flow_w_k),
        "HeatPower": sinks.heat_w / 1e3,
        "LiquidTemperature": sinks.return_c,
        "ValvePosition": sinks.valve * 100.0,
        "ValvePositionSp": plant.valves.sink_command * 100.0,
    }


def _temperatures(plant: Plant) -> dict[str, Array]:
    """Sensors by the asset that they are part of and their place in its loop."""
    rows, water = plant.rows, plant.facility
    cold_w_k = plant.valves.row * rows.design.primary_flow_w_k
    primary_in = np.full(len(cold_w_k), water.tank_c)
    heat_pump_rise = water.heat_pump_heat_w / max(
        float(water.sinks.flow_w_k[water.sinks.on_heat_pump > 0].sum()), 1e3
    )
    return {
        "CDU/Primary Supply": primary_in,
        "CDU/Primary Return": primary_in + rows.exchanged_w / np.maximum(cold_w_k, 1.0),
        "CDU/Secondary Supply": rows.supply_c,
        "CDU/Secondary Return": rows.return_c,
        "Chiller/Primary Supply": _one(water.chiller_out_c),
        "Chiller/Primary Return": _one(water.chiller_in_c),
        "Chiller/Secondary Supply": _one(water.sea_loop_c),
        "HeatPump/Primary Supply": _one(water.return_c),
        "HeatPump/Primary Return": _one(water.source_return_c),
        "HeatPump/Secondary Supply": _one(water.sink_c),
        "HeatPump/Secondary Return": _one(water.sink_c - min(heat_pump_rise, 60.0)),
        "HeatSink/Primary Supply": water.sinks.supply_c,
        "HeatSink/Primary Return": water.sinks.return_c,
    }
