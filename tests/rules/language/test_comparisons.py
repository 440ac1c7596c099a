"""What is said of conditions, against trying values: limits are whole numbers, so few values between them suffice."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.language.comparisons import contradicts_itself, flutters
from rules.language.signals import Sensor
from rules.language.spans import Spans
from rules.language.terms import COMPARISONS, Limit, Op, Term

SIGNALS = [Term("point", signal=name, points={"A": f"A.{name}", "B": f"B.{name}"}) for name in ("x", "y")]
LIMITS = range(3)
VALUES = [half / 2 for half in range(-2, 7)]
ASSETS = ("A", "B")
LOW, HIGH = -1.0, 3.0
SPANS = Spans(lambda term, asset: Sensor("kW", LOW, HIGH))


def compare(signal: Term, op: Op, limits: tuple[int, int]) -> Term:
    number = Limit(float(limits[0]), {"A": float(limits[0]), "B": float(limits[1])})
    return Term(op, (signal, Term("number", number=number)))


comparison = st.builds(
    compare,
    st.sampled_from(SIGNALS),
    st.sampled_from(sorted(COMPARISONS)),
    st.tuples(*[st.sampled_from(LIMITS)] * 2),
)
truths = st.recursive(
    comparison,
    lambda below: st.one_of(
        st.builds(lambda op, a, b: Term(op, (a, b)), st.sampled_from(["and", "or"]), below, below),
        st.builds(lambda a: Term("not", (a,)), below),
    ),
    max_leaves=4,
)


def holds(truth: Term, asset: str, values: dict[str, float]) -> bool:
    if truth.op == "not":
        return not holds(truth.args[0], asset, values)
    if truth.op in ("and", "or"):
        parts = [holds(arg, asset, values) for arg in truth.args]
        return all(parts) if truth.op == "and" else any(parts)
    value, limit = values[truth.args[0].signal], truth.args[1].number.of(asset)
    return {
        "lt": value < limit, "le": value <= limit, "gt": value > limit,
        "ge": value >= limit, "eq": value == limit, "ne": value != limit,
    }[truth.op]  # fmt: skip


def can_be(*all_of: Term) -> bool:
    return any(
        all(holds(truth, asset, {"x": x, "y": y}) for truth in all_of)
        for asset, x, y in product(ASSETS, VALUES, VALUES)
    )


@settings(deadline=None)
@given(truths)
def test_a_condition_contradicts_itself_when_nothing_fulfils_it(truth: Term) -> None:
    assert contradicts_itself(ASSETS, truth, SPANS) == (not can_be(truth))


@settings(deadline=None)
@given(truths, truths)
def test_what_is_said_to_flutter_does(when: Term, until: Term) -> None:
    assert not flutters(ASSETS, when, until, SPANS) or can_be(when, until)


@settings(deadline=None)
@given(comparison, comparison)
def test_two_comparisons_flutter_when_both_can_be(when: Term, until: Term) -> None:
    same = when.args[0] is until.args[0]
    expected = ("is" if same else "can") if can_be(when, until) else ""
    assert flutters(ASSETS, when, until, SPANS) == expected


STEP = 1 / 8
"""Corners that whole-numbered sums and differences of two signals have are halves; eighths come inside all of them."""
EIGHTHS = np.arange(LOW, HIGH + STEP, STEP)
PLANE = {
    "x": EIGHTHS[:, None] * np.ones_like(EIGHTHS),
    "y": EIGHTHS[None, :] * np.ones_like(EIGHTHS)[:, None],
}


def whole(value: int) -> Term:
    return Term("number", number=Limit(float(value)))


sums = st.sampled_from(
    [
        *SIGNALS,
        Term("sub", tuple(SIGNALS)),
        Term("sub", tuple(reversed(SIGNALS))),
        Term("add", tuple(SIGNALS)),
        Term("add", (SIGNALS[0], whole(1))),
        Term("neg", (SIGNALS[1],)),
        Term("mul", (whole(-2), SIGNALS[0])),
        Term("div", (SIGNALS[1], whole(2))),
    ]
)
numbers = st.recursive(
    sums,
    lambda below: st.one_of(
        st.builds(lambda a: Term("abs", (a,)), below),
        st.builds(lambda op, a, b: Term(op, (a, b)), st.sampled_from(["least", "most"]), below, below),
    ),
    max_leaves=3,
)
of_numbers = st.builds(
    lambda op, a, limit, turned: Term(op, (whole(limit), a) if turned else (a, whole(limit))),
    st.sampled_from(sorted(COMPARISONS)),
    numbers,
    st.integers(-2, 3),
    st.booleans(),
)
conditions = st.recursive(
    of_numbers,
    lambda below: st.one_of(
        st.builds(lambda op, a, b: Term(op, (a, b)), st.sampled_from(["and", "or"]), below, below),
        st.builds(lambda a: Term("not", (a,)), below),
    ),
    max_leaves=3,
)
OPS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "least": np.minimum, "most": np.maximum, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip


def tried(term: Term) -> npt.NDArray[np.float64]:
    """Its value for all values of x and y in their ranges."""
    if term.op == "number":
        return np.full_like(PLANE["x"], term.number.value)
    if term.op == "point":
        return PLANE[term.signal]
    found: npt.NDArray[np.float64] = OPS[term.op](*(tried(arg) for arg in term.args))
    return found


@settings(deadline=None, max_examples=300)
@given(conditions, conditions)
def test_what_is_said_of_sums_and_choices_is_so(when: Term, until: Term) -> None:
    if flutters(("A",), when, until, SPANS):
        assert np.any(np.logical_and(tried(when), tried(until))) or not np.any(tried(when))
    if contradicts_itself(("A",), when, SPANS):
        assert not np.any(tried(when))


@settings(deadline=None, max_examples=300)
@given(of_numbers, of_numbers)
def test_comparisons_of_one_signal_flutter_when_both_can_be(when: Term, until: Term) -> None:
    """Nothing is missed where one signal decides, but for what holds at single points only."""
    read = {signal.signal for term in (when, until) for signal, _ in term.signals("A")}
    both = np.logical_and(tried(when), tried(until))
    both = both[:, 0] if read == {"x"} else both[0, :]
    if len(read) == 1 and np.any(both[:-1] & both[1:]):
        assert flutters(("A",), when, until, SPANS) == "is"


def test_what_begins_anew_is_no_mean_while_nothing_changes() -> None:
    """Its condition may never have been true."""
    anew = Term("avg", (SIGNALS[0], Term("gt", (SIGNALS[1], whole(1)))))
    over_a_window = Term("avg", (SIGNALS[0],), window_ns=10)
    when, until = Term("gt", (SIGNALS[0], whole(1))), Term("gt", (anew, whole(2)))
    assert flutters(("A",), when, until, SPANS) == ""
    assert flutters(("A",), when, Term("gt", (over_a_window, whole(2))), SPANS) == "is"
