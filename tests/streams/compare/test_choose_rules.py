from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streams.compare.episodes import Episode
from streams.compare.incidents import KnownIncident
from streams.times import time_ns_of

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("choose_rules")


FAULTS = [
    KnownIncident(time_ns_of(f"2026-01-0{day}T00:00:00Z"), time_ns_of(f"2026-01-0{day}T12:00:00Z"), True)
    for day in (1, 2, 3, 4)
]
WINDOW = KnownIncident(time_ns_of("2026-01-01T00:00:00Z"), time_ns_of("2026-01-02T00:00:00Z"), False)


def heard(tool: ModuleType, alarms: dict[str, list[tuple[str, str]]], incidents: list[KnownIncident]) -> Any:
    """Eight days of January without a gap; alarms by rule, as times of the first half."""
    episodes = [
        Episode(f"{rule}:{raised}", "row-a", rule, "P-1", "low", "", at(raised), at(cleared))
        for rule, spans in alarms.items()
        for raised, cleared in spans
    ]
    return tool.Heard(episodes, [(at("01T00"), at("09T00"))], incidents)


def at(text: str) -> int:
    return time_ns_of(f"2026-01-{text}:00:00Z")


def test_a_grid_is_every_combination_with_the_limit_fastest(tool: ModuleType) -> None:
    grid = {"limit": [1, 2], "window": ["1 h", "2 h"]}
    rules = tool.expanded({"a": {"for": "Pump", "when": "avg(x, {window}) > {limit}", "grid": grid}})["a"]
    assert [rule["when"] for rule in rules.values()] == [
        "avg(x, 1 h) > 1", "avg(x, 1 h) > 2", "avg(x, 2 h) > 1", "avg(x, 2 h) > 2",
    ]  # fmt: skip
    assert list(rules) == ["a-0", "a-1", "a-2", "a-3"]


def test_what_rings_at_any_time_gains_nothing(tool: ModuleType) -> None:
    late = [(f"0{day}T10", f"0{day}T12") for day in (1, 2, 3, 4)]
    said = heard(tool, {"always": [("01T00", "04T23")], "late": late, "twice": late[:2]}, FAULTS)
    assert tool.by_gain(said, ["always", "twice", "late"]) == ["late"]


def test_the_middle_of_the_longest_run_of_limits_that_do_as_well(tool: ModuleType) -> None:
    found, false = [("01T05", "01T06")], [("03T05", "03T06")]
    rows = [["a-0", "a-1", "a-2"], ["b-0", "b-1", "b-2", "b-3"]]
    alarms = dict.fromkeys(("a-0", "b-0", "b-1", "b-2", "b-3"), found) | {
        "a-1": false,
        "b-0": [*found, *false],
    }
    assert tool.by_windows(heard(tool, alarms, [WINDOW]), rows) == ["b-2"]


def test_without_incidents_the_first_quiet_limit_and_a_step(tool: ModuleType) -> None:
    alarms = {"a-0": [("01T05", "01T06")], "a-1": [("03T05", "03T06")]}
    rows = [["a-0", "a-1", "a-2", "a-3", "a-4"]]
    assert tool.without_alarm(heard(tool, alarms, [WINDOW]), rows) == ["a-3"]
