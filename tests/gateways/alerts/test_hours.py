"""Times of the day, over midnight, on some days, and where the clock is set."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.alerts.hours import covers, end_ns
from gateways.alerts.model import Hours

OSLO = ZoneInfo("Europe/Oslo")


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=OSLO).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("at", "is_in"),
    [
        ("2026-11-27T21:59", False),
        ("2026-11-27T22:00", True),
        ("2026-11-28T05:59", True),
        ("2026-11-28T06:00", False),
    ],
)
def test_over_midnight(at: str, is_in: bool) -> None:
    assert covers(Hours(22 * 60, 6 * 60), ns(at), OSLO) is is_in


def test_the_night_belongs_to_the_day_on_which_it_began() -> None:
    friday = Hours(22 * 60, 6 * 60, frozenset({4}))
    assert covers(friday, ns("2026-11-28T03:00"), OSLO)
    assert not covers(friday, ns("2026-11-27T03:00"), OSLO)


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2026-11-27T23:00", "2026-11-28T06:00"),
        ("2026-11-28T01:00", "2026-11-28T06:00"),
        ("2026-03-28T23:00", "2026-03-29T06:00"),  # the clock goes forward in this night
        ("2026-10-24T23:00", "2026-10-25T06:00"),  # and back in this one
    ],
)
def test_the_end_is_by_the_clock_on_the_wall(at: str, end: str) -> None:
    assert end_ns(Hours(22 * 60, 6 * 60), ns(at), OSLO) == ns(end)


def test_all_day_on_two_days_ends_after_the_second() -> None:
    weekend = Hours(0, 24 * 60, frozenset({5, 6}))
    assert end_ns(weekend, ns("2026-11-28T10:00"), OSLO) == ns("2026-11-30T00:00")


@given(
    st.integers(0, 1440),
    st.integers(0, 1440),
    st.sets(st.integers(0, 6), min_size=1, max_size=6),
    st.integers(0, 366 * 24 * 12),
)
def test_at_their_end_they_are_over_and_not_before(begin: int, end: int, days: set[int], step: int) -> None:
    hours = Hours(begin, end, frozenset(days))
    at = ns("2026-01-01T00:00") + step * 300_000_000_000
    if covers(hours, at, OSLO):
        over = end_ns(hours, at, OSLO)
        assert over > at
        assert not covers(hours, over, OSLO)
        assert over - at <= timedelta(days=8).total_seconds() * 1e9
