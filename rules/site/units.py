"""Engineering units: is it one, are two of one dimension, convert. By pint.

Rule: pint is imported for units that are not made of `PARTS` only. Building its registry takes half a second of CPU,
which eight processes on two cores would feel at every start; a test holds `PARTS` against pint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, Final

COMMON: Final = (
    "", "percent", "degC", "K", "L/min", "m^3/s", "L", "m^3", "Pa", "kPa", "bar", "W", "kW", "MW",
    "kVA", "V", "kV", "A", "Hz", "rpm", "s", "min", "h", "ns", "us", "ms", "d", "m", "mm/s", "J/K",
    "kJ/K", "K/W", "W/K", "kW/K", "kg/m^3", "J/kg/K", "K/s", "K/min", "kVA/s", "kW/s", "MHz", "MiB",
    "kB/s", "GB", "kJ", "kWh",
)  # fmt: skip
"""Units that a plant has, for hints."""

_POWER, _ENERGY, _FORCE, _PRESSURE = "kg*m^2/s^3", "kg*m^2/s^2", "kg*m/s^2", "kg/m/s^2"
PARTS: Final[Mapping[str, tuple[str, str]]] = {
    "percent": ("1/100", ""),
    "ns": ("1/1000000000", "s"), "us": ("1/1000000", "s"), "ms": ("1/1000", "s"), "s": ("1", "s"),
    "min": ("60", "s"), "h": ("3600", "s"), "d": ("86400", "s"),
    "Hz": ("1", "1/s"), "kHz": ("1000", "1/s"), "MHz": ("1000000", "1/s"),
    "mm": ("1/1000", "m"), "cm": ("1/100", "m"), "m": ("1", "m"), "km": ("1000", "m"),
    "L": ("1/1000", "m^3"), "kg": ("1", "kg"), "K": ("1", "K"), "A": ("1", "A"),
    "N": ("1", _FORCE), "kN": ("1000", _FORCE),
    "Pa": ("1", _PRESSURE), "kPa": ("1000", _PRESSURE), "MPa": ("1000000", _PRESSURE),
    "mbar": ("100", _PRESSURE), "bar": ("100000", _PRESSURE),
    "W": ("1", _POWER), "kW": ("1000", _POWER), "MW": ("1000000", _POWER),
    "VA": ("1", _POWER), "kVA": ("1000", _POWER), "MVA": ("1000000", _POWER),
    "J": ("1", _ENERGY), "kJ": ("1000", _ENERGY), "MJ": ("1000000", _ENERGY),
    "Wh": ("3600", _ENERGY), "kWh": ("3600000", _ENERGY), "MWh": ("3600000000", _ENERGY),
    "V": ("1", "kg*m^2/s^3/A"), "kV": ("1000", "kg*m^2/s^3/A"),
    "byte": ("8", "bit"), "kilobyte": ("8000", "bit"), "megabyte": ("8000000", "bit"),
    "gigabyte": ("8000000000", "bit"), "kibibyte": ("8192", "bit"), "mebibyte": ("8388608", "bit"),
    "gibibyte": ("8589934592", "bit"),
    "bit": ("1", "bit"), "kbit": ("1000", "bit"), "Mbit": ("1000000", "bit"), "Gbit": ("1000000000", "bit"),
    "B": ("8", "bit"), "kB": ("8000", "bit"), "MB": ("8000000", "bit"), "GB": ("8000000000", "bit"),
    "TB": ("8000000000000", "bit"), "KiB": ("8192", "bit"), "MiB": ("8388608", "bit"),
    "GiB": ("8589934592", "bit"), "TiB": ("8796093022208", "bit"),
}  # fmt: skip
"""Each unit by itself: how many of the base units that its dimension is written in."""

_NAME = r"[A-Za-zµμΩ°%_]+[23]?(?:(?:\^|\*\*)-?\d)?"
_SPELLING = re.compile(rf"(?:(?:1 ?/ ?)?{_NAME}(?: ?[*/·] ?{_NAME})*)?")
"""What is read at all: pint would compute 9**9**9 with pleasure."""
_FACTOR = re.compile(r"([*/·]?)([^*/·^]+)(?:\^(-?\d+))?")


def normal(unit: str) -> str:
    """One spelling per unit as far as YAML files go: `%` is `percent`, `°C` is `degC`."""
    return {"%": "percent", "°C": "degC", "K": "K"}.get(unit, unit)


@cache
def is_unit(unit: str) -> bool:
    """Whether `unit` is one that pint knows."""
    return _dimension(unit) is not None


@cache
def same_dimension(one: str, other: str) -> bool:
    """Whether values in `one` can be converted to `other`. False also when either is no unit."""
    dimension = _dimension(one)
    return dimension is not None and (one == other or dimension == _dimension(other))


@cache
def convert(value: float, unit: str, to: str, difference: bool = False) -> float:
    """`value` in `unit` as a value in `to`. `difference`: of two temperatures, so that 1 K is 1 degC."""
    if unit == to or (difference and {unit, to} == {"K", "degC"}):
        return value
    one, other = _scale(unit), _scale(to)
    if one is not None and other is not None and _dimension(unit) == _dimension(to):
        ratio = one / other
        return value * ratio.numerator / ratio.denominator
    registry = _registry()
    if difference and _dimension(unit) == _dimension("K"):
        unit, to = (f"delta_{name}" if name in ("degC", "degF") else name for name in (unit, to))
    return float(registry.Quantity(value, unit or "dimensionless").to(to or "dimensionless").magnitude)


def factors(unit: str) -> dict[str, int]:
    """Its parts and their powers: `kg*m/s^2` is {kg: 1, m: 1, s: -2}."""
    found: dict[str, int] = {}
    for sign, name, power in _FACTOR.findall(unit.replace("**", "^").replace(" ", "")):
        exponent = int(power or 1) * (-1 if sign == "/" else 1)
        if name != "1":
            found[name] = found.get(name, 0) + exponent
    return found


@cache
def _scale(unit: str) -> Fraction | None:
    """How many base units it is; None where it is not made of `PARTS`."""
    if not _SPELLING.fullmatch(unit):
        return None
    scale = Fraction(1)
    for name, power in factors(unit).items():
        if name not in PARTS:
            return None
        scale *= Fraction(PARTS[name][0]) ** power
    return scale


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry()


@cache
def _dimension(unit: str) -> str | None:
    """A word for the dimension of `unit`, None when it is no unit: pint's own depends on how the unit is written."""
    if unit in ("degC", "degF"):
        return "K^1"
    if unit == "rpm":
        return "s^-1"
    if _scale(unit) is None:
        return _dimension_by_pint(unit)
    powers: dict[str, int] = {}
    for name, power in factors(unit).items():
        for base, exponent in factors(PARTS[name][1]).items():
            powers[base] = powers.get(base, 0) + power * exponent
    return _word(powers)


def _word(powers: Mapping[str, float]) -> str:
    return " ".join(f"{base}^{power:g}" for base, power in sorted(powers.items()) if power)


_BASES: Final = {
    "[time]": "s", "[length]": "m", "[mass]": "kg", "[temperature]": "K", "[current]": "A",
}  # fmt: skip


def _dimension_by_pint(unit: str) -> str | None:
    if not _SPELLING.fullmatch(unit):
        return None
    try:
        found = _registry().Unit(unit or "dimensionless").dimensionality
        return _word({_BASES.get(base, base): power for base, power in found.items()})
    except Exception:
        # Pint hands the text to Python's tokenizer: what comes back for nonsense is of every kind.
        return None
