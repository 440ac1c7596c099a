"""The embedded log is rolled to a fresh one under a running plant: nothing is lost, and the replay goes across it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system


def headrace(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateways.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_a_roll_loses_nothing_and_changes_no_answer(tmp_path: Path) -> None:
    recording = tmp_path / "run.mcap"
    done = headrace(
        "up", "--for", "45s", "--fault", "pump_trip@15s", "--record", str(recording), "--free-ports", "--json",
        HEADRACE_RUN_DIR=str(tmp_path), HEADRACE_BROKER__EMBEDDED_LIMIT_RECORDS="1000",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    summary = json.loads(done.stdout)
    assert summary["rolls"] >= 1, done.stderr[-4000:]
    assert (summary["lost"], summary["late"], summary["restarts"], summary["broken_ids"]) == (0, 0, 0, 0)
    assert {command["status"] for command in summary["commands"]} == {"done"}
    segments = [recording, *(recording.with_stem(f"run-{number + 1}") for number in range(summary["rolls"]))]
    replayed = headrace("replay", *(str(segment) for segment in segments), "--json")
    assert replayed.returncode == 0, replayed.stdout[-2000:] + replayed.stderr[-2000:]
    answer = json.loads(replayed.stdout)
    assert answer["verification"]["differences"] == answer["verification"]["after_end"] == 0
    assert {one["id"] for one in answer["alarms"]} == {one["id"] for one in summary["alarms"]}
    assert {one["id"] for one in answer["commands"]} == {one["id"] for one in summary["commands"]}
