"""Outputs that are compared as they come: what has met is let go, and what waits is judged by its place."""

from __future__ import annotations

import random

import pytest

from streams.replay.verification import REMEMBERED, Comparison, InputsBegin, InputsEnd, Verification

UNIT = "row"
RULE, ASSET = "hot", "R1"


def id_of(deadline: int) -> str:
    return f"{UNIT}:{RULE}:{ASSET}:{deadline}:0"


def finished(comparison: Comparison, end_ns: int = 10**9, begin_ns: int | None = None) -> Verification:
    end = InputsEnd(UNIT, {}, end_ns, {RULE}, {ASSET})
    begins = {} if begin_ns is None else {UNIT: InputsBegin(UNIT, {}, begin_ns, {RULE}, {ASSET}, 0)}
    return comparison.finish({UNIT: end}, begins)


def record(comparison: Comparison, number: int, value: bytes = b"same") -> None:
    comparison.record("alarms", UNIT, id_of(number), value)


def replay(comparison: Comparison, number: int, value: bytes = b"same") -> None:
    comparison.replay("alarms", UNIT, id_of(number), value)


@pytest.mark.parametrize("lag", [0, 7, -7])
def test_as_many_wait_as_one_side_is_ahead(lag: int) -> None:
    comparison, most = Comparison(), 0
    ahead, behind = (record, replay) if lag > 0 else (replay, record)
    for number in range(3 * REMEMBERED):
        ahead(comparison, number)
        if number >= abs(lag):
            behind(comparison, number - abs(lag))
        most = max(most, comparison.waiting)
    assert most <= abs(lag) + 1
    sides = comparison._sides["alarms", UNIT]
    assert len(sides.met) == REMEMBERED
    found = finished(comparison)
    assert found.compared == 3 * REMEMBERED - abs(lag)
    assert (found.differences, found.after_end) == (max(0, lag), max(0, -lag))


def test_what_a_restarted_worker_says_again_is_no_difference_unless_it_says_another_thing() -> None:
    comparison = Comparison()
    for number in range(20):
        record(comparison, number)
        replay(comparison, number)
    for number in range(10, 20):
        record(comparison, number)
    assert finished(comparison).differences == 0
    record(comparison, 15, b"another")
    record(comparison, 15, b"and another")
    found = finished(comparison)
    assert (found.compared, found.differences) == (20, 1)
    assert found.first is not None
    assert (found.first.id, found.first.recorded, found.first.replayed) == (
        id_of(15),
        "another\nsame",
        "same",
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_order_in_which_the_sides_come_changes_nothing(seed: int) -> None:
    """Recorded 5 to 59, replayed 10 to 79, from a snapshot at 7 to inputs that end at 70; three differ."""
    chance = random.Random(seed)
    recorded = [
        (number, b"other" if number in {20, 30} else b"same") for number in range(5, 60) if number != 40
    ]
    replayed = [(number, b"same") for number in range(10, 80)]
    comparison = Comparison()
    while recorded or replayed:
        takes_recorded = recorded and (not replayed or chance.random() < 0.2 + 0.6 * (seed % 2))
        if takes_recorded:
            record(comparison, *recorded.pop(0))
        else:
            replay(comparison, *replayed.pop(0))
    found = finished(comparison, 70, begin_ns=7)
    # 8 and 9 are behind the snapshot, and nobody says them again
    assert (found.compared, found.differences, found.after_end, found.beyond_the_end) == (49, 5, 20, 0)
    assert found.first is not None
    assert found.first.id == id_of(20)


def test_recorded_ones_that_no_recorded_input_caused_are_beyond_the_end() -> None:
    comparison = Comparison()
    for number in range(30):
        record(comparison, number)
    for number in range(20):
        replay(comparison, number)
    found = finished(comparison, end_ns=24)
    assert (found.compared, found.differences, found.beyond_the_end) == (20, 5, 5)


@pytest.mark.parametrize(
    ("id_", "before", "behind"),
    [
        ("row:hot:R1:{}:0", "before", "behind"),
        ("row:hot@suppressed:R1:{}:0", "before", "behind"),
        ("row:feed-low@lapsed:H:{}:0", "before", "behind"),  # of a rule and an asset of another unit
        ("row:alarm-flood:cooling:{}:1", "before", "behind"),
        ("row:forged:{}:2:0", "before", "behind"),
    ],
)
def test_what_time_has_caused_is_placed_by_it(id_: str, before: str, behind: str) -> None:
    begin = InputsBegin(UNIT, {}, 1000, {RULE}, {ASSET}, 0)
    assert [begin.place(id_.format(at)) for at in (999, 1001)] == [before, behind]
    end = InputsEnd(UNIT, {}, 1000, {RULE}, {ASSET})
    assert end.place(id_.format(1001)) == "beyond"
    assert end.place(id_.format(1000)) == "either"


def test_a_forgery_behind_the_tick_of_a_state_may_be_before_it_or_not() -> None:
    begin = InputsBegin(UNIT, {}, 1000, {RULE}, {ASSET}, 0)
    assert begin.place("row:forged:1000:1:0") == "either"
    end = InputsEnd(UNIT, {}, 1000, {RULE}, {ASSET})
    assert end.place("row:forged:999:1:0") == "recorded"


def test_who_acts_may_have_any_name() -> None:
    end = InputsEnd(UNIT, {"action:eva@example.org": (5, 1)}, 10**9, {RULE}, {ASSET})
    assert end.place("row:action:eva@example.org:5:1:0") == "recorded"
    assert end.place("row:action:eva@example.org:5:2:0") == "beyond"
