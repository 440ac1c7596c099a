"""The recordings of real plants, where they are at hand: import, replay twice, and account for every cell."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateways.cli.main import run_app

ROOT = Path(__file__).parents[3]
RECORDINGS = ROOT.parent / "shared" / "recordings"
MAPS = ROOT / "examples" / "maps"
SCORE = ROOT / "tools" / "score_incidents.py"
pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(
        not RECORDINGS.is_dir(), reason="the recordings of real plants are not beside the checkout"
    ),
]


class Tools:
    def __init__(self, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self.folder, self._capture = folder, capfdbinary

    def run(self, *arguments: object, code: int = 0) -> bytes:
        assert run_app([str(argument) for argument in arguments]) == code
        return self._capture.readouterr().out

    def import_(self, map_name: str, *files: Path, code: int = 0) -> dict[str, Any]:
        call = ("import", *files, "--map", MAPS / map_name, "-o", self.folder / "rec.mcap", "--json")
        said: dict[str, Any] = json.loads(self.run(*call, code=code))
        return said

    def replay(self, *options: object, twice: bool = True) -> dict[str, Any]:
        first = self.run("replay", self.folder / "rec.mcap", "--json", *options)
        if twice:
            assert first == self.run("replay", self.folder / "rec.mcap", "--json", *options)
        (self.folder / "replay.json").write_bytes(first)
        said: dict[str, Any] = json.loads(first)
        return said

    def score(self, *incidents: object) -> dict[str, Any]:
        call = [sys.executable, SCORE, self.folder / "replay.json", *incidents]
        done = subprocess.run([str(word) for word in call], capture_output=True, check=True)
        said: dict[str, Any] = json.loads(done.stdout)
        return said


@pytest.fixture
def tools(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Tools:
    return Tools(tmp_path, capfdbinary)


def table(path: Path, delimiter: str) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter))
    return [row for row in rows if len(row) == len(rows[0])]


def long_steps(times: list[str], minutes: float) -> int:
    from datetime import datetime

    moments = sorted(datetime.fromisoformat(time) for time in times)
    return sum((b - a).total_seconds() > minutes * 60 for a, b in pairwise(moments))


def test_hydro_plant(tools: Tools) -> None:
    file = RECORDINGS / "hydro_plant" / "signals.csv"
    rows = table(file, ",")[1:]
    report = tools.import_("hydro_plant.yaml", file)
    said = tools.replay()
    assert report["readings"] == said["readings"] == sum(cell != "" for row in rows for cell in row[1:])
    assert len(report["gaps"]) == len(said["gaps"]) == long_steps([row[0] for row in rows], 10)
    assert (
        report["rejected"]
        == report["out_of_order"]
        == said["lost"]
        == said["late"]
        == said["out_of_order"]
        == 0
    )
    assert said["counters"]["plant"]["clock_corrected"] == 0
    faults = RECORDINGS / "hydro_plant" / "faults.csv"
    ours = tools.score(faults)
    tools.replay("--rules", ROOT / "examples" / "hydro" / "always.yaml", twice=False)
    always = tools.score(faults)
    assert (ours["faults"], ours["with_samples"]) == (59, 55)
    assert always["in_alarm_before"] == 55
    assert always["share_mean"] == 1.0
    # Ahead of most faults, in a third of the time: more than nothing, and far from a prediction (docs/import.md).
    assert ours["raised_before"] >= 30
    assert ours["share_mean"] < 0.4


@pytest.mark.parametrize(
    ("map_name", "name", "doubles"),
    [
        ("machine_temperature.yaml", "machine_temperature_system_failure.csv", 12),
        ("room_temperature.yaml", "ambient_temperature_system_failure.csv", 0),
    ],
)
def test_machine_temperature(tools: Tools, map_name: str, name: str, doubles: int) -> None:
    folder = RECORDINGS / "machine_temperature"
    rows = table(folder / name, ",")[1:]
    report = tools.import_(map_name, folder / name)
    said = tools.replay()
    assert report["readings"] == said["readings"] == len(rows)
    assert report["duplicates"] + report["out_of_order"] == said["out_of_order"] == doubles
    assert len(report["gaps"]) == len(said["gaps"])
    score = tools.score(folder / "windows.json", name)
    assert score["false_alarms"] <= 5
    assert score["share_outside_in_alarm"] < 0.05


def test_gpu_hosts(tools: Tools) -> None:
    files = sorted((RECORDINGS / "gpu_hosts").glob("*.txt"))
    rows = [row for file in files for row in table(file, "\t")[1:]]
    report = tools.import_("gpu_hosts.yaml", *files, code=1)
    said = tools.replay(twice=False)  # 64,000 inputs
    assert report["readings"] == said["readings"] == sum(cell != "" for row in rows for cell in row[2:])
    assert report["rows"] == len(rows)
    assert len(report["gaps"]) == len(said["gaps"]) > 0
    assert [one["reason"] for one in report["rejections"]] == ["1 cells, the head has 14"] * 4
    assert said["late"] == said["out_of_order"] == 0
    assert any(alarm["rule"] == "gpu-hot" for alarm in said["alarms"])


def test_gpu_exporter(tools: Tools) -> None:
    files = sorted((RECORDINGS / "gpu_exporter").glob("*.metrics"))
    samples = sum(
        line.strip() != "" and not line.startswith("#")
        for file in files
        for line in file.read_text().splitlines()
    )
    report = tools.import_("gpu_exporter.yaml", *files)
    said = tools.replay()
    assert report["readings"] == said["readings"]
    assert report["readings"] + report["not_available"] == 4 * 16
    assert samples == report["readings"] + sum(report["left_out"].values()) + report["rejected"]
    assert len(said["alarms"]) == 2
