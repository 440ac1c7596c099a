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
import yaml

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
        said: dict[str, Any] = json.loads(first)
        return said

    def score(self, incidents: str, rules: Path, half: str) -> dict[str, Any]:
        call = [SCORE, self.folder / "rec.mcap", incidents, "--rules", rules, "--half", half]
        done = subprocess.run([sys.executable, *map(str, call)], capture_output=True, check=True)
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


HYDRO_KEYS = (
    "with_samples",
    "raised",
    "new_lead_min_median",
    "share_mean",
    "early_share_mean",
    "late_share_mean",
)


@pytest.mark.night
def test_hydro_plant_by_halves(tools: Tools) -> None:
    """The figures of docs/recordings.md: chosen on the first half, and no better than chance on the second."""
    tools.import_("hydro_plant.yaml", RECORDINGS / "hydro_plant" / "signals.csv")
    faults = RECORDINGS / "hydro_plant" / "faults.csv"
    said = {}
    for rules in ("rules", "percentiles.yaml", "always.yaml"):
        for half in ("first", "second"):
            score = tools.score(str(faults), ROOT / "examples" / "hydro" / rules, half)
            said[rules, half] = tuple(score[key] for key in HYDRO_KEYS)
    assert said == {
        ("rules", "first"): (36, 35, 641.0, 0.296, 0.252, 0.418),
        ("rules", "second"): (19, 13, 559.6, 0.388, 0.303, 0.315),
        ("percentiles.yaml", "first"): (36, 26, 385.1, 0.315, 0.283, 0.339),
        ("percentiles.yaml", "second"): (19, 8, 149.4, 0.393, 0.119, 0.277),
        ("always.yaml", "first"): (36, 1, 718.2, 1.0, 1.0, 1.0),
        ("always.yaml", "second"): (19, 0, None, 1.0, 1.0, 1.0),
    }


def test_hydro_plant_compared(tools: Tools) -> None:
    """An always-true rule finds every incident that has samples, and nobody can know how often it is wrong."""
    tools.import_("hydro_plant.yaml", RECORDINGS / "hydro_plant" / "signals.csv")
    rules = ROOT / "examples" / "hydro"
    sides = ("--rules", rules / "always.yaml", "--diff", rules / "percentiles.yaml")
    known = ("--incidents", RECORDINGS / "hydro_plant" / "faults.csv", "-o", tools.folder / "diff.html")
    said = json.loads(tools.run("replay", tools.folder / "rec.mcap", *sides, *known, "--json", code=1))
    scores = said["incidents"]
    assert (scores["before"]["detected"], scores["after"]["detected"]) == (46, 55)
    assert scores["after"]["always_true_detects"] == 55
    assert scores["after"]["false_alarms_per_day"] is None
    assert said["cannot_know"][1].startswith("How many alarms a day are false")
    assert (tools.folder / "diff.html").stat().st_size < 200_000


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


WINDOW_KEYS = (
    "incidents",
    "in_alarm",
    "false_alarms",
    "false_alarms_a_month",
    "share_outside_in_alarm",
)
MACHINE, ROOM = "machine_temperature_system_failure.csv", "ambient_temperature_system_failure.csv"


@pytest.mark.parametrize(
    ("map_name", "name", "rules", "first", "second"),
    [
        ("machine_temperature.yaml", MACHINE, "rules", (2, 2, 0, 0.0, 0.0024), (2, 1, 2, 1.72, 0.0579)),
        ("machine_temperature.yaml", MACHINE, "guesses.yaml", (2, 2, 0, 0.0, 0.0), (2, 1, 2, 1.72, 0.0053)),
        ("machine_temperature.yaml", MACHINE, "always.yaml", (2, 2, 1, 0.86, 1.0), (2, 2, 0, 0.0, 1.0)),
        ("room_temperature.yaml", ROOM, "rules", (0, 0, 0, 0.0, 0.0), (2, 2, 5, 1.22, 0.0267)),
        ("room_temperature.yaml", ROOM, "guesses.yaml", (0, 0, 1, 0.21, 0.0011), (2, 2, 2, 0.49, 0.0073)),
        ("room_temperature.yaml", ROOM, "always.yaml", (0, 0, 1, 0.21, 1.0), (2, 2, 0, 0.0, 1.0)),
    ],
)
def test_temperatures_by_halves(
    tools: Tools, map_name: str, name: str, rules: str, first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    """The figures of docs/recordings.md."""
    folder = RECORDINGS / "machine_temperature"
    tools.import_(map_name, folder / name)
    for half, figures in (("first", first), ("second", second)):
        of = ROOT / "examples" / "machine_temperature" / rules
        score = tools.score(f"{folder / 'windows.json'}#{name}", of, half)
        assert tuple(score[key] for key in WINDOW_KEYS) == figures


@pytest.mark.night
@pytest.mark.parametrize(
    ("map_name", "files", "candidates"),
    [
        ("hydro_plant.yaml", ["hydro_plant/signals.csv", "hydro_plant/faults.csv"], "hydro/candidates.yaml"),
        (
            "machine_temperature.yaml",
            [f"machine_temperature/{MACHINE}", f"machine_temperature/windows.json#{MACHINE}"],
            "machine_temperature/candidates-machine.yaml",
        ),
        (
            "room_temperature.yaml",
            [f"machine_temperature/{ROOM}", f"machine_temperature/windows.json#{ROOM}"],
            "machine_temperature/candidates-room.yaml",
        ),
    ],
)
def test_the_rules_are_those_that_the_first_half_chooses(
    tools: Tools, map_name: str, files: list[str], candidates: str
) -> None:
    signals, incidents = files
    tools.import_(map_name, RECORDINGS / signals)
    call = [sys.executable, ROOT / "tools" / "choose_rules.py", ROOT / "examples" / candidates,
            tools.folder / "rec.mcap", RECORDINGS / incidents]  # fmt: skip
    done = subprocess.run([str(word) for word in call], capture_output=True, check=True, text=True)
    chosen = yaml.safe_load(done.stdout.partition("\n\n")[0])["rules"].values()
    file = next((ROOT / "examples" / candidates).parent.glob("rules/*.yaml"))
    types = {rule["for"] for rule in chosen}
    ours = [rule for rule in yaml.safe_load(file.read_text())["rules"].values() if rule["for"] in types]
    assert [(rule["for"], rule["when"], rule["off_delay"]) for rule in chosen] == [
        (rule["for"], rule["when"], rule["off_delay"]) for rule in ours
    ]


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
