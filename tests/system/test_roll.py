"""The embedded log is rolled to a fresh one under a running plant: nothing is lost, and the replay goes across it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system


def headrace(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateways.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def commanded_after_a_roll(up: subprocess.Popen[str]) -> list[str]:
    """What `up` says, until its log was rolled and the rules have given commands."""
    assert up.stderr is not None
    said: list[str] = []
    for line in up.stderr:
        said.append(line)
        if any("rolled in" in one for one in said) and re.search(r" [1-9]\d* commands", line):
            return said
    raise AssertionError("".join(said)[-4000:])


def test_a_roll_loses_nothing_and_changes_no_answer(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    recording = tmp_path / "run.mcap"
    up = headrace(
        "up", "examples/narvik-small", "--for", "15min", "--fault", "pump_trip@15s", "--record", str(recording),
        "--free-ports", "--json",
        HEADRACE_RUN_DIR=str(tmp_path), HEADRACE_BROKER__EMBEDDED_LIMIT_RECORDS="100",
    )  # fmt: skip
    request.addfinalizer(up.kill)  # where this test has failed, it still runs
    said = commanded_after_a_roll(up)
    up.send_signal(signal.SIGINT)
    stdout, stderr = up.communicate(timeout=300)
    assert up.returncode == 0, ("".join(said) + stderr)[-4000:]
    summary = json.loads(stdout)
    assert (summary["lost"], summary["restarts"], summary["broken_ids"]) == (0, 0, 0)
    assert {command["status"] for command in summary["commands"]} == {"done"}
    segments = [recording, *(recording.with_stem(f"run-{number + 1}") for number in range(summary["rolls"]))]
    replay = headrace("replay", *(str(segment) for segment in segments), "--json")
    stdout, stderr = replay.communicate(timeout=300)
    assert replay.returncode == 0, stdout[-2000:] + stderr[-2000:]
    answer = json.loads(stdout)
    assert answer["verification"]["differences"] == answer["verification"]["after_end"] == 0
    assert {one["id"] for one in answer["alarms"]} == {one["id"] for one in summary["alarms"]}
    assert {one["id"] for one in answer["commands"]} == {one["id"] for one in summary["commands"]}
