"""Conditions: whether one can come true, and whether two can at once.

Rules: each question is answered for one asset at a time; a finding is made of what is certain. That parts exclude each
other is certain when no number fulfils all that is asked of one quantity. That two conditions can hold at once is
certain where quantities have no signal in common, since each signal may then take any value of its range; where they
have, only if all that the first asks of them leaves nothing that the second excludes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, product
from typing import Final, Literal

from rules.language.forms import FLIPPED, OPPOSITE, Alternatives, Part, Quantity, alternatives
from rules.language.spans import ANY, Span, Spans
from rules.language.terms import COMPARISONS, FUNCTIONS, OVER, Op, Term

Compared = tuple[Term, Op, Term]
"""What is compared, how, and the number that it is compared with."""
Flutter = Literal["", "can", "is"]
"""Never for certain; where signals that only `until` names have some values; where those of `when` have."""

_NONE: Final[frozenset[str]] = frozenset()
_OF_TRUTHS: Final = ("count", "since", "count_over", "coverage_over")
"""What they are made of decides when they change, not which numbers they can be."""


def compared(term: Term) -> Compared | None:
    """The parts of a single comparison with a constant; None for anything else."""
    if term.op not in COMPARISONS:
        return None
    left, right = term.args
    if right.op == "number":
        return left, term.op, right
    return (right, FLIPPED[term.op], left) if left.op == "number" else None


def never(op: Op, left: Span, right: Span) -> bool:
    """Whether no two values of the spans fulfil the comparison."""
    return {
        "lt": left.low >= right.high,
        "le": left.low > right.high,
        "gt": left.high <= right.low,
        "ge": left.high < right.low,
        "eq": left.high < right.low or left.low > right.high,
        "ne": left.low == left.high == right.low == right.high,
    }[op]


def always(op: Op, left: Span, right: Span) -> bool:
    """Whether any two values of the spans fulfil the comparison."""
    return never(OPPOSITE[op], left, right)


def contradicts_itself(assets: Sequence[str], truth: Term, spans: Spans) -> bool:
    """Whether nothing can fulfil it for any asset, because its parts exclude each other."""
    for asset in spans.to_judge(assets, truth):
        found = alternatives(truth, asset)
        if not found or any(_may_be(parts) for parts in found):
            return False
    return True


def flutters(assets: Sequence[str], when: Term, until: Term, spans: Spans) -> Flutter:
    """Whether both are true at once for certain values of the signals, for some asset."""
    has_memory = any(part.op in FUNCTIONS for term in (when, until) for part in term.walk())
    verdicts = {
        _Asset(asset, spans).flutters(when, until, steady)
        for asset in spans.to_judge(assets, when, until)
        for steady in ((False, True) if has_memory else (False,))
    }
    return "is" if "is" in verdicts else "can" if "can" in verdicts else ""


class _Asset:
    """What the quantities of one asset read, and which numbers they can be."""

    def __init__(self, asset: str, spans: Spans) -> None:
        self._asset = asset
        self._spans = spans
        self._known: dict[str, frozenset[str]] = {}

    def flutters(self, when: Term, until: Term, steady: bool) -> Flutter:
        """As far as it shows while signals are `steady`, or whatever they do."""
        all_begun = [parts for parts in alternatives(when, self._asset, steady) if self._may_be(parts)]
        all_ended = alternatives(until, self._asset, steady)
        if not steady and all_begun and all(_entails_one(begun, all_ended) for begun in all_begun):
            return "is"
        given = not steady and len(all_begun) == 1  # a rule that can never be has a finding of its own
        found: Flutter = ""
        for begun, ended in product(all_begun, all_ended):
            if self._hold_at_once(begun, ended, given):
                if self._named(ended) <= self._named(begun):
                    return "is"
                found = "can"
        return found

    def _named(self, parts: Sequence[Part]) -> frozenset[str]:
        """All signals of the comparisons that the parts come from."""
        return _NONE.union(*(self._read(part.asked) for part in parts))

    def _may_be(self, parts: Sequence[Part]) -> bool:
        return _may_be(parts, lambda quantity: self._span(quantity, self._spans.outer))

    def _hold_at_once(self, begun: Sequence[Part], ended: Sequence[Part], given: bool) -> bool:
        """Whether it is certain that signals can fulfil both. `given`: that they can fulfil `begun` is."""
        asked = {part.quantity for part in ended}
        return all(
            self._leaves_room(group, [*begun, *ended]) or (given and not asked.intersection(group))
            for group in self._groups([*begun, *ended])
        )

    def _leaves_room(self, group: Sequence[Quantity], parts: Sequence[Part]) -> bool:
        """Whether numbers fulfil all that is asked of a quantity which has no signal in common with others."""
        quantity = group[0]
        seen: set[str] = set()
        if len(group) > 1 or not all(self._reads_others(term, self._asset, seen) for term in quantity.terms):
            return False
        is_whole = any(self._spans.is_whole(term, self._asset) for term in quantity.terms)
        if is_whole and len(quantity.terms) > 1:
            return False
        asked = _by_quantity(parts)[quantity]
        span = self._span(quantity, self._spans.reached)
        values = _whole_values(asked, span) if is_whole else _values(asked, span)
        return _fits(asked, span, values, 1.0)

    def _reads_others(self, term: Term, asset: str, seen: set[str]) -> bool:
        """Whether it reads no signal of `seen`, and none twice; `seen` then has its own, too."""
        if term.op in ("field", "point", *_OF_TRUTHS):
            signals = {_id(signal, of) for signal, of in term.signals(asset)}
            is_new = not signals & seen
            seen |= signals
            return is_new
        members = term.members[asset] if term.op in OVER else (asset,)
        return all(self._reads_others(arg, member, seen) for member in members for arg in term.args)

    def _span(self, quantity: Quantity, span_of: Callable[[Term, str], Span]) -> Span:
        low = high = 0.0
        for (_, times), term in zip(quantity.multiples, quantity.terms, strict=True):
            ends = [times * end for end in span_of(term, self._asset)]
            low, high = low + min(ends), high + max(ends)
        return Span(low, high)

    def _read(self, term: Term) -> frozenset[str]:
        if term.key not in self._known:
            self._known[term.key] = frozenset(_id(signal, of) for signal, of in term.signals(self._asset))
        return self._known[term.key]

    def _groups(self, parts: Sequence[Part]) -> list[list[Quantity]]:
        """Quantities, those together that have signals in common, directly or by way of others."""
        groups: list[tuple[frozenset[str], list[Quantity]]] = []
        for quantity in dict.fromkeys(part.quantity for part in parts):
            signals = _NONE.union(*(self._read(term) for term in quantity.terms))
            near = [group for group in groups if group[0] & signals]
            groups = [group for group in groups if group not in near]
            joined = [quantity, *(one for _, group in near for one in group)]
            groups.append((signals.union(*(read for read, _ in near)), joined))
        return [quantities for _, quantities in groups]


def _id(signal: Term, of: str) -> str:
    return f"{of}.{signal.signal}" if signal.op == "field" else signal.points[of]


def _entails_one(begun: Sequence[Part], all_ended: Alternatives) -> bool:
    """Whether nothing that fulfils `begun` fails to fulfil all parts of one of the others."""
    of = _by_quantity(begun)
    return any(not any(_may_be([*of[part.quantity], _denied(part)]) for part in ended) for ended in all_ended)


def _denied(part: Part) -> Part:
    return part._replace(op=OPPOSITE[part.op])


def _may_be(parts: Sequence[Part], span_of: Callable[[Quantity], Span] = lambda quantity: ANY) -> bool:
    """Whether it is not certain that no number fulfils all that is asked of each quantity, by itself."""
    for quantity, asked in _by_quantity(parts).items():
        span = span_of(quantity) if quantity.terms else Span(0.0, 0.0)
        if not _fits(asked, span, _values(asked, span), -1.0):
            return False
    return True


def _by_quantity(parts: Sequence[Part]) -> dict[Quantity, list[Part]]:
    found: dict[Quantity, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.quantity].append(part)
    return found


def _fits(parts: Sequence[Part], span: Span, values: Iterable[float], certain: float) -> bool:
    """Whether one of the values is in the span and fulfils all parts.

    `certain`: 1.0, whichever way limits move by their margins; -1.0, for one way at least.
    """
    for value in values:
        if span.low <= value <= span.high and all(
            _holds(value, part.op, part.limit, certain * part.margin) for part in parts
        ):
            return True
    return False


def _edges(parts: Sequence[Part], span: Span) -> list[float]:
    found = {*span}
    for part in parts:
        steps = (-2, -1, 0, 1, 2) if part.margin else (0,)
        found.update(part.limit + step * part.margin for step in steps)
    return sorted(edge for edge in found if math.isfinite(edge)) or [0.0]


def _values(parts: Sequence[Part], span: Span) -> list[float]:
    """If numbers fulfil all parts, one of these does: an edge, or what lies between two of them or beyond the last."""
    edges = _edges(parts, span)
    between = [one + (other - one) / 2 for one, other in pairwise(edges)]
    return [edges[0] - abs(edges[0]) - 1, *edges, *between, edges[-1] + abs(edges[-1]) + 1]


def _whole_values(parts: Sequence[Part], span: Span) -> list[float]:
    edges = [math.floor(edge) for edge in _edges(parts, span)]
    return [float(edge + step) for edge in edges for step in (-1, 0, 1, 2)]


def _holds(value: float, op: Op, limit: float, margin: float) -> bool:
    match op:
        case "lt":
            return value < limit - margin
        case "le":
            return value <= limit - margin
        case "gt":
            return value > limit + margin
        case "ge":
            return value >= limit + margin
        case "eq":
            return abs(value - limit) <= -margin
    return abs(value - limit) > margin
