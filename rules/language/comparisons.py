"""Comparisons with constants: whether one can come true, and whether two can at once.

Rules: about one number against limits that may differ by asset; what is not of that form is not judged.
"""

from __future__ import annotations

from typing import Final

from rules.language.terms import COMPARISONS, Op, Term, to_judge

Compared = tuple[Term, Op, Term]
"""What is compared, how, and the number that it is compared with."""

FLIPPED: Final[dict[Op, Op]] = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
"""The same comparison with its sides exchanged."""


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


def flutters(assets: tuple[str, ...], when: Compared | None, until: Compared | None) -> bool:
    """Whether both compare the same with constants, and some value fulfils both."""
    if when is None or until is None or when[0] != until[0]:
        return False
    limit, bound = when[2].number, until[2].number
    return any(
        _both(when[1], limit.of(asset), until[1], bound.of(asset)) for asset in to_judge(assets, limit, bound)
    )


def _both(op: Op, limit: float, other: Op, bound: float) -> bool:
    """Whether some value satisfies both comparisons."""
    below, above = ("lt", "le"), ("gt", "ge")
    if op in above and other in below:
        return limit < bound or (limit == bound and op == "ge" and other == "le")
    if op in below and other in above:
        return bound < limit or (limit == bound and op == "le" and other == "ge")
    if op == "eq":
        return _holds(limit, other, bound)
    if other == "eq":
        return _holds(bound, op, limit)
    return (op, other) != ("ne", "eq")


def _holds(value: float, op: Op, limit: float) -> bool:
    return {
        "lt": value < limit,
        "le": value <= limit,
        "gt": value > limit,
        "ge": value >= limit,
        "eq": value == limit,
        "ne": value != limit,
    }[op]
