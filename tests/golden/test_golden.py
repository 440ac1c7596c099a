"""The golden set (docs/golden.md): the code as it is says to every recording what was recorded, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateways.cli.main import run_app
from gateways.sim.event_time import START_NS
from gateways.sim.faults import FAULTS, parse_faults
from rules.engine.outputs import Alarm
from streams.recording.recording import Recording
from streams.wire import decode_output
from tools import golden
from tools.golden_cases import CASES, Case
from tools.golden_text import changes

HINT = "if the new answers are meant: make golden shows them all, make golden WRITE=outputs records them"
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_the_answers_are_the_recorded_ones(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_app(["replay", str(golden.recording_of(case))])
    said = capsys.readouterr().out.rpartition("\n\n")[2]
    assert code == 0, f"{said}\n{HINT}"
    assert said.endswith("recorded outputs are the same, byte for byte\n"), "to the end of both sides"


@every_case
def test_the_text_beside_a_recording_is_what_it_holds(case: Case) -> None:
    path = golden.recording_of(case)
    assert path.with_suffix(".txt").read_text() == golden.text_of(case, path), HINT


@every_case
def test_the_fault_is_found_and_nothing_before_it(case: Case) -> None:
    faults = parse_faults(case.faults)
    path = golden.recording_of(case)
    outputs = [decode_output(one.headers, one.value) for one in Recording(path).records({"alarms"})]
    raised = [one for one in outputs if isinstance(one, Alarm) and one.id == one.raised_id]
    begin_ns = START_NS + (round(faults[0].at_s * 1e9) if faults else 0)
    assert any(one.rule == case.found_by and one.raised_ns >= begin_ns for one in raised)
    if case.disorder is None:
        assert all(one.raised_ns >= begin_ns for one in raised)


def test_every_fault_of_the_simulated_plant_has_a_recording_and_no_file_is_left_over() -> None:
    assert FAULTS.keys() <= {case.name for case in CASES}
    names = {path.name for path in golden.FOLDER.iterdir() if path.suffix in (".mcap", ".txt")}
    expected = {f"{case.name}{suffix}" for case in CASES for suffix in (".mcap", ".txt")}
    assert names == expected | {"format-1.mcap"}
    assert sum(path.stat().st_size for path in golden.FOLDER.iterdir() if path.is_file()) < 5_000_000


@pytest.fixture
def other_set(tmp_path: Path) -> Path:
    """A set of one recording, beside which stands another time of its alarm."""
    case = next(case for case in CASES if case.name == "stale")
    shutil.copy(golden.recording_of(case), tmp_path)
    text = golden.text_of(case, golden.recording_of(case))
    assert "raised 12 s" in text
    (tmp_path / "stale.txt").write_text(text.replace("raised 12 s", "raised 13 s"))
    return tmp_path


def test_what_is_other_is_shown_and_nothing_is_written(
    other_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in other_set.iterdir()}
    assert golden.main(["stale"], other_set) == 1
    assert capsys.readouterr().out.splitlines() == [
        "stale: 1 lines are other",
        "  other  alarm row-a rack-flow-unknown R01: raised 13 s, cleared 18 s -> raised 12 s, cleared 18 s",
        "1 of 1 are other: docs/golden.md says what to do",
    ]
    assert {path: path.read_bytes() for path in other_set.iterdir()} == before


def test_new_answers_are_recorded_where_that_is_asked_for(other_set: Path) -> None:
    (recording,) = other_set.glob("*.mcap")
    inputs = list(Recording(recording).timed_records({"events"}))
    assert golden.main(["stale", "--outputs"], other_set) == 0
    assert golden.main(["stale"], other_set) == 0
    assert "raised 12 s" in (other_set / "stale.txt").read_text()
    assert list(Recording(recording).timed_records({"events"})) == inputs


def test_a_name_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        golden.main(["pump-trip"], tmp_path)
    assert ended.value.code == 2
    assert "pump_trip" in capsys.readouterr().err


def test_lines_that_are_gone_new_and_other() -> None:
    old = "title\n\nalarm a: raised 1 s; high; x\nalarm b: raised 2 s; low; y\n"
    new = "title\n\nalarm b: raised 3 s; low; y\nalarm c: raised 4 s; low; z\n"
    assert changes(old, new) == [
        "gone   alarm a: raised 1 s; high; x",
        "other  alarm b: raised 2 s -> raised 3 s",
        "new    alarm c: raised 4 s; low; z",
    ]
