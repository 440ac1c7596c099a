"""What numbers an expression can take, from the ranges of the signals in it: interval arithmetic.

Rules: two spans of each term. The outer one holds whatever the signals do within their ranges, so that what lies
outside is certain never to be. The reached one is made of numbers that signals can bring about, each on its own; it is
only asked of terms that read each signal once, of which interval arithmetic is exact. Rounding is monotone, as the
kernel's is; what sums up samples is widened by more than its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from rules.language.signals import Sensor
from rules.language.terms import OVER, Term


class Span(NamedTuple):
    """All numbers from low to high, both included where they are finite."""

    low: float
    high: float


Measure = Callable[[Term, str], Sensor]
"""What measures a field or a point that an asset reads."""

ANY: Final = Span(-math.inf, math.inf)
_COUNTED: Final = Span(0.0, math.inf)
_ROUNDING: Final = 1e-9
_NS: Final = 1e9


class Spans:
    """Spans of terms, by asset."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure

    def outer(self, term: Term, asset: str) -> Span:
        """What it never leaves."""
        return _Reading(self._measure, certain=False).span(term, asset)

    def reached(self, term: Term, asset: str) -> Span:
        """What it can take each value of, if it reads each signal once; a count or a state only whole numbers."""
        return _Reading(self._measure, certain=True).span(term, asset)

    def is_whole(self, term: Term, asset: str) -> bool:
        """Whether it may be one of whole numbers only: a state, a counter, a count."""
        counts = any(part.op in ("count", "count_over", "coverage_over") for part in term.walk())
        return counts or any(not self._measure(signal, of).unit for signal, of in term.signals(asset))

    def to_judge(self, assets: Sequence[str], *terms: Term) -> list[str]:
        """One asset of all those that read the same numbers and signals of the same ranges."""
        parts = {id(part): part for term in terms for part in term.walk()}.values()
        differing = [part for part in parts if part.number.by_asset or part.op == "point" or part.op in OVER]
        if not differing:
            return list(assets[:1])
        firsts: dict[tuple[object, ...], str] = {}
        for asset, *kind in zip(assets, *(self._kinds(part, assets) for part in differing), strict=True):
            firsts.setdefault(tuple(kind), asset)
        return list(firsts.values())

    def _kinds(self, part: Term, assets: Sequence[str]) -> Sequence[object]:
        """For each asset what makes a part differ from that of another one."""
        if part.op == "point":
            return [self._measure(part, asset) for asset in assets]
        if part.op in OVER:
            reading = _Reading(self._measure, certain=False)
            return [(reading.span(part, asset), len(part.members[asset])) for asset in assets]
        return [part.number.of(asset) for asset in assets]


class _Reading:
    """Spans of one kind, each worked out once: formulas share terms."""

    def __init__(self, measure: Measure, certain: bool) -> None:
        self._measure = measure
        self._certain = certain
        self._found: dict[tuple[int, str], tuple[Span, Term]] = {}
        """With the term, whose id is in the key and must not come again."""

    def span(self, term: Term, asset: str) -> Span:
        key = (id(term), asset)
        if key not in self._found:
            found = self._span(term, asset)
            self._found[key] = (ANY if math.isnan(found.low) or math.isnan(found.high) else found), term
        return self._found[key][0]

    def _span(self, term: Term, asset: str) -> Span:
        if term.op == "number":
            return Span(term.number.of(asset), term.number.of(asset))
        if term.op in ("field", "point"):
            sensor = self._measure(term, asset)
            return Span(sensor.low, sensor.high)
        if term.op in OVER:
            return self._of_several(term, asset)
        if term.op in ("count", "since", "cusum"):
            return _COUNTED
        return self._computed(term, *[self.span(arg, asset) for arg in term.args])

    def _computed(self, term: Term, one: Span, other: Span = ANY) -> Span:
        match term.op:
            case "add":
                return Span(one.low + other.low, one.high + other.high)
            case "sub":
                return Span(one.low - other.high, one.high - other.low)
            case "mul":
                return _hull(_product(a, b) for a in one for b in other)
            case "div":
                return _quotient(one, other)
            case "neg":
                return Span(-one.high, -one.low)
            case "abs":
                return Span(max(one.low, -one.high, 0.0), max(-one.low, one.high))
            case "least":
                return Span(min(one.low, other.low), min(one.high, other.high))
            case "most":
                return Span(max(one.low, other.low), max(one.high, other.high))
            case "min" | "max":
                return one
            case "avg" | "twa" | "ewma":
                return self._widened(one)
        width, window_s = one.high - one.low, term.window_ns / _NS
        match term.op:
            case "delta":
                return Span(-width, width)
            case "stddev":
                return self._widened(Span(0.0, width / 2))
            case "rate" if self._certain and window_s:  # the base may be as old as two windows
                return Span(-width / window_s / 2, width / window_s / 2)
            case "integral" if self._certain and window_s:
                return Span(one.low * window_s, one.high * window_s)
            case "integral":
                return Span(0.0 if one.low >= 0 else -math.inf, 0.0 if one.high <= 0 else math.inf)
        return ANY

    def _of_several(self, term: Term, asset: str) -> Span:
        members = term.members[asset]
        if term.op == "coverage_over":
            return Span(0.0, 1.0)
        if term.op == "count_over":
            return Span(0.0, len(members))
        spans = self._of_members(term.args[0], members)
        lows, highs = [span.low for span in spans], [span.high for span in spans]
        if term.op == "sum_over":
            if self._certain:
                return Span(sum(lows), sum(highs))
            # Of those that are known, which may be one only.
            low = sum(min(low, 0.0) for low in lows) or min(lows)
            high = sum(max(high, 0.0) for high in highs) or max(highs)
            return self._widened(Span(low, high))
        if not self._certain:
            return self._widened(_hull((*lows, *highs)))
        if term.op == "avg_over":
            return Span(sum(lows) / len(lows), sum(highs) / len(highs))
        pick = min if term.op == "min_over" else max
        return Span(pick(lows), pick(highs))

    def _of_members(self, term: Term, members: Sequence[str]) -> list[Span]:
        if any(part.op == "point" or part.number.by_asset for part in term.walk()):
            return [self.span(term, member) for member in members]
        return [self.span(term, members[0])] * len(members)  # GPUs, which are alike

    def _widened(self, span: Span) -> Span:
        """By the rounding of a sum of samples, but not across 0: samples of one sign have a sum of that sign."""
        if self._certain:
            return span
        error = _ROUNDING * max(abs(end) for end in (*span, 0.0) if math.isfinite(end))
        low, high = span.low - error, span.high + error
        return Span(max(low, 0.0) if span.low >= 0 else low, min(high, 0.0) if span.high <= 0 else high)


def _hull(values: Iterable[float]) -> Span:
    found = list(values)
    return Span(min(found), max(found))


def _product(one: float, other: float) -> float:
    return 0.0 if 0.0 in (one, other) else one * other


def _quotient(one: Span, other: Span) -> Span:
    """Everything, where the divisor may be of either sign; by 0 itself it is unknown."""
    if other.low < 0.0 < other.high or other == (0.0, 0.0):
        return ANY
    sign = 1.0 if other.high > 0 else -1.0
    return _hull(_divided(a, b, sign) for a in one for b in other)


def _divided(one: float, other: float, sign: float) -> float:
    if one == 0.0:
        return 0.0
    if other == 0.0:
        return sign * math.copysign(math.inf, one)
    if math.isinf(other):
        return 0.0 if math.isfinite(one) else math.copysign(math.inf, one) * sign
    return one / other
