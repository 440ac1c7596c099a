"""`headrace bench scada`, small: all that was said arrived, and its keys are there."""

import json
from pathlib import Path

import pytest

from gateways.cli.main import run_app

FOLDER = Path(__file__).parents[3] / "examples" / "narvik-small"


def test_the_bench_says_what_it_measured(capfd: pytest.CaptureFixture[str]) -> None:
    load = ["--alarms", "200", "--clients", "3", "--per-s", "100", "--seconds", "4"]
    code = run_app(["bench", "scada", str(FOLDER), *load, "--json"])
    said = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert code == 0
    assert (said["alarms"], said["refresh_missing"], said["lost"]) == (200, 0, 0)
    assert (said["transitions"], said["delivered"]) == (400, 1200)
    assert 0 < said["refresh_s"] < 5
    assert said["memory_mb"] > 50
