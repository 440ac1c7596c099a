"""The strategies reach what they are for: every operation has a value, rules are raised and cleared."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from hypothesis import HealthCheck, Phase, given, settings

from rules.engine.inputs import Input
from rules.engine.outputs import Alarm
from rules.language.program import Program
from rules.language.terms import FUNCTIONS, Op
from tests.rules.engine.plant import UNIT, site
from tests.rules.engine.streams_of_inputs import logs
from tests.rules.engine.terms_of_rules import programs
from tests.rules.engine.twin import Twin


def test_the_strategies_reach_every_operation_and_rules_come_and_go() -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=150, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(programs(), logs())
    def through_the_twin(program: Program, log: list[Input]) -> None:
        twin = Twin(program, site(), UNIT)
        outputs = [value for value in twin.step(log) if isinstance(value, Alarm)]
        for rule in program.rules:
            seen["rules"] += 1
            for state in {alarm.state for alarm in outputs if alarm.rule == rule.id}:
                seen[state] += 1
            for top in (rule.when, rule.until, rule.silent, *rule.shown.values()):
                seen.update({term.op for term in top.walk()} if top else ())
        for condition in twin.conditions:
            # Functions that had a value at last.
            seen.update(
                f"known {function.op}"
                for function in condition.functions.values()
                if function.taken is not None
            )

    through_the_twin()
    assert {*get_args(Op), *(f"known {op}" for op in FUNCTIONS)} <= set(seen)
    assert seen["unacknowledged"] > seen["rules"] / 4
    assert seen["returned-unacknowledged"] > seen["rules"] / 10
