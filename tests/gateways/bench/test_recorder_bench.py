"""`headrace bench recorder`, small: its keys are there, and what it says of bytes is what lies on disk."""

import json
from pathlib import Path

import pytest

from gateways.cli.main import run_app

FOLDER = Path(__file__).parents[3] / "examples" / "narvik"


def test_the_bench_says_what_it_measured(capfd: pytest.CaptureFixture[str]) -> None:
    code = run_app(["bench", "recorder", str(FOLDER), "--gpus", "100", "--seconds", "4", "--json"])
    said = json.loads(capfd.readouterr().out)
    assert code == (0 if said["keeps_up"] else 1)
    assert (said["gpus"], said["seconds"]) == (576, 4)
    assert said["readings"] == pytest.approx(4 * 576 * 24 * 10, rel=0.02)
    assert said["keeps_up"] == (said["readings_per_s"] >= said["site_readings_per_s"])
    none, lz4, zstd = (said["by_compression"][name]["bytes_per_reading"] for name in ("none", "lz4", "zstd"))
    assert zstd < lz4 < none
    assert none > 4, "a reading of a GPU is a float32"
    assert said["bytes_per_reading"] == pytest.approx(lz4, rel=0.15)
