"""Tables of rules as bytes: what comes back is what went in, and nothing else is believed."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from rules.engine import kept_tables
from rules.engine.engine import Engine
from rules.engine.packed import PackedError
from rules.engine.tables import Compiled, compile_unit
from tests.rules.engine.plant import START, UNIT, S, flow, frame, program, site, tick

RULES = """
  hot:
    for: GPU
    when: temperature > hot and avg(power_mean, 5 s) > 100 W
    severity: low
    message: "{asset} {value}"
    then: [{command: set power_limit to 600 W}]
  cold:
    for: GPU
    when: no_data(temperature)
    severity: low
    message: "{asset}"
  low:
    for: Rack
    when: RackLiquidFlow < 0.7 * design_flow and max(GPU.temperature) > 30 degC
    until: RackLiquidFlow > 0.8 * design_flow
    on_delay: 1 s
    severity: high
    message: "{asset} {RackLiquidFlow:.0f} {design_flow:.0f}"
    then: [{command: limit each GPU.power_limit to 500 W}]
  falls:
    for: Rack
    when: delta(RackLiquidFlow, 5 s) < -20 L/min
    severity: high
    message: "{asset} {value}"
    then: [{command: limit each GPU.power_limit to 500 W}]
"""
ONLY_PLANT = RULES[RULES.index("  low:") :]
ONLY_GPUS = RULES[: RULES.index("  low:")]
KEY = {"unit": UNIT, "rules": "1"}


def compiled(rules: str = RULES, unit: str = UNIT) -> Compiled:
    return compile_unit(program(rules), site(), site().units[unit])


def back(made: Compiled) -> Compiled:
    return kept_tables.unpack(bytearray(kept_tables.pack(made, KEY)), KEY)


def same(one: Any, other: Any) -> bool:
    """Equal in all parts and their types; arrays as the kernel takes them."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        fit = other.flags.writeable and other.flags.aligned and other.flags.c_contiguous
        return (
            bool(fit)
            and one.dtype == other.dtype
            and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        )
    if is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


@pytest.mark.parametrize("rules", [RULES, ONLY_PLANT, ONLY_GPUS])
@pytest.mark.parametrize("unit", [UNIT, "hall"])
def test_what_comes_back_is_what_went_in(rules: str, unit: str) -> None:
    made = compiled(rules, unit)
    assert same(made, back(made))


def test_rules_with_one_command_share_it() -> None:
    low, falls = back(compiled()).rules[2:]
    assert {low.id, falls.id} == {"low", "falls"}
    assert low.targets is falls.targets
    assert len(low.targets["R1"]) == 4


def test_an_engine_says_the_same() -> None:
    inputs = [
        tick(START),
        frame(1, START, 90),
        flow(1, START, 60),
        flow(2, START + 2 * S, 10),
        frame(2, START + 2 * S, 20),
        tick(START + 4 * S),
    ]
    one, other = Engine(compiled(), site(), UNIT), Engine(back(compiled()), site(), UNIT)
    said = one.step(inputs)
    assert said
    assert other.step(inputs) == said
    assert other.snapshot() == one.snapshot()


def test_bytes_of_something_else_are_refused() -> None:
    data = bytearray(kept_tables.pack(compiled(), KEY))
    with pytest.raises(PackedError, match="something else"):
        kept_tables.unpack(data, {**KEY, "rules": "2"})


@pytest.mark.parametrize("cut", [0, 7, 16, 40, -1])
def test_cut_bytes_are_refused(cut: int) -> None:
    with pytest.raises(PackedError):
        kept_tables.unpack(bytearray(kept_tables.pack(compiled(), KEY)[:cut]), KEY)


@pytest.mark.parametrize("place", [0, 9, 30, 600, -1])
def test_a_flipped_bit_is_refused(place: int) -> None:
    data = bytearray(kept_tables.pack(compiled(), KEY))
    data[place] ^= 1
    with pytest.raises(PackedError):
        kept_tables.unpack(data, KEY)
