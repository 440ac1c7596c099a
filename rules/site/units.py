"""Engineering units: is it one, are two of one dimension, convert. By pint.

Rule: pint is imported for units that are not in `COMMON` only. Building its registry takes half a second of CPU, which
eight processes on two cores would feel at every start; a test holds `COMMON` and `SCALE` against pint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

COMMON: Mapping[str, str] = {
    "": "number",
    "percent": "number",
    "degC": "temperature",
    "K": "temperature",
    "L/min": "flow",
    "m^3/s": "flow",
    "L": "volume",
    "m^3": "volume",
    "Pa": "pressure",
    "kPa": "pressure",
    "bar": "pressure",
    "W": "power",
    "kW": "power",
    "MW": "power",
    "kVA": "power",
    "V": "voltage",
    "kV": "voltage",
    "A": "current",
    "Hz": "frequency",
    "rpm": "frequency",
    "s": "time",
    "min": "time",
    "h": "time",
    "ns": "time",
    "us": "time",
    "ms": "time",
    "d": "time",
    "m": "length",
    "mm/s": "velocity",
    "J/K": "heat capacity",
    "kJ/K": "heat capacity",
    "K/W": "thermal resistance",
    "W/K": "conductance",
    "kW/K": "conductance",
    "kg/m^3": "density",
    "J/kg/K": "specific heat",
    "K/s": "temperature rate",
    "K/min": "temperature rate",
    "kVA/s": "power rate",
    "kW/s": "power rate",
    "MHz": "frequency",
    "MiB": "information",
    "kB/s": "information rate",
    "kJ": "energy",
    "kWh": "energy",
}
"""Units that need no pint to be known, with a word for their dimension."""

SCALE: Mapping[str, Fraction] = {
    unit: Fraction(number)
    for unit, number in {
        "": "1", "percent": "1/100", "L/min": "1/60000", "m^3/s": "1", "L": "1/1000", "m^3": "1",
        "Pa": "1", "kPa": "1000", "bar": "100000", "W": "1", "kW": "1000", "MW": "1000000",
        "V": "1", "kV": "1000", "Hz": "1", "MHz": "1000000",
        "ns": "1/1000000000", "us": "1/1000000", "ms": "1/1000",
        "s": "1", "min": "60", "h": "3600", "d": "86400",
        "J/K": "1", "kJ/K": "1000", "W/K": "1", "kW/K": "1000", "K/s": "1", "K/min": "1/60",
        "kJ": "1000", "kWh": "3600000", "kVA": "1000", "kVA/s": "1000", "kW/s": "1000",
    }.items()
}  # fmt: skip
"""Those of `COMMON` that are a whole part or a multiple of a base unit, which is written nowhere."""


_NAME = r"[A-Za-zµμΩ°%_]+[23]?(?:(?:\^|\*\*)-?\d)?"
_SPELLING = re.compile(rf"(?:1 ?/ ?)?(?:{_NAME}(?: ?[*/·] ?{_NAME})*)?")
"""What is put before pint at all: it would compute 9**9**9 with pleasure."""


def normal(unit: str) -> str:
    """One spelling per unit as far as YAML files go: `%` is `percent`, `°C` is `degC`."""
    return {"%": "percent", "°C": "degC", "K": "K"}.get(unit, unit)


@cache
def is_unit(unit: str) -> bool:
    """Whether `unit` is one that pint knows."""
    return unit in COMMON or _dimension(unit) is not None


@cache
def same_dimension(one: str, other: str) -> bool:
    """Whether values in `one` can be converted to `other`. False also when either is no unit."""
    if one == other:
        return is_unit(one)
    if one in COMMON and other in COMMON:
        return COMMON[one] == COMMON[other]
    dimension = _dimension(one)
    return dimension is not None and dimension == _dimension(other)


@cache
def convert(value: float, unit: str, to: str, difference: bool = False) -> float:
    """`value` in `unit` as a value in `to`. `difference`: of two temperatures, so that 1 K is 1 degC."""
    if unit == to or (difference and {unit, to} == {"K", "degC"}):
        return value
    if unit in SCALE and to in SCALE and COMMON[unit] == COMMON[to]:
        ratio = SCALE[unit] / SCALE[to]
        return value * ratio.numerator / ratio.denominator
    registry = _registry()
    if difference and _dimension(unit) == _dimension("K"):
        unit, to = (f"delta_{name}" if name in ("degC", "degF") else name for name in (unit, to))
    return float(registry.Quantity(value, unit or "dimensionless").to(to or "dimensionless").magnitude)


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry()


@cache
def _dimension(unit: str) -> str | None:
    """A word for the dimension of `unit`, None when it is no unit: pint's own depends on how the unit is written."""
    if not _SPELLING.fullmatch(unit):
        return None
    try:
        dimension = _registry().Unit(unit or "dimensionless").dimensionality
        return " ".join(f"{base}^{power:g}" for base, power in sorted(dimension.items()))
    except Exception:
        # Pint hands the text to Python's tokenizer: what comes back for nonsense is of every kind.
        return None
