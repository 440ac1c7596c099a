"""What numbers a term can be: no value of the signals leads out of it, and its ends are reached."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.language.comparisons import always, never
from rules.language.signals import Sensor
from rules.language.spans import Span, Spans
from rules.language.terms import Limit, Op, Term
from rules.language.typed import COMPUTE

RANGES = {"x": (0.0, 200.0), "y": (-3.0, 7.5), "state": (0.0, 1.0)}
S = 1_000_000_000


def measure(term: Term, asset: str) -> Sensor:
    return Sensor("" if term.signal == "state" else "kW", *RANGES[term.signal])


SPANS = Spans(measure)
X, Y, STATE = (Term("field", signal=name) for name in RANGES)


def number(value: float) -> Term:
    return Term("number", number=Limit(value))


terms = st.recursive(
    st.sampled_from([X, Y]) | st.builds(number, st.floats(-50, 50)),
    lambda below: st.one_of(
        st.builds(lambda op, a: Term(op, (a,)), st.sampled_from(["neg", "abs"]), below),
        st.builds(
            lambda op, a, b: Term(op, (a, b)),
            st.sampled_from(["add", "sub", "mul", "div", "least", "most"]),
            below,
            below,
        ),
    ),
    max_leaves=6,
)


def value_of(term: Term, values: dict[str, float]) -> float:
    if term.op == "number":
        return term.number.value
    if term.op == "field":
        return values[term.signal]
    return COMPUTE[term.op](*(value_of(arg, values) for arg in term.args))


@settings(deadline=None, max_examples=500)
@given(terms, st.floats(*RANGES["x"]), st.floats(*RANGES["y"]))
def test_no_value_leads_out_of_it(term: Term, x: float, y: float) -> None:
    value = value_of(term, {"x": x, "y": y})
    span = SPANS.outer(term, "A")
    assert not math.isfinite(value) or span.low <= value <= span.high


@settings(deadline=None)
@given(st.tuples(*[st.integers(-3, 3)] * 2).map(sorted), st.tuples(*[st.integers(-3, 3)] * 2).map(sorted))
def test_never_and_always_are_what_trying_says(one: list[int], other: list[int]) -> None:
    holds = {
        "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    }  # fmt: skip
    halves = [[half / 2 for half in range(2 * low, 2 * high + 1)] for low, high in (one, other)]
    left, right = Span(*map(float, one)), Span(*map(float, other))
    ops: list[Op] = ["lt", "le", "gt", "ge", "eq", "ne"]
    for op in ops:
        found = {holds[op](a, b) for a in halves[0] for b in halves[1]}
        assert (never(op, left, right), always(op, left, right)) == (found == {False}, found == {True})


def timed(op: Op, arg: Term, window_ns: int = 10 * S) -> Term:
    return Term(op, (arg,), window_ns=window_ns)


def over(op: Op, arg: Term) -> Term:
    return Term(op, (arg,), members={"A": ("B", "C", "D")})


@pytest.mark.parametrize(
    ("term", "outer", "reached"),
    [
        (Term("div", (X, number(-2.0))), (-100, 0), (-100, 0)),
        (Term("div", (number(10.0), X)), (0.05, math.inf), (0.05, math.inf)),
        (Term("div", (X, Y)), (-math.inf, math.inf), (-math.inf, math.inf)),
        (Term("abs", (Y,)), (0, 7.5), (0, 7.5)),
        (timed("max", Y), (-3, 7.5), (-3, 7.5)),
        (timed("delta", Y), (-10.5, 10.5), (-10.5, 10.5)),
        (timed("rate", Y), (-math.inf, math.inf), (-10.5 / 20, 10.5 / 20)),
        (timed("integral", X), (0, math.inf), (0, 2000)),
        (Term("rate", (Y, Term("gt", (X, Y)))), (-math.inf, math.inf), (-math.inf, math.inf)),
        (Term("integral", (X, Term("gt", (X, Y)))), (0, math.inf), (0, math.inf)),
        (Term("max", (X, Term("gt", (X, Y)))), (0, 200), (0, 200)),
        (timed("count", Term("gt", (X, Y))), (0, math.inf), (0, math.inf)),
        (over("sum_over", Y), (-9, 22.5), (-9, 22.5)),
        (over("sum_over", Term("add", (X, number(1.0)))), (1, 603), (3, 603)),
        (over("max_over", Y), (-3, 7.5), (-3, 7.5)),
        (over("avg_over", Y), (-3, 7.5), (-3, 7.5)),
        (over("count_over", Term("gt", (X, Y))), (0, 3), (0, 3)),
        (over("coverage_over", X), (0, 1), (0, 1)),
    ],
    ids=lambda term: term.op if isinstance(term, Term) else "",
)
def test_functions(term: Term, outer: tuple[float, float], reached: tuple[float, float]) -> None:
    assert SPANS.outer(term, "A") == pytest.approx(outer, rel=1e-6)
    assert SPANS.reached(term, "A") == pytest.approx(reached, rel=1e-12)


@pytest.mark.parametrize("op", ["avg", "twa", "ewma"])
def test_a_mean_may_be_beyond_by_its_rounding(op: Op) -> None:
    span = SPANS.outer(timed(op, X), "A")
    assert 200 < span.high < 200.001
    assert span.low == 0


def test_states_and_counts_are_whole() -> None:
    assert SPANS.is_whole(STATE, "A")
    assert SPANS.is_whole(over("sum_over", STATE), "A")
    assert SPANS.is_whole(timed("count", Term("gt", (X, Y))), "A")
    assert not SPANS.is_whole(timed("avg", X), "A")


def test_assets_that_read_the_same_are_judged_once() -> None:
    def of_points(term: Term, asset: str) -> Sensor:
        return Sensor("kW", 0.0, 50.0 if asset == "C" else 100.0)

    spans = Spans(of_points)
    point = Term("point", signal="x", points={asset: f"{asset}.x" for asset in "ABCD"})
    constant = Term("number", number=Limit(1.0, {"A": 1.0, "B": 1.0, "C": 1.0, "D": 2.0}))
    assert spans.to_judge("ABCD", Term("gt", (point, number(3.0)))) == ["A", "C"]
    assert spans.to_judge("ABCD", Term("gt", (point, constant))) == ["A", "C", "D"]
    assert spans.to_judge("ABCD", Term("gt", (X, number(3.0)))) == ["A"]
