"""Writes: what each actuator of the site file sets in the plant.

Rules: a value is in the actuator's engineering unit and inside its range, or refused; a set point takes effect in the
next step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateways.sim.layout import Layout
from gateways.sim.units import to_native
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest

if TYPE_CHECKING:
    from gateways.sim.plant import Plant


def write(plant: Plant, actuator_id: str, value: float) -> None:
    """Set an actuator. Raises KeyError for an unknown one, ValueError for a value outside of its range."""
    site = plant.layout.site
    actuator = site.actuators[actuator_id]
    if not actuator.low <= value <= actuator.high:
        raise ValueError(
            f"{actuator_id}: {value:g} is outside {actuator.low:g} to {actuator.high:g} {actuator.engineering_unit}"
        )
    setter = _SETTERS[site.assets[actuator.asset].type, actuator.quantity]
    setter(
        plant,
        plant.layout.index(actuator.asset),
        to_native(actuator.quantity, actuator.engineering_unit, value),
    )


def check_actuators(layout: Layout) -> None:
    """Raise ConfigurationError for every actuator of the site that has nothing to set in the plant."""
    findings = []
    for actuator in layout.site.actuators.values():
        asset_type = layout.site.assets[actuator.asset].type
        if (asset_type, actuator.quantity) not in _SETTERS:
            has = [quantity for kind, quantity in _SETTERS if kind == asset_type]
            hint = nearest(actuator.quantity, has) or f"a {asset_type} has {', '.join(has) or 'none'}"
            message = f"the simulated plant has no set point for {actuator.id}"
            findings.append(Finding("site", 0, 0, message, hint))
    if findings:
        raise ConfigurationError(findings)


def _pump_speed(plant: Plant, index: int, value: float) -> None:
    """A speed for a pump that stands by starts it; 0 stops it."""
    row, place = plant.layout.pump_row[index], plant.layout.pump_place[index]
    plant.pumps.setpoint[row, place] = value / 100.0
    plant.pumps.running[row, place] = float(value > 0)


def _row_setpoint(plant: Plant, index: int, value: float) -> None:
    plant.valves.row_setpoint_c[index] = value
    plant.valves.row_automatic[index] = 1.0


def _row_valve(plant: Plant, index: int, value: float) -> None:
    plant.valves.row_command[index] = value / 100.0
    plant.valves.row_automatic[index] = 0.0


def _rack_valve(plant: Plant, index: int, value: float) -> None:
    plant.valves.rack_command[index] = value / 100.0


def _rack_shut(plant: Plant, index: int, value: float) -> None:
    plant.valves.rack_shut[index] = float(value >= 0.5)


def _rack_dark(plant: Plant, index: int, value: float) -> None:
    plant.rack_dark_request[index] = float(value >= 0.5)


def _sink_valve(plant: Plant, index: int, value: float) -> None:
    plant.valves.sink_command[index] = value / 100.0


def _chiller(plant: Plant, index: int, value: float) -> None:
    plant.facility.chiller_setpoint_c = value


def _heat_pump(plant: Plant, index: int, value: float) -> None:
    plant.facility.heat_pump_setpoint_c = value


def _power_limit(plant: Plant, index: int, value: float) -> None:
    plant.gpus.limit_w[index] = value


_SETTERS: dict[tuple[str, str], Callable[[Plant, int, float], None]] = {
    ("Pump", "PumpSpeed"): _pump_speed,
    ("CDU", "LiquidTemperatureSpRequest"): _row_setpoint,
    ("CDU", "ValvePositionSp"): _row_valve,
    ("Rack", "RackControlValvePositionSp"): _rack_valve,
    ("Rack", "RackLiquidIsolationRequest"): _rack_shut,
    ("Rack", "RackElectricalIsolationRequest"): _rack_dark,
    ("HeatSink", "ValvePositionSp"): _sink_valve,
    ("Chiller", "LiquidTemperatureSpRequest"): _chiller,
    ("HeatPump", "LiquidTemperatureSpRequest"): _heat_pump,
    ("GPU", "power_limit"): _power_limit,
}
