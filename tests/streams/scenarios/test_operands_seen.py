"""Which operands scenarios have seen true and false: unknown is neither, a failed scenario proves nothing."""

from __future__ import annotations

import dataclasses

from rules.language.operands import operands
from streams.rule_sets.rule_folder import rule_texts
from streams.scenarios.operands import operands_seen
from streams.scenarios.run import Result
from tests.streams.scenarios.narvik import FOLDER, outcome, program, site


def seen(*results: Result) -> dict[str, tuple[int, int]]:
    """(true, false) of the operands of rack-flow-frozen."""
    found = [
        one
        for one in operands(rule_texts(FOLDER, site()), site(), program())
        if one.rule.id == "rack-flow-frozen"
    ]
    return {one.operand.text: (one.true, one.false) for one in operands_seen(found, site(), results)}


def still(power: str) -> Result:
    return outcome(
        f"""
s:
  asset: R02
  for: 2 min
  signals: {{RackLiquidFlow: 158.1 L/min, RackPower: {power}}}
  expect: {{rack-flow-frozen: never}}
"""
    )


FROZEN, POWER, CHANGED = (
    "frozen(RackLiquidFlow, 1 min)",
    "RackPower > 20 kW",
    "changed(RackLiquidFlow, 1 min)",
)


def test_an_operand_that_never_was_one_of_both() -> None:
    idle = still("15 kW")
    assert not idle.problems
    assert seen(idle) == {FROZEN: (1, 0), POWER: (0, 1), CHANGED: (0, 1)}


def test_unknown_is_neither() -> None:
    assert seen(still("bad"))[POWER] == (0, 0)


def test_both_in_one_scenario_and_counts_over_several() -> None:
    assert seen(still("[15 kW, 20 s: 30 kW, 50 s: 15 kW]"), still("15 kW"))[POWER] == (1, 2)


def test_a_failed_scenario_proves_nothing() -> None:
    assert seen(dataclasses.replace(still("15 kW"), problems=("as if",)))[POWER] == (0, 0)
