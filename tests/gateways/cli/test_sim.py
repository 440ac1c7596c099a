"""`headrace sim`: its answer, its exit codes, and the command that repeats a failure."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from gateways.actuators.ledger import CommandLedger
from gateways.cli.main import run_app

ROOT = Path(__file__).parents[3]
SITE = str(ROOT / "examples" / "narvik-small")
TROUBLES = "plant:pump_trip:CDU-A@14s+10s kill:actuators@22s+2s"


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    yield
    logging.disable(logging.NOTSET)


def test_a_good_seed_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["sim", SITE, "--hours", "0.017", "--troubles", "", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["broken"], said["troubles"], said["seed"]) == (True, [], [], 1)
    assert said["counts"]["accepted"] > 100
    assert said["simulated_s"] == pytest.approx(61.2)


def test_a_broken_one_prints_what_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CommandLedger, "mark", lambda self, *taken: None)
    assert run_app(["sim", SITE, "--hours", "0.017", "--troubles", TROUBLES]) == 1
    said = capsys.readouterr().out
    assert "seed 1: BROKEN, 2 troubles, 1 kills" in said
    assert "written again" in said
    assert f"headrace sim {SITE} --seed 1 --hours 0.017 --troubles '{TROUBLES}'" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--hours", "0"], "too short"),
        (["--hours", "nan"], "nan is no time"),
        (["--hours", "inf"], "inf is no time"),
        (["--seed", "-5"], "greater than or equal to 0"),
        (["--seeds", "0"], "0 are none"),
        (["--jobs", "-1"], "--jobs"),
        (["--troubles", "kill:wroker@2s+1s"], "wroker"),
    ],
)
def test_a_wrong_call_says_what_to_do(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["sim", SITE, *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("error", [BrokenProcessPool("terminated abruptly"), OSError("handle is closed")])
def test_a_process_that_dies_is_no_broken_promise(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool says so in two ways, while seeds are handed out."""

    def broken(_self: object, _work: object, _number: int) -> object:
        raise error

    monkeypatch.setattr(ProcessPoolExecutor, "submit", broken)
    assert run_app(["sim", SITE, "--hours", "0.017", "--seeds", "2", "--jobs", "2"]) == 3
    assert "a process that ran seeds has died" in capsys.readouterr().err


def test_ctrl_c_ends_all_processes_at_once_and_without_a_traceback() -> None:
    """Seeds of a week, so that one that is waited for would be seen."""
    words = ["sim", SITE, "--hours", "168", "--seeds", "8", "--jobs", "2"]
    command = subprocess.Popen(
        [sys.executable, "-m", "gateways.cli.main", *words],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        process = psutil.Process(command.pid)
        while len(workers := _workers(process)) < 2:
            assert command.poll() is None
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=180)
    finally:
        for one in [command, *(_workers(process) if command.poll() is None else ())]:
            one.kill()
    assert command.returncode == 130
    assert said == ""
    assert not any(worker.is_running() for worker in workers)


def _workers(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in process.children():
        with contextlib.suppress(psutil.Error):  # of one that is just ending
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found
