"""What units tell each other: when, under which identity, and what an engine makes of what it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Fact, Identity, Input, Readings, Tick
from rules.engine.outputs import Alarm, Entry, Output
from rules.engine.tables import compile_unit
from rules.quality import Quality
from tests.rules.engine.plant import MS, START, UNIT, S, flow, frame, program, site, tick

HALL = "hall"
TOTAL = """
  total:
    for: PowerMeter
    when: sum(Rack.RackPower) > 100 kW
    severity: low
    message: "{asset} {value}"
"""
VALVES = """
  valves:
    for: PowerMeter
    when: avg(Valve.ValvePosition) > 50 %
    severity: low
    message: "{asset} {value}"
"""
HOT = """
  hot:
    for: PowerMeter
    when: max(GPU.temperature) > 80 degC and coverage(GPU.temperature) > 0.4
    severity: low
    message: "{asset} {value}"
"""
FED = """
  fed:
    for: Rack
    when: PowerMeter.ActivePower < 10 kW
    severity: low
    message: "{asset} {value}"
"""

SHARES = """
  shares:
    for: CDU
    when: max(Rack.share) > 0.5
    severity: low
    message: "{asset} {value}"
expressions:
  share: RackPower / PowerMeter.ActivePower
"""


def engine(unit: str, rules: str, ruling: str = "") -> Engine:
    made = Engine(program(rules), site(), unit, ruling)
    made.step([tick(START, unit)])
    return made


def power(
    sequence: int, at_ns: int, kw: float, rack: str = "R1", quality: Quality = Quality.GOOD
) -> Readings:
    return flow(sequence, at_ns, kw, point=f"{rack}.RackPower", quality=quality)


def more(value: Input) -> list[Input]:
    """Ticks before the next one of those that are 400 ms apart."""
    return [tick(value.time_ns + n * 100 * MS) for n in range(1, 4)] if isinstance(value, Tick) else []


def facts(outputs: list[Output]) -> list[Fact]:
    return [value for value in outputs if isinstance(value, Fact)]


def alarms(outputs: list[Output]) -> list[tuple[str, str, float | None]]:
    return [(one.asset, one.state, one.value) for one in outputs if isinstance(one, Alarm)]


def test_a_unit_tells_the_sum_and_how_many_are_in_it() -> None:
    [fact] = facts(engine(UNIT, TOTAL).step([power(1, START, 60)]))
    assert fact.unit == HALL
    assert fact.identity == Identity("fact:row", START, 1)
    assert fact.id == f"hall:fact:row:{START}:1"
    assert fact.name.startswith("H.sum_over.")
    assert (fact.asset, fact.time_ns, fact.value, fact.known, fact.quality) == (
        "H",
        START,
        60.0,
        1,
        Quality.GOOD,
    )


def test_it_tells_once_in_a_period_of_event_time_whatever_the_ticks() -> None:
    sparse: list[Input] = []
    for n in range(1, 7):
        sparse += [power(n, START + n * 400 * MS, 60 + n), tick(START + n * 400 * MS)]
    told = facts(engine(UNIT, TOTAL).step(sparse))
    expected = [(400 * MS, 61), (1200 * MS, 63), (2000 * MS, 65)]
    assert [(fact.time_ns - START, fact.value) for fact in told] == expected
    assert [fact.identity.sequence for fact in told] == [1, 2, 3]
    dense = [one for value in sparse for one in (value, *more(value))]
    assert facts(engine(UNIT, TOTAL).step(dense)) == told


def test_what_is_not_known_is_told_as_bad() -> None:
    [fact] = facts(engine(UNIT, TOTAL).step([power(1, START, 60, quality=Quality.BAD)]))
    assert (fact.value, fact.known, fact.quality) == (0.0, 0, Quality.BAD)


def test_facts_go_on_behind_a_snapshot_and_in_a_later_epoch_without_one() -> None:
    first = engine(UNIT, TOTAL)
    first.step([power(1, START, 60)])
    second = Engine(program(TOTAL), site(), UNIT)
    second.restore(first.snapshot())
    [fact] = facts(second.step([power(2, START + 900 * MS, 60), power(3, START + S, 60)]))
    assert fact.identity == Identity("fact:row", START, 2)
    lost = Engine(program(TOTAL), site(), UNIT)
    [fact] = facts(lost.step([tick(START + 5 * S), power(3, START + 5 * S, 60)]))
    assert fact.identity == Identity("fact:row", START + 5 * S, 1)


def test_an_aggregate_is_made_of_what_is_told() -> None:
    hall, row = engine(HALL, TOTAL), engine(UNIT, TOTAL)
    told = facts(row.step([power(1, START, 60), power(2, START + S, 60, "R2")]))
    assert [fact.value for fact in told] == [60, 120]
    assert alarms(hall.step(list(told))) == [("H", "unacknowledged", 120.0)]
    assert (hall.counters["facts"], hall.counters["readings"]) == (2, 0)


def test_a_mean_is_that_of_all_members_not_of_the_units() -> None:
    """One valve in each unit; the fast one speaks first, and the mean is of those that are known."""
    hall, row = engine(HALL, VALVES), engine(UNIT, VALVES)
    own = replace(flow(1, START, 80, point="V2.ValvePosition"), unit=HALL)
    assert alarms(hall.step([own])) == [("H", "unacknowledged", 80.0)]
    told = facts(row.step([flow(1, START + MS, 0, point="V1.ValvePosition")]))
    assert alarms(hall.step(list(told))) == [("H", "returned-unacknowledged", 40.0)]


def test_gpus_of_another_unit() -> None:
    hall, row = engine(HALL, HOT), engine(UNIT, HOT)
    told = facts(row.step([frame(1, START, [60, 90, 70, 50])]))
    assert [(fact.value, fact.known) for fact in told] == [(90.0, 4), (270.0, 4)]
    assert alarms(hall.step(list(told))) == [("H", "unacknowledged", 90.0)]


def test_a_signal_of_another_unit() -> None:
    hall, row = engine(HALL, FED), engine(UNIT, FED)
    told = facts(hall.step([replace(flow(1, START, 5, point="H.ActivePower"), unit=HALL)]))
    assert [(fact.name, fact.unit, fact.value) for fact in told] == [("H.ActivePower", UNIT, 5.0)]
    assert alarms(row.step(list(told))) == [("R1", "unacknowledged", 5.0), ("R2", "unacknowledged", 5.0)]


def test_a_signal_of_another_unit_that_the_members_of_an_aggregate_look_at() -> None:
    hall, row = engine(HALL, SHARES), engine(UNIT, SHARES)
    told = facts(hall.step([replace(flow(1, START, 50, point="H.ActivePower"), unit=HALL)]))
    assert [(fact.name, fact.unit, fact.value) for fact in told] == [("H.ActivePower", UNIT, 50.0)]
    assert alarms(row.step([*told, power(1, START, 20), power(2, START, 30, "R2")])) == [
        ("CDU", "unacknowledged", 0.6)
    ]


def test_what_was_told_three_periods_ago_is_not_known() -> None:
    hall, row = engine(HALL, VALVES), engine(UNIT, VALVES)
    hall.step(list(facts(row.step([flow(1, START, 0, point="V1.ValvePosition")]))))
    hall.step([tick(START + 8 * S, HALL)])
    valve = replace(flow(1, START + 7500 * MS, 60, point="V2.ValvePosition"), unit=HALL)
    assert alarms(hall.step([valve])) == [], "the valves' period is 2.5 s"
    valve = replace(flow(2, START + 7501 * MS, 60, point="V2.ValvePosition"), unit=HALL)
    assert alarms(hall.step([valve])) == [("H", "unacknowledged", 60.0)]


def test_facts_of_other_rules_are_not_believed() -> None:
    hall, row = engine(HALL, TOTAL, "new"), engine(UNIT, TOTAL, "old")
    told = facts(row.step([power(1, START, 120), power(2, START + S, 130)]))
    assert alarms(hall.step([told[0]])) == []
    assert hall.counters["not_good"] == 1
    assert alarms(hall.step([replace(told[1], rules_digest="new")])) == [("H", "unacknowledged", 130.0)]


def test_an_activation_keeps_what_still_means_the_same() -> None:
    row, rules = engine(UNIT, TOTAL, "one"), program(TOTAL + FED)
    row.offer("two", compile_unit(rules, site(), site().units[UNIT]))
    row.step([power(1, START, 60)])
    row.step([Activation(UNIT, Identity("activation", 1, 1), "a", "two", START)])
    assert facts(row.step([power(2, START + 500 * MS, 60)])) == [], "of this period it was told"
    [fact] = facts(row.step([power(3, START + S, 60)]))
    assert (fact.identity.sequence, fact.rules_digest) == (2, "two")


def test_repeats_gaps_and_what_nobody_asked_for_are_counted() -> None:
    hall, row = engine(HALL, TOTAL), engine(UNIT, TOTAL)
    told = facts(
        row.step([one for n in range(1, 4) for one in (tick(START + n * S), power(n, START + n * S, 60))])
    )
    hall.step([tick(START + 3 * S, HALL)])
    said = hall.step(
        [told[0], told[0], told[2], replace(told[2], identity=Identity("fact:x", 1, 1), name="f")]
    )
    assert next(one.kind for one in said if isinstance(one, Entry)) == "gap"
    assert [hall.counters[name] for name in ("repeats", "gaps", "unknown_facts", "facts")] == [1, 1, 1, 3]


@pytest.mark.parametrize(("late_ns", "counter"), [(61 * S, "late"), (-S - 1, "clock_corrected")])
def test_facts_have_allowances_as_a_source_has(late_ns: int, counter: str) -> None:
    hall = engine(HALL, TOTAL)
    [fact] = facts(engine(UNIT, TOTAL).step([power(1, START, 120)]))
    assert alarms(hall.step([replace(fact, time_ns=START - late_ns)])) == []
    assert hall.counters[counter] == 1


def test_before_the_first_tick_nothing_is_told_or_believed() -> None:
    [fact] = facts(engine(UNIT, TOTAL).step([power(1, START, 120)]))
    hall, row = (Engine(program(TOTAL), site(), unit) for unit in (HALL, UNIT))
    assert hall.step([fact]) == []
    assert hall.counters["before_first_tick"] == 1
    assert facts(row.step([power(1, START, 120)])) == []
