"""Words on alarms as events: every state, repeats, and the kinds of rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from gateways.scada.alarm_kinds import AlarmKind, kind_of, kind_of_own
from gateways.scada.condition_fields import Source
from gateways.scada.conditions import EVENT_IDS_MAX, Condition, Conditions
from gateways.scada.event import SERVER, event_id
from gateways.scada.methods import METHODS, code_of
from gateways.scada.names import node
from rules.alarms.life_cycle import TABLE
from rules.engine.outputs import Alarm
from rules.site.model import Site
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site
from tests.rules.engine.plant import program

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"
KEY = "row:low:R1"
AT_NS = 1_700_000_000_000_000_000
STATES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "unacknowledged": ({}, {"ActiveState": True, "AckedState": False}),
    "acknowledged": (
        {"acknowledged_ns": AT_NS},
        {"ActiveState": True, "AckedState": True, "ConfirmedState": False},
    ),
    "returned-unacknowledged": ({"cleared_ns": AT_NS}, {"ActiveState": False, "AckedState": False}),
    "latched-unacknowledged": (
        {"cleared_ns": AT_NS},
        {"ActiveState": False, "AckedState": False, "LatchedState": True},
    ),
    "latched-acknowledged": (
        {"cleared_ns": AT_NS, "acknowledged_ns": AT_NS},
        {"ActiveState": False, "AckedState": True, "LatchedState": True, "ConfirmedState": False},
    ),
    "shelved": ({"shelved_until_ns": AT_NS + 5}, {"ActiveState": True, "AckedState": True}),
    "suppressed": (
        {"suppressed_by": "row:other:R1"},
        {"ActiveState": True, "AckedState": True, "SuppressedState": True},
    ),
    "out-of-service": (
        {"out_of_service_until_ns": AT_NS + 5},
        {"ActiveState": True, "AckedState": True, "OutOfServiceState": True},
    ),
    "normal": ({"cleared_ns": AT_NS}, {"ActiveState": False, "AckedState": True}),
}


def word(number: int = 1, state: Any = "unacknowledged", at_ns: int = AT_NS, **changed: Any) -> Alarm:
    made = Alarm(
        f"id:{number}", "row", "low", "R1", "high", state, "id:1", AT_NS, None, 60.0, "R1: 60", at_ns=at_ns
    )
    return replace(made, **changed)


def facts(unit: str, rule: str, asset: str) -> tuple[Source, frozenset[Any]]:
    kind = kind_of_own(rule)
    condition = node(f"{unit}:{rule}:{asset}")
    source = Source(condition, node(asset), asset, rule, kind, ua.NodeId(), None, 10**12, rule == "latching")
    return source, frozenset({SERVER})


@pytest.fixture
def conditions() -> Conditions:
    return Conditions(facts)


def standing(conditions: Conditions) -> Condition:
    found = conditions.find(KEY)
    assert found is not None
    return found


@pytest.mark.parametrize("state", STATES)
def test_a_state_in_the_terms_of_opc_ua(conditions: Conditions, state: str) -> None:
    changed, expected = STATES[state]
    conditions.see(word(1), AT_NS)
    event = conditions.see(word(2, state, AT_NS + 1, **changed), AT_NS + 2)
    assert event is not None
    names = (
        "ActiveState",
        "AckedState",
        "ConfirmedState",
        "SuppressedState",
        "OutOfServiceState",
        "LatchedState",
    )
    usual = {
        "ConfirmedState": True,
        "SuppressedState": False,
        "OutOfServiceState": False,
        "LatchedState": False,
    }
    assert {name: event.value(f"{name}/Id") for name in names} == usual | expected
    assert event.value("Retain") is (state != "normal")
    assert event.value("SuppressedOrShelved") is (state in ("shelved", "suppressed", "out-of-service"))
    assert event.value("ShelvingState/CurrentState") == (
        "Timed Shelved" if state == "shelved" else "Unshelved"
    )
    assert (conditions.find(KEY) is None) is (state == "normal")


def test_every_state_of_the_engine_is_in_the_table() -> None:
    shown = {state.value for state in TABLE if not state.value.startswith("quiet")}
    assert set(STATES) == shown | {"shelved", "suppressed", "out-of-service"}


@pytest.mark.parametrize("state", ["shelved", "suppressed", "out-of-service"])
def test_what_latched_and_is_not_heard_is_latched_all_the_same(state: str) -> None:
    def is_latched(rule: str, cleared_ns: int | None) -> Any:
        quiet = word(2, state, rule=rule, cleared_ns=cleared_ns)
        event = Conditions(facts).see(quiet, AT_NS)
        assert event is not None
        return event.value("LatchedState/Id")

    assert is_latched("latching", AT_NS)
    assert not is_latched("latching", None), "its condition holds"
    assert not is_latched("low", AT_NS), "it ends with its condition"


def test_nobody_knows_whether_it_holds(conditions: Conditions) -> None:
    event = conditions.see(word(unknown_ns=AT_NS), AT_NS)
    assert event is not None
    assert (event.value("Quality"), event.value("ActiveState/Id")) == (0x40900000, True)


def test_what_has_stood_long_ago_takes_no_memory(conditions: Conditions) -> None:
    for number in range(500):  # one each minute
        at_ns = AT_NS + number * 60 * 10**9
        for state, late_ns in (("unacknowledged", 0), ("normal", 1)):
            said = word(number, state, at_ns + late_ns, asset=f"R{number}", raised_ns=at_ns)
            assert conditions.see(said, at_ns) is not None
            assert conditions.see(said, at_ns) is None, "it comes again"
    assert len(conditions) == 0
    assert sum(map(len, conditions._over.values())) <= 61


def test_words_that_come_again_are_no_events(conditions: Conditions) -> None:
    """A worker that was killed says again what it had said since its last snapshot."""
    words = [word(1), word(2, "acknowledged", AT_NS + 1), word(3, "acknowledged", AT_NS + 1, comment="pump")]
    assert all(conditions.see(one, AT_NS) for one in words)
    assert not any(conditions.see(one, AT_NS) for one in words)
    assert standing(conditions).word == words[2]
    assert conditions.see(word(4, "normal", AT_NS + 2), AT_NS) is not None
    assert not any(conditions.see(one, AT_NS) for one in words)
    assert len(conditions) == 0


def test_event_ids_are_good_as_long_as_their_occurrence(conditions: Conditions) -> None:
    conditions.see(word(1), AT_NS)
    conditions.see(word(2, comment="a", at_ns=AT_NS + 1), AT_NS)
    assert standing(conditions).event_ids == [event_id("id:1"), event_id("id:2")]
    conditions.see(word(3, raised_id="id:3", at_ns=AT_NS + 2), AT_NS)
    assert standing(conditions).event_ids == [event_id("id:3")]
    for number in range(4, 4 + 2 * EVENT_IDS_MAX):
        conditions.see(word(number, raised_id="id:3", at_ns=AT_NS + number), AT_NS)
    assert len(standing(conditions).event_ids) == EVENT_IDS_MAX


def test_a_refresh_says_how_long_it_stays_shelved_from_now_on(conditions: Conditions) -> None:
    conditions.see(word(1, "shelved", shelved_until_ns=AT_NS + 60_000_000_000), AT_NS)
    assert standing(conditions).event.value("ShelvingState/UnshelveTime") == 60_000.0
    (later,) = conditions.standing(lambda: AT_NS + 20_000_000_000)
    assert later.value("ShelvingState/UnshelveTime") == 40_000.0
    assert later.value("EventId") == event_id("id:1")
    (over,) = conditions.standing(lambda: AT_NS + 90_000_000_000)
    assert over.value("ShelvingState/UnshelveTime") == 0.0


RULES = """
  low: {for: Rack, when: RackLiquidFlow < 70 L/min, severity: high, message: m}
  very-low: {for: Rack, when: RackLiquidFlow < 0.1 * design_flow, severity: urgent, message: m}
  high: {for: Rack, when: 150 kW < RackPower and RackLiquidFlow > 10 L/min, severity: high, message: m}
  fast: {for: Rack, when: "rate(RackPower, 10 s) > 5 kW/s", severity: high, message: m}
  spread: {for: Rack, when: "stddev(RackPower, 10 s) > 5 kW", severity: high, message: m}
  silent: {for: Rack, when: no_data(RackPower), severity: high, message: m}
  either: {for: Rack, when: RackPower > 1 kW or RackLiquidFlow < 1 L/min, severity: high, message: m}
"""
TYPES = {
    "low": ("ExclusiveLevelAlarmType", "Low", 70.0),
    "very-low": ("ExclusiveLevelAlarmType", "LowLow", 10.0),
    "high": ("ExclusiveLevelAlarmType", "High", 150.0),
    "fast": ("ExclusiveRateOfChangeAlarmType", "High", 5.0),
    "spread": ("ExclusiveLimitAlarmType", "High", 5.0),
    "silent": ("InstrumentDiagnosticAlarmType", "", None),
    "either": ("AlarmConditionType", "", None),
}


def test_the_kind_of_a_rule() -> None:
    rules = {rule.id: rule for rule in program(RULES).rules}
    said = {}
    for name, rule in rules.items():
        kind = kind_of(rule, frozenset())
        limit = None if kind.limit is None else kind.limit.of("R1")
        said[name] = (ua.ObjectIdNames[kind.type_id], kind.side, limit)
    assert said == TYPES
    kinds = {name: kind_of(rule, frozenset()) for name, rule in rules.items()}
    assert (kinds["low"].point_of("R1"), kinds["silent"].point_of("R2")) == (
        "R1.RackLiquidFlow",
        "R2.RackPower",
    )
    limit = kinds["very-low"].limit
    assert limit is not None
    assert limit.of("R2") == 5.0, "a limit may be each asset's own"
    assert kind_of_own("source-gap") == AlarmKind(ua.ObjectIds.SystemDiagnosticAlarmType)


def test_states_and_differences_of_the_example_site() -> None:
    site: Site = load_site(NARVIK)
    states = frozenset(one.id for one in site.points.values() if not one.engineering_unit)
    kinds = {rule.id: kind_of(rule, states) for rule in load_program(NARVIK, site).rules}
    types = {name: ua.ObjectIdNames[kind.type_id] for name, kind in kinds.items()}
    assert types["rack-leak"] == types["chiller-stopped"] == "OffNormalAlarmType"
    assert types["gpu-hot"] == "ExclusiveLevelAlarmType"
    assert kinds["gpu-critical"].side == "HighHigh"
    assert {"DiscrepancyAlarmType", "InstrumentDiagnosticAlarmType"} <= set(types.values())
    plain = [name for name, kind in types.items() if kind == "AlarmConditionType"]
    assert len(plain) < len(types) / 4, plain


def test_each_refusal_of_the_engine_has_its_status_code() -> None:
    reasons = {reason for events in TABLE.values() for reason in events.values() if reason not in TABLE}
    codes = {reason: ua.StatusCode(code_of(str(reason))).name for reason in reasons}
    assert codes["it is acknowledged already"] == "BadConditionBranchAlreadyAcked"
    assert codes["nothing of it stands"] == "BadEventIdUnknown"
    assert codes["its condition still holds"] == "BadInvalidState"
    assert "it is not heard now" in codes
    said = {
        "it went off again: the last occurrence is x": "BadEventIdUnknown",
        "'vic' may not do that: no shelve for role viewer": "BadUserAccessDenied",
        "nobody says who wants it": "BadUserAccessDenied",
        "its signature is wrong": "BadUserAccessDenied",
        "the site allows 8 h at most": "BadShelvingTimeOutOfRange",
        "it is not shelved": "BadConditionNotShelved",
    }
    assert {reason: ua.StatusCode(code_of(reason)).name for reason in said} == said


def test_methods_are_those_of_the_standard() -> None:
    assert len(METHODS) == 23
    assert {method.kind for method in METHODS.values()} == {
        "acknowledge", "confirm", "comment", "reset", "shelve", "unshelve", "remove-from-service", "return-to-service",
    }  # fmt: skip
