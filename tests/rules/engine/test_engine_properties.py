"""Whatever the program and the log: the engine says what its slow twin says, however the log is cut."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rules.engine.engine import Engine
from rules.engine.inputs import Input, Tick
from rules.engine.outputs import Alarm, Command, Output
from rules.language.program import Program
from tests.rules.engine.plant import MS, START, UNIT, site, tick
from tests.rules.engine.streams_of_inputs import logs
from tests.rules.engine.terms_of_rules import programs
from tests.rules.engine.twin import Twin

CASES = settings(
    max_examples=200,
    deadline=None,
    phases=[p for p in Phase if p is not Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@CASES
@given(programs(), logs())
def test_engine_equals_its_twin(program: Program, log: list[Input]) -> None:
    engine, twin = Engine(program, site(), UNIT), Twin(program, site(), UNIT)
    for value in log:
        assert engine.step([value]) == twin.step([value])
    assert {k: v for k, v in engine.counters.items() if v} == {k: v for k, v in twin.counters.items() if v}


@CASES
@given(programs(), logs(), st.lists(st.integers(1, 7), min_size=1, max_size=60), st.data())
def test_neither_the_cut_nor_a_restart_changes_a_byte(
    program: Program, log: list[Input], sizes: list[int], data: st.DataObject
) -> None:
    whole = Engine(program, site(), UNIT)
    expected = whole.step(log)
    engine = Engine(program, site(), UNIT)
    said: list[Output] = []
    rest = list(log)
    for size in [*sizes, len(rest)]:
        said += engine.step(rest[:size])
        rest = rest[size:]
        if data.draw(st.booleans(), label="restart"):
            image = engine.snapshot()
            engine = Engine(program, site(), UNIT)
            engine.restore(image)
            assert engine.snapshot() == image
    assert said == expected
    assert engine.snapshot() == whole.snapshot()
    assert engine.counters == whole.counters


def _decided(outputs: list[Output]) -> list[str]:
    return sorted(repr(value) for value in outputs if isinstance(value, Alarm | Command))


@CASES
@given(programs(), logs(trouble=False), st.data())
def test_the_density_of_ticks_changes_no_alarm_and_no_command(
    program: Program, log: list[Input], data: st.DataObject
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
    plain = _decided(Engine(program, site(), UNIT).step(log))
    assert _decided(Engine(program, site(), UNIT).step(dense)) == plain
    assert _decided(Engine(program, site(), UNIT).step(sparse)) == plain
