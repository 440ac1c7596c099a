"""Every role of a running site: its metrics and health, what the table of metrics does not know, which part is silent.

One run serves all tests of this file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateways.observability.table import TABLE, unknown_paths
from streams.recording.recording import Recording
from streams.topics import STATUS

ROOT = Path(__file__).parents[2]
SITE = "examples/narvik-small"
LOADED = {"sampling", "late", "backfill"}
"""Stages and reasons that a machine without a free core may count at: it says nothing about the code."""
pytestmark = pytest.mark.system
T = TypeVar("T")


def until(look: Callable[[], T | None], patience_s: float = 300.0) -> T:
    deadline = time.monotonic() + patience_s
    while (found := look()) is None:
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)
    return found


def get(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@dataclass
class Run:
    metrics: dict[str, str] = field(default_factory=dict)
    without_ticker: dict[str, Any] = field(default_factory=dict)
    doctor: dict[str, Any] = field(default_factory=dict)
    doctor_code: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    last_words: dict[str, dict[str, Any]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("observed")
    environment = {**os.environ, "HEADRACE_RUN_DIR": str(folder), "HEADRACE_HTTP__LISTEN": "127.0.0.1:0"}
    words, recording = folder / "up.log", folder / "run.mcap"
    command = [sys.executable, "-m", "gateways.cli.main"]
    up = [*command, "up", SITE, "--free-ports", "--record", str(recording), "--json"]
    with words.open("w") as log:
        process = subprocess.Popen(
            up, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        found = Run()
        addresses = {role: until(lambda role=role: _address(folder, role)) for role in TABLE}
        for role, address in addresses.items():
            until(lambda address=address: get(f"{address}/readyz")[0] == 200 or None)
            assert get(f"{address}/livez")[0] == 200
            found.metrics[role] = get(f"{address}/metrics")[1]
        bootstrap = re.findall(r"HEADRACE_BROKER__BOOTSTRAP=(\S+)", words.read_text())[0]
        ticker = _pid_of(process.pid, "ticker")
        os.kill(ticker, signal.SIGSTOP)
        try:
            worker = f"{addresses['worker']}/readyz"
            found.without_ticker = until(
                lambda: json.loads(said[1]) if (said := get(worker))[0] == 503 else None
            )
            time.sleep(11)  # as long as a role may say nothing
            done = subprocess.run(
                [*command, "doctor", SITE, "--json"], cwd=ROOT, capture_output=True, text=True, check=False,
                env=environment | {"HEADRACE_BROKER__BOOTSTRAP": bootstrap}, timeout=300,
            )  # fmt: skip
            found.doctor, found.doctor_code = json.loads(done.stdout), done.returncode
            process.terminate()
            until(lambda: _has_ended(process.pid, "opcua"))  # before it ends anyone, it looks who is silent
        finally:
            os.kill(ticker, signal.SIGCONT)
        out, _ = process.communicate(timeout=300)
        found.summary = json.loads(out)
        for record in Recording(recording).records(topics=[STATUS.name]):
            body = json.loads(record.value or b"{}")
            found.last_words[body["kind"]] = body
        yield found
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _address(folder: Path, role: str) -> str | None:
    for log in folder.glob(f"up-*/{role}.log"):
        if said := re.findall(r"metrics and health are at (\S+)", log.read_text()):
            return str(said[-1])
    return None


def _pid_of(parent: int, role: str) -> int:
    for child in psutil.Process(parent).children():
        if ["run", role] == child.cmdline()[3:5]:
            return child.pid
    raise AssertionError(role)


def _has_ended(parent: int, role: str) -> bool | None:
    try:
        _pid_of(parent, role)
    except (AssertionError, psutil.NoSuchProcess):
        return True
    return None


def test_every_role_runs_and_says_what_it_is(run: Run) -> None:
    assert run.last_words.keys() == TABLE.keys()


@pytest.mark.parametrize("role", sorted(TABLE))
def test_the_table_knows_all_that_a_role_says(run: Run, role: str) -> None:
    assert list(unknown_paths(role, run.last_words[role]["metrics"])) == []


@pytest.mark.parametrize("role", sorted(TABLE))
def test_promtool_takes_the_metrics(run: Run, role: str) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool (package prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=run.metrics[role].encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize("role", sorted(TABLE))
@pytest.mark.parametrize(("name", "word"), [("lost", "stage"), ("not_evaluated", "reason")])
def test_nothing_is_lost_and_all_is_evaluated(run: Run, role: str, name: str, word: str) -> None:
    counted = [
        sample
        for family in text_string_to_metric_families(run.metrics[role])
        for sample in family.samples
        if sample.name == f"headrace_{name}_total"
    ]
    assert {sample.labels[word] for sample in counted} == {getattr(one, word) for one in TABLE[role]} - {""}
    assert not [one for one in counted if one.value and one.labels[word] not in LOADED]


def test_without_ticks_the_worker_is_not_ready(run: Run) -> None:
    parts = {part["part"] for part in run.without_ticker["parts"] if not part["works"]}
    assert parts
    assert all(part.startswith("ticks of ") for part in parts)


def test_doctor_says_which_role_is_silent(run: Run) -> None:
    wrong = {check["name"]: check["found"] for check in run.doctor["checks"] if check["word"] == "wrong"}
    assert run.doctor_code == 1
    assert wrong["role ticker"].startswith("silent for ")
    assert wrong["role worker"].startswith("ticks of ")


def test_the_summary_says_what_was_silent_at_the_end(run: Run) -> None:
    assert {"ticker", "worker"} <= {one["role"] for one in run.summary["silent"]}
