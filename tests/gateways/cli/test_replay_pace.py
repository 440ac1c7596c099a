"""Speed, progress and Ctrl-C of a replay, on a clock of the test's own."""

from __future__ import annotations

import signal
from io import StringIO

import pytest
from rich.console import Console

from gateways.cli.replay_pace import Pace, speed_of
from rules.errors import ConfigurationError

S = 1_000_000_000


class Clock:
    """Goes on only while one waits, or as it is told."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.waits_s: list[float] = []

    def wait(self, time_s: float) -> None:
        self.waits_s.append(round(time_s, 6))
        self.now_s += time_s


def paced(clock: Clock, from_ns: int, speed: float | None) -> Pace:
    return Pace((from_ns, None), speed, clock_s=lambda: clock.now_s, wait_s=clock.wait)


def test_event_time_passes_so_many_times_as_fast() -> None:
    clock = Clock()
    pace = paced(clock, 0, 10)
    for second in (0, 1, 1, 3):
        assert pace(second * S)
    assert clock.waits_s == [0.1, 0.2]


def test_what_took_longer_is_caught_up() -> None:
    clock = Clock()
    pace = paced(clock, 0, 1)
    pace(0)
    clock.now_s += 1.5
    pace(1 * S)
    pace(2 * S)
    assert clock.waits_s == [0.5]


def test_the_way_to_the_moment_is_run_at_once() -> None:
    clock = Clock()
    pace = paced(clock, 10 * S, 1)
    for second in (7, 8, 9, 10, 11):
        pace(second * S)
    assert clock.waits_s == [1.0]


def test_at_full_speed_nothing_waits() -> None:
    clock = Clock()
    pace = paced(clock, 0, None)
    assert all(pace(second * S) for second in range(5))
    assert clock.waits_s == []


def test_the_first_interrupt_ends_the_reading_and_the_second_the_process() -> None:
    before = signal.getsignal(signal.SIGINT)
    with paced(Clock(), 0, None) as pace:
        assert pace(S)
        signal.raise_signal(signal.SIGINT)
        assert not pace(2 * S)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_bar_says_when_and_how_fast() -> None:
    clock, text = Clock(), StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with Pace((0, 100 * S), None, console=console, clock_s=lambda: clock.now_s) as pace:
        pace(0)
        clock.now_s += 1
        pace(50 * S)
    assert "50 x real time" in text.getvalue()
    assert "1970-01-01 00:00:50" in text.getvalue()


def test_speeds_that_are_none() -> None:
    assert (speed_of("max"), speed_of("0.5")) == (None, 0.5)
    for text in ("fast", "0", "-1", "inf", "nan"):
        with pytest.raises(ConfigurationError):
            speed_of(text)
