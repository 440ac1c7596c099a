"""`headrace up` as a user starts it: a pump trips, the worker is killed, the run is recorded and replayed.

One run serves all tests of this file; it takes its time because the plant does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system


def headrace(*arguments: str, run_dir: Path, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateways.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, "HEADRACE_RUN_DIR": str(run_dir)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass(frozen=True)
class Run:
    folder: Path
    recording: Path
    summary: dict[str, Any]
    words: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("up")
    recording = folder / "run.mcap"
    # a slow machine has half of it for its starts
    done = headrace(
        "up", "--for", "60s", "--fault", "pump_trip@10s", "--kill", "worker@17s", "--record", str(recording),
        "--seed", "5", "--free-ports", "--json", run_dir=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return Run(folder, recording, json.loads(done.stdout), done.stderr)


def test_nothing_is_lost_or_doubled(run: Run) -> None:
    assert run.summary["lost"] == 0
    assert run.summary["duplicates"] == 0
    assert run.summary["broken_ids"] == 0
    assert run.summary["dead_letters"] == 0
    assert run.summary["restarts"] == 1  # the worker that was killed


def test_the_pump_raises_its_alarm_and_the_gpus_behind_it_are_limited(run: Run) -> None:
    flow = [alarm for alarm in run.summary["alarms"] if alarm["rule"] == "rack-flow-low"]
    assert {alarm["asset"] for alarm in flow} == {"R01", "R02", "R03", "R04"}
    limited = [command for command in run.summary["commands"] if command["rule"] == "rack-flow-low"]
    assert len(limited) == 288
    assert {command["status"] for command in limited} == {"done"}
    assert {command["value"] for command in limited} == {500.0}
    assert not [command for command in limited if command["actuator"].startswith("R05")]


def test_operators_hear_of_the_cause_and_not_of_all_that_follows(run: Run) -> None:
    alarms = run.summary["alarms"]
    heard = [f"{one['rule']} {one['asset']} {one['state']}" for one in alarms if one["annunciated"]]
    assert len(heard) == run.summary["annunciated"]
    assert len(heard) * 10 < len(alarms), heard


def test_a_command_is_effective_within_the_promised_time(run: Run) -> None:
    # generous: the promise is measured by `headrace bench latency`; this finds a path that has lost its way
    for command in run.summary["commands"]:
        at, receipt_at = (datetime.fromisoformat(command[name]) for name in ("at", "receipt_at"))
        assert (receipt_at - at).total_seconds() < 10


def stripped(run: Run) -> Path:
    copy = run.folder / "stripped.mcap"
    if not copy.exists():
        done = headrace(
            "recording", "strip", str(run.recording), "-o", str(copy), "--topics", "alarms,commands,journal",
            run_dir=run.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return copy


def test_the_replay_of_a_stripped_copy_equals_the_live_run(run: Run) -> None:
    done = headrace("replay", str(stripped(run)), "--json", run_dir=run.folder)
    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout)
    live_alarms = {(alarm["id"], alarm["rule"], alarm["asset"]) for alarm in run.summary["alarms"]}
    assert {(alarm["id"], alarm["rule"], alarm["asset"]) for alarm in replayed["alarms"]} == live_alarms
    assert {command["id"] for command in replayed["commands"]} == {c["id"] for c in run.summary["commands"]}


def test_the_replay_of_the_recording_equals_what_it_holds_byte_for_byte(run: Run) -> None:
    done = headrace("replay", str(run.recording), "--json", run_dir=run.folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    verification = json.loads(done.stdout)["verification"]
    assert verification["compared"] > 0
    # an output that only the replay makes, after the last recorded one, is one that the live run never said
    assert (verification["differences"], verification["after_end"], verification["beyond_the_end"]) == (
        0,
        0,
        0,
    )


def test_a_script_without_headrace_finds_nothing_lost(run: Run) -> None:
    script = ROOT / "tests" / "support" / "check_recording.py"
    done = subprocess.run(
        [sys.executable, str(script), str(run.recording)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_its_broker_it_ends_at_once_and_says_so(tmp_path: Path) -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli.main", "up", "--for", "90s", "--free-ports", "--json"],
        cwd=ROOT,
        env={**os.environ, "HEADRACE_RUN_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert up.stderr is not None
        for line in up.stderr:
            if "readings/s" in line:
                break
        brokers = [
            child
            for child in psutil.Process(up.pid).children()
            if "--cluster-id" in " ".join(child.cmdline())
        ]
        assert len(brokers) == 1
        brokers[0].kill()
        out, words = up.communicate(timeout=180)
    finally:
        up.kill()
    assert up.returncode == 3, words[-2000:]
    assert json.loads(out)["exit_code"] == 3
    assert "the embedded broker ended with -9, and its log, which was in its memory, is gone" in words
    assert "Traceback" not in words


def test_told_to_stop_before_the_plant_is_ready_it_ends_soon_and_leaves_nobody(tmp_path: Path) -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli.main", "up", "--free-ports", "--json"],
        cwd=ROOT,
        env={**os.environ, "HEADRACE_RUN_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not list(tmp_path.glob("up-*/plant.log")):
            assert up.poll() is None, "it ended by itself"
            time.sleep(0.01)
        roles = psutil.Process(up.pid).children()
        up.terminate()
        out, words = up.communicate(timeout=180)
    finally:
        up.kill()
    assert up.returncode == 0, words[-2000:]
    assert "have not read everything" not in words
    assert json.loads(out)["readings"] == 0  # no gateway was started behind the end of the sources
    assert not list(tmp_path.glob("up-*/opcua.log"))
    assert not [role for role in roles if role.is_running()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--for", "0s"], "--for: error: '0s' leaves no time"),
        (
            ["--fault", "pump_trip:CDU-Z@10s"],
            "--fault: error: pump_trip can't act on 'CDU-Z'",
        ),
        (["--fault", "~pump_trip@5s"], "removes a fault that was not set before"),
        (["--record", "nowhere/run.mcap"], "run.mcap: error: the folder nowhere does not exist"),
        (["--record", "nowhere/kept"], "kept: error: the folder nowhere does not exist"),
        (["--record", "README.md"], "README.md: error: is no folder"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_starts(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    done = headrace("up", *arguments, run_dir=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert not list(tmp_path.iterdir())
