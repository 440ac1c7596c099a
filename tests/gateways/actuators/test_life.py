"""Whether a unit lives: its engine's `now` rises and is near the clock. Silence runs by the loop's own time."""

from __future__ import annotations

from typing import Any

import pytest

from gateways.actuators.life import PART_S, Life

SECOND = 1_000_000_000
START_NS = 1_800_000_000 * SECOND


class Time:
    """`wall_ns` may jump; `passed_s` never does."""

    def __init__(self) -> None:
        self.passed_s = 100.0
        self.wall_ns = START_NS

    def advance(self, seconds: float) -> None:
        self.passed_s += seconds
        self.wall_ns += round(seconds * SECOND)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def life(time: Time) -> Life:
    return Life(("row-a", "row-b"), lambda: time.wall_ns, lambda: time.passed_s)


def worker(**units_s: float) -> dict[str, Any]:
    """A worker's word: the `now` of units, in seconds from the start."""
    return {"now_ns": {name.replace("_", "-"): START_NS + round(s * SECOND) for name, s in units_s.items()}}


def ticker(at_s: float) -> dict[str, Any]:
    return {"last_tick_ns": START_NS + round(at_s * SECOND)}


def test_what_never_came_is_silent_from_the_start(time: Time, life: Life) -> None:
    time.advance(7.0)
    assert life.silence_s("row-a") == pytest.approx(7.0)
    assert not life.was_heard("row-a")


def test_a_unit_whose_now_rises_lives_and_another_does_not(time: Time, life: Life) -> None:
    time.advance(7.0)
    life.hear(worker(row_a=6.8, row_b=-3.0))
    assert life.silence_s("row-a") == pytest.approx(0.2)
    assert life.silence_s("row-b") == pytest.approx(7.0)
    assert life.was_heard("row-a")


def test_a_word_that_says_the_same_again_is_no_life(time: Time, life: Life) -> None:
    life.hear(worker(row_a=0.1))
    for _ in range(9):
        time.advance(1.0)
        life.hear(worker(row_a=0.1))
    assert life.silence_s("row-a") == pytest.approx(9.0)


def test_a_worker_that_lies_behind_is_as_silent_as_it_is_behind(time: Time, life: Life) -> None:
    for second in range(1, 31):
        time.advance(1.0)
        life.hear(worker(row_a=second - 40.0 + second / 2))  # it catches up, half a second a second
    assert life.silence_s("row-a") == pytest.approx(25.0)


def test_a_clock_that_jumps_between_two_words_makes_no_silence(time: Time, life: Life) -> None:
    time.advance(1.0)
    life.hear(worker(row_a=1.0))
    time.wall_ns += 3600 * SECOND
    assert life.silence_s("row-a") == pytest.approx(0.0)
    time.wall_ns -= 7200 * SECOND
    time.advance(4.0)
    assert life.silence_s("row-a") == pytest.approx(4.0)


def test_a_word_of_an_old_log_is_no_life(time: Time, life: Life) -> None:
    time.advance(6.0)
    life.hear(worker(row_a=-5.0))
    assert life.silence_s("row-a") == pytest.approx(6.0)


def test_the_silent_part(time: Time, life: Life) -> None:
    time.advance(PART_S + 1)
    assert life.silent_part() == "log"
    life.hear({"face": "simulated"})
    assert life.silent_part() == "ticker"
    life.hear(ticker(1.0))
    assert life.silent_part() == "worker"
    time.advance(PART_S + 1)
    life.hear(ticker(1.0))  # the word of one that stands still
    assert life.silent_part() == "ticker"


@pytest.mark.parametrize(
    "junk", [{"now_ns": 5}, {"now_ns": {"row-a": "x", "row-z": 1}}, {"last_tick_ns": None}]
)
def test_what_anybody_writes_there_is_passed_over(life: Life, junk: dict[str, Any]) -> None:
    life.hear(junk)
    assert not life.was_heard("row-a")
