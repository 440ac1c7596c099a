"""Quantities of a site file: ranges, dead-bands, values in a given unit, durations.

Rules: what is wrong is reported at its node, and something usable comes back, so that the rest of the file is read
too; a value keeps the unit in which it was written, for the server sends it in that unit.
"""

from __future__ import annotations

import math
import re

from rules.findings import nearest
from rules.site.model import DeadbandKind, Fallback
from rules.site.types import STATE
from rules.site.units import COMMON, convert, is_unit, normal, same_dimension
from rules.strict_yaml import DURATION_NS, Node

FALLBACK_KEYS = ("value", "after")
SILENCE_NS = (5 * DURATION_NS["s"], DURATION_NS["h"])
"""The shortest and the longest silence before a fallback: a word of life may be 2 s old when it comes."""
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(.*)")


def known_unit(node: Node, written: str) -> str | None:
    """The unit as Headrace spells it; None, and reported, when pint knows no such unit."""
    unit = normal(written)
    if is_unit(unit):
        return unit
    node.report(f"unknown unit '{written}'", nearest(unit, COMMON))
    return None


def read_span(key: Node, node: Node | None, unit: str) -> tuple[float, float, str]:
    """`0..250 L/min` as (low, high, unit). A state needs none and is 0 to 1; a wrong one has no bounds."""
    if node is None:
        if unit != STATE:
            key.report(f"'{key.scalar}' has no range", f"such as '{key.scalar}: 0..100 {unit}'")
            return -math.inf, math.inf, unit
        return 0.0, 1.0, unit
    text = node.as_text()
    match = None if text is None else _RANGE.fullmatch(text.strip())
    if match is None:
        if text is not None:
            node.report(f"'{text}' is no range", f"such as '0..100 {unit}'".strip())
        return -math.inf, math.inf, unit
    low, high, written = float(match[1]), float(match[2]), known_unit(node, match[3].strip())
    if not (math.isfinite(low) and math.isfinite(high)):
        node.report(f"'{text}' is too large")
        low, high = -math.inf, math.inf
    elif not low < high:
        node.report(f"the range starts at {low:g} and ends at {high:g}", "the lower bound comes first")
        low, high = -math.inf, math.inf
    if written is not None and not same_dimension(written, unit):
        node.report(
            f"'{match[3].strip()}' is no unit for {key.scalar}",
            f"such as '{unit}'" if unit else "a state has none",
        )
        written = None
    return (-math.inf, math.inf, unit) if written is None else (low, high, written)


def read_deadband(node: Node | None, unit: str, low: float, high: float) -> tuple[DeadbandKind, float]:
    """Kind and value of a dead-band: in `unit`, or percent of the range (for a unit other than percent)."""
    quantity = None if node is None else node.as_quantity()
    if node is None or quantity is None:
        return "none", 0.0
    value, written = quantity[0], normal(quantity[1])
    kind: DeadbandKind = "percent" if written == "percent" and unit != "percent" else "absolute"
    if value < 0:
        node.report("a dead-band is 0 or more")
    elif kind == "percent" and value > 100:
        node.report("a dead-band of more than 100 % of the range")
    elif kind == "absolute":
        value = read_in_unit(node, unit, difference=True) or 0.0
        if value > high - low:
            node.report("a dead-band wider than the range", f"the range is {high - low:g} {unit}".strip())
    return kind, value


def read_in_unit(node: Node, unit: str, difference: bool = False) -> float | None:
    """A quantity of the file in `unit`. A bare number is taken to be in it."""
    quantity = node.as_quantity()
    if quantity is None:
        return None
    written = known_unit(node, quantity[1]) if quantity[1] else unit
    if written is None:
        return None
    is_temperature = difference and {written, unit} == {"K", "degC"}
    if not is_temperature and not same_dimension(written, unit):
        node.report(f"'{quantity[1]}' can't be converted to '{unit or 'a plain number'}'")
        return None
    return convert(quantity[0], written, unit, difference)


def read_duration(
    node: Node | None, default_ns: int, low_ns: int = 10_000_000, high_ns: int = 86_400 * 10**9
) -> int:
    """A duration in ns; `default_ns` when it is absent or wrong."""
    return default_ns if node is None else node.as_duration_ns(low_ns, high_ns) or default_ns


def read_fallback(node: Node | None, unit: str, low: float, high: float) -> Fallback | None:
    """`{value: 60 %, after: 10 s}`; the value within the range of its actuator."""
    if node is None:
        return None
    fields = node.fields(FALLBACK_KEYS, required=FALLBACK_KEYS)
    value = read_in_unit(fields["value"], unit) if "value" in fields else None
    after_ns = fields["after"].as_duration_ns(*SILENCE_NS) if "after" in fields else None
    if value is not None and not low <= value <= high:
        fields["value"].report(
            f"the fallback {value:g} is outside the range", f"{low:g} to {high:g} {unit}".strip()
        )
    return None if value is None or after_ns is None else Fallback(value, after_ns)
