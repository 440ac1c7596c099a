"""Which transitions a subscription is told of: by the life of an alarm, and by what it names."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.alerts.filters import Directory, Last, is_firing, is_told, standing, transition
from gateways.alerts.model import TOLD, Filter, Hours, Subscription, Subscriptions
from rules.alarms.annunciation import SILENT, is_annunciated
from rules.engine.outputs import Alarm
from tests.gateways.alerts.words import raised, then

UTC = ZoneInfo("UTC")
STATES = (
    "normal", "unacknowledged", "acknowledged", "returned-unacknowledged", "latched-unacknowledged",
    "latched-acknowledged", "shelved", "suppressed", "out-of-service",
)  # fmt: skip


def told(words: list[Alarm], filter_: Filter | None = None) -> list[str]:
    """The states of those that are told, of an alarm's words in order."""
    last, found = None, list[str]()
    for word in words:
        one = transition(last, word)
        if is_told(filter_ or Filter(), one, UTC):
            found.append(word.state)
        last = Last(word, one.is_heard)
    return found


def life(*states: str) -> list[Alarm]:
    """An alarm that goes off, and what becomes of it."""
    first = raised(1)
    return [first, *(then(first, state, number) for number, state in enumerate(states, start=2))]


def test_a_life_is_told_from_its_beginning_to_its_end() -> None:
    assert told(life("acknowledged", "normal")) == ["unacknowledged", "acknowledged", "normal"]


def test_words_that_change_no_state_are_not_told() -> None:
    assert told(life("unacknowledged", "acknowledged", "acknowledged", "normal")) == [
        "unacknowledged",
        "acknowledged",
        "normal",
    ]


def test_what_nobody_heard_is_not_told_not_even_its_end() -> None:
    first = raised(1)
    assert told([then(first, "suppressed", 1, 0), then(first, "normal", 2)]) == []


def test_what_rises_when_a_silence_ends_is_told() -> None:
    first = raised(1)
    words = [then(first, "suppressed", 1, 0), then(first, "unacknowledged", 2), then(first, "normal", 3)]
    assert told(words) == ["unacknowledged", "normal"]


def test_silences_are_told_to_who_asks_for_them() -> None:
    words = life("shelved", "unacknowledged", "normal")
    assert told(words) == ["unacknowledged", "unacknowledged", "normal"]
    assert told(words, Filter(states=frozenset({"shelved"}))) == ["shelved"]


def test_hours_are_by_event_time() -> None:
    noon = Filter(hours=Hours(12 * 60, 12 * 60 + 1))
    first = raised(1)
    assert told([first, then(first, "normal", 2, after_s=61)], noon) == ["unacknowledged"]


@given(st.lists(st.tuples(st.sampled_from(STATES), st.booleans()), max_size=12))
def test_unacknowledged_is_told_where_it_is_annunciated_and_nowhere_else(
    steps: list[tuple[str, bool]],
) -> None:
    occurrence, last, before = raised(0), None, None
    for number, (state, is_another) in enumerate(steps, start=1):
        if is_another:
            occurrence = raised(number)
        word = occurrence if is_another else then(occurrence, state, number)
        one = transition(last, word)
        if word.state == "unacknowledged" and is_told(Filter(), one, UTC):
            assert one.is_change
        if is_annunciated(before, word) and one.is_change:
            assert is_told(Filter(), one, UTC)
        if word.state in SILENT:
            assert not is_told(Filter(), one, UTC)
        last, before = Last(word, one.is_heard), word


@pytest.mark.parametrize(
    ("filter_", "takes"),
    [
        (Filter(), True),
        (Filter(units=("row",)), True),
        (Filter(units=("hall", "r*")), True),
        (Filter(units=("hall",)), False),
        (Filter(types=("Rack",)), True),
        (Filter(types=("Pump",)), False),
        (Filter(rules=("rack-*",)), True),
        (Filter(rules=("rack",)), False),
        (Filter(groups=("cooling",)), True),
        (Filter(groups=("c*", "power")), True),
        (Filter(groups=("power",)), False),
        (Filter(assets=("R1", "R2")), True),
        (Filter(assets=("R[2-9]",)), False),
        (Filter(severities=frozenset({"high"})), True),
        (Filter(severities=frozenset({"low"})), False),
        (Filter(units=("row",), assets=("R2",)), False),
    ],
)
def test_each_part_of_a_filter_counts(filter_: Filter, takes: bool) -> None:
    group_of = Subscriptions(groups={"rack-low": "cooling"}).group_of
    directory = Directory([Subscription("duty", ("x",), filter_)], {"R1": "Rack"}.get, group_of)  # type: ignore[arg-type]
    assert bool(directory.of(raised(1))) is takes


def test_what_stands_already_is_told_where_it_needs_somebody() -> None:
    first = raised(1)
    wanted = {"unacknowledged", "returned-unacknowledged", "latched-unacknowledged"}
    for state in STATES:
        assert is_told(Filter(), standing(then(first, state, 2)), UTC) is (state in wanted)


def test_firing_is_what_was_heard_and_stands() -> None:
    firing = {"unacknowledged", "acknowledged", "latched-unacknowledged", "latched-acknowledged"}
    assert {state for state in STATES if is_firing(then(raised(1), state, 2))} == firing


def test_told_by_default_is_all_but_silence() -> None:
    assert frozenset(STATES) - SILENT == TOLD


def test_an_alarm_about_a_flood_is_of_the_group_that_it_folds() -> None:
    of_cooling = Subscription("duty", ("x",), Filter(groups=("cooling",)))
    directory = Directory([of_cooling], lambda _: "", Subscriptions().group_of)
    assert directory.of(raised(1, "cooling", "alarm-flood"))
    assert not directory.of(raised(1, "power", "alarm-flood"))
