"""Each function of time by hand.

Windows are 1600 ms unless said, so that a pane is 100 ms; pane 0 is 0 to 99 ms.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rules.gpu_fields import GPU_FIELDS
from rules.language.program import Rule
from rules.language.terms import Limit, Op, Term
from tests.rules.engine.plant import MS, S, site
from tests.rules.engine.twin_conditions import Condition, Moment, Said, Sample, evaluate
from tests.rules.engine.twin_functions import Function

X = Term("field", signal="temperature")
WINDOW_NS = 1600 * MS
APPROXIMATELY = {"rel": 1e-12, "abs": 1e-12}


def number(value: float) -> Term:
    return Term("number", number=Limit(value))


def values(op: Op, *samples: tuple[int, float | None], window_ns: int = WINDOW_NS) -> list[float | None]:
    """What the function answers to samples of (ms, value)."""
    function = Function(Term(op, (X,), window_ns=window_ns))
    return [function.take(ms * MS, value) for ms, value in samples]


def steady(last_ms: int, value: float = 1.0, first_ms: int = 0) -> list[tuple[int, float | None]]:
    """One sample a pane, at its beginning."""
    return [(ms, value) for ms in range(first_ms, last_ms + 1, 100)]


# -- the window


def test_a_window_is_full_when_its_first_pane_lies_sixteen_back() -> None:
    assert values("avg", *steady(1600)) == [None] * 16 + [1.0]


def test_the_first_sample_may_lie_anywhere_in_its_pane() -> None:
    """Pane 0 to pane 16: full after 1501 ms at the least, and after 1600 ms at the latest."""
    assert values("avg", (99, 1.0), (1599, 1.0), (1600, 1.0))[1:] == [None, 1.0]


def test_panes_lie_on_multiples_of_their_length_not_where_the_first_sample_was() -> None:
    assert values("avg", (50, 1.0), (1600, 3.0)) == [None, 2.0]


def test_what_is_seventeen_panes_old_is_forgotten() -> None:
    last = values("avg", (0, 7.0), *steady(1600, 1.0, 100), (1699, 1.0), (1700, 1.0))[-3:]
    assert last == [pytest.approx(23 / 17), pytest.approx(24 / 18), 1.0]


def test_few_samples_fill_a_window_as_well_as_many() -> None:
    assert values("avg", (0, 1.0), (1650, 3.0), (3200, 5.0)) == [None, 2.0, 4.0]


def test_sixteen_panes_of_silence_are_bridged_and_seventeen_are_not() -> None:
    assert values("max", *steady(1600), (3200, 5.0))[-1] == 5.0
    assert values("max", *steady(1600), (3299, 5.0))[-1] == 5.0
    again = values("max", *steady(1600), *steady(4900, 5.0, 3300))
    assert again[17:] == [None] * 16 + [5.0]


def test_an_unknown_sample_is_not_entered_and_answers_unknown() -> None:
    assert values("avg", *steady(1600), (1650, None), (1660, 18.0))[-2:] == [None, (17 + 18.0) / 18]


def test_unknown_samples_do_not_keep_a_window_full() -> None:
    silent: list[tuple[int, float | None]] = [(ms, None) for ms in range(1700, 3300, 100)]
    assert values("avg", *steady(1600), *silent, (3300, 1.0))[-1] is None


@pytest.mark.parametrize(
    ("window_ns", "pane_ns"), [(300 * MS, 18_750_000), (7 * MS, 437_500), (100, 6), (17, 1), (16, 1), (3, 1)]
)
def test_a_pane_is_a_sixteenth_rounded_down_and_at_least_a_nanosecond(window_ns: int, pane_ns: int) -> None:
    function = Function(Term("avg", (X,), window_ns=window_ns))
    start = 5 * pane_ns + pane_ns - 1
    assert function.take(start, 1.0) is None
    assert function.take(start + 15 * pane_ns, 1.0) is None
    assert function.take(21 * pane_ns, 4.0) == 2.0


# -- each function


def test_avg_is_of_samples_not_of_time() -> None:
    assert values("avg", (0, 1.0), (10, 1.0), (20, 1.0), (1600, 5.0))[-1] == 2.0


def test_a_mean_of_equal_samples_is_that_sample_to_the_last_bit() -> None:
    """Sums would not do: seventeen times 49.9 is 848.2999999999998."""
    for op in ("avg", "twa"):
        assert set(values(op, *steady(4000, 49.9))) == {None, 49.9}


def test_means_are_merged_pane_by_pane() -> None:
    """0.1, then a pane of 0.2 and 0.3, whose mean is 0.25: 0.1 + 0.15 * (2 / 3)."""
    assert values("avg", (0, 0.1), (1600, 0.2), (1610, 0.3))[-1] == 0.1 + 0.15 * (2 / 3)


def test_min_and_max() -> None:
    samples = [(0, 3.0), (50, -2.0), (400, 9.0), (1600, 4.0), (1700, 5.0), (2100, 5.0)]
    assert values("min", *samples)[3:] == [-2.0, 4.0, 4.0]
    assert values("max", *samples)[3:] == [9.0, 9.0, 5.0]


def test_count_is_of_samples_at_which_it_was_true() -> None:
    samples = [(0, True), (10, True), (20, False), (800, True), (1600, False), (1700, True)]
    assert values("count", *samples) == [None, None, None, None, 3.0, 2.0]


def test_a_known_false_counts_none_and_fills_the_window() -> None:
    assert values("count", (0, False), (1600, False)) == [None, 0.0]


def test_stddev_is_of_the_population() -> None:
    """2, 4, 4, 4, 5, 5, 7, 9: mean 5, squares of differences 32, 32 / 8 = 4."""
    numbers = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]
    times = [0, 30, 60, 500, 510, 700, 1600, 1640]
    assert values("stddev", *zip(times, numbers, strict=True))[-1] == pytest.approx(2.0, **APPROXIMATELY)


def test_stddev_of_one_sample_and_of_equal_ones_is_nothing() -> None:
    assert values("stddev", *steady(1600, 0.1))[-1] == 0.0


def test_twa_and_integral_hold_the_last_known_value() -> None:
    """10 for 0.4 s, 20 for 1.2 s: 4 + 24 = 28 in 1.6 s."""
    samples = [(0, 10.0), (400, 20.0), (1600, 99.0)]
    assert values("integral", *samples)[-1] == pytest.approx(28.0, **APPROXIMATELY)
    assert values("twa", *samples)[-1] == pytest.approx(28.0 / 1.6, **APPROXIMATELY)


def test_twa_loses_the_panes_that_are_too_old_not_the_whole_stretch() -> None:
    """At 1750 pane 0 is gone: 10 from 100 to 400 ms, 20 from 400 to 1600, 99 from 1600 to 1750."""
    samples = [(0, 10.0), (400, 20.0), (1600, 99.0), (1750, 0.0)]
    area = 10 * 0.3 + 20 * 1.2 + 99 * 0.15
    assert values("integral", *samples)[-1] == pytest.approx(area, **APPROXIMATELY)
    assert values("twa", *samples)[-1] == pytest.approx(area / 1.65, **APPROXIMATELY)


def test_twa_holds_on_across_unknown_samples() -> None:
    samples = [(0, 10.0), (400, None), (1600, 99.0)]
    assert values("integral", *samples) == [None, None, pytest.approx(16.0, **APPROXIMATELY)]


def test_twa_after_a_long_silence_is_unknown_until_the_window_is_full_again() -> None:
    """Silence to 5000: panes 34 to 49 are filled with 2. At 6600 only panes 50 to 66 count."""
    samples = [*steady(1600, 2.0), (5000, 8.0), (6500, 8.0), (6600, 8.0)]
    assert values("twa", *samples)[-3:] == [None, None, pytest.approx(8.0, **APPROXIMATELY)]


def test_delta_and_rate_look_one_window_back() -> None:
    """At 1600 the base is pane 0, whose last sample is the one at 60."""
    samples = [(0, 1.0), (60, 2.0), (1500, 50.0), (1600, 9.7)]
    assert values("delta", *samples) == [None, None, None, 9.7 - 2.0]
    assert values("rate", *samples) == [None, None, None, (9.7 - 2.0) / 1.54]


def test_delta_takes_the_newest_of_the_panes_that_are_sixteen_to_thirty_two_old() -> None:
    samples = [(0, 1.0), (500, 2.0), (2050, 5.0), (2150, 6.0), (3200, 10.0)]
    assert values("delta", *samples) == [None, None, 5.0 - 1.0, 6.0 - 2.0, 10.0 - 2.0]


@pytest.mark.parametrize(("at_ms", "expected"), [(1599, None), (1600, 4.0), (3299, 4.0), (3300, None)])
def test_delta_reaches_from_pane_sixteen_back_to_pane_thirty_two(at_ms: int, expected: float | None) -> None:
    assert values("delta", (50, 1.0), (at_ms, 5.0))[-1] == expected


def test_delta_needs_no_full_window_and_passes_over_unknown_samples() -> None:
    assert values("delta", (0, 1.0), (10, None), (1600, None), (1650, 4.0)) == [None, None, None, 3.0]


def test_ewma_weighs_by_time() -> None:
    """tau 1.6 s: after 1.6 s a = 1/2, after 0.4 s a = 1/5."""
    assert values("ewma", (0, 10.0), (1600, 20.0), (1800, None), (2000, 40.0)) == [
        10.0,
        15.0,
        None,
        pytest.approx(20.0, **APPROXIMATELY),
    ]


def test_ewma_at_the_same_instant_stays_as_it_is() -> None:
    assert values("ewma", (0, 10.0), (0, 20.0)) == [10.0, 10.0]


def test_cusum_adds_what_is_above_target_and_allowance_and_never_falls_below_nothing() -> None:
    cusum = Function(Term("cusum", (X, number(50), number(2))))
    assert [cusum.take(n * S, v, 50.0, 2.0) for n, v in enumerate([55.0, 51.0, None, 60.0, 30.0, 53.0])] == [
        3.0,
        2.0,
        None,
        10.0,
        0.0,
        1.0,
    ]
    assert cusum.take(9 * S, 99.0, None, 2.0) is None
    assert cusum.take(10 * S, 53.0, 50.0, 2.0) == 2.0


def test_since_counts_seconds_from_the_last_sample_at_which_it_was_true() -> None:
    samples = [(0, False), (100, True), (350, False), (400, None), (1100, False), (1200, True)]
    assert values("since", *samples) == [None, 0.0, 0.25, None, 1.0, 0.0]


# -- terms


def moment(
    points: Mapping[str, Sample], sampled: str | None, t: int, temperature: float | None = None
) -> Moment:
    fields = {field.name: temperature for field in GPU_FIELDS}
    return Moment(site(), t, fields, points, {sampled} if sampled else None)


def plant_rule(when: Term, **shown: Term) -> Condition:
    rule = Rule(
        "r", "Rack", ("R1",), when, None, None, {}, 0, 0, "low", "{asset} {value}", shown
    )  # fmt: skip
    return Condition(rule, "R1")


FLOW, POWER = (
    Term("point", signal=name, points={"R1": f"R1.{name}"}) for name in ("RackLiquidFlow", "RackPower")
)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (Term("div", (number(1), number(0))), None),
        (Term("div", (number(1), number(4))), 0.25),
        (Term("least", (number(1), X)), None),
        (Term("most", (number(1), number(4))), 4.0),
        (Term("ne", (number(1), X)), None),
        (Term("ne", (number(1), number(4))), True),
        (Term("and", (Term("lt", (X, X)), Term("lt", (number(2), number(1))))), False),
        (Term("and", (Term("lt", (X, X)), Term("lt", (number(1), number(2))))), None),
        (Term("or", (Term("lt", (X, X)), Term("lt", (number(1), number(2))))), True),
        (Term("or", (Term("lt", (X, X)), Term("lt", (number(2), number(1))))), None),
        (Term("not", (Term("lt", (X, X)),)), None),
        (Term("number", number=Limit(1.0, {"R1": 2.0})), 2.0),
    ],
)
def test_terms_without_a_state(term: Term, expected: object) -> None:
    now = moment({}, None, S)
    now.asset = "R1"
    assert evaluate(term, now) is expected or evaluate(term, now) == expected


def test_a_point_is_unknown_when_it_is_older_than_three_periods_unless_it_is_the_one_sampled() -> None:
    points = {"R1.RackPower": Sample(S, 5.0)}
    for sampled, t, expected in [
        ("R1.RackLiquidFlow", 4 * S, 5.0),
        ("R1.RackLiquidFlow", 4 * S + 1, None),
        ("R1.RackPower", 4 * S + 1, 5.0),
        (None, 4 * S + 1, None),
        (None, 0, 5.0),
    ]:
        now = moment(points, sampled, t)
        now.asset = "R1"
        assert evaluate(POWER, now) == expected


def test_a_function_of_a_plant_rule_samples_only_with_the_points_below_it() -> None:
    condition = plant_rule(
        Term("gt", (Term("add", (Term("delta", (FLOW,), window_ns=S), POWER)), number(1e9))),
        value=Term("delta", (FLOW,), window_ns=S),
    )
    (function,) = condition.functions.values()
    points = {"R1.RackLiquidFlow": Sample(S, 10.0)}
    condition.sample(moment(points, "R1.RackLiquidFlow", S))
    points["R1.RackLiquidFlow"] = Sample(2 * S, 13.0)
    condition.sample(moment(points, "R1.RackLiquidFlow", 2 * S))
    assert function.taken == 3.0
    points["R1.RackPower"] = Sample(4 * S, 1.0)
    condition.sample(moment(points, "R1.RackPower", 4 * S))
    assert function.taken == 3.0
    assert len(function.state.samples) == 2


def test_a_function_that_is_written_twice_takes_one_sample_an_evaluation() -> None:
    cusum = Term("cusum", (X, number(0), number(0)))
    rule = Rule(
        "r",
        "GPU",
        ("G",),
        Term("gt", (cusum, number(2.5))),
        None,
        None,
        {},
        0,
        0,
        "low",
        "",
        {"value": cusum},
    )
    condition = Condition(rule, "G")
    said = [condition.sample(moment({}, None, n * S, 1.0)) for n in range(1, 4)]
    assert said == [[], [], [Said("raised", 3 * S, False, {"value": 3.0})]]


def test_a_transition_by_deadline_shows_the_last_numbers_that_were_not_of_a_quiet_or_unknown_evaluation() -> (
    None
):
    rule = Rule(
        "r", "GPU", ("G",), Term("gt", (X, number(5))), None, None, {}, S, 2 * S, "low", "", {"value": X}
    )  # fmt: skip
    condition = Condition(rule, "G")
    said = [
        condition.sample(moment({}, None, n * S // 10, v))
        for n, v in [(1, 6.0), (5, 7.0), (6, None), (7, 8.0), (13, 1.0), (20, 2.0), (40, 3.0)]
    ]
    # Held from 0.6 to 0.7 s: the deadline moves from 1.1 to 1.2.
    assert said == [
        [], [], [], [],
        [Said("raised", 1200 * MS, True, {"value": 8.0})],
        [],
        [Said("cleared", 3300 * MS, True, {"value": 2.0})],
    ]  # fmt: skip


def test_a_condition_of_a_plant_asset_never_goes_back_in_time() -> None:
    condition = plant_rule(Term("gt", (Term("add", (FLOW, POWER)), number(15))), value=POWER)
    points = {"R1.RackLiquidFlow": Sample(2 * S, 10.0)}
    assert condition.sample(moment(points, "R1.RackLiquidFlow", 2 * S)) == []
    points["R1.RackPower"] = Sample(S, 6.0)
    assert condition.sample(moment(points, "R1.RackPower", S)) == [
        Said("raised", 2 * S, False, {"value": 6.0})
    ]
