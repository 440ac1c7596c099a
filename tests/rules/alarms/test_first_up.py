"""The first of a group that goes off is marked; what may have come before it says so."""

from __future__ import annotations

from rules.alarms.first_up import Groups
from rules.engine.outputs import Alarm, Entry
from tests.rules.engine.plant import MS, START
from tests.rules.engine.test_engine_causes import CHAIN, Row

GROUPED = CHAIN.replace("    suppresses: cdu-low\n", "    group: cooling\n").replace(
    "    suppresses: [rack-low, rack-*]\n", "    group: cooling\n"
)


def test_the_first_what_may_have_been_it_and_what_was_not() -> None:
    groups = Groups({"a": "g", "b": "g", "c": ""}, {"a": 100, "b": 100, "c": 0})
    assert groups.raised("a", 1000) == "first"
    groups.count("a", 1)
    assert [groups.raised("b", at) for at in (1000, 1099, 1100, 1101)] == ["possibly", "possibly", "", ""]
    assert groups.raised("c", 1000) == ""


def test_once_none_stands_the_next_is_first() -> None:
    groups = Groups({"a": "g", "b": "g"}, {"a": 100, "b": 100})
    groups.raised("a", 1000)
    groups.count("a", 1)
    groups.count("b", 1)
    groups.count("a", -1)
    assert groups.raised("a", 9000) == ""
    groups.count("b", -1)
    assert groups.raised("a", 9001) == "first"


def test_by_event_time_and_not_by_arrival() -> None:
    row = Row(GROUPED)
    row.to(1)
    row.reads("CDU", True, START + 1050 * MS)
    row.reads("P1", True, START + 1010 * MS)
    row.to(1.1)
    assert row.last["pump-slow:CDU-P1"].first_up == "first"
    assert row.last["cdu-low:CDU"].first_up == "possibly"
    [entry] = [one for one in row.said if isinstance(one, Entry) and one.detail.get("first_up") == "first"]
    assert entry.detail["rule"] == "pump-slow"


def test_the_mark_stays_with_the_occurrence() -> None:
    row = Row(GROUPED)
    row.reads("P1", True)
    row.to(1)
    row.acts("acknowledge", "pump-slow:CDU-P1", occurrence=row.last["pump-slow:CDU-P1"].raised_id)
    row.to(2)
    row.reads("P1", False)
    row.to(3)
    words = [one.first_up for one in row.said if isinstance(one, Alarm) and one.rule == "pump-slow"]
    assert words == ["first"] * 3
