"""Whether a unit lives: its engine's `now` rises and is near the clock. Silence runs by the loop's own time."""

from __future__ import annotations

from typing import Any

import pytest

from gateways.actuators.life import NAME_MAX, PART_S, ROLES_MAX, Life

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
    return Life(("row-a", "row-b"), lambda: time.wall_ns, lambda: time.passed_s, {})


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
    life.hear("worker", "worker", worker(row_a=6.8, row_b=-3.0))
    assert life.silence_s("row-a") == pytest.approx(0.2)
    assert life.silence_s("row-b") == pytest.approx(7.0)
    assert life.was_heard("row-a")


def test_a_word_that_says_the_same_again_is_no_life(time: Time, life: Life) -> None:
    life.hear("worker", "worker", worker(row_a=0.1))
    for _ in range(9):
        time.advance(1.0)
        life.hear("worker", "worker", worker(row_a=0.1))
    assert life.silence_s("row-a") == pytest.approx(9.0)


def test_a_worker_that_lies_behind_is_as_silent_as_it_is_behind(time: Time, life: Life) -> None:
    for second in range(1, 31):
        time.advance(1.0)
        life.hear(
            "worker", "worker", worker(row_a=second - 40.0 + second / 2)
        )  # it catches up, half a second a second
    assert life.silence_s("row-a") == pytest.approx(25.0)


def test_a_clock_that_jumps_between_two_words_makes_no_silence(time: Time, life: Life) -> None:
    time.advance(1.0)
    life.hear("worker", "worker", worker(row_a=1.0))
    time.wall_ns += 3600 * SECOND
    assert life.silence_s("row-a") == pytest.approx(0.0)
    time.wall_ns -= 7200 * SECOND
    time.advance(4.0)
    assert life.silence_s("row-a") == pytest.approx(4.0)


def test_a_word_of_an_old_log_is_no_life(time: Time, life: Life) -> None:
    time.advance(6.0)
    life.hear("worker", "worker", worker(row_a=-5.0))
    assert life.silence_s("row-a") == pytest.approx(6.0)


def test_the_silent_part(time: Time, life: Life) -> None:
    time.advance(PART_S + 1)
    assert life.silent_part() == "log"
    life.hear("nvml", "nvml", {"face": "simulated"})
    assert life.silent_part() == "ticker"
    life.hear("ticker", "ticker", ticker(1.0))
    assert life.silent_part() == "worker"
    time.advance(PART_S + 1)
    life.hear("ticker", "ticker", ticker(1.0))  # the word of one that stands still
    assert life.silent_part() == "ticker"


@pytest.mark.parametrize(
    "junk", [{"now_ns": 5}, {"now_ns": {"row-a": "x", "row-z": 1}}, {"last_tick_ns": None}]
)
def test_what_anybody_writes_there_is_passed_over(life: Life, junk: dict[str, Any]) -> None:
    life.hear("worker", "worker", junk)
    life.hear("ticker", "ticker", junk)
    assert not life.was_heard("row-a")


def test_only_a_worker_is_heard_of_units_and_only_a_ticker_of_ticks(time: Time, life: Life) -> None:
    time.advance(PART_S + 1)
    life.hear("alerts", "alerts", worker(row_a=PART_S))
    life.hear("worker", "worker", ticker(PART_S))
    assert not life.was_heard("row-a")
    assert life.silent_part() == "ticker"


@pytest.mark.parametrize("ahead_s", [61.0, 3e9])
def test_a_time_that_is_still_to_come_is_none(time: Time, life: Life, ahead_s: float) -> None:
    life.hear("worker", "worker", worker(row_a=ahead_s))
    assert not life.was_heard("row-a")
    time.advance(1.0)
    life.hear("worker", "worker", worker(row_a=1.0))
    assert life.silence_s("row-a") == pytest.approx(0.0)


def test_a_role_has_its_own_times(time: Time, life: Life) -> None:
    life.hear("worker", "worker", worker(row_a=59.0))
    time.advance(2.0)
    life.hear("worker-2", "worker", worker(row_a=2.0))
    assert life.silence_s("row-a") == pytest.approx(0.0)


def test_a_clock_that_was_ahead_at_the_start_hinders_nobody(time: Time) -> None:
    time.wall_ns += 3600 * SECOND
    life = Life(["row-a"], lambda: time.wall_ns, lambda: time.passed_s, {})
    time.advance(1.0)
    life.hear("worker", "worker", worker(row_a=1.0))
    assert not life.was_heard("row-a")
    time.wall_ns -= 3600 * SECOND
    time.advance(1.0)
    life.hear("worker", "worker", worker(row_a=2.0))
    assert life.silence_s("row-a") == pytest.approx(0.0)


def test_the_present_is_not_ahead_of_the_units_own(time: Time, life: Life) -> None:
    time.advance(10.0)
    assert life.now_ns("row-a") == time.wall_ns
    life.hear("worker", "worker", worker(row_a=9.5))
    true_ns = time.wall_ns
    time.wall_ns += 3600 * SECOND
    assert life.now_ns("row-a") == pytest.approx(true_ns, abs=1000)
    time.wall_ns -= 7200 * SECOND
    assert life.now_ns("row-a") == time.wall_ns


def test_a_silence_that_began_in_the_process_before_goes_on(time: Time) -> None:
    silent_ns = {"row-a": time.wall_ns - 8 * SECOND, "row-b": time.wall_ns + SECOND}
    life = Life(("row-a", "row-b"), lambda: time.wall_ns, lambda: time.passed_s, silent_ns)
    time.advance(1.0)
    assert life.silence_s("row-a") == pytest.approx(9.0)
    assert life.silence_s("row-b") == pytest.approx(1.0)


def test_while_this_process_stood_still_nothing_was_silent(time: Time, life: Life) -> None:
    time.advance(4.0)
    life.hear("worker", "worker", worker(row_a=4.0))
    time.advance(32.0)
    life.stood_still(30.0)
    assert life.silence_s("row-a") == pytest.approx(2.0)
    assert life.silence_s("row-b") == pytest.approx(6.0)
    assert life.silent_part() == "ticker"
    life.stood_still(30.0)
    assert life.silence_s("row-a") == 0.0


def test_of_roles_by_name_only_so_much_is_kept(
    time: Time, life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    """Anyone can write to the topic, under any name."""
    life.hear("x" * (NAME_MAX + 1), "worker", worker(row_a=0.0))
    assert "passed over" in caplog.text
    assert not life.was_heard("row-a")
    life.hear("headrace-worker-0", "worker", worker(row_a=0.1))
    for number in range(3 * ROLES_MAX):
        life.hear(f"anybody-{number}", "ticker" if number % 2 else "worker", worker(row_c=0.1))
        life.hear("headrace-worker-0", "worker", worker(row_a=0.2))
    assert len(life._said_ns) == ROLES_MAX
    assert life._said_ns["headrace-worker-0"].keys() == {"row-a"}
