"""Units of what is computed: products, quotients, and what becomes of a temperature.

Rules: a unit is a text, `''` for a plain number. `degC` is a temperature on the scale, the only unit with an origin;
`K` is a difference of two. Multiplying is done on the texts, so that only a comparison of different texts asks pint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from rules.site import units

TEMPERATURE: Final = "degC"
DIFFERENCE: Final = "K"
PERCENT: Final = "percent"
_SCALES: Final = ("degC", "degF")
"""Units of temperatures that have an origin of their own."""


@cache
def spelled(written: str) -> str:
    """One spelling for each unit: `%` is `percent`, `°C` is `degC`, and within a quotient a degree is a kelvin."""
    unit = written.replace("°C", "degC").replace("°F", "degF").replace("%", "percent").replace("·", "*")
    unit = units.normal(unit)
    return unit if unit in _SCALES else re.sub(r"\bdegC\b", DIFFERENCE, unit)


def on_scale(unit: str) -> bool:
    """Whether it is a temperature rather than a difference."""
    return unit in _SCALES


def difference(unit: str) -> str:
    """The unit of the difference of two values in `unit`."""
    return DIFFERENCE if unit == TEMPERATURE else unit


def product(one: str, other: str) -> str:
    """The unit of a product."""
    return _written(_sum(units.factors(one), units.factors(other), 1))


def quotient(one: str, other: str) -> str:
    """The unit of a quotient."""
    return _written(_sum(units.factors(one), units.factors(other), -1))


def shown(unit: str) -> str:
    """For a message."""
    return unit or "a plain number"


def _sum(one: Mapping[str, int], other: Mapping[str, int], sign: int) -> dict[str, int]:
    total = {name: one.get(name, 0) + sign * other.get(name, 0) for name in (*one, *other)}
    return {name: exponent for name, exponent in total.items() if exponent}


def _written(factors: Mapping[str, int]) -> str:
    if factors == {"s": -1}:
        return "Hz"
    above = [_power(name, exponent) for name, exponent in factors.items() if exponent > 0]
    below = [_power(name, -exponent) for name, exponent in factors.items() if exponent < 0]
    return "/".join(["*".join(above) or ("1" if below else ""), *below])


def _power(name: str, exponent: int) -> str:
    return name if exponent == 1 else f"{name}^{exponent}"
