"""The dead-man signal of the whole, by a clock that the test sets."""

from __future__ import annotations

from gateways.scada.heartbeat import AHEAD_NS, SILENT_NS, Heartbeat

S = 1_000_000_000
HOUR_NS = 3_600 * S


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * S

    def __call__(self) -> int:
        return self.now_ns


def fresh(clock: Clock) -> Heartbeat:
    made = Heartbeat(["row"], clock)
    made.hear_tick("row")
    made.hear_worker()
    return made


def test_it_counts_while_every_part_is_heard() -> None:
    clock = Clock()
    one = Heartbeat(["row"], clock)
    assert not one.beat()
    assert one.silent == ("ticks of row", "worker")
    one = fresh(clock)
    assert one.beat()
    clock.now_ns += SILENT_NS
    assert one.beat()
    one.hear_worker()
    clock.now_ns += 1
    assert not one.beat()
    assert one.silent == ("ticks of row",)


def test_a_clock_that_is_set_back_makes_nothing_fresh() -> None:
    """Ticks stand still for the whole step back; the worker goes on saying that it works."""
    clock = Clock()
    one = fresh(clock)
    clock.now_ns -= HOUR_NS
    one.hear_worker()
    assert not one.beat()
    assert one.silent == ("ticks of row",)
    one.hear_tick("row")
    assert one.beat()


def test_a_clock_may_be_a_little_off() -> None:
    clock = Clock()
    one = fresh(clock)
    clock.now_ns -= AHEAD_NS
    assert one.beat()
    clock.now_ns -= 1
    assert not one.beat()
