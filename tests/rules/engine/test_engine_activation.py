"""A rule set takes effect at the place of its activation in the log."""

from __future__ import annotations

from dataclasses import replace

from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Identity, Input
from rules.engine.outputs import Alarm, Entry, Output
from rules.engine.tables import compile_unit
from tests.rules.engine.plant import LOW, MS, START, UNIT, S, flow, program, site, tick

TINY = """
  tiny:
    for: Rack
    when: RackLiquidFlow < 45 L/min
    severity: low
    message: "{asset} {value}"
"""
SILENT = """
  silent:
    for: Rack
    when: no_data(RackLiquidFlow)
    severity: low
    message: "{asset}"
"""


def engine(**offers: str) -> Engine:
    """Runs LOW; each of `offers` is a rule set, or why it is refused."""
    made = Engine(program(LOW), site(), UNIT, "low")
    for name, rules in offers.items():
        is_reason = "for:" not in rules
        made.offer(name, rules if is_reason else compile_unit(program(rules), site(), site().units[UNIT]))
    return made


def activation(digest: str, at_ns: int = 0, sequence: int = 1) -> Activation:
    return Activation(UNIT, Identity("activation", 1, sequence), site().digest, digest, at_ns)


def said(outputs: list[Output]) -> list[tuple[str, str, int | None]]:
    return [(one.rule, one.state, one.cleared_ns) for one in outputs if isinstance(one, Alarm)]


def entry(outputs: list[Output]) -> Entry:
    [found] = [one for one in outputs if isinstance(one, Entry) and one.kind.startswith("activation")]
    return found


def pending() -> list[Input]:
    """A flow that is low at START: due a second later."""
    return [tick(START), flow(1, START, 40)]


def test_an_alarm_of_a_rule_that_goes_ends_with_the_activation() -> None:
    made = engine(tiny=TINY)
    made.step([*pending(), tick(START + 1 * S)])
    outputs = made.step([activation("tiny", START + 1100 * MS)])
    assert said(outputs) == [("low", "normal", START + 1100 * MS)]
    assert [one.id for one in outputs if isinstance(one, Alarm)] == [f"{UNIT}:activation:1:1:1"]
    assert entry(outputs).detail == {
        "site_digest": site().digest, "rules_digest": "tiny",
        "rules_kept": 0, "rules_new": 1, "rules_gone": 1, "alarms_closed": 1,
    }  # fmt: skip
    assert made.rules_digest == "tiny"


def test_a_rule_of_the_same_meaning_keeps_its_delay() -> None:
    made = engine(both=LOW + TINY)
    made.step(pending())
    assert said(made.step([activation("both", START + 100 * MS)])) == []
    outputs = made.step([tick(START + 1 * S)])
    assert said(outputs) == [("low", "unacknowledged", None)]


def test_a_deadline_before_the_activation_is_the_old_rules() -> None:
    made = engine(tiny=TINY)
    made.step([*pending(), tick(START + 900 * MS)])
    outputs = made.step([activation("tiny", START + 1050 * MS)])
    assert said(outputs) == [("low", "unacknowledged", None), ("low", "normal", START + 1050 * MS)]


def test_a_new_signal_is_silent_from_the_activation_on() -> None:
    made = engine(silent=LOW + SILENT)
    made.step([tick(START), activation("silent", START + 500 * MS)])
    due_ns = START + 500 * MS + 3 * S + 30 * S  # three periods, and the grace
    assert said(made.step([tick(due_ns - 100 * MS)])) == []
    assert said(made.step([tick(due_ns)])) == [("silent", "unacknowledged", None)] * 2


def test_an_activation_from_the_far_future_counts_at_a_second_ahead_of_now() -> None:
    made = engine(tiny=TINY)
    outputs = made.step([tick(START), activation("tiny", START + 3600 * S)])
    assert entry(outputs).at_ns == START + 1 * S


def test_what_is_refused_leaves_the_old_rules() -> None:
    made = engine(wrong="rules/a.yaml:3: unknown signal")
    made.step(pending())
    outputs = made.step([activation("wrong", START)])
    assert entry(outputs).kind == "activation-refused"
    assert entry(outputs).detail["reason"] == "rules/a.yaml:3: unknown signal"
    assert made.rules_digest == "low"
    assert said(made.step([tick(START + 1 * S)])) == [("low", "unacknowledged", None)]


def test_the_set_that_rules_already_changes_nothing() -> None:
    made = engine(low=LOW)
    made.step(pending())
    outputs = made.step([activation("low", START)])
    assert entry(outputs).detail == {"site_digest": site().digest, "rules_digest": "low"}
    assert said(made.step([tick(START + 1 * S)])) == [("low", "unacknowledged", None)]


def test_before_the_first_tick() -> None:
    made = engine(tiny=TINY)
    outputs = made.step([activation("tiny", START)])
    assert entry(outputs).at_ns == 0
    assert entry(outputs).detail == {"site_digest": site().digest, "rules_digest": "tiny"}
    assert said(made.step([tick(START), flow(1, START, 40)])) == [("tiny", "unacknowledged", None)]


def test_a_unit_without_gpus() -> None:
    hall = site().units["hall"]
    made = Engine(program(LOW), site(), hall.id, "low")
    assert not hall.gpus
    made.offer("tiny", compile_unit(program(TINY), site(), hall))
    outputs = made.step([replace(activation("tiny"), unit=hall.id)])
    assert entry(outputs).detail["rules_digest"] == "tiny"


def test_offers_that_are_withdrawn_are_lacking_but_that_of_the_rules_that_rule() -> None:
    made = engine(tiny=TINY, both=LOW + TINY)
    made.step([tick(START), activation("tiny", START)])
    made.withdraw_offers()
    assert [made.lacks(name) for name in ("low", "tiny", "both")] == [True, False, True]


def test_a_restart_goes_on_with_the_rules_that_ruled() -> None:
    made = engine(tiny=TINY)
    made.step([*pending(), activation("tiny", START)])
    again = Engine(program(TINY), site(), UNIT, made.rules_digest)
    again.restore(made.snapshot())
    assert again.snapshot() == made.snapshot()
