from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import orjson
import pytest

from rules.engine.outputs import Alarm, Severity
from streams.record import Record
from streams.recorder.incidents import IncidentMarks, incidents_in
from streams.wire import encode_output

S = 1_000_000_000
T0 = 1_795_782_615 * S


def raised(number: int, severity: Severity = "high") -> Alarm:
    name = f"hall:plc:5:{number}:0"
    return Alarm(
        name, "hall", "pump-slow", "P-1", severity, "unacknowledged", name, T0, None, 30.0, "P-1: 30 %"
    )


def record_of(alarm: Alarm) -> Record:
    message = encode_output(alarm, 2)
    return Record("alarms", message.partition, 0, 1, message.key, message.value, message.headers)


def marks(folder: Path) -> IncidentMarks:
    return IncidentMarks(folder, 1800 * S, 1800 * S)


def spans(folder: Path) -> list[tuple[int, int, int]]:
    """Begin and end of each incident in s from T0, and its number of alarms."""
    return [((one.from_ns - T0) // S, (one.to_ns - T0) // S, len(one.alarms)) for one in incidents_in(folder)]


@pytest.mark.parametrize(
    ("severity", "is_marked"), [("urgent", True), ("high", True), ("medium", False), ("low", False)]
)
def test_the_hour_around_an_alarm_of_high_severity_is_marked(
    tmp_path: Path, severity: Severity, is_marked: bool
) -> None:
    looking = marks(tmp_path)
    looking.note(record_of(raised(1, severity)), T0)
    looking.flush()
    assert spans(tmp_path) == ([(-1800, 1800, 1)] if is_marked else [])
    if is_marked:
        (file,) = tmp_path.iterdir()
        assert file.name == "20261127T120015.000Z.incident.json"
        said = orjson.loads(file.read_bytes())
        assert said["from"] == "2026-11-27T12:00:15.000000000Z"
        assert said["alarms"] == [
            {
                "raised_at": "2026-11-27T12:30:15.000000000Z", "id": "hall:plc:5:1:0", "unit": "hall",
                "rule": "pump-slow", "asset": "P-1", "severity": severity, "message": "P-1: 30 %",
            }
        ]  # fmt: skip


def test_alarms_whose_hours_overlap_are_one_incident_and_others_are_another(tmp_path: Path) -> None:
    looking = marks(tmp_path)
    for number, second in enumerate((0, 0, 3600, 7300)):
        looking.note(record_of(raised(number)), T0 + second * S)
    looking.flush()
    assert spans(tmp_path) == [(-1800, 5400, 3), (5500, 9100, 1)]


def test_alarms_that_come_by_an_earlier_clock_are_kept_as_well(tmp_path: Path) -> None:
    looking = marks(tmp_path)
    for number, second in enumerate((0, -100, -7200)):
        looking.note(record_of(raised(number)), T0 + second * S)
    looking.flush()
    assert spans(tmp_path) == [(-9000, -5400, 1), (-1900, 1800, 2)]


def test_a_mark_is_on_the_disk_before_it_has_its_name_and_then_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, list[str]]] = []

    def note(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, [file.name for file in tmp_path.glob("*.incident.json")]))

    monkeypatch.setattr(os, "fsync", note)
    looking = marks(tmp_path)
    looking.note(record_of(raised(1)), T0)
    looking.flush()
    (file,) = tmp_path.iterdir()
    assert synced == [(file.stat().st_ino, []), (tmp_path.stat().st_ino, [file.name])]


def test_only_a_raising_marks_and_only_once(tmp_path: Path) -> None:
    looking = marks(tmp_path)
    cleared = dataclasses.replace(raised(1), id="hall:plc:5:2:0", state="normal", cleared_ns=T0 + S)
    looking.note(record_of(cleared), T0)
    looking.note(dataclasses.replace(record_of(raised(1)), value=None), T0)
    looking.note(dataclasses.replace(record_of(raised(1)), value=b"garbage"), T0)
    looking.flush()
    assert spans(tmp_path) == []
    looking.note(record_of(raised(1)), T0)
    looking.flush()
    again = marks(tmp_path)  # a recorder that was started again reads what the worker says again
    for one in (looking, again):
        one.note(record_of(raised(1)), T0 + 60 * S)
        one.flush()
    assert spans(tmp_path) == [(-1800, 1800, 1)]
    again.note(record_of(raised(2)), T0 + 60 * S)
    again.flush()
    assert spans(tmp_path) == [(-1800, 1860, 2)]


def test_a_mark_that_a_person_deletes_stays_away(tmp_path: Path) -> None:
    looking = marks(tmp_path)
    looking.note(record_of(raised(1)), T0)
    looking.flush()
    next(tmp_path.iterdir()).unlink()
    looking.note(record_of(raised(1)), T0 + S)
    looking.flush()
    assert spans(tmp_path) == []
    looking.note(record_of(raised(2)), T0 + 2 * S)
    looking.flush()
    assert spans(tmp_path) == [(-1798, 1802, 1)]
