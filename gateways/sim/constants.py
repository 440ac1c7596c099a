"""The constants of a site file that the simulated plant reads: by type of asset and name, with unit and default.

Rules: each stands here once, in the unit of the site file's templates; one of another dimension is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateways.sim.physics_curves import PG25_CP, PG25_DENSITY
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Asset, Site
from rules.site.units import convert, same_dimension
from rules.strict_yaml import Node, load


class Constant(NamedTuple):
    """What a constant is measured in, and its value where the site file doesn't say."""

    unit: str
    default: float


CONSTANTS: Final = {
    ("CDU", "coolant_density"): Constant("kg/m^3", PG25_DENSITY),
    ("CDU", "coolant_specific_heat"): Constant("J/kg/K", PG25_CP),
    ("CDU", "coolant_volume"): Constant("L", 400.0),
    ("Chiller", "design_cooling"): Constant("kW", 1200.0),
    ("GPU", "default_power_limit"): Constant("W", 1400.0),
    ("GPU", "heat_capacity"): Constant("J/K", 600.0),
    ("GPU", "idle_power"): Constant("W", 150.0),
    ("GPU", "temperature_critical"): Constant("degC", 85.0),
    ("GPU", "thermal_resistance"): Constant("K/W", 0.02),
    ("HX", "design_conductance"): Constant("kW/K", 120.0),
    ("HX", "design_flow"): Constant("L/min", 700.0),
    ("HeatPump", "design_heat"): Constant("kW", 1000.0),
    ("HeatPump", "lift_efficiency"): Constant("", 0.55),
    ("HeatSink", "cold_temperature"): Constant("degC", 55.0),
    ("HeatSink", "design_flow"): Constant("L/min", 500.0),
    ("HeatSink", "design_heat"): Constant("kW", 500.0),
    ("HydroUnit", "design_efficiency"): Constant("", 0.9),
    ("HydroUnit", "design_head"): Constant("m", 300.0),
    ("HydroUnit", "droop"): Constant("percent", 5.0),
    ("HydroUnit", "rated_power"): Constant("kW", 2000.0),
    ("HydroUnit", "water_start_time"): Constant("s", 1.4),
    ("PowerMeter", "nominal_voltage"): Constant("V", 400.0),
    ("PowerMeter", "rated_power"): Constant("kW", 800.0),
    ("Rack", "coolant_volume"): Constant("L", 150.0),
    ("Rack", "design_flow"): Constant("L/min", 158.0),
    ("Rack", "other_power"): Constant("kW", 20.0),
    ("UPS", "stored_energy"): Constant("kWh", 60.0),
}
"""A sink that isn't behind the heat pump has another default `cold_temperature` (`build.SEA_C`)."""


def constant(asset: Asset | None, kind: str, name: str) -> float:
    """The constant of an asset of type `kind`, in the unit of `CONSTANTS`; the default where there is none.

    Raises ConfigurationError for one of another dimension: who starts the plant alone has had no `check_constants`.
    """
    unit, default = CONSTANTS[kind, name]
    if asset is None or name not in asset.constants:
        return default
    if not same_dimension(asset.constant_units[name], unit):
        given, needed = asset.constant_units[name] or "no unit", unit or "a number without unit"
        message = f"constant '{name}' of {asset.id} is in {given}, the simulated plant needs {needed}"
        raise ConfigurationError([Finding("site.yaml", 0, 0, message, "headrace check says where")])
    return convert(asset.constants[name], asset.constant_units[name], unit)


def check_constants(site: Site, text: str, file: str) -> list[Finding]:
    """A finding for each constant of the site file (`text`) whose dimension isn't the plant's."""
    wrong = {
        (name, asset.constant_units[name]): (asset.type, constant)
        for asset in site.assets.values()
        for name in asset.constants
        if (constant := CONSTANTS.get((asset.type, name)))
        and not same_dimension(asset.constant_units[name], constant.unit)
    }
    root, _ = load(text, file) if wrong else (None, [])
    if root is None:
        return []
    document = root.document
    for name, value in _constants(root):
        quantity = value.as_quantity()
        if quantity is None or (name, quantity[1]) not in wrong:
            continue
        kind, (unit, default) = wrong[name, quantity[1]]
        given = quantity[1] or "no unit"
        needed = unit or "a number without unit"
        document.report(
            value.line,
            value.column,
            f"constant '{name}' of a {kind} is in {given}: the simulated plant needs {needed}",
            f"such as '{f'{default:g} {unit}'.strip()}'",
        )
    return document.findings


def _constants(node: Node) -> Iterator[tuple[str, Node]]:
    """Every constant of every `constants` below a node, wherever templates and assets stand."""
    for key, entry in node.entries.items():
        if key == "constants":
            yield from entry.entries.items()
        else:
            yield from _constants(entry)
    for item in node.items:
        yield from _constants(item)
