"""`headrace sim`: its answer, its exit codes, and the command that repeats a failure."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from gateways.actuators.ledger import CommandLedger
from gateways.cli.main import run_app

SITE = str(Path(__file__).parents[3] / "examples" / "narvik-small")
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
    monkeypatch.setattr(CommandLedger, "mark", lambda self, commands: None)
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


def test_a_process_that_dies_is_no_broken_promise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_self: object, _work: object, _numbers: object) -> Iterator[object]:
        raise BrokenProcessPool("terminated abruptly")

    monkeypatch.setattr(ProcessPoolExecutor, "map", killed)
    assert run_app(["sim", SITE, "--hours", "0.017", "--seeds", "2", "--jobs", "2"]) == 3
    assert "a process that ran seeds has died" in capsys.readouterr().err
