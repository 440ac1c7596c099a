from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.compare.timeline import HEIGHT, WIDTH, Axis, shaded, standing

S = 1_000_000_000
H = 3600 * S


def test_time_is_drawn_as_it_passes() -> None:
    axis = Axis([(0, 6 * H), (7 * H, 10 * H)])
    assert not axis.is_narrowed
    assert [axis.at(hours * H) for hours in (-1, 0, 1, 6, 7, 10, 11)] == [0, 0, 100, 600, 700, 1000, 1000]


def test_gaps_are_narrow_where_most_of_the_time_has_no_samples() -> None:
    axis = Axis([(0, H), (99 * H, 100 * H)])
    assert axis.is_narrowed
    assert axis.at(H) == pytest.approx(497)
    assert axis.at(99 * H) == pytest.approx(503)
    assert [label.text for label in axis.labels()] == ["01-01 00:00", "01-05 03:00"]


@given(st.lists(st.integers(1, 10**15), min_size=2, max_size=40), st.integers(0, 10**16))
def test_places_go_up_with_time(steps: list[int], moment: int) -> None:
    edges = [sum(steps[: place + 1]) for place in range(len(steps) // 2 * 2)]
    axis = Axis(list(zip(edges[::2], edges[1::2], strict=True)))
    assert 0 <= axis.at(moment) <= axis.at(moment + S) <= WIDTH
    assert axis.at(edges[0]) == 0
    assert axis.at(edges[-1]) == WIDTH


def test_a_row_says_how_many_stood() -> None:
    axis = Axis([(0, 1000 * S)])
    spans = [(0, 500 * S), (250 * S, 499 * S)]
    assert standing(axis, spans, 2, is_up=True) == "M0 7h250v7h-250zM250 0h250v14h-250zM500 7h2v7h-2z"
    assert standing(axis, spans[1:], 1, is_up=False) == f"M250 {HEIGHT}h250v{HEIGHT}h-250z"
    assert standing(axis, [], 1, is_up=True) == ""


def test_the_shortest_alarm_can_be_seen_and_a_thousand_are_no_more_points_than_bins() -> None:
    axis = Axis([(0, 1000 * S)])
    assert standing(axis, [(1, 2)], 100, is_up=True) == "M0 12h2v2h-2z"
    flicker = [(n * S // 10, n * S // 10 + 1) for n in range(0, 10_000, 2)]
    assert standing(axis, flicker, 1, is_up=True) == "M0 0h1000v14h-1000z"
    assert len(shaded(axis, flicker)) < 100
    assert shaded(axis, [(0, 100 * S)]) == "M0.0 0h100.0v28h-100.0z"
