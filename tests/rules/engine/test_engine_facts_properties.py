"""Two units that tell each other facts through the log: each says what its slow twin says, however its log is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Fact, Frame, Identity, Input, Readings, Tick
from rules.engine.outputs import Output
from rules.engine.tables import compile_unit
from rules.language.program import Program, make_program
from tests.rules.engine.plant import MS, UNIT, S, program, site
from tests.rules.engine.streams_of_inputs import logs
from tests.rules.engine.terms_of_rules import NUMBERS
from tests.rules.engine.test_engine_properties import CASES, SETS
from tests.rules.engine.twin import Twin

HALL = "hall"
Sets = tuple[Program, Program]
[FEED_LOW] = program(
    """
  feed-low:
    for: PowerMeter
    when: ActivePower < 51 kW
    severity: high
    message: "{asset}"
"""
).rules


def explained(made: Program) -> Program:
    """The program with one rule more, of the hall, that explains all alarms of the row's racks and GPUs."""
    others = tuple(rule.id for rule in made.rules if rule.asset_type in ("Rack", "GPU"))
    rules = [*made.rules, replace(FEED_LOW, suppresses=others)]
    return make_program({rule.id: rule for rule in rules}, site().digest)


PAIRS = SETS | SETS.map(lambda sets: (explained(sets[0]), explained(sets[1])))


def engine_of(sets: Sets, unit: str, ruling: str = "one") -> Engine:
    engine = Engine(sets[ruling == "two"], site(), unit, ruling)
    for name, rules in zip(("one", "two"), sets, strict=True):
        engine.offer(name, compile_unit(rules, site(), site().units[unit]))
    engine.offer("refused", "it has a finding")
    return engine


def twin_of(sets: Sets, unit: str) -> Twin:
    return Twin(sets[0], site(), unit, {"one": sets[0], "two": sets[1], "refused": "it has a finding"}, "one")


@st.composite
def pairs_of_logs(draw: st.DrawFn) -> dict[str, list[Input]]:
    """The row's, and one of the hall with the same ticks, where rules may be taken up a little earlier or later."""
    row = draw(logs())
    hall: list[Input] = []
    sequence, now_ns = 0, 0
    for value in row:
        if isinstance(value, Tick):
            now_ns = value.time_ns
            hall.append(replace(value, unit=HALL))
        elif isinstance(value, Activation):
            hall.insert(max(0, len(hall) - draw(st.integers(0, 3))), replace(value, unit=HALL))
        elif isinstance(value, Frame | Readings):
            sequence += 1
            end_ns = now_ns + draw(st.integers(40, 90)) * MS
            hall.append(
                Readings(
                    HALL,
                    Identity("plant", 1, sequence),
                    end_ns + 5 * MS,
                    ("H.ActivePower", "V2.ValvePosition"),
                    np.full(2, end_ns),
                    np.zeros(2, np.int64),
                    np.array(draw(st.lists(st.sampled_from(NUMBERS), min_size=2, max_size=2))),
                    np.array(draw(st.sampled_from([(0, 0), (0, 0), (0, 2), (1, 0)])), np.uint8),
                    np.zeros(2, np.uint32),
                )
            )
    return {UNIT: row, HALL: hall}


def facts_of(outputs: list[Output]) -> list[Fact]:
    return [value for value in outputs if isinstance(value, Fact)]


def told(draw: st.DrawFn, log: list[Input], facts: list[Fact]) -> list[Input]:
    """The log with what another unit told: each a while after its time, now and then later, twice or never."""
    places: list[tuple[int, int, Input]] = []
    now_ns = 0
    for index, value in enumerate(log):
        now_ns = value.time_ns if isinstance(value, Tick) else now_ns
        places.append((now_ns, 2 * index, value))
    for fact in facts:
        at_ns = fact.time_ns + draw(st.sampled_from([0, 100 * MS, 100 * MS, 100 * MS, 700 * MS, 3 * S]))
        for _ in range(draw(st.sampled_from([1] * 8 + [0, 2]))):
            behind = [index for then_ns, index, _ in places if then_ns <= at_ns and index % 2 == 0]
            places.append((at_ns, max(behind, default=0) + 1, fact))
    return [value for _, _, value in sorted(places, key=lambda place: place[1])]


@CASES
@given(PAIRS, pairs_of_logs(), st.data())
def test_units_that_tell_each_other_equal_their_twins(
    sets: Sets, pair: dict[str, list[Input]], data: st.DataObject
) -> None:
    facts = {unit: facts_of(engine_of(sets, unit).step(log)) for unit, log in pair.items()}
    for unit, other in ((UNIT, HALL), (HALL, UNIT)):
        own = [value for value in pair[unit] if not isinstance(value, Fact)]
        log = told(data.draw, own, facts[other])
        engine, twin = engine_of(sets, unit), twin_of(sets, unit)
        for value in log:
            assert engine.step([value]) == twin.step([value])
        assert +engine.counters == twin.counters
        assert facts_of(engine_of(sets, unit).step(log)) == facts[unit], "facts are not made of facts"


@CASES
@given(PAIRS, pairs_of_logs(), st.lists(st.integers(1, 9), max_size=40), st.data())
def test_neither_the_cut_nor_a_restart_changes_what_is_told(
    sets: Sets, pair: dict[str, list[Input]], sizes: list[int], data: st.DataObject
) -> None:
    facts = {unit: facts_of(engine_of(sets, unit).step(log)) for unit, log in pair.items()}
    for unit, other in ((UNIT, HALL), (HALL, UNIT)):
        log = told(data.draw, pair[unit], facts[other])
        whole, engine = engine_of(sets, unit), engine_of(sets, unit)
        expected, said, rest = whole.step(log), [], log
        for size in [*sizes, len(rest)]:
            said += engine.step(rest[:size])
            rest = rest[size:]
            if data.draw(st.booleans(), label="restart"):
                image = engine.snapshot()
                engine = engine_of(sets, unit, engine.rules_digest)
                engine.restore(image)
                assert engine.snapshot() == image
        assert said == expected
        assert engine.snapshot() == whole.snapshot()
