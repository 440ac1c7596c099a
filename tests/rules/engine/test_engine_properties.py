"""Whatever the program and the log: the engine says what its slow twin says, however the log is cut."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rules.engine.engine import Engine
from rules.engine.inputs import Input, Tick
from rules.engine.outputs import Alarm, Command, Output
from rules.engine.tables import compile_unit
from rules.language.program import Program, Rule, make_program
from tests.rules.engine.plant import MS, START, UNIT, site, tick
from tests.rules.engine.streams_of_inputs import logs
from tests.rules.engine.terms_of_rules import programs
from tests.rules.engine.twin import Twin
from tests.support.examples import examples

CASES = settings(
    max_examples=examples(60),
    deadline=None,
    phases=[p for p in Phase if p is not Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


SETS = st.tuples(programs(), st.integers(0, 2**10)).map(lambda drawn: (drawn[0], like(*drawn)))
"""Two rule sets that have some rules in common."""


def like(program: Program, choice: int) -> Program:
    """Of each rule: as it is, with another message, with another delay, with another id, or not at all."""
    made: dict[str, Rule] = {}
    for rule in program.rules:
        choice, which = divmod(choice, 5)
        if which == 0:
            made[rule.id] = rule
        elif which == 1:
            made[rule.id] = replace(rule, message="{asset} other")
        elif which == 2:
            made[rule.id] = replace(rule, on_delay_ns=rule.on_delay_ns + 100 * MS)
        elif which == 3:
            made[f"new-{rule.id}"] = replace(rule, id=f"new-{rule.id}")
    return make_program(made, program.site_digest)


FLOODS = st.sampled_from([0, 0, 2])
"""Limits of the flood governor; 0 for none."""


def engine_of(sets: tuple[Program, Program], ruling: str = "one", flood_limit: int = 0) -> Engine:
    engine = Engine(sets[ruling == "two"], replace(site(), flood_limit=flood_limit), UNIT, ruling)
    engine.offer("one", compile_unit(sets[0], site(), site().units[UNIT]))
    engine.offer("two", compile_unit(sets[1], site(), site().units[UNIT]))
    engine.offer("refused", "it has a finding")
    return engine


@CASES
@given(SETS, logs(), FLOODS)
def test_engine_equals_its_twin(sets: tuple[Program, Program], log: list[Input], limit: int) -> None:
    engine = engine_of(sets, flood_limit=limit)
    limited = replace(site(), flood_limit=limit)
    twin = Twin(
        sets[0], limited, UNIT, {"one": sets[0], "two": sets[1], "refused": "it has a finding"}, "one"
    )
    for value in log:
        assert engine.step([value]) == twin.step([value])
    assert {k: v for k, v in engine.counters.items() if v} == {k: v for k, v in twin.counters.items() if v}


@CASES
@given(SETS, logs(), st.lists(st.integers(1, 7), min_size=1, max_size=60), FLOODS, st.data())
def test_neither_the_cut_nor_a_restart_changes_a_byte(
    sets: tuple[Program, Program], log: list[Input], sizes: list[int], limit: int, data: st.DataObject
) -> None:
    whole = engine_of(sets, flood_limit=limit)
    expected = whole.step(log)
    engine = engine_of(sets, flood_limit=limit)
    said: list[Output] = []
    rest = list(log)
    for size in [*sizes, len(rest)]:
        said += engine.step(rest[:size])
        rest = rest[size:]
        if data.draw(st.booleans(), label="restart"):
            image = engine.snapshot()
            engine = engine_of(sets, engine.rules_digest, limit)
            engine.restore(image)
            assert engine.snapshot() == image
    assert said == expected
    assert engine.snapshot() == whole.snapshot()
    assert engine.counters == whole.counters


def _decided(outputs: list[Output]) -> list[str]:
    return sorted(repr(value) for value in outputs if isinstance(value, Alarm | Command))


@CASES
@given(SETS, logs(trouble=False), FLOODS, st.data())
def test_the_density_of_ticks_changes_no_alarm_and_no_command(
    sets: tuple[Program, Program], log: list[Input], limit: int, data: st.DataObject
) -> None:
    """A log whose samples all come before the tick that passes them, with more ticks, and with fewer."""
    dense: list[Input] = []
    sparse: list[Input] = []
    ticks = [value.time_ns for value in log if isinstance(value, Tick)]
    before_ns = kept_ns = START
    for value in log:
        if isinstance(value, Tick):
            for at_ns in range(before_ns + 100 * MS, value.time_ns, 100 * MS):
                if data.draw(st.booleans(), label="one more"):
                    dense.append(tick(at_ns))
            before_ns = value.time_ns
            following_ns = min((at_ns for at_ns in ticks if at_ns > value.time_ns), default=None)
            needed = following_ns is None or following_ns - kept_ns > 900 * MS or value.time_ns == START
            if needed or data.draw(st.booleans(), label="keep"):
                sparse.append(value)
                kept_ns = value.time_ns
        else:
            sparse.append(value)
        dense.append(value)
    plain = _decided(engine_of(sets, flood_limit=limit).step(log))
    assert _decided(engine_of(sets, flood_limit=limit).step(dense)) == plain
    assert _decided(engine_of(sets, flood_limit=limit).step(sparse)) == plain
