"""Sums, products and comparisons of numbers with units, and what becomes of a temperature in them.

Rules: a mismatch between two sides is at their operator, a number without its unit where it stands; all raise
ExpressionError.
"""

from __future__ import annotations

from typing import Final

from rules.language.expression import Binary, ExpressionError, start
from rules.language.terms import Op
from rules.language.typed import Typed, converted, is_finite, make, same_dimension, without_percent
from rules.language.unit_algebra import DIFFERENCE, PERCENT, TEMPERATURE, difference, product, quotient, shown

VERBS: Final[dict[Op, str]] = {"add": "added", "sub": "subtracted"}


def added(node: Binary, left: Typed, right: Typed) -> Typed:
    """A temperature less another one is a difference; with a difference it stays a temperature."""
    unit, other = left.unit, right.unit
    if TEMPERATURE not in (unit, other):
        left, right = aligned(node, left, right, VERBS[node.op])
        bare = left.bare and right.bare
        return finite(Typed(make(node.op, left.term, right.term), left.unit, bare), node.at)
    if unit == other and node.op == "sub":
        return Typed(make("sub", left.term, right.term), DIFFERENCE)
    if unit == TEMPERATURE and same_dimension(other, DIFFERENCE):
        return Typed(make(node.op, left.term, converted(right, DIFFERENCE).term), TEMPERATURE)
    if other == TEMPERATURE and same_dimension(unit, DIFFERENCE) and node.op == "add":
        return Typed(make("add", converted(left, DIFFERENCE).term, right.term), TEMPERATURE)
    check_bare(node, left, right)
    message = f"{shown(unit)} and {shown(other)} can't be {VERBS[node.op]}"
    if node.op == "sub" and same_dimension(unit, DIFFERENCE):
        message = f"{other} can't be subtracted from {unit}"
    hint = "a difference is in K" if {unit, other} <= {TEMPERATURE, DIFFERENCE} else ""
    raise ExpressionError(node.at, message, hint)


def multiplied(node: Binary, left: Typed, right: Typed) -> Typed:
    """A product or a quotient."""
    no_temperature(left, node.at, "multiplied" if node.op == "mul" else "divided")
    no_temperature(right, node.at, "multiplied" if node.op == "mul" else "divided by")
    # A percentage of something is in the unit of that; 50 % of 50 % are 25 %.
    if node.op == "div" and left.unit and right.unit and same_dimension(left.unit, right.unit):
        right = converted(right, left.unit)
    elif left.unit and right.unit:
        right = without_percent(right)
        left = without_percent(left) if right.unit else left
    elif node.op == "div" and right.unit == PERCENT and not left.unit:
        right = without_percent(right)
    if (
        node.op == "div"
        and right.constant
        and 0.0
        in (
            right.term.number.value,
            *right.term.number.by_asset.values(),
        )
    ):
        raise ExpressionError(node.at, "a division by zero")
    unit = product(left.unit, right.unit) if node.op == "mul" else quotient(left.unit, right.unit)
    bare = left.bare and right.bare
    return finite(Typed(make(node.op, left.term, right.term), unit, bare), node.at)


def aligned(node: Binary, left: Typed, right: Typed, verb: str) -> tuple[Typed, Typed]:
    """Both in one unit: that of the left side, or of the signal where the other side is constant."""
    check_bare(node, left, right)
    if not same_dimension(left.unit, right.unit):
        raise ExpressionError(node.at, f"{shown(left.unit)} and {shown(right.unit)} can't be {verb}")
    if left.constant and not right.constant:
        return converted(left, right.unit), right
    return left, converted(right, left.unit)


def check_bare(node: Binary, left: Typed, right: Typed) -> None:
    """Raises ExpressionError where a number without a unit meets one that has it."""
    for side, tree, other in ((left, node.left, right), (right, node.right, left)):
        if side.bare and other.unit:
            whose = "signal" if other.signal else "other side"
            message = f"the number needs a unit: the {whose} is in {other.unit}"
            unit = difference(other.unit) if node.op in VERBS else other.unit
            raise ExpressionError(start(tree), message, f"such as '{unit}'")


def no_temperature(value: Typed, at: int, verb: str) -> None:
    """Raises ExpressionError for a temperature on the scale."""
    if value.unit == TEMPERATURE:
        raise ExpressionError(
            at, f"a temperature in {TEMPERATURE} can't be {verb}", "a difference of two, in K, can"
        )


def finite(value: Typed, at: int) -> Typed:
    """Itself, if it is not a constant beyond all numbers."""
    if value.constant and not is_finite(value.term):
        raise ExpressionError(at, "this is too large for a number")
    return value
