"""What a snapshot refuses, and what it keeps when the rules have changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rules.engine.engine import Engine
from rules.engine.outputs import Alarm
from rules.errors import HeadraceError
from tests.rules.engine.plant import LOW, MS, START, UNIT, S, flow, frame, program, site, tick
from tests.rules.engine.terms_of_rules import of_assets

HOT = """
  hot:
    for: GPU
    when: temperature > 55 degC
    severity: low
    message: "{asset} {value}"
"""
RISING = """
  a-rising:
    for: GPU
    when: rate(temperature, 1 s) > 1 K/s
    severity: low
    message: "{asset} {value}"
"""


def engine(rules: str) -> Engine:
    return Engine(program(rules), site(), UNIT)


def image() -> bytes:
    made = engine(LOW + HOT)
    made.step([tick(START), flow(1, START, 40), frame(1, START, 90)])
    return made.snapshot()


@pytest.mark.parametrize("cut", [0, 7, 16, 40, -1])
def test_a_cut_snapshot_is_refused(cut: int) -> None:
    with pytest.raises(HeadraceError):
        engine(LOW + HOT).restore(image()[:cut])


@pytest.mark.parametrize("place", [0, 9, 30, 600, -1])
def test_a_flipped_bit_is_refused(place: int) -> None:
    data = bytearray(image())
    data[place] ^= 1
    with pytest.raises(HeadraceError):
        engine(LOW + HOT).restore(bytes(data))


def test_a_snapshot_of_another_unit_is_refused() -> None:
    with pytest.raises(HeadraceError, match="unit 'hall', not of 'row'"):
        engine(LOW).restore(Engine(program(LOW), site(), "hall").snapshot())


def test_a_refused_snapshot_leaves_the_engine_as_it_was() -> None:
    made = engine(LOW + HOT)
    before = made.snapshot()
    with pytest.raises(HeadraceError):
        made.restore(image()[:-1])
    assert made.snapshot() == before


def test_rules_that_mean_the_same_keep_their_state_when_others_come_and_go() -> None:
    made = engine(RISING + LOW)
    made.restore(image())
    outputs = made.step([tick(START + 1500 * MS)])
    said = [(a.rule, a.asset, a.state) for a in outputs if isinstance(a, Alarm)]
    assert ("low", "R1", "unacknowledged") in said
    closed = [a for a in outputs if isinstance(a, Alarm) and a.rule == "hot"]
    assert [(a.state, a.asset) for a in closed] == [
        ("normal", f"R1-T{t}-G{g}") for t in (1, 2) for g in (1, 2)
    ]
    assert closed[0].message == "R1-T1-G1: closed, the rule has changed or is gone"
    assert closed[0].severity == "low"


def test_a_rule_that_means_something_else_starts_afresh() -> None:
    made = engine(LOW.replace("1 s", "2 s") + HOT)
    made.restore(image())
    outputs = made.step([tick(START + 5 * S)])
    assert [a for a in outputs if isinstance(a, Alarm)] == []


def test_another_message_is_still_the_same_rule() -> None:
    made = engine(LOW.replace("{asset} {value}", "other") + HOT)
    made.restore(image())
    outputs = made.step([tick(START + 5 * S)])
    assert [a.message for a in outputs if isinstance(a, Alarm)] == ["other"]


def test_dedupe_survives() -> None:
    made = engine(LOW + HOT)
    made.restore(image())
    assert made.step([flow(1, START, 40), tick(START)]) == []
    assert made.counters["repeats"] == 2


def test_what_a_new_rule_looks_at_is_unknown_until_it_was_seen() -> None:
    """GPUs of both racks were sampled just now, but nobody kept their temperatures for the new rule."""
    looks = """
  cold:
    for: CDU
    when: min(GPU.temperature) < 20 degC
    severity: low
    message: "{asset} {value}"
"""
    old = engine(LOW)
    old.step([tick(START), frame(1, START, 50), frame(2, START, 50, asset="R2")])
    new = engine(LOW + looks)
    new.restore(old.snapshot())
    said = new.step([frame(3, START + 100 * MS, 50)])  # of the first rack
    assert not [one for one in said if isinstance(one, Alarm)]
    said = new.step([frame(4, START + 100 * MS, 10, asset="R2")])
    assert [(one.rule, one.value) for one in said if isinstance(one, Alarm)] == [("cold", 10.0)]


def test_what_a_rule_looks_at_of_some_gpus_is_known_of_all_of_its_unit() -> None:
    """The first looks at those of the second rack only; the one that is taken up needs those of both."""
    looks = """
  cold:
    for: {}
    when: avg(GPU.temperature) < 50 degC
    severity: low
    message: "{{asset}} {{value}}"
"""
    racks = program(looks.format("Rack"))
    [rule] = racks.rules
    assert rule.when is not None
    second = replace(rule, assets=("R2",), when=of_assets(rule.when, ("R2",)))
    old = Engine(replace(racks, rules=(second,)), site(), UNIT)
    old.step([tick(START), frame(1, START, 10), frame(2, START, 60, asset="R2")])
    new = engine(looks.format("CDU"))
    new.restore(old.snapshot())
    said = new.step([frame(3, START + 100 * MS, 60, asset="R2")])
    assert [(one.rule, one.value) for one in said if isinstance(one, Alarm)] == [("cold", 35.0)]
