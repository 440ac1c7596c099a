"""What functions make of their arguments, once these are known.

Rules: each checks units and raises ExpressionError at the argument that is wrong; nothing here knows names.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import NoReturn, cast

from rules.language.arithmetic import aligned, check_bare, no_temperature
from rules.language.expression import (
    Binary,
    Call,
    Expression,
    ExpressionError,
    Number,
    parse_expression,
    start,
    window_of,
)
from rules.language.formulas import FORMULAS, SHARE
from rules.language.functions import FUNCTIONS
from rules.language.problems import each
from rules.language.terms import Op, Term
from rules.language.typed import Typed, converted, make, meant_temperature, same_dimension
from rules.language.unit_algebra import TEMPERATURE, difference, product, quotient, shown
from rules.site.model import Site


def voted(args: list[Typed]) -> Typed:
    """Two of three conditions."""
    a, b, c = (arg.term for arg in args)
    pairs = (make("and", a, b), make("and", a, c), make("and", b, c))
    return Typed(make("or", make("or", pairs[0], pairs[1]), pairs[2]))


def disagreeing(args: list[Typed]) -> Typed:
    """One of three conditions says otherwise than the others."""
    a, b, c = (arg.term for arg in args)
    some, all_of_them = make("or", make("or", a, b), c), make("and", make("and", a, b), c)
    return Typed(make("and", some, make("not", all_of_them)))


def over_time(node: Call, args: list[Typed]) -> Typed:
    """Of one argument and a window; `since` and `ewma`, too."""
    name, value, window_ns = node.function, args[0], node.window_ns
    terms = [value.term]
    if len(args) > 1 and args[1].term.is_truth and name != "ewma":
        terms.append(args[1].term)
    elif len(args) > 1:
        window_ns = _named_window(node, args[1])
    if name in ("changed", "frozen"):
        edges = (make("max", *terms, window_ns=window_ns), make("min", *terms, window_ns=window_ns))
        return Typed(make("ne" if name == "changed" else "eq", *edges), value.unit)
    if name == "integral":
        no_temperature(value, node.at, "integrated")
    unit = {
        "count": "",
        "since": "s",
        "rate": quotient(difference(value.unit), "s"),
        "delta": difference(value.unit),
        "stddev": difference(value.unit),
        "integral": product(value.unit, "s"),
    }.get(name, value.unit)
    return Typed(make(cast("Op", name), *terms, window_ns=window_ns), unit)


def _named_window(node: Call, given: Typed) -> int:
    """A window by the name of a parameter, in ns."""
    tree, form = node.args[1], FUNCTIONS[node.function].form
    if not given.constant or given.bare or not same_dimension(given.unit, "s"):
        or_condition = "" if node.function == "ewma" else ", or a condition that begins it anew"
        refuse(tree, f"a window is a duration such as '10 s'{or_condition}", form)
    limit = converted(given, "s").term.number
    if len({limit.value, *limit.by_asset.values()}) > 1:
        refuse(tree, "a window is the same for all assets", "make it a parameter of the rule files")
    return window_of(Number(limit.value, "s", start(tree)))


def combined(node: Call, args: list[Typed]) -> Typed:
    """`abs`, `least` and `most`."""
    if node.function == "abs":
        no_temperature(args[0], node.at, "made positive")
        return Typed(make("abs", args[0].term), args[0].unit, args[0].bare)
    op = cast("Op", node.function)
    pair = Binary(op, node.function, node.args[0], node.args[1], node.at)
    one, other = aligned(pair, args[0], args[1], "compared")
    return Typed(make(op, one.term, other.term), one.unit, one.bare and other.bare)


def cusum(node: Call, args: list[Typed]) -> Typed:
    """What is watched, its target and the allowance."""
    value, target, allowance = args
    others = each(partial(_in_cusum, node, value, target, 1), partial(_in_cusum, node, value, allowance, 2))
    return Typed(make("cusum", value.term, *(one.term for one in others)), difference(value.unit))


def _in_cusum(node: Call, value: Typed, given: Typed, place: int) -> Typed:
    """The target of a cusum, which is what it watches, or the allowance, a difference."""
    tree, unit = node.args[place], value.unit if place == 1 else difference(value.unit)
    check_bare(Binary("lt", "<", node.args[0], tree, start(tree)), Typed(value.term, unit), given)
    if not same_dimension(given.unit, unit):
        hint = "the allowance is a difference" if unit != value.unit else ""
        message = f"cusum of {shown(value.unit)} needs {shown(unit)} here, found {shown(given.unit)}"
        refuse(tree, message, hint)
    return converted(given, unit)


def in_formula(name: str, argument: str, given: Typed, tree: Expression) -> Typed:
    """An argument of a formula as a plain number."""
    unit = FORMULAS[name].arguments[argument]
    to = "" if unit == SHARE else unit
    if given.bare and to:
        refuse(tree, f"{argument} of {name} needs a unit", f"such as '{to}'")
    if not same_dimension(given.unit, to):
        hint = meant_temperature(given, to) if TEMPERATURE in (given.unit, to) and given.constant else ""
        refuse(tree, f"{argument} of {name} needs {shown(to)}, found {shown(given.unit)}", hint)
    plain = converted(given, to)
    if unit == SHARE and plain.constant and not 0.0 <= plain.term.number.value <= 1.0:
        refuse(tree, f"{argument} of {name} is a share of one", "such as '25 percent'")
    return Typed(plain.term)


@cache
def steps(name: str) -> list[tuple[str, Expression]]:
    """Of a formula, each with its name."""
    return [(step, parse_expression(text)) for step, text in FORMULAS[name].steps.items()]


def check_facts(site: Site, inner: Term, members: Mapping[str, tuple[str, ...]], at: int) -> None:
    """Raises ExpressionError where a unit would have to be told something before it can tell something."""
    if not inner.reads_others:
        return
    for asset, ones in members.items():
        for member in ones:
            unit = site.assets[member].unit
            if unit == site.assets[asset].unit:
                continue
            for signal, of in inner.signals(member):
                read = of if signal.op == "field" else site.points[signal.points[of]].asset
                if site.assets[read].unit != unit:
                    message = f"unit '{unit}' of {member} does not know {read}, of another unit"
                    raise ExpressionError(at, message, "what units tell each other is of their own signals")


def refuse(node: Expression, message: str, hint: str) -> NoReturn:
    """Raises ExpressionError where `node` begins."""
    raise ExpressionError(start(node), message, hint)
