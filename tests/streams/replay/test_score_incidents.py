from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCORE = Path(__file__).parents[3] / "tools" / "score_incidents.py"


def alarm(raised: str, cleared: str | None, rule: str = "hot") -> dict[str, Any]:
    return {"rule": rule, "raised_at": f"2026-01-{raised}:00.000000000Z",
            "cleared_at": cleared and f"2026-01-{cleared}:00.000000000Z"}  # fmt: skip


REPLAY = {
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-01-03T00:00:00Z",
    "gaps": [{"from": "2026-01-01T12:00:00Z", "to": "2026-01-02T12:00:00Z"}],
    "alarms": [
        alarm("01T06:00", "01T09:00"),
        alarm("01T08:00", "01T10:00"),
        alarm("02T11:00", "02T12:00", "source-gap"),
        alarm("02T23:00", None),
    ],
}


def score(tmp_path: Path, incidents: str, name: str, *key: str) -> dict[str, Any]:
    (tmp_path / "replay.json").write_text(json.dumps(REPLAY))
    (tmp_path / name).write_text(incidents)
    call = [sys.executable, str(SCORE), str(tmp_path / "replay.json"), str(tmp_path / name), *key]
    said: dict[str, Any] = json.loads(subprocess.run(call, capture_output=True, check=True).stdout)
    return said


def test_lead_times_and_shares_leave_the_gaps_out(tmp_path: Path) -> None:
    said = score(tmp_path, "t\n2026-01-01 12:00:00\n2026-01-02 06:00:00\n2026-01-02 22:00:00\n", "faults.csv")
    assert (said["faults"], said["with_samples"]) == (3, 2)  # the second lies in the gap
    assert said["run_ups"][0] == {
        "fault": "2026-01-01T12:00:00+00:00", "new": 2, "share": 0.333, "early_share": 0.5, "late_share": 0.333,
        "lead_min": 360.0, "new_lead_min": 360.0,
    }  # fmt: skip
    assert said["run_ups"][1]["lead_min"] is None
    assert said["alarms"] == 3
    assert said["share_of_recorded_time"] == 0.208  # 4 + 1 of 24 h


def test_what_is_raised_outside_of_the_windows_is_false(tmp_path: Path) -> None:
    windows = json.dumps({"a.csv": [["2026-01-01 05:00:00", "2026-01-01 07:00:00"]]})
    said = score(tmp_path, windows, "windows.json", "a.csv")
    assert (said["windows_with_alarm"], said["false_alarms"]) == (1, 2)
    assert said["share_outside_in_alarm"] == round(4 / 22, 4)


def test_halves_are_scored_apart(tmp_path: Path) -> None:
    faults = "t\n2026-01-01 12:00:00\n2026-01-02 22:00:00\n"
    first = score(tmp_path, faults, "faults.csv", "--half", "first")
    second = score(tmp_path, faults, "faults.csv", "--half", "second")
    assert [(one["faults"], one["with_samples"], one["alarms"]) for one in (first, second)] == [
        (1, 1, 2),
        (1, 1, 1),
    ]
    assert first["share_of_recorded_time"] == round(4 / 12, 3)
    windows = json.dumps({"a.csv": [["2026-01-01 05:00:00", "2026-01-01 07:00:00"]]})
    first = score(tmp_path, windows, "windows.json", "a.csv", "--half", "first")
    second = score(tmp_path, windows, "windows.json", "a.csv", "--half", "second")
    assert [(one["windows"], one["windows_with_alarm"], one["false_alarms"]) for one in (first, second)] == [
        (1, 1, 1),
        (0, 0, 1),
    ]
    assert second["days_outside"] == 0.5
    assert second["false_alarms_a_month"] == round(2 * 365.25 / 12, 2)


def test_a_fault_after_the_last_sample_belongs_to_the_second_half(tmp_path: Path) -> None:
    second = score(tmp_path, "t\n2026-01-03 00:01:00\n", "faults.csv", "--half", "second")
    assert (second["faults"], second["with_samples"]) == (1, 1)


def test_early_and_late_are_compared_on_the_same_run_ups(tmp_path: Path) -> None:
    said = score(
        tmp_path, "t\n2026-01-01 12:00:00\n2026-01-02 13:00:00\n", "faults.csv"
    )  # the second has no early
    assert (said["with_samples"], said["with_early_and_late"]) == (2, 1)
    assert (said["early_share_mean"], said["late_share_mean"]) == (0.5, 0.333)


def test_a_window_on_the_middle_belongs_to_the_half_of_its_own_middle(tmp_path: Path) -> None:
    windows = json.dumps({"a.csv": [["2026-01-01 23:00:00", "2026-01-03 00:00:00"]]})
    first = score(tmp_path, windows, "windows.json", "a.csv", "--half", "first")
    second = score(tmp_path, windows, "windows.json", "a.csv", "--half", "second")
    assert (first["windows"], second["windows"], second["windows_with_alarm"]) == (0, 1, 1)
    assert (first["false_alarms"], second["false_alarms"]) == (2, 0)
