"""`headrace sweep`: its answer, its page, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateways.cli import sweep as sweep_module
from gateways.cli.main import run_app
from gateways.cli.replay_pace import Pace
from streams.record import Record
from tests.streams.replay.conftest import RULES, T0, S

Sweep = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def recording(made: tuple[Path, list[Record]], written: Callable[[list[Record]], Path]) -> Path:
    return written([record for record in made[1] if record.value != b"garbage"])


@pytest.fixture
def swept(recording: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Sweep:
    def run(*options: str, rule: str = "pump-slow") -> tuple[int, dict[str, Any]]:
        code = run_app(["sweep", rule, str(recording), *options, "--json"])
        return code, json.loads(capfdbinary.readouterr().out)

    return run


def test_each_candidate_has_its_score(swept: Sweep) -> None:
    code, said = swept("--param", "limit=20..60/20", "--param", "on_delay=2,12 s")
    assert code == 0
    now, *others = said["candidates"]
    assert (now["values"], now["alarms"], now["detected"], now["lead_s"]) == ({}, 4, 4, 0)
    found = {tuple(one["values"].values()): one for one in others}
    assert list(found) == [(f"{limit} percent", f"{s} s") for limit in (20, 40, 60) for s in (2, 12)]
    assert [found["20 percent", "2 s"][key] for key in ("alarms", "detected", "lead_s")] == [0, 0, None]
    late = found["40 percent", "12 s"]
    assert [late[key] for key in ("alarms", "detected", "lead_s", "false")] == [2, 2, -10, 0]
    assert said["parameters"]["limit"] == {"now": "50 percent", "unit": "percent"}
    assert said["nuisance"] == "alarms beyond the reference"
    assert any("PumpSpeed to 100" in line for line in said["cannot_know"])
    assert [one["front"] for one in said["candidates"]].count(True) >= 1


def test_ctrl_c_before_the_first_sample_leaves_no_answer(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    class Gone(Pace):
        def __call__(self, event_ns: int) -> bool:
            return False

    monkeypatch.setattr(sweep_module, "paced", lambda *_: Gone((T0, None), None))
    assert run_app(["sweep", "pump-slow", str(recording), "--param", "on_delay=1 s", "--json"]) == 130
    assert not capfdbinary.readouterr().out


@pytest.mark.parametrize("limit", ["25 %", "55 %"])
def test_a_candidate_says_what_a_replay_with_it_says(
    swept: Sweep, recording: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], limit: str
) -> None:
    _, said = swept("--param", f"limit={limit}")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.replace("50 percent", limit))
    run_app(["replay", str(recording), "--rules", str(rules), "--json"])
    replayed = json.loads(capfdbinary.readouterr().out)
    alarms = [alarm for alarm in replayed["alarms"] if alarm["rule"] == "pump-slow"]
    assert said["candidates"][1]["alarms"] == len(alarms)


def test_incidents_and_a_reference_are_detected(swept: Sweep, tmp_path: Path, recording: Path) -> None:
    incidents = tmp_path / "known.json"
    incidents.write_text(json.dumps([["2026-01-01T00:00:11Z", "2026-01-01T00:00:15Z"]]))
    _, said = swept("--param", "on_delay=2,12 s", "--incidents", str(incidents))
    assert said["against"] == "the incidents of known.json"
    assert said["nuisance"] == "% of the time in alarm"
    assert [one["detected"] for one in said["candidates"]] == [1, 1, 0]
    _, said = swept("--param", "on_delay=2,12 s", "--reference", "pump-slow")
    assert [one["to_detect"] for one in said["candidates"]] == [4, 4, 4]
    assert swept("--param", "on_delay=1 s", "--reference", "pump-slo")[0] == 2
    assert swept("--param", "on_delay=1 s", "--reference", "x", "--incidents", str(incidents))[0] == 2
    incidents.write_text(json.dumps([["2026-02-01T00:00:11Z", "2026-02-01T00:00:15Z"]]))
    code, said = swept("--param", "on_delay=2,12 s", "--incidents", str(incidents))
    assert (code, "has anything to do with" in said["error"]) == (2, True)


def test_a_part_counts_what_was_raised_in_it_by_rules_that_know_what_was_before(
    swept: Sweep, tmp_path: Path
) -> None:
    """Each pump is slow from second 10 to 20 and from 40 on, and its alarm comes 2 s later."""
    _, said = swept("--param", "on_delay=1,2,25 s", "--from", "30", "--to", "2026-01-01T00:01:00Z")
    assert (said["from"][:19], said["to"][:19]) == ("2026-01-01T00:00:30", "2026-01-01T00:01:00")
    assert [one["alarms"] for one in said["candidates"]] == [2, 2, 2, 0]
    _, said = swept("--param", "on_delay=30 s", "--from", "65")
    assert [one["alarms"] for one in said["candidates"]] == [0, 2], "the delay began before the part"
    incidents = tmp_path / "known.json"
    incidents.write_text(json.dumps([["2026-01-01T00:00:11Z", "2026-01-01T00:00:15Z"]]))
    assert swept("--param", "on_delay=1 s", "--incidents", str(incidents), "--from", "30")[0] == 2
    assert swept("--param", "on_delay=1 s", "--from", "2027-01-01")[0] == 2


def test_a_value_that_is_no_rule_is_refused_by_its_candidate(swept: Sweep) -> None:
    code, said = swept("--param", "limit=20 kW,50 %")
    assert code == 0
    refused = said["candidates"][1]
    assert "percent and kW can't be compared" in refused["refused"]
    assert "alarms" not in refused


@pytest.mark.parametrize(
    ("options", "rule", "message"),
    [
        (["--param", "limit=20 kW"], "pump-slow", "no candidate can be a rule"),
        (["--param", "limt=20"], "pump-slow", "has no parameter 'limt'"),
        ([], "pump-slow", "there is nothing to vary"),
        (["--param", "limit=20"], "pump-slw", "there is no rule 'pump-slw'"),
        (
            ["--param", "limit=20", "-o", "no/folder/x.html"],
            "pump-slow",
            "the folder no/folder does not exist",
        ),
        (["--param", "limit=1..90/1", "--max-candidates", "50"], "pump-slow", "90 values are more than 50"),
    ],
)
def test_a_call_that_is_wrong_names_the_option(
    swept: Sweep, options: list[str], rule: str, message: str
) -> None:
    code, said = swept(*options, rule=rule)
    assert code == 2
    assert said["findings"][0]["file"] in ("--param", "RULE", "no/folder/x.html.part")
    assert message in said["findings"][0]["message"]


def test_the_page_is_the_same_bytes_and_needs_nothing(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [tmp_path / "one.html", tmp_path / "two.html"]
    for page in pages:
        options = ["--param", "limit=20..60/20", "--param", "on_delay=2,12 s", "-o", str(page)]
        assert run_app(["sweep", "pump-slow", str(recording), *options]) == 0
    text = pages[0].read_text()
    assert text == pages[1].read_text()
    assert text.count("<svg") == 1
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/", "").replace("http-equiv", "")
    assert "var(--ink)" in text
    for shown in ("pump-slow", "40 percent", "12 s", "worth a look", "can&#39;t know"):
        assert shown in text or shown.replace("&#39;", "'") in text
    table = capsys.readouterr().out
    assert "best trade-off" in table
    assert "as it is" in table


def test_ctrl_c_leaves_the_answer_of_a_shorter_recording(
    swept: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(Pace):
        def __call__(self, event_ns: int) -> bool:
            return event_ns < T0 + 30 * S

    monkeypatch.setattr(sweep_module, "paced", lambda *_: Impatient((T0, None), None))
    code, said = swept("--param", "on_delay=1 s")
    assert code == 130
    assert said["partial"] is True
    assert [one["alarms"] for one in said["candidates"]] == [2, 2]
    assert any("2026-01-01T00:00:29" in line for line in said["cannot_know"])


def test_a_recording_that_lacks_something_is_said(
    recording: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    recording.write_bytes(recording.read_bytes()[:-400])
    code = run_app(["sweep", "pump-slow", str(recording), "--param", "on_delay=1 s", "--json"])
    said = json.loads(capfdbinary.readouterr().out)
    assert code == 1
    assert said["lacks"]
