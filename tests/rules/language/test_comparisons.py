"""What is said of conditions, against trying all values: limits are whole numbers, so halves between them suffice."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.language.comparisons import contradicts_itself, flutters
from rules.language.terms import COMPARISONS, Limit, Op, Term

SIGNALS = [Term("point", signal=name, points={"A": f"A.{name}"}) for name in ("x", "y")]
LIMITS = range(3)
VALUES = [half / 2 for half in range(-2, 7)]
ASSETS = ("A", "B")


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
    assert contradicts_itself(ASSETS, truth) == (not can_be(truth))


@settings(deadline=None)
@given(truths, truths)
def test_what_is_said_to_flutter_does(when: Term, until: Term) -> None:
    assert not flutters(ASSETS, when, until) or can_be(when, until)


@settings(deadline=None)
@given(comparison, comparison)
def test_two_comparisons_of_one_signal_flutter_when_both_can_be(when: Term, until: Term) -> None:
    same = when.args[0] is until.args[0]
    assert flutters(ASSETS, when, until) == (same and can_be(when, until))
