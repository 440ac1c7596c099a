"""When a fact reaches its unit where no log carries it."""

from __future__ import annotations

from rules.engine.inputs import Fact, Identity, Tick
from streams.facts import Courier

MS = 1_000_000


def fact(sequence: int, at_ms: int, unit: str = "site") -> Fact:
    return Fact(unit, Identity("fact:row", 1, sequence), "f", "A", at_ms * MS, 1.0, 1, 0, "")


def tick(at_ms: int, unit: str = "site") -> Tick:
    return Tick(unit, Identity("ticker", 0, at_ms), at_ms * MS)


def test_a_fact_waits_for_its_units_first_tick_that_is_behind_it() -> None:
    courier = Courier()
    courier.take([fact(1, 1000), fact(2, 1300), fact(3, 1050), fact(1, 1000, "hall")])
    assert courier.due(tick(1099)) == []
    assert courier.due(tick(1100, "row")) == []
    assert courier.due(fact(9, 2000)) == [], "ticks move a unit's time, and nothing else"
    assert courier.due(tick(1200)) == [fact(1, 1000), fact(3, 1050)]
    assert courier.due(tick(9000)) == [fact(2, 1300)]
    assert courier.due(tick(9100)) == []
    assert courier.due(tick(1100, "hall")) == [fact(1, 1000, "hall")]
    assert courier.delivered == 4
