"""Scores of candidates, and which of them are worth a look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.compare.episodes import Episode
from streams.compare.incidents import KnownIncident
from streams.compare.scoring import DAY_NS, HOUR_NS
from streams.compare.spans import Span
from streams.compare.sweep_scores import (
    FALSE_A_DAY,
    NEW,
    NEW_A_DAY,
    SHARE,
    Known,
    Score,
    front,
    nuisance_of,
    score_candidate,
)

H = HOUR_NS


def episode(begin_h: float, end_h: float | None, asset: str = "P-1", unit: str = "row-a") -> Episode:
    end_ns = None if end_h is None else int(end_h * H)
    return Episode(f"{asset}:{begin_h}", unit, "0", asset, "high", "", int(begin_h * H), end_ns)


def of(episodes: list[Episode], known: Known, recorded_h: float = 48) -> Score:
    return score_candidate(episodes, [(0, int(recorded_h * H))], known)


def scored(detected: int, false: int, lead_ns: int | None = None, needless: float = 0.0) -> Score:
    return Score(detected + false, None, 0.0, 0, 9, detected, lead_ns, false, None, needless)


def fewest(one: Score) -> float:
    return one.false


def test_a_reference_is_detected_on_the_same_asset_while_both_stand() -> None:
    reference = [episode(10, 12), episode(20, 22), episode(30, None), episode(10, 12, "P-2")]
    episodes = [episode(9, 10.5), episode(11, 20), episode(23, 24), episode(40, 41), episode(1, 2, "P-2")]
    found = of(episodes, Known(reference=reference))
    # 10 to 12 from 9 on, 20 to 22 from 11 on, and the one that still stands from 40 on
    assert (found.to_detect, found.detected, found.lead_ns) == (4, 3, H)
    assert (found.false, found.false_a_day) == (2, 1.0)
    assert (found.alarms, found.a_day, found.in_alarm) == (5, 2.5, (1.5 + 9 + 1 + 1 + 1) / 48)
    # from 9 to 10, from 12 to 20, from 23 to 24 and from 1 to 2, less ten minutes beside what was to be detected
    assert found.needless == pytest.approx((11 - 3 / 6) / 48)


def test_a_rule_of_other_assets_is_held_against_those_of_its_unit() -> None:
    reference, episodes = [episode(10, 12, "R-1")], [episode(11, 13), episode(11, 13, "P-3", "row-b")]
    assert of(episodes, Known(reference=reference))[5:8] == (0, None, 2)
    assert of(episodes, Known(reference=reference, by_unit=True))[5:8] == (1, -H, 1)


def test_incidents_are_scored_as_everywhere() -> None:
    known = Known([KnownIncident(10 * H, 22 * H, True), KnownIncident(30 * H, 31 * H, False)])
    found = of([episode(12, 13), episode(40, 41), episode(43, 44)], known, 72)
    assert (found.to_detect, found.detected, found.lead_ns) == (2, 1, 10 * H)
    assert (found.false, found.false_a_day) == (2, pytest.approx(2 * 24 / 59))
    assert found.needless == pytest.approx(2 / 59)
    assert of([episode(0, 40)], known, 30).needless == 1.0, "too little outside: all of the time counts"


def test_nuisance_is_what_can_be_known() -> None:
    days = score_candidate([], [(0, 2 * DAY_NS)], Known(reference=[]))
    hours = score_candidate([], [(0, H)], Known(reference=[]))
    assert nuisance_of([days], Known())[0] == NEW_A_DAY
    assert nuisance_of([hours], Known())[0] == NEW
    faults = Known([KnownIncident(0, 2 * DAY_NS, False)])
    assert nuisance_of([of([], faults, 48)], faults)[0] == SHARE  # nothing recorded lies outside
    assert nuisance_of([of([], faults, 96)], faults)[0] == FALSE_A_DAY


def test_the_front_is_what_nothing_beats() -> None:
    scores = [scored(3, 5), scored(3, 4, 10), scored(3, 4, 20), scored(2, 4, 99), scored(2, 1), scored(0, 0)]
    assert front(scores, fewest) == {2, 4}
    assert front([scored(0, 3), scored(0, 0)], fewest) == set()
    assert front([scored(1, 1, 5), scored(1, 1, 5)], fewest) == {0, 1}


def test_an_alarm_that_always_stands_beats_nobody() -> None:
    assert front([scored(9, 1, needless=1.0), scored(9, 5, needless=0.1)], fewest) == {0, 1}
    assert front([scored(9, 5, needless=1.0), scored(9, 5, needless=0.1)], fewest) == {1}


ROWS = st.lists(
    st.builds(
        scored,
        st.integers(0, 3),
        st.integers(0, 3),
        st.none() | st.integers(-2, 2),
        st.sampled_from([0.0, 0.5]),
    )
)


@given(ROWS)
def test_what_is_not_on_the_front_is_beaten_by_one_that_is(scores: list[Score]) -> None:
    found = front(scores, fewest)

    def better(one: Score, other: Score) -> list[bool]:
        return [one.detected > other.detected, one.false < other.false, one.needless < other.needless]

    for place, one in enumerate(scores):
        beaten_by = [n for n in found if not any(better(one, scores[n])) and scores[n] != one]
        assert place not in found or not any(any(better(scores[n], one)) for n in beaten_by)
        assert place in found or not one.detected or beaten_by


SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda drawn: (drawn[0], sum(drawn))), max_size=8
)


@given(SPANS, SPANS)
def test_detection_by_its_definition(ours: list[Span], theirs: list[Span]) -> None:
    found = of([episode(*one) for one in ours], Known(reference=[episode(*one) for one in theirs]), 50)

    def meet(one: Span, other: Span) -> bool:
        return one[0] <= other[1] and other[0] <= one[1]

    assert found.detected == sum(any(meet(one, other) for one in ours) for other in theirs)
    assert found.false == sum(not any(meet(one, other) for other in theirs) for one in ours)
    leads = sorted(
        other[0] - min(one[0] for one in ours if meet(one, other))
        for other in theirs
        if any(meet(one, other) for one in ours)
    )
    if len(leads) % 2:
        assert found.lead_ns == leads[len(leads) // 2] * H
