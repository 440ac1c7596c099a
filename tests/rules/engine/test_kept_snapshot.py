"""A snapshot of an earlier day is gone on with: `snapshot-06` was written once, and is never written again.

Rule: a later format gets a magic word and a file of its own beside it, and says here what becomes of this one.
"""

from __future__ import annotations

from pathlib import Path

from rules.engine import snapshot
from rules.engine.engine import Engine
from rules.engine.inputs import Action, Identity
from rules.engine.outputs import Alarm
from tests.rules.engine.plant import LOW, MS, START, UNIT, S, flow, frame, program, site, tick

FILE = Path(__file__).with_name("snapshot-06")
HOT = """
  hot:
    for: GPU
    when: temperature > 55 degC
    severity: low
    message: "{asset} {value}"
  flows-well:
    for: Rack
    when: avg(RackLiquidFlow, 1 s) > 40 L/min
    severity: medium
    message: "{asset} {value}"
"""
GPU = "R1-T1-G1"


def engine() -> Engine:
    return Engine(program(LOW + HOT), site(), UNIT)


def write() -> None:
    """How it was made: a GPU that is hot and acknowledged, a window, and a flow that is low since half of its delay."""
    made = engine()
    said = made.step([tick(START), flow(1, START, 80), frame(1, START, 90)])
    occurrence = next(one.raised_id for one in said if isinstance(one, Alarm) and one.asset == GPU)
    identity, at_ns = Identity("action:ada", START, 1), START + MS
    made.step([Action(UNIT, identity, "acknowledge", "hot", GPU, "ada", at_ns, occurrence=occurrence)])
    made.step([tick(START + S), flow(2, START + S, 45), tick(START + S + 500 * MS)])
    FILE.write_bytes(made.snapshot())


def test_it_is_of_the_format_of_today() -> None:
    assert FILE.read_bytes().startswith(snapshot.MAGIC)


def test_what_it_holds_is_gone_on_with() -> None:
    made = engine()
    made.restore(FILE.read_bytes())
    assert made.snapshot() == FILE.read_bytes()
    assert made.now_ns == START + S + 500 * MS
    later = [one for one in made.step([tick(START + 3 * S)]) if isinstance(one, Alarm)]
    assert [(one.rule, one.raised_ns) for one in later] == [("low", START + 2 * S)]
    over = [one for one in made.step([frame(2, START + 3 * S, 20)]) if isinstance(one, Alarm)]
    assert [one.state for one in over if one.asset == GPU] == ["normal"]
    assert {one.state for one in over if one.asset != GPU} == {"returned-unacknowledged"}
    # the mean of the last second is mostly of what the snapshot remembers
    window = [one for one in made.step([flow(3, START + 3 * S, 10)]) if isinstance(one, Alarm)]
    assert [(one.rule, one.state) for one in window] == [("flows-well", "unacknowledged")]
