"""Terms with their units while a rule is checked, and the arithmetic of both.

Rules: what is made of numbers only is computed at once, for each asset; a conversion is a multiplication or an addition
of numbers that may differ by asset; nothing here knows names. Units are texts (`rules/language/unit_algebra.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rules.language.quantities import shared
from rules.language.signals import Signal
from rules.language.spans import Span
from rules.language.terms import Limit, Op, Term
from rules.language.unit_algebra import DIFFERENCE, PERCENT, TEMPERATURE
from rules.site import units


@dataclass(frozen=True, slots=True)
class Typed:
    """A term and its unit; of a comparison, the unit in which it compares.

    `bare`: written without a unit, so that it fits no partner that has one. `signal` and `plain`: it is nothing but a
    signal, and `plain` the term that reads it in its own unit.
    """

    term: Term
    unit: str = ""
    bare: bool = False
    signal: Signal | None = None
    plain: Term | None = None

    @property
    def constant(self) -> bool:
        """Whether it is a number, known before anything is read."""
        return self.term.op == "number"

    @property
    def own(self) -> Term:
        """The term in the unit of the signal itself."""
        return self.plain or self.term


COMPUTE: Final[dict[Op, Callable[..., float]]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b else math.nan,
    "neg": lambda a: -a,
    "abs": abs,
    "least": min,
    "most": max,
}
"""What operations on numbers do."""


def make(op: Op, *args: Term, window_ns: int = 0) -> Term:
    """A term of others; a number, if it can be computed now."""
    if op in COMPUTE and all(arg.op == "number" for arg in args):
        compute = COMPUTE[op]
        assets = [asset for arg in args for asset in arg.number.by_asset]
        if not assets:
            return Term("number", number=Limit(compute(*(arg.number.value for arg in args))))
        values = {asset: compute(*(arg.number.of(asset) for arg in args)) for asset in dict.fromkeys(assets)}
        return Term("number", number=shared(values))
    return Term(op, args, window_ns=window_ns)


def number(value: float) -> Term:
    """A number that is the same for all assets."""
    return Term("number", number=Limit(value))


def is_finite(term: Term) -> bool:
    """Whether a number is one for every asset."""
    return all(math.isfinite(value) for value in (term.number.value, *term.number.by_asset.values()))


def converted(value: Typed, to: str) -> Typed:
    """In the unit `to`, which is of the same dimension. Differences only: a temperature has one unit here."""
    if value.unit == to:
        return value
    if value.constant:
        limit = value.term.number
        by_asset = {asset: units.convert(one, value.unit, to, True) for asset, one in limit.by_asset.items()}
        term = Term("number", number=Limit(units.convert(limit.value, value.unit, to, True), by_asset))
        return replace(value, term=term, unit=to)
    factor = units.convert(1.0, value.unit, to, True)
    return Typed(make("mul", value.term, number(factor)) if factor != 1.0 else value.term, to)


def without_percent(value: Typed) -> Typed:
    """A share of one rather than of a hundred."""
    return converted(value, "") if value.unit == PERCENT else value


def signal_value(signal: Signal, plain: Term, assets: Sequence[str]) -> Typed:
    """A signal in the one unit that a rule computes in, whatever those of its assets are."""
    judged = assets[:1] if signal.alike else assets
    others = {asset: unit for asset in judged if (unit := signal.sensors[asset].unit) != signal.unit}
    if others and signal.alike:
        others = dict.fromkeys(assets, others[assets[0]])
    if not others:
        return Typed(plain, signal.unit, signal=signal, plain=plain)
    offsets = {asset: units.convert(0.0, unit, signal.unit) for asset, unit in others.items()}
    factors = {
        asset: units.convert(1.0, unit, signal.unit) - offsets[asset] for asset, unit in others.items()
    }
    term = plain
    if any(factor != 1.0 for factor in factors.values()):
        term = Term("mul", (term, _by_asset(assets, factors, 1.0)))
    if any(offsets.values()):
        term = Term("add", (term, _by_asset(assets, offsets, 0.0)))
    return Typed(term, signal.unit, signal=signal, plain=plain)


def _by_asset(assets: Sequence[str], some: dict[str, float], other: float) -> Term:
    return Term("number", number=shared({asset: some.get(asset, other) for asset in assets}))


def same_dimension(one: str, other: str) -> bool:
    """Whether two may be compared or added; a temperature and a difference may not."""
    return (one == TEMPERATURE) == (other == TEMPERATURE) and (
        one == other or units.same_dimension(one, other)
    )


def meant_temperature(value: Typed, other: str) -> str:
    """What was probably meant by a number that is a difference beside a temperature, or the other way round."""
    if not value.constant or value.unit not in (TEMPERATURE, DIFFERENCE):
        return "one is a temperature, the other a difference of two"
    given = value.term.number.value
    if other == TEMPERATURE and given > 200:
        given -= 273.15
    return f"did you mean '{given:g} {TEMPERATURE if other == TEMPERATURE else DIFFERENCE}'?"


def described(signal: str, otherwise: str, asset: str, span: Span, unit: str) -> str:
    """For a message: which numbers a signal, or what has no such name, can be for an asset."""
    name = f"for {asset} the {otherwise}"
    if signal:
        name = signal if "." in signal else f"{asset}.{signal}"
    numbers = f"{span.low:g} to {span.high:g}"
    if math.isinf(span.high):
        numbers = f"{span.low:g} or more"
    elif math.isinf(span.low):
        numbers = f"{span.high:g} or less"
    elif span.low == span.high:
        numbers = f"{span.low:g}"
    return f"{name} is {numbers} {unit}".rstrip()
