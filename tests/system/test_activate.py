"""Rules are changed under a running plant, and the replay of its recording changes them at the same place."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system

WARM = """
rules:
  gpu-lukewarm:
    for: GPU
    when: temperature > 30 degC
    severity: low
    message: "{asset}: {value:.0f} °C"
"""


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateways.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def activate(rules: Path, broker: str) -> tuple[int, dict[str, dict[str, object]]]:
    child = start("activate", "examples/narvik", "--rules", str(rules), "--bootstrap", broker, "--json")
    said, words = child.communicate(timeout=300)
    assert said, words
    answer: dict[str, dict[str, object]] = json.loads(said)
    return child.returncode, answer


def wait_for_alarms(rule: str, count: int, broker: str) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        said = start("alarms", "examples/narvik", "--bootstrap", broker, "--json").communicate(timeout=180)[0]
        if sum(json.loads(line)["rule"] == rule for line in said.splitlines()) == count:
            return
    raise AssertionError(f"{rule} was not raised on all")


def broker_of(run_dir: Path) -> str:
    """Where the run's broker is, once its worker reads."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        for log in run_dir.glob("**/worker.log"):
            words = log.read_text()
            found = re.search(r"127\.0\.0\.1:\d+", words)
            if found and "reads partition" in words:
                return found.group()
        time.sleep(0.1)
    raise AssertionError("no worker came up")


def test_rules_change_under_a_running_plant(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    recording, rules = tmp_path / "run.mcap", tmp_path / "rules"
    shutil.copytree(ROOT / "examples" / "narvik" / "rules", rules)
    up = start(
        "up", "--free-ports", "--for", "30min", "--record", str(recording), "--json",
        HEADRACE_RUN_DIR=str(tmp_path / "run"),
    )  # fmt: skip
    request.addfinalizer(up.kill)  # where this test has failed, it still runs
    broker = broker_of(tmp_path / "run")
    (rules / "warm.yaml").write_text(WARM)
    code, more = activate(rules, broker)
    assert code == 0, more
    assert {unit: (said["rules_new"], said["rules_gone"]) for unit, said in more["units"].items()} == {
        "site": (0, 0), "row-a": (1, 0), "row-b": (1, 0),
    }  # type: ignore[index]  # fmt: skip
    wait_for_alarms("gpu-lukewarm", 576, broker)  # which the next set closes
    (rules / "warm.yaml").unlink()
    code, fewer = activate(rules, broker)
    assert code == 0, fewer
    up.send_signal(signal.SIGINT)
    said, words = up.communicate(timeout=300)
    assert up.returncode == 0, words[-4000:]
    summary = json.loads(said)
    assert (summary["lost"], summary["restarts"], summary["broken_ids"]) == (0, 0, 0)

    replayed = start("replay", str(recording), "--json")
    answer = json.loads(replayed.communicate(timeout=300)[0])
    assert replayed.returncode == 0, answer["verification"]
    assert answer["verification"]["differences"] == 0
    warm = [alarm for alarm in answer["alarms"] if alarm["rule"] == "gpu-lukewarm"]
    assert len(warm) == 576
    assert all(alarm["cleared_at"] for alarm in warm)
