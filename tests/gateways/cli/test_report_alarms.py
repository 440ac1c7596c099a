"""`headrace report alarms`: a simulated pump trip, its answer, its page, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateways.cli import report_alarms as module
from gateways.cli.main import run_app
from gateways.cli.replay_pace import Pace
from gateways.compare.closed_loop import ACTS_AFTER_NS
from gateways.sim.event_time import EventTimePlant
from gateways.sim.faults import parse_fault
from rules.engine.engine import Engine
from rules.engine.inputs import Tick
from rules.engine.outputs import Alarm, Command, Entry
from streams.compare.episodes import said_in_recordings
from streams.compare.kpis import kpis
from streams.facts import Courier
from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.recording.segments import open_recordings
from streams.replay.start import WHOLE
from streams.reports.alarm_words import read_alarm_words
from streams.reports.alarms import positions
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from streams.wire import encode_input, encode_output

SITE = Path(__file__).parents[3] / "examples" / "narvik-small"
Report = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s of the simulated plant, whose pump trips after 10: its ticks, alarms and journal."""
    site = load_site(SITE)
    program = load_program(SITE, site)
    plant = EventTimePlant(site, 1)
    plant.inject(parse_fault("pump_trip:CDU-A@10s"))
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    courier = Courier()
    path = tmp_path_factory.mktemp("trip") / "trip.mcap"
    attachments = site_attachments(rule_set_of(SITE, site))
    offsets: dict[tuple[str, int], int] = {}
    with RecordingWriter(
        path, attachments=attachments, metadata=recording_metadata(site, attachments)
    ) as writer:
        waiting: list[Command] = []
        while plant.plant.time_ns < 40_000_000_000:
            messages = []
            for command in [one for one in waiting if one.cause_ns + ACTS_AFTER_NS <= plant.now_ns]:
                plant.plant.write(command.actuator, command.value)
                waiting.remove(command)
            for unit, inputs in plant.step().items():
                for value in inputs:
                    outputs = engines[unit].step([*courier.due(value), value])
                    courier.take(outputs)
                    waiting += [one for one in outputs if isinstance(one, Command)]
                    said = [one for one in outputs if isinstance(one, Alarm | Entry)]
                    messages += [encode_output(one, 2) for one in said]
                    if isinstance(value, Tick):
                        messages.append(encode_input(value, 2))
            for message in messages:
                place = message.topic, message.partition
                offset = offsets[place] = offsets.get(place, -1) + 1
                record = Record(*place, offset, 1, message.key, message.value, message.headers)
                writer.write(record, plant.now_ns)
    return path


@pytest.fixture
def report(trip: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Report:
    def run(*options: str, of: Path = trip) -> tuple[int, dict[str, Any]]:
        code = run_app(["report", "alarms", str(of), *options, "--json"])
        return code, json.loads(capfdbinary.readouterr().out)

    return run


def test_of_a_pump_trip_the_cause_is_heard_and_its_consequences_are_not(report: Report) -> None:
    code, said = report("--from", "9")
    assert code == 0
    units = {one["unit"]: one for one in said["units"]}
    assert list(units) == ["row-a", "row-b", "site"]
    row = units["row-a"]
    assert row["annunciated"] == 3
    assert row["not_annunciated"]["suppressed"] > 100
    assert row["raised"] == row["annunciated"] + sum(row["not_annunciated"].values())
    assert row["silenced"]["suppressed"]["count"] > 100
    assert {one["asset"] for one in row["kpis"]["top"]} == {"CDU-A", "CDU-A-P1"}
    assert [units[name]["annunciated"] for name in ("row-b", "site")] == [0, 0]
    assert (said["partial"], said["page"]) == (False, None)
    assert any("too little to say how many alarms come in 10 min" in line for line in said["cannot_know"])
    assert [one["value"] for one in row["figures"] if one["name"] == "alarms per day, average"] == ["–"]


def test_a_comparison_has_the_same_figures(trip: Path) -> None:
    recordings = open_recordings([trip])
    found = read_alarm_words(recordings, WHOLE, lambda _: True)
    for one in positions(found, ["row-a"]):
        said = said_in_recordings(recordings, {one.unit})
        assert said is not None
        assert kpis(said.episodes, found.ran) == one.kpis
        assert len(said.episodes) == one.raised


def test_a_unit_alone_and_its_words(
    report: Report, trip: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    _, said = report("--unit", "row-a", "--from", "5", "--to", "35")
    assert [one["unit"] for one in said["units"]] == ["row-a"]
    assert said["recorded_s"] == 30
    assert run_app(["report", "alarms", str(trip), "--unit", "row-a"]) == 0
    out = capfdbinary.readouterr().out.decode()
    assert "row-a at narvik-small" in out
    assert "suppressed by a cause or in a flood" in out


def test_what_waits_for_a_cause_is_not_annunciated_yet(report: Report) -> None:
    code, said = report(
        "--to", "12"
    )  # the pump has just tripped: the flow is low, and another alarm may explain it
    assert code == 0
    row = said["units"][0]
    assert row["not_annunciated"].get("waiting", 0) >= 1
    assert row["raised"] == row["annunciated"] + sum(row["not_annunciated"].values())
    assert said["units"][0]["acknowledge_s_mean"] is None


def test_the_page_has_it_all(report: Report, trip: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "one.html", tmp_path / "other.html"]
    for page in pages:
        code, said = report("-o", str(page))
        assert (code, said["page"]) == (0, str(page))
    one, other = (page.read_text(encoding="utf-8") for page in pages)
    assert one == other
    for text in ("cdu-stopped CDU-A", "alarms per day, average", "at most 150", "<svg", "var(--after)"):
        assert text in one
    assert "<script" not in one


def test_what_holds_no_alarms_is_refused(
    report: Report, trip: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    bare = tmp_path / "bare.mcap"
    assert run_app(["recording", "strip", str(trip), "-o", str(bare)]) == 0
    capfdbinary.readouterr()
    code, said = report(of=bare)
    assert code == 2
    assert "no alarms and no journal" in said["error"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--unit", "row-c"], "row-c"),
        (["--from", "900"], "ends before"),
        (["--from", "20", "--to", "10"], "not after"),
        (["-o", "nowhere/page.html"], "nowhere"),
    ],
)
def test_a_wrong_call_is_said(report: Report, options: list[str], word: str) -> None:
    code, said = report(*options)
    assert code == 2
    assert word in said["error"]


def test_ctrl_c_gives_what_was_read(report: Report, trip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Pace):
        def __call__(self, event_ns: int) -> bool:
            return event_ns < 1_800_000_005_000_000_000

    monkeypatch.setattr(module, "paced", lambda *_: Gone((0, None), None))
    code, said = report()
    assert (code, said["partial"], said["recorded_s"]) == (130, True, 5)


def test_a_damaged_recording_is_said(report: Report, trip: Path, tmp_path: Path) -> None:
    raw = trip.read_bytes()
    (tmp_path / "short.mcap").write_bytes(raw[: len(raw) - 200])
    code, said = report(of=tmp_path / "short.mcap")
    assert code == 1
    assert any("lacks something" in line for line in said["cannot_know"])
