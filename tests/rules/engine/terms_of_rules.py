"""Hypothesis strategies: programs made of terms, as the language's front-end may make them, and stranger ones.

Every number comes with the thresholds at which comparisons with it are worth making, given that the signals are
`NUMBERS`; so most conditions are true now and then. Numbers hold at least one signal, and functions of functions,
divisions by what may be 0 and terms that several rules share are common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from hypothesis import strategies as st

from rules.language.program import Program, Rule, Target, make_program
from rules.language.terms import OVER, WINDOWED, Limit, Op, Term
from tests.rules.engine.plant import MS, UNIT, S, site

NUMBERS = (0.0, 1e-9, 40.1, 49.0, 50.0, 50.3, 51.0, 60.0, 75.7, 100.0)
"""What signals read. Sums with some are rounded, in a frame's float32 too, so that their order shows."""
DIFFERENCES = (-50.0, -10.0, -1.0, 0.0, 0.5, 10.0, 50.0)
WINDOWS_NS = (7 * MS, 100 * MS, 100 * MS, 300 * MS, 300 * MS, S, 1600 * MS)
"""Panes of 437.5 us, 6.25 ms, 18.75 ms, 62.5 ms and 100 ms."""
DELAYS_NS = (0, 0, 0, 100 * MS, 250 * MS, S, 3 * S)
EXPIRY_NS = 10 * S

GPUS = site().units[UNIT].gpus
RACKS = ("R1", "R2")
PUMPS = ("CDU-P1", "CDU-P2")
ASSETS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "GPU": (GPUS, GPUS, GPUS[:4], GPUS[1::3]),
    "Rack": (RACKS, RACKS, RACKS[1:]),
    "Pump": (PUMPS, PUMPS, PUMPS[:1]),
    "PowerMeter": (("H",),),
}


def point(signal: str, points: Mapping[str, str]) -> Term:
    return Term("point", signal=signal, points=points)


def literal(value: float) -> Term:
    return Term("number", number=Limit(value))


TEMPERATURE = Term("field", signal="temperature")
FLOW = point("RackLiquidFlow", {rack: f"{rack}.RackLiquidFlow" for rack in RACKS})
GPUS_OF = {rack: tuple(gpu for gpu in GPUS if gpu.startswith(f"{rack}-")) for rack in RACKS}
VALVES = ("V1", "V2")
"""One in the row, one in the hall, as the meter that feeds both."""
VALVE = point("ValvePosition", {valve: f"{valve}.ValvePosition" for valve in VALVES})
EVERY_OTHER = {rack: gpus[::2] for rack, gpus in GPUS_OF.items()}


def over(op: Op, term: Term, members: Mapping[str, tuple[str, ...]]) -> Term:
    return Term(op, (term,), members=members)


SIGNALS: Mapping[str, tuple[Term, ...]] = {
    "GPU": (
        Term("field", signal="temperature"),
        Term("field", signal="temperature"),
        Term("field", signal="power_instant"),
        Term("field", signal="xid"),
        point("Rack.RackLiquidFlow", {gpu: f"{gpu[:2]}.RackLiquidFlow" for gpu in GPUS}),
        point("CDU.LiquidFlow", dict.fromkeys(GPUS, "CDU.LiquidFlow")),
    ),
    "Rack": (
        point("RackLiquidFlow", {rack: f"{rack}.RackLiquidFlow" for rack in RACKS}),
        point("RackPower", {rack: f"{rack}.RackPower" for rack in RACKS}),
        point("CDU.LiquidFlow", dict.fromkeys(RACKS, "CDU.LiquidFlow")),
        over("max_over", TEMPERATURE, GPUS_OF),
        over("avg_over", Term("avg", (TEMPERATURE,), window_ns=300 * MS), EVERY_OTHER),
        over("count_over", Term("gt", (TEMPERATURE, literal(50.0))), GPUS_OF),
        over("coverage_over", TEMPERATURE, GPUS_OF),
        point("PowerMeter.ActivePower", dict.fromkeys(RACKS, "H.ActivePower")),
    ),
    "PowerMeter": (
        point("ActivePower", {"H": "H.ActivePower"}),
        over("sum_over", point("RackPower", {rack: f"{rack}.RackPower" for rack in RACKS}), {"H": RACKS}),
        over("avg_over", VALVE, {"H": VALVES}),
        over("min_over", VALVE, {"H": VALVES}),
        over("count_over", Term("gt", (VALVE, literal(50.0))), {"H": VALVES}),
        over("coverage_over", VALVE, {"H": VALVES}),
        over("max_over", TEMPERATURE, {"H": GPUS}),
        over("coverage_over", Term("gt", (TEMPERATURE, literal(50.0))), {"H": GPUS[::3]}),
        over("avg_over", Term("avg", (TEMPERATURE,), window_ns=300 * MS), {"H": GPUS}),
    ),
    "Pump": (
        point("PumpSpeed", {pump: f"{pump}.PumpSpeed" for pump in PUMPS}),
        point("R1.RackLiquidFlow", dict.fromkeys(PUMPS, "R1.RackLiquidFlow")),
        over("sum_over", FLOW, dict.fromkeys(PUMPS, RACKS)),
        over("count_over", Term("lt", (FLOW, literal(50.0))), dict.fromkeys(PUMPS, RACKS)),
        over("min_over", Term("rate", (TEMPERATURE,), window_ns=S), dict.fromkeys(PUMPS, GPUS)),
    ),
}


class Number(NamedTuple):
    """A number of a rule, and thresholds about which it may lie."""

    term: Term
    thresholds: tuple[float, ...]


@st.composite
def literals(draw: st.DrawFn, kind: str, choice: tuple[float, ...]) -> Term:
    """A number, now and then another one for some of the assets."""
    by_asset = {}
    if draw(st.sampled_from([False] * 5 + [True])):
        some = draw(st.sampled_from(ASSETS[kind]))
        by_asset = dict.fromkeys(some[::2], draw(st.sampled_from(choice)))
    return Term("number", number=Limit(draw(st.sampled_from(choice)), by_asset))


ARITHMETIC: Final[tuple[Op, ...]] = ("add", "sub", "mul", "div", "div", "neg", "abs", "least", "most")
OVER_TIME: Final[tuple[Op, ...]] = (
    "rate", "delta", "avg", "twa", "twa", "min", "max", "stddev", "integral", "count", "ewma", "cusum", "since",
)  # fmt: skip
"""twa twice: it is rarely known, as it waits until its window is full."""


@st.composite
def numbers(draw: st.DrawFn, kind: str, depth: int) -> Number:
    """A number of signals, `depth` operations deep at most."""
    shape = draw(st.sampled_from(["signal", "arithmetic", "over time", "over time"])) if depth else "signal"
    if shape == "signal":
        return Number(draw(st.sampled_from(SIGNALS[kind])), NUMBERS)
    op = draw(st.sampled_from(OVER_TIME if shape == "over time" else ARITHMETIC))
    window_ns = draw(st.sampled_from(WINDOWS_NS))
    anew: tuple[Term, ...] = ()
    if op in WINDOWED and draw(st.sampled_from([False, False, True])):
        anew, window_ns = (draw(truths(kind, depth - 1)),), 0
    if op in ("count", "since"):
        truth = draw(truths(kind, depth - 1))
        thresholds = (0.0, 1.0, 2.0, 5.0, 12.0) if op == "count" else (0.0, 0.02, 0.1, 0.5, 2.0)
        return Number(Term(op, (truth, *anew), window_ns=window_ns if op == "count" else 0), thresholds)
    first, about = draw(numbers(kind, depth - 1))
    if op in ("add", "sub", "mul", "div", "least", "most"):
        second = draw(
            st.one_of(
                literals(kind, (0.0, 0.1, 3.0, 50.0)).map(lambda term: Number(term, (2.0,))),
                numbers(kind, depth - 1),
            )
        )
        return Number(Term(op, (first, second.term)), _of_two(op, about, second.thresholds))
    if op == "cusum":
        target = draw(st.one_of(literals(kind, about), literals(kind, about), st.sampled_from(SIGNALS[kind])))
        allowance = draw(literals(kind, (0.0, 0.5, 5.0)))
        return Number(Term("cusum", (first, target, allowance)), (0.0, 1.0, 20.0, 100.0))
    if op in ("neg", "abs"):
        return Number(Term(op, (first,)), tuple(-x for x in about) if op == "neg" else about)
    seconds = window_ns / 1e9 if not anew else 0.3
    thresholds = {
        "delta": DIFFERENCES,
        "rate": tuple(x / seconds for x in DIFFERENCES),
        "stddev": (0.0, 0.25, 0.5, 10.0, 25.0),
        "integral": tuple(x * seconds for x in about),
    }.get(op, about)
    return Number(Term(op, (first, *anew), window_ns=window_ns), thresholds)


def _of_two(op: Op, some: tuple[float, ...], others: tuple[float, ...]) -> tuple[float, ...]:
    """Thresholds of an operation on two numbers that have some of their own."""
    if op == "div":
        return (-1.0, 0.0, 0.5, 1.0, 2.0, 25.0)
    if op in ("least", "most"):
        return some + others
    pairs = [(some[i % len(some)], others[(3 * i + 1) % len(others)]) for i in range(len(NUMBERS))]
    return tuple({"add": a + b, "sub": a - b, "mul": a * b}[op] for a, b in pairs)


@st.composite
def comparisons(draw: st.DrawFn, kind: str, number: Number) -> Term:
    """A number against one of its thresholds, or against a signal."""
    op = draw(st.sampled_from(["lt", "le", "gt", "ge", "lt", "le", "gt", "ge", "eq", "ne"]))
    against = draw(
        st.one_of(
            literals(kind, number.thresholds),
            literals(kind, number.thresholds),
            st.sampled_from(SIGNALS[kind]),
        )
    )
    return Term(op, (number.term, against))


@st.composite
def truths(draw: st.DrawFn, kind: str, depth: int, known: tuple[Number, ...] = ()) -> Term:
    """A condition, `depth` operations deep at most; `known` numbers come again and again."""
    shapes = ["comparison", "comparison", "comparison"]
    shapes += ["and", "or", "not", "changed", "frozen", "stale"] * (depth > 0) + ["vote"] * (depth > 1)
    shape = draw(st.sampled_from(shapes))
    if shape == "comparison":
        again = known and draw(st.booleans())
        deep = min(depth, draw(st.sampled_from([1, 1, 2, 3])))
        return draw(comparisons(kind, draw(st.sampled_from(known) if again else numbers(kind, deep))))
    if shape == "stale":
        return Term("stale", (draw(numbers(kind, depth - 1)).term,))
    if shape in ("changed", "frozen"):
        watched = draw(numbers(kind, depth - 1)).term
        window_ns = draw(st.sampled_from(WINDOWS_NS))
        ends = (Term("max", (watched,), window_ns=window_ns), Term("min", (watched,), window_ns=window_ns))
        return Term("ne" if shape == "changed" else "eq", ends)
    if shape == "vote":
        a, b, c = (draw(truths(kind, 0, known)) for _ in range(3))
        pairs = [Term("and", pair) for pair in ((a, b), (a, c), (b, c))]
        return Term("or", (Term("or", (pairs[0], pairs[1])), pairs[2]))
    first = draw(truths(kind, depth - 1, known))
    if shape == "not":
        return Term("not", (first,))
    return Term("and" if shape == "and" else "or", (first, draw(truths(kind, depth - 1, known))))


def of_assets(term: Term, assets: tuple[str, ...]) -> Term:
    """The term as a rule for these assets has it."""
    if term.op in OVER:
        return replace(term, members={asset: term.members[asset] for asset in assets})
    return replace(
        term,
        args=tuple(of_assets(arg, assets) for arg in term.args),
        number=Limit(term.number.value, {a: x for a, x in term.number.by_asset.items() if a in assets}),
        points={a: name for a, name in term.points.items() if a in assets},
    )


def _targets(kind: str, asset: str) -> tuple[Target, ...]:
    if kind == "Pump":
        return (Target(f"{asset}.PumpSpeed", 100.0, "percent", EXPIRY_NS),)
    gpus = [gpu for gpu in GPUS if gpu == asset or gpu.startswith(f"{asset}-")]
    return tuple(Target(f"{gpu}.power_limit", 500.0 + n, "W", EXPIRY_NS) for n, gpu in enumerate(gpus))


@st.composite
def rules(draw: st.DrawFn, rule_id: str, kind: str, known: tuple[Number, ...]) -> Rule:
    """One rule; its `until`, if any, is often about what its `when` is about.

    Some only come and go with a signal, to show what their numbers are, to the last digit.
    """
    shape = draw(st.sampled_from(["silent"] + ["signal"] * 4 + ["any"] * 6))
    assets = draw(st.sampled_from(ASSETS[kind]))
    targets = {asset: _targets(kind, asset) for asset in assets} if draw(st.booleans()) else {}
    if shape == "silent":
        silent = of_assets(draw(st.sampled_from(SIGNALS[kind][:3])), assets)
        timeouts = {asset: draw(st.sampled_from([150 * MS, S, 2500 * MS])) for asset in assets}
        text = draw(st.sampled_from(["{asset} is silent", "{asset}: {value}"]))
        return Rule(rule_id, kind, assets, None, None, silent, timeouts, 0, 0, "high", text, targets=targets)
    if shape == "signal":
        signal = Number(draw(st.sampled_from(SIGNALS[kind])), (49.0, 50.0, 51.0))
        when, until, delays_ns = draw(comparisons(kind, signal)), None, st.just(0)
    else:
        when, delays_ns = draw(truths(kind, 3, known)), st.sampled_from(DELAYS_NS)
        until = draw(st.none() | truths(kind, 2, known))
    names = ("value", "second", "third")[: draw(st.integers(1, 3))]
    watched = [term for term in when.walk() if not term.is_truth and term.op != "number"]
    others = (st.sampled_from(known) | numbers(kind, 1) | numbers(kind, 2)).map(lambda number: number.term)
    shown = {name: draw(others if shape == "signal" else st.sampled_from(watched) | others) for name in names}
    return Rule(
        rule_id,
        kind,
        assets,
        of_assets(when, assets),
        of_assets(until, assets) if until else None,
        None,
        {},
        draw(delays_ns),
        draw(delays_ns),
        draw(st.sampled_from(["urgent", "low"])),
        "{asset} " + " ".join(f"{{{name}}}" if name == "value" else f"{{{name}:.17g}}" for name in names),
        {name: of_assets(term, assets) for name, term in shown.items()},
        targets=targets,
    )


KINDS = ("GPU", "GPU", "Rack", "Pump", "PowerMeter")


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of one to ten rules; rules of a kind have some of their numbers in common."""
    count = draw(st.sampled_from([1, 3, 6, 10]))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=count, max_size=count))
    known = {kind: (draw(numbers(kind, 2)), draw(numbers(kind, 1))) for kind in sorted(set(kinds))}
    made = [draw(rules(f"rule-{index}", kind, known[kind])) for index, kind in enumerate(kinds)]
    if draw(st.booleans()):  # never in a circle: a rule explains those behind it
        names = [rule.id for rule in made]
        made = [
            replace(
                rule, suppresses=tuple(sorted(draw(st.sets(st.sampled_from(names[at + 1 :]), max_size=4))))
            )
            if names[at + 1 :]
            else rule
            for at, rule in enumerate(made)
        ]
    if draw(st.booleans()):
        made = [replace(rule, group=draw(st.sampled_from(["", "a", "b"]))) for rule in made]
    return make_program({rule.id: rule for rule in made}, site().digest)
