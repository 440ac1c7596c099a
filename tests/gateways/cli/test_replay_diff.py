"""`headrace replay --diff` on the small run: two pumps, each slow from second 10 to 20 and from 40 on."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateways.cli.main import run_app
from gateways.cli.replay_pace import Pace
from rules.engine.inputs import Identity, Tick
from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from streams.wire import encode_input
from tests.streams.replay.conftest import RULES, T0, S

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"
LIMIT = "limit each GPU.power_limit to 900 W"

Diff = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def recording(made: tuple[Path, list[Record]], written: Callable[[list[Record]], Path]) -> Path:
    return written(made[1])


@pytest.fixture
def rules(tmp_path: Path) -> Callable[..., Path]:
    """A rule file like the recorded one, with some words replaced."""

    def write(name: str, *changes: tuple[str, str]) -> Path:
        text = RULES
        for was, now in changes:
            assert was in text
            text = text.replace(was, now)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def diff(recording: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Diff:
    def run(*options: object, path: Path = recording) -> tuple[int, dict[str, Any]]:
        code = run_app(["replay", str(path), *map(str, options), "--json"])
        said: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
        return code, said

    return run


def test_the_recorded_rules_say_what_was_recorded(diff: Diff, rules: Callable[..., Path]) -> None:
    code, said = diff("--rules", rules("same.yaml"), "--diff", "recorded")
    assert (code, said["differs"]) == (0, False)
    assert said["alarm_changes"] == {"same": 6}  # pump-slow four times, and the engine's own of the gap
    assert said["command_changes"] == {"same": 4}
    assert (said["before"]["recorded"], said["after"]["recorded"]) == (True, False)
    assert said["rules"] == []
    assert "No command changed: the plant would have gone on as it was recorded." in said["cannot_know"]


def test_a_candidate_that_waits_longer(diff: Diff, rules: Callable[..., Path]) -> None:
    code, said = diff("--rules", rules("slow.yaml", ("2 s", "5 s")), "--diff", "recorded")
    assert code == 1
    assert said["alarm_changes"] == {"later": 4, "same": 2}
    assert {change["raised_by_s"] for change in said["alarms"]} == {3.0}
    assert said["command_changes"] == {"later": 4}
    assert [change["given_by_s"] for change in said["commands"]] == [3.0] * 4
    assert said["rules"] == [
        {
            "rule": "pump-slow",
            "change": "changed",
            "fields": [{"name": "on_delay", "before": "2 s", "after": "5 s"}],
        }
    ]
    assert said["totals"][0] == {
        "rule": "pump-slow", "unit": "row-a", "asset": "P-1", "alarms": [2, 2], "kinds": {"later": 2},
        "stood_s": [53.999999, 47.999999],
    }  # fmt: skip
    assert said["cannot_know"][0].startswith("4 commands changed, the first at 2026-01-01 00:00:12.000.")
    assert any(line.startswith("The sources said 2 gaps") for line in said["cannot_know"])


def test_another_rule_and_another_value(diff: Diff, rules: Callable[..., Path]) -> None:
    other = rules("other.yaml", ("pump-slow", "pump-crawls"), ("to 100 percent", "to 90 percent"))
    code, said = diff("--rules", other, "--diff", "recorded")
    assert (code, said["alarm_changes"]) == (1, {"added": 4, "gone": 4, "same": 2})
    assert said["command_changes"] == {"added": 4, "gone": 4}
    assert [change["change"] for change in said["rules"]] == ["added", "gone"]
    value = rules("value.yaml", ("to 100 percent", "to 90 percent"))
    code, said = diff("--rules", value, "--diff", "recorded")
    assert (code, said["alarm_changes"], said["command_changes"]) == (1, {"same": 6}, {"value": 4})


def test_a_signal_that_was_never_recorded_is_named(
    made: tuple[Path, list[Record]],
    written: Callable[[list[Record]], Path],
    diff: Diff,
    rules: Callable[..., Path],
) -> None:
    """Nothing of row-b but its ticks: a rule of the candidate says nothing about its pump, and that is no finding."""
    readings = [r for r in made[1] if r.key == b"row-b" and not any(v == b"tick/1" for _, v in r.headers)]
    path = written([record for record in made[1] if record not in readings])
    _, said = diff("--rules", rules("slow.yaml", ("2 s", "5 s")), "--diff", "recorded", path=path)
    assert [line for line in said["cannot_know"] if line.startswith("What ")] == [
        "What pump-slow would have said of P-2.PumpSpeed: the recording has no sample of it."
    ]
    _, said = diff("--rules", rules("same.yaml"), "--diff", "recorded", path=path)
    assert not any(line.startswith("What ") for line in said["cannot_know"])


def test_rules_against_rules(diff: Diff, rules: Callable[..., Path]) -> None:
    slow, slower = rules("a.yaml", ("2 s", "4 s")), rules("b.yaml", ("2 s", "6 s"))
    code, said = diff("--rules", slower, "--diff", slow)
    assert (code, said["alarm_changes"]) == (1, {"later": 4, "same": 2})
    assert {change["raised_by_s"] for change in said["alarms"]} == {2.0}
    assert (said["before"]["name"], said["after"]["name"]) == (str(slow), str(slower))
    assert any(line.startswith("The commands of neither side acted") for line in said["cannot_know"])
    assert diff("--rules", slow, "--diff", slow)[0] == 0


def test_what_holds_no_answers_has_its_rules_run_again(
    diff: Diff, rules: Callable[..., Path], recording: Path, tmp_path: Path, capfdbinary: Any
) -> None:
    assert run_app(["recording", "strip", str(recording), "-o", str(tmp_path / "bare.mcap")]) == 0
    capfdbinary.readouterr()
    slow = rules("slow.yaml", ("2 s", "5 s"))
    code, full = diff("--rules", slow, "--diff", "recorded")
    bare_code, bare = diff("--rules", slow, "--diff", "recorded", path=tmp_path / "bare.mcap")
    assert (code, bare_code) == (1, 1)
    assert bare["alarms"] == full["alarms"]
    assert bare["before"]["name"] == "recorded rules"
    assert any(line.startswith("Nothing was said while it was recorded") for line in bare["cannot_know"])


def test_a_part_of_one_unit(diff: Diff, rules: Callable[..., Path]) -> None:
    slow = rules("slow.yaml", ("2 s", "5 s"))
    code, said = diff("--rules", slow, "--diff", "recorded", "--unit", "row-a", "--to", "30")
    assert (code, said["alarm_changes"]) == (1, {"later": 1})
    assert said["alarms"][0]["asset"] == "P-1"
    _, late = diff("--rules", slow, "--diff", "recorded", "--from", "35")
    assert late["alarm_changes"] == {"later": 2}


@pytest.mark.parametrize("begin", ["15", "30", "35", "45", "60", "75"])
def test_what_stood_at_the_beginning_of_a_part_is_no_difference(
    diff: Diff, rules: Callable[..., Path], begin: str
) -> None:
    code, said = diff("--rules", rules("same.yaml"), "--diff", "recorded", "--from", begin)
    assert (code, said["differs"]) == (0, False)
    assert any(line.startswith("Alarms that stood at the beginning") for line in said["cannot_know"])


def test_a_page_does_not_take_the_place_of_a_folder(
    diff: Diff, rules: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "recordings").mkdir()
    code, said = diff("--rules", rules("same.yaml"), "--diff", "recorded", "-o", tmp_path / "recordings")
    assert (code, "is a folder: name a file" in said["error"]) == (2, True)
    assert (tmp_path / "recordings").is_dir()


def test_the_end_of_a_recording_may_have_no_answer_yet(diff: Diff, rules: Callable[..., Path]) -> None:
    """Up to the last tick, second 89, less a second: what is raised after it is left out."""
    late = rules("late.yaml", ("2 s", "46500 ms"))
    _, said = diff("--rules", late, "--diff", "recorded")
    assert said["alarm_changes"] == {"gone": 2, "later": 2, "same": 2}
    assert said["cut_off"] == 0
    _, said = diff("--rules", rules("later.yaml", ("2 s", "48500 ms")), "--diff", "recorded")
    assert said["alarm_changes"] == {"gone": 4, "same": 2}
    assert said["cut_off"] == 4  # two alarms with their commands, at second 88.5
    assert any("left out: the recording may end before" in line for line in said["cannot_know"])


def test_known_incidents_score_both_sides(diff: Diff, rules: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "known.csv").write_text(
        "from,to\n2026-01-01T00:00:05Z,2026-01-01T00:00:14Z\n2026-01-01T00:00:40Z,2026-01-01T00:01:00Z\n"
    )
    slow = rules("slow.yaml", ("2 s", "5 s"))
    code, said = diff(
        "--rules",
        slow,
        "--diff",
        "recorded",
        "--incidents",
        tmp_path / "known.csv",
        "-o",
        tmp_path / "d.html",
    )
    assert code == 1
    sides = said["incidents"]
    assert [sides[side]["detected"] for side in ("before", "after")] == [2, 1]
    assert sides["before"]["always_true_detects"] == 2
    assert sides["before"]["false_alarms_per_day"] is None
    assert said["page"] == str(tmp_path / "d.html")
    assert "2 detected by recorded, 1 by slow.yaml, 2 by a rule" in (tmp_path / "d.html").read_text()


def test_incidents_of_another_time_are_refused(
    diff: Diff, rules: Callable[..., Path], tmp_path: Path
) -> None:
    known = tmp_path / "known.csv"
    known.write_text("at\n2025-01-01T12:00:00Z\n2027-01-01T12:00:00Z\n")
    slow = rules("slow.yaml", ("2 s", "5 s"))
    code, said = diff("--rules", slow, "--diff", "recorded", "--incidents", known)
    assert code == 2
    assert said["findings"][0]["message"] == (
        "none of its incidents (2025-01-01 12:00:00 to 2027-01-01 12:00:00) has anything to do with what is recorded "
        "(2026-01-01 00:00:00 to 2026-01-01 00:01:29)"
    )
    known.write_text("at\n2026-01-01T11:00:00Z\n")  # its run-up is recorded
    assert diff("--rules", slow, "--diff", "recorded", "--incidents", known)[0] == 1
    of = ("--from", "2026-01-01T00:00:30Z", "--to", "2026-01-01T00:01:00Z")
    known.write_text("from,to\n2026-01-01T00:00:05Z,2026-01-01T00:00:14Z\n")
    assert diff("--rules", slow, "--diff", "recorded", "--incidents", known, *of)[0] == 2


def test_the_terminal_says_it_in_a_few_lines(
    recording: Path, rules: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    slow = rules("slow.yaml", ("2 s", "5 s"))
    assert run_app(["replay", str(recording), "--rules", str(slow), "--diff", "recorded"]) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[0] == "small: slow.yaml: the same 6 alarms as recorded, and not all at the same time."
    assert said[1] == "Of 6 alarms that both raise: 4 changed (4 later by 3 s), 2 the same."
    assert any(line.startswith("pump-slow  4 ") and line.endswith("4 later by 3 s") for line in said)
    assert "What this can't know:" in said


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--diff", "recorded"], "there is no candidate to compare"),
        (["--diff", "recorded", "--rules", "gone"], "gone: error: can't be read"),
        (["--diff", "gone", "--rules", "ok.yaml"], "gone: error: can't be read"),
        (["--diff", "recorded", "--rules", "ok.yaml", "--speed", "2"], "leave --speed out"),
        (
            ["--diff", "recorded", "--rules", "ok.yaml", "--incidents", "gone.csv"],
            "gone.csv: error: can't be read",
        ),
        (["--diff", "recorded", "--rules", "ok.yaml", "-o", "gone/d.html"], "folder gone does not exist"),
        (["-o", "d.html"], "add --diff recorded or DIR"),
        (["--diff", "recorded", "--rules", "ok.yaml", "--fault", "pump_trip@1s"], "add --closed-loop"),
        (["--diff", "recorded", "--rules", "ok.yaml", "--closed-loop", "--unit", "row-a"], "leave --from"),
        (["--diff", "recorded", "--rules", "ok.yaml", "--seed", "1"], "add --closed-loop to --seed"),
        (["--seed", "2"], "add --closed-loop to --seed"),
        (["--diff", "recorded", "--rules", "ok.yaml", "--no-verify"], "leave it out with --diff"),
        (["--to-kafka", "127.0.0.1:1", "--no-verify"], "leave it out with --diff and --to-kafka"),
        (["--diff", "recorded", "--rules", "ok.yaml", "--jobs", "2"], "leave --jobs out"),
        (["--to-kafka", "127.0.0.1:1", "--jobs", "2"], "leave --jobs out"),
        (["--speed", "10", "--jobs", "2"], "leave --jobs out"),
        (
            ["--diff", "recorded", "--rules", "ok.yaml", "--closed-loop", "--fault", "trip@1s"],
            "unknown fault 'trip'",
        ),
    ],
)
def test_a_wrong_call_is_said(
    options: list[str],
    error: str,
    recording: Path,
    rules: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    rules("ok.yaml")
    monkeypatch.chdir(tmp_path)
    assert run_app(["replay", str(recording), *options]) == 2
    assert error in " ".join(capfd.readouterr().err.split())


def test_ctrl_c_compares_what_was_read(
    diff: Diff, rules: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Pace.__call__

    def interrupt(pace: Pace, event_ns: int) -> bool:
        if event_ns % 60_000_000_000 >= 25_000_000_000:
            os.kill(os.getpid(), signal.SIGINT)
        return asked(pace, event_ns)

    monkeypatch.setattr(Pace, "__call__", interrupt)
    code, said = diff("--rules", rules("slow.yaml", ("2 s", "5 s")), "--diff", rules("same.yaml"))
    assert (code, said["partial"]) == (130, True)
    assert said["alarm_changes"] == {"later": 2}
    assert any(line.startswith("It was ended by Ctrl-C") for line in said["cannot_know"])


def test_a_damaged_recording_is_said_and_is_exit_1(
    recording: Path, diff: Diff, rules: Callable[..., Path]
) -> None:
    recording.write_bytes(recording.read_bytes()[:-40])
    code, said = diff("--rules", rules("same.yaml"), "--diff", "recorded")
    assert (code, said["differs"]) == (1, False)
    assert any(line.startswith("The recording is damaged: the index") for line in said["cannot_know"])


def test_a_closed_loop_uses_the_site_the_rules_and_the_length(tmp_path: Path, diff: Diff) -> None:
    site = load_site(NARVIK)
    attachments = site_attachments(rule_set_of(NARVIK, site))
    with RecordingWriter(
        tmp_path / "run.mcap", attachments=attachments, metadata=recording_metadata(site, attachments)
    ) as writer:
        for offset, second in enumerate((0, 20)):
            at_ns = T0 + second * S
            tick = encode_input(Tick("row-a", Identity("ticker", 0, at_ns // site.tick_ns), at_ns), 1)
            writer.write(Record(tick.topic, 0, offset, 1, tick.key, tick.value, tick.headers), at_ns)
    rules = tmp_path / "rules"
    shutil.copytree(NARVIK / "rules", rules)
    text = (rules / "plant.yaml").read_text().replace("limit each GPU.power_limit to 500 W", LIMIT, 1)
    (rules / "plant.yaml").write_text(text)
    code, said = diff(
        "--rules", rules, "--diff", "recorded", "--closed-loop", "--fault", "pump_trip:CDU-A*1.0@5s",
        path=tmp_path / "run.mcap",
    )  # fmt: skip
    assert (code, said["recorded_s"]) == (1, 20.0)
    assert said["command_changes"] == {"value": 288}
    assert said["rules"][0]["fields"][0]["after"] == LIMIT
    assert said["before"]["name"] == "recorded rules"
    assert said["cannot_know"][0].startswith(
        "Both sides are simulated, with seed 1 and pump_trip:CDU-A*1.0@5s: each rule set acts on a plant of its own"
    )
