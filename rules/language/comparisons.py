"""Comparisons: whether one can come true, and whether several can at once.

Rules: limits may differ by asset; what would need more than intervals of what is compared is not judged, so that a
finding is never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from rules.language.terms import COMPARISONS, Limit, Op, Term, to_judge

Compared = tuple[Term, Op, Term]
"""What is compared, how, and the number that it is compared with."""

FLIPPED: Final[dict[Op, Op]] = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
"""The same comparison with its sides exchanged."""
_OPPOSITE: Final[dict[Op, Op]] = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}
ALTERNATIVES_MAX: Final = 64


def compared(term: Term) -> Compared | None:
    """The parts of a single comparison with a constant; None for anything else."""
    if term.op not in COMPARISONS:
        return None
    left, right = term.args
    if right.op == "number":
        return left, term.op, right
    return (right, FLIPPED[term.op], left) if left.op == "number" else None


def never(op: Op, limit: float, low: float, high: float) -> bool:
    """Whether no value from low to high fulfils the comparison."""
    return {
        "lt": limit <= low,
        "le": limit < low,
        "gt": limit >= high,
        "ge": limit > high,
        "eq": not low <= limit <= high,
    }.get(op, False)


def always(op: Op, limit: float, low: float, high: float) -> bool:
    """Whether every value from low to high fulfils the comparison."""
    return never(_OPPOSITE[op], limit, low, high)


def flutters(assets: Sequence[str], when: Term, until: Term) -> bool:
    """Whether some value fulfils both, as far as `until` is about what `when` compares too."""
    return any(
        {one.what for one in over} <= {one.what for one in begun} and _possible(assets, (*begun, *over))
        for begun in _alternatives(when, True)
        for over in _alternatives(until, True)
    )


def contradicts_itself(assets: Sequence[str], truth: Term) -> bool:
    """Whether nothing can fulfil it for any asset, because its parts exclude each other."""
    found = _alternatives(truth, True)
    return bool(found) and not any(_possible(assets, parts) for parts in found)


class _Part(NamedTuple):
    """One comparison: what is compared, how and with which number; two signals compared are their difference and 0."""

    what: tuple[str, str]
    op: Op
    limit: Limit


def _alternatives(truth: Term, positive: bool) -> list[tuple[_Part, ...]]:
    """The sets of comparisons each of which makes a truth true, or false; none if there are too many to look at."""
    if truth.op == "not":
        return _alternatives(truth.args[0], not positive)
    if truth.op in COMPARISONS:
        parts = compared(truth)
        what, op, limit = parts or (None, truth.op, None)
        key = (what.key, "") if what else (truth.args[0].key, truth.args[1].key)
        return [(_Part(key, op if positive else _OPPOSITE[op], limit.number if limit else Limit(0.0)),)]
    left, right = (_alternatives(arg, positive) for arg in truth.args)
    if (truth.op == "or") == positive:
        return left + right if left and right else []
    if len(left) * len(right) > ALTERNATIVES_MAX:
        return []
    return [one + other for one in left for other in right]


def _possible(assets: Sequence[str], parts: Sequence[_Part]) -> bool:
    """Whether some values fulfil all parts at once, for some asset."""
    return any(_possible_for(asset, parts) for asset in to_judge(assets, *(part.limit for part in parts)))


def _possible_for(asset: str, parts: Sequence[_Part]) -> bool:
    for what in {part.what for part in parts}:
        limits = [(part.op, part.limit.of(asset)) for part in parts if part.what == what]
        # What fulfils all of them is a limit itself, or lies between two of them or beyond the last.
        edges = sorted({limit for _, limit in limits})
        between = [(one + other) / 2 for one, other in pairwise(edges)]
        values = [edges[0] - 1, *edges, *between, edges[-1] + 1]
        if not any(all(_holds(value, op, limit) for op, limit in limits) for value in values):
            return False
    return True


def _holds(value: float, op: Op, limit: float) -> bool:
    return {
        "lt": value < limit,
        "le": value <= limit,
        "gt": value > limit,
        "ge": value >= limit,
        "eq": value == limit,
        "ne": value != limit,
    }[op]
