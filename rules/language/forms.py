"""Comparisons as parts: a quantity, an operator and a number.

    0.7 * design_flow > RackLiquidFlow          RackLiquidFlow < 35
    RackLiquidFlow / design_flow > 0.6          RackLiquidFlow > 30
    abs(a - b) > 2                              a - b > 2   or   a - b < -2
    most(a, b) < 5                              a < 5  and  b < 5
    stale(a)                                    stale(a) = 1

Rules: for one asset, whose constants are numbers; what is no sum of multiples stays as it is, a quantity of its own. A
limit that took arithmetic has a margin, far above its rounding, within which nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rules.language.terms import COMPARISONS, Op, Term

FLIPPED: Final[dict[Op, Op]] = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
"""The same comparison with its sides exchanged."""
OPPOSITE: Final[dict[Op, Op]] = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}
"""What holds where the comparison does not."""
_SPLIT: Final[dict[Op, tuple[Op, Op]]] = {"eq": ("le", "ge"), "ne": ("lt", "gt")}
ALTERNATIVES_MAX: Final = 64
_CHOICES_MAX: Final = 6
"""abs, least and most in one comparison; what is beyond stays as it is."""
_MARGIN: Final = 1e-9
_DIGITS: Final = 14
"""Of a ratio of two multiples: 0.7 * b and b / (10 / 7) are the same one."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A sum of multiples of terms, the first one once; two are equal if they are the same sum.

    `multiples`: by the key of a term. `terms`: the terms themselves, in the same order.
    """

    multiples: tuple[tuple[str, float], ...]
    terms: tuple[Term, ...] = field(compare=False)


class Part(NamedTuple):
    """`quantity` compared with `limit`, which is uncertain by `margin`; `asked`: the comparison as it was written."""

    quantity: Quantity
    op: Op
    limit: float
    margin: float
    asked: Term


Alternatives = list[tuple[Part, ...]]
"""Sets of parts each of which makes a condition true."""


def alternatives(truth: Term, asset: str, steady: bool = False) -> Alternatives:
    """Those of a condition; none if there are too many to look at.

    `steady`: while no signal changes, so that a mean is what it is a mean of, and a rate is 0.
    """
    return _Writer(asset, steady).alternatives(truth, positive=True)


def _joined(left: Alternatives, right: Alternatives, either: bool) -> Alternatives:
    if not left or not right:
        return []
    found = left + right if either else [one + other for one in left for other in right]
    return found if len(found) <= ALTERNATIVES_MAX else []


@dataclass(frozen=True, slots=True)
class _Form:
    """Multiples of terms and a number.

    `scale`: how large the numbers are that it was made of. `exact`: nothing was rounded on the way.
    """

    multiples: Mapping[str, float]
    terms: Mapping[str, Term]
    number: float = 0.0
    scale: float = 0.0
    exact: bool = True

    def plus(self, other: _Form, times: float) -> _Form:
        """Their sum, with the other one so many times."""
        multiples = dict(self.multiples)
        for key, multiple in other.multiples.items():
            multiples[key] = multiples.get(key, 0.0) + times * multiple
        return _Form(
            {key: multiple for key, multiple in multiples.items() if multiple},
            {**self.terms, **other.terms},
            self.number + times * other.number,
            self.scale + abs(times) * other.scale,
            self.exact and other.exact,
        )

    def rounded(self) -> _Form:
        """The same after arithmetic."""
        return _Form(self.multiples, self.terms, self.number, self.scale, exact=False)


_NOTHING: Final = _Form({}, {})


class _Writer:
    """Writes conditions of one asset as parts."""

    def __init__(self, asset: str, steady: bool) -> None:
        self._asset = asset
        self._steady = steady

    def alternatives(self, truth: Term, positive: bool) -> Alternatives:
        """Those that make it true, or false."""
        if truth.op == "not":
            return self.alternatives(truth.args[0], not positive)
        if truth.op in COMPARISONS:
            left, right = (self._form(arg) for arg in truth.args)
            op = truth.op if positive else OPPOSITE[truth.op]
            return self._compared(left.plus(right, -1.0), op, truth)
        if truth.op == "stale":  # a quantity of its own, 1 or 0
            form = _Form({truth.key: 1.0}, {truth.key: truth}, -1.0 if positive else 0.0)
            return [(_part(form, "eq", truth),)]
        left_ones, right_ones = (self.alternatives(arg, positive) for arg in truth.args)
        return _joined(left_ones, right_ones, (truth.op == "or") == positive)

    def _form(self, term: Term) -> _Form:
        match term.op:
            case "number" if math.isfinite(term.number.of(self._asset)):
                value = term.number.of(self._asset)
                return _Form({}, {}, value, abs(value))
            case "add" | "sub":
                one, other = (self._form(arg) for arg in term.args)
                return one.plus(other, 1.0 if term.op == "add" else -1.0).rounded()
            case "neg":
                return _NOTHING.plus(self._form(term.args[0]), -1.0)
            case "mul" | "div":
                one, other = (self._form(arg) for arg in term.args)
                if term.op == "mul" and not one.multiples:
                    one, other = other, one
                if not other.multiples and (other.number or term.op == "mul"):
                    times = other.number if term.op == "mul" else 1 / other.number
                    return _NOTHING.plus(one, times).rounded()
            case "avg" | "twa" | "ewma" | "min" | "max" if self._steady and not term.begins_anew:
                return self._form(term.args[0]).rounded()
            case "rate" | "delta" | "stddev" if self._steady and not term.begins_anew:
                return _NOTHING.rounded()
        return _Form({term.key: 1.0}, {term.key: term})

    def _compared(self, form: _Form, op: Op, asked: Term, depth: int = 0) -> Alternatives:
        """`form` compared with 0."""
        choices = (
            form.terms[key] for key in form.multiples if form.terms[key].op in ("abs", "least", "most")
        )
        chosen = next(choices, None)
        if chosen is None or depth == _CHOICES_MAX:
            return [(_part(form, op, asked),)]
        if op in ("eq", "ne"):
            below, above = [self._compared(form, one, asked, depth) for one in _SPLIT[op]]
            return _joined(below, above, either=op == "ne")
        times = form.multiples[chosen.key]
        rest = form.plus(_Form({chosen.key: 1.0}, {}), -times)
        one = self._form(chosen.args[0])
        other = _NOTHING.plus(one, -1.0) if chosen.op == "abs" else self._form(chosen.args[1])
        # abs(x) is the larger of x and -x; the larger one is above where either is, and below where both are.
        is_larger = (chosen.op != "least") == (times > 0)
        return _joined(
            self._compared(rest.plus(one, times), op, asked, depth + 1),
            self._compared(rest.plus(other, times), op, asked, depth + 1),
            either=is_larger == (op in ("gt", "ge")),
        )


def _part(form: _Form, op: Op, asked: Term) -> Part:
    keys = sorted(form.multiples)
    first = form.multiples[keys[0]] if keys else 1.0
    ratios = {key: float(f"{form.multiples[key] / first:.{_DIGITS}g}") for key in keys}
    quantity = Quantity(tuple(ratios.items()), tuple(form.terms[key] for key in keys))
    limit = -form.number / first
    margin = 0.0
    if not form.exact:
        margin = _MARGIN * (form.scale / abs(first) + sum(abs(ratio) for ratio in ratios.values()))
    return Part(quantity, op if first > 0 else FLIPPED[op], limit, margin, asked)
