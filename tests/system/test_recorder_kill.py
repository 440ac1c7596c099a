"""The always-on recorder under a running plant: killed in between, and still the replay of its folder equals live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.recording.recording import Recording
from streams.recording.segments import segments_in

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system


def headrace(*arguments: str, **environment: str) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateways.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if "--json" in arguments else None, done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Recorder and worker are killed between the fault and its consequences, and the log is rolled."""
    folder = tmp_path_factory.mktemp("recorder")
    # a slow machine has half of it for its starts
    code, summary, words = headrace(
        "up", "--for", "70s", "--fault", "pump_trip@15s", "--kill", "worker@17s", "--kill", "recorder@16s",
        "--record", str(folder / "kept"), "--free-ports", "--json",
        HEADRACE_RUN_DIR=str(folder), HEADRACE_RECORDER__SEGMENT_S="8",
        HEADRACE_BROKER__EMBEDDED_LIMIT_RECORDS="1500",
    )  # fmt: skip
    assert code == 0, words[-4000:]
    assert summary["restarts"] == 2, words[-4000:]
    assert summary["rolls"] >= 1, words[-4000:]
    return folder / "kept", summary


def ids(said: dict[str, Any]) -> tuple[set[str], set[str]]:
    return {one["id"] for one in said["alarms"]}, {one["id"] for one in said["commands"]}


def test_the_replay_of_the_folder_equals_live(run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = run
    assert len(segments_in(folder)) >= 5
    code, said, words = headrace("replay", str(folder), "--json")
    assert (code, said["missing"], said["missed"], said["damage"]) == (0, [], [], []), words
    assert said["verification"]["differences"] == said["verification"]["after_end"] == 0
    assert ids(said) == ids(summary)


def test_the_alarms_mark_an_incident_and_the_room_is_told(run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = run
    high = {alarm["id"] for alarm in summary["alarms"] if alarm["severity"] in {"high", "urgent"}}
    code, info, words = headrace("recording", "info", str(folder), "--json")
    assert (code, info["gaps"], info["missed"]) == (0, [], []), words
    (incident,) = info["incidents"]
    assert {alarm["id"] for alarm in incident["alarms"]} == high
    assert incident["segments"] == [file.name for file in segments_in(folder)]
    assert summary["readings_by_source"]["recorder"] > 0


def test_without_its_outputs_it_gives_them_again(run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = run
    bare = folder.with_name("bare")
    bare.mkdir()
    for segment in segments_in(folder):
        code, _, words = headrace("recording", "strip", str(segment), "-o", str(bare / segment.name))
        assert code == 0, words
    code, said, _ = headrace("replay", str(bare), "--json")
    assert (code, said["verification"]) == (0, None)
    assert ids(said) == ids(summary)


def test_what_was_missed_is_a_gap(run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = run
    partly = folder.with_name("partly")
    partly.mkdir()
    segments = segments_in(folder)
    # as if the log had forgotten what the second holds; that of a killed recorder may be empty, then the one behind it
    forgotten = next(segment for segment in segments[1:] if any(Recording(segment).records({"events"})))
    for segment in segments:
        if segment != forgotten:
            (partly / segment.name).symlink_to(segment)
    code, said, _ = headrace("replay", str(partly), "--json")
    assert code == 1
    assert sum(one["records"] for one in said["missing"]) > 0
    assert said["verification"]["differences"] == 0
    code, info, _ = headrace("recording", "info", str(partly), "--json")
    assert code == 1
    assert {one["topic"] for one in info["gaps"]} >= {"events"}
