from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("choose_rules")


def replay_with(alarms: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    """Eight days of January without a gap; alarms by rule, as times of the first half."""
    return {
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-09T00:00:00Z",
        "gaps": [],
        "alarms": [
            {"rule": rule, "raised_at": f"2026-01-{raised}:00:00Z", "cleared_at": f"2026-01-{cleared}:00:00Z"}
            for rule, spans in alarms.items()
            for raised, cleared in spans
        ],
    }


def test_a_grid_is_every_combination_with_the_limit_fastest(tool: ModuleType) -> None:
    grid = {"limit": [1, 2], "window": ["1 h", "2 h"]}
    rules = tool.expanded({"a": {"for": "Pump", "when": "avg(x, {window}) > {limit}", "grid": grid}})["a"]
    assert [rule["when"] for rule in rules.values()] == [
        "avg(x, 1 h) > 1", "avg(x, 1 h) > 2", "avg(x, 2 h) > 1", "avg(x, 2 h) > 2",
    ]  # fmt: skip
    assert list(rules) == ["a-0", "a-1", "a-2", "a-3"]


def test_what_rings_at_any_time_gains_nothing(tool: ModuleType) -> None:
    import score_incidents

    faults = [score_incidents.seconds(f"2026-01-0{day} 12:00:00") for day in (1, 2, 3, 4)]
    late = [(f"0{day}T10", f"0{day}T12") for day in (1, 2, 3, 4)]
    replay = replay_with({"always": [("01T00", "04T23")], "late": late, "twice": late[:2]})
    assert tool.by_gain(replay, faults, ["always", "twice", "late"]) == ["late"]


def test_the_middle_of_the_longest_run_of_limits_that_do_as_well(tool: ModuleType) -> None:
    windows = [(1_767_225_600.0, 1_767_225_600.0 + 86400)]  # 1 January
    found, false = [("01T05", "01T06")], [("03T05", "03T06")]
    rows = [["a-0", "a-1", "a-2"], ["b-0", "b-1", "b-2", "b-3"]]
    alarms = dict.fromkeys(("a-0", "b-0", "b-1", "b-2", "b-3"), found) | {
        "a-1": false,
        "b-0": [*found, *false],
    }
    assert tool.by_windows(replay_with(alarms), windows, rows) == ["b-2"]


def test_without_incidents_the_first_quiet_limit_and_a_step(tool: ModuleType) -> None:
    alarms = {"a-0": [("01T05", "01T06")], "a-1": [("03T05", "03T06")]}
    rows = [["a-0", "a-1", "a-2", "a-3", "a-4"]]
    assert tool.without_alarm(replay_with(alarms), [], rows) == ["a-3"]
