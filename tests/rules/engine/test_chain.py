"""The chain of the journal: numbers without a hole, each line naming the one before, whatever happens in between."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.engine import Engine
from rules.engine.inputs import Action, Identity, Input, Receipt
from rules.engine.outputs import Entry, Output
from streams.wire import encode_output
from tests.rules.engine.plant import START, UNIT, S, flow, program, site, tick

RULE = """
  low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    message: "{asset}: {value:.0f} L/min"
"""


def engine() -> Engine:
    return Engine(program(RULE), site(), UNIT)


def log(lows: Sequence[bool]) -> list[Input]:
    """A flow that is low or not each second, a receipt, and an action that is refused."""
    inputs: list[Input] = [tick(START)]
    for second, is_low in enumerate(lows, 1):
        at_ns = START + second * S
        identity = Identity("actuators", 1, second)
        inputs += [
            flow(second, at_ns, 60.0 if is_low else 90.0),
            Receipt(UNIT, identity, f"command-{second}", "R1", "done", 1.5, None, at_ns, "Ω \\" + "\n"),
            Action(UNIT, Identity("action:anna", 1, second), "reset", "low", "R2", "anna", at_ns),
            tick(at_ns),
        ]
    return inputs


def lines(outputs: Sequence[Output]) -> list[Entry]:
    return [one for one in outputs if isinstance(one, Entry)]


def test_each_line_names_the_bytes_of_the_one_before_it() -> None:
    made = engine()
    said = lines(made.step(log([True, False, True])))
    assert {"alarm-raised", "alarm-cleared", "receipt", "action-refused"} <= {one.kind for one in said}
    previous = ""
    for number, one in enumerate(said, 1):
        value = encode_output(one, 1).value or b""
        assert (one.number, one.previous) == (number, previous)
        assert orjson.loads(value)["body"]["previous"] == previous
        previous = hashlib.sha256(value).hexdigest()
    assert made.chain_end() == (len(said), previous)


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.sets(st.integers(0, 25)))
@settings(max_examples=60, deadline=None)
def test_restarts_from_snapshots_go_on_with_the_chain(lows: list[bool], restarts: set[int]) -> None:
    inputs = log(lows)
    never = engine().step(inputs)
    made, said = engine(), list[Output]()
    for place, value in enumerate(inputs):
        if place in restarts:
            state = made.snapshot()
            made = engine()
            made.restore(state)
        said += made.step([value])
    assert [encode_output(one, 1) for one in said] == [encode_output(one, 1) for one in never]
