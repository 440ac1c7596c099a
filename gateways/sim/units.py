"""Between the units of a site file's points and the simulator's own, which are those of `rules.site.types`."""

from __future__ import annotations

from rules.site.types import GPU_ACTUATORS, POINT_UNITS
from rules.site.units import convert


def native_unit(quantity: str) -> str:
    """The unit in which the simulator keeps a point type or an actuator's quantity."""
    return POINT_UNITS.get(quantity) or GPU_ACTUATORS.get(quantity, "")


def to_native(quantity: str, unit: str, value: float) -> float:
    """`value` in a site file's `unit` as the simulator keeps it."""
    return convert(value, unit, native_unit(quantity))


def scale_from_native(quantity: str, unit: str) -> tuple[float, float]:
    """(factor, offset) from the simulator's unit to a site file's: value·factor + offset."""
    native = native_unit(quantity)
    offset = convert(0.0, native, unit)
    return convert(1.0, native, unit) - offset, offset
