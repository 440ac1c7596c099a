from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from gateways.cli.main import run_app
from streams.record import Record
from streams.recording.recorded_site import recorded_rules, recording_metadata, site_attachments
from streams.recording.recording import Recording, RecordingWriter
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site


def write(path: Path, site_dir: Path, records: list[Record]) -> Path:
    site = load_site(site_dir)
    attachments = site_attachments(rule_set_of(site_dir, site))
    with RecordingWriter(
        path, attachments=attachments, metadata=recording_metadata(site, attachments)
    ) as writer:
        for log_ns, record in enumerate(records):
            writer.write(record, log_ns)
    return path


def run(capfdbinary: pytest.CaptureFixture[bytes], *arguments: object) -> tuple[int, bytes]:
    code = run_app([str(argument) for argument in arguments])
    return code, capfdbinary.readouterr().out


def test_replay_says_what_the_run_said_byte_for_byte(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = write(tmp_path / "run.mcap", *made)
    code, first = run(capfdbinary, "replay", path, "--json")
    assert (code, first) == run(capfdbinary, "replay", path, "--json")
    said = json.loads(first)
    assert code == 0
    assert said["verification"]["differences"] == 0
    assert said["verification"]["compared"] == sum(r.topic != "events" for r in made[1])
    assert (said["readings"], said["duplicates"], said["lost"]) == (2 * 89, 2, 0)
    assert [gap["reason"] for gap in said["gaps"]] == ["disconnected"] * 2
    assert said["dead_letters"] == {"bad-json": 1}
    slow = [alarm for alarm in said["alarms"] if alarm["rule"] == "pump-slow"]
    assert [(alarm["unit"], alarm["cleared_at"] is None) for alarm in slow] == [
        ("row-a", False), ("row-b", False), ("row-a", True), ("row-b", True),
    ]  # fmt: skip
    assert slow[0]["raised_at"] == "2026-01-01T00:00:12.000001000Z"
    assert len(said["commands"]) == 4


def test_a_copy_without_its_outputs_gives_the_same(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = write(tmp_path / "run.mcap", *made)
    code, out = run(capfdbinary, "recording", "strip", path, "-o", tmp_path / "bare.mcap", "--json")
    inputs = sum(record.topic == "events" for record in made[1])
    assert (code, json.loads(out)) == (
        0,
        {"output": str(tmp_path / "bare.mcap"), "records": {"events": inputs}, "damage": []},
    )
    assert {one.topic for one in Recording(tmp_path / "bare.mcap").records()} == {"events"}
    _, full = run(capfdbinary, "replay", path, "--json", "--no-verify")
    _, bare = run(capfdbinary, "replay", tmp_path / "bare.mcap", "--json")
    assert full == bare
    assert json.loads(bare)["verification"] is None


def change(records: list[Record], topic: str, number: int, edit: Callable[[dict[str, object]], None]) -> str:
    """Edit the body of the n-th record of a topic; its id."""
    index = [index for index, record in enumerate(records) if record.topic == topic][number]
    envelope = orjson.loads(records[index].value or b"")
    edit(envelope)
    one = records[index]
    records[index] = Record(
        one.topic, one.partition, one.offset, 1, one.key,
        orjson.dumps(envelope, option=orjson.OPT_SORT_KEYS), one.headers,
    )  # fmt: skip
    return str(envelope["id"])


@pytest.mark.parametrize("how", ["other value", "left out", "never said", "two words"])
def test_an_output_that_differs_is_named(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes], how: str
) -> None:
    site_dir, records = made
    index = next(index for index, record in enumerate(records) if record.topic == "commands")
    original = records[index]
    wanted = str(orjson.loads(original.value or b"")["id"])
    if how == "left out":
        del records[index]
    elif how == "never said":
        wanted = change(records, "commands", 0, lambda envelope: envelope.update(id="row-a:plc:5:999:0"))
        records.insert(index, original)
    else:
        change(records, "commands", 0, lambda envelope: envelope["body"].update(value=99.0))  # type: ignore[attr-defined]
        if how == "two words":
            records.insert(index, original)
    code, out = run(capfdbinary, "replay", write(tmp_path / "run.mcap", site_dir, records), "--json")
    found = json.loads(out)["verification"]
    assert code == 1
    assert found["differences"] == 1
    assert (found["first"]["topic"], found["first"]["id"]) == ("commands", wanted)
    assert bool(found["first"]["replayed"]) == (how != "never said")
    assert bool(found["first"]["recorded"]) == (how != "left out")


def test_a_recording_that_ends_before_the_worker_had_answered_is_no_difference(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    site_dir, records = made
    for topic in ("alarms", "commands", "journal"):
        last = [index for index, record in enumerate(records) if record.topic == topic][-1]
        del records[last]
    code, out = run(capfdbinary, "replay", write(tmp_path / "run.mcap", site_dir, records), "--json")
    assert code == 0
    assert json.loads(out)["verification"]["after_end"] == 3


def test_other_rules_give_other_alarms_and_are_not_compared(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = write(tmp_path / "run.mcap", *made)
    (tmp_path / "other.yaml").write_text(
        (made[0] / "rules" / "pumps.yaml")
        .read_text()
        .replace("pump-slow", "pump-slower")
        .replace("on_delay: 2 s", "")
    )
    code, out = run(capfdbinary, "replay", path, "--rules", tmp_path / "other.yaml", "--json")
    said = json.loads(out)
    assert code == 0
    assert said["verification"] is None
    assert {alarm["rule"] for alarm in said["alarms"]} == {"pump-slower", "source-gap"}


def test_the_table_says_whether_it_was_the_same(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    code, out = run(capfdbinary, "replay", write(tmp_path / "run.mcap", *made))
    assert code == 0
    assert b"byte for byte" in out
    code, out = run(capfdbinary, "recording", "info", tmp_path / "run.mcap", "--json")
    assert code == 0
    assert json.loads(out)["records"]["commands"] == 4


def test_a_cleared_alarm_shows_what_its_raising_said(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = write(tmp_path / "run.mcap", *made)
    _, out = run(capfdbinary, "replay", path, "--json")
    said = {(one["rule"], one["unit"], one["raised_at"][:19]): one for one in json.loads(out)["alarms"]}
    cleared = said["pump-slow", "row-a", "2026-01-01T00:00:12"]
    assert (cleared["message"], cleared["cleared_message"]) == ("P-1: 30 %", "P-1: 80 %")
    standing = said["pump-slow", "row-a", "2026-01-01T00:00:42"]
    assert (standing["message"], standing["cleared_message"]) == ("P-1: 30 %", None)
    gap = said["source-gap", "row-a", "2026-01-01T00:00:30"]
    assert gap["message"] == "plc: 1 readings not delivered (disconnected)"
    assert gap["cleared_message"] == "plc: complete again"
    _, out = run(capfdbinary, "replay", path)
    assert b"complete again" not in out
    assert b"80 %" not in out


def test_two_recordings_in_a_row_are_one_log(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    site_dir, records = made
    whole = write(tmp_path / "run.mcap", site_dir, records)
    first = write(tmp_path / "first.mcap", site_dir, records[:200])
    rest = write(tmp_path / "rest.mcap", site_dir, records[200:])
    _, one = run(capfdbinary, "replay", whole, "--json")
    code, two = run(capfdbinary, "replay", first, rest, "--json")
    assert code == 0
    for name in ("alarms", "commands", "readings", "gaps", "lost"):
        assert json.loads(one)[name] == json.loads(two)[name]


def test_without_a_site_one_is_asked_for(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with RecordingWriter(tmp_path / "bare.mcap"):
        pass
    assert run(capfdbinary, "replay", tmp_path / "bare.mcap")[0] == 2
    assert run(capfdbinary, "replay", tmp_path / "absent.mcap")[0] == 2
    assert (
        run(
            capfdbinary,
            "recording",
            "strip",
            tmp_path / "bare.mcap",
            "-o",
            tmp_path / "x",
            "--topics",
            "alarm",
        )[0]
        == 2
    )


def test_the_recorded_site_is_the_one_of_the_folder(tmp_path: Path, made: tuple[Path, list[Record]]) -> None:
    site, program = recorded_rules(Recording(write(tmp_path / "run.mcap", *made))).load()
    assert site == load_site(made[0])
    assert program.digest == load_program(made[0], site).digest


def other_site(made: tuple[Path, list[Record]], folder: Path, old: str, new: str) -> Path:
    """The site of `made` with another text in its site file."""
    shutil.copytree(made[0], folder)
    text = (folder / "site.yaml").read_text()
    assert old in text
    (folder / "site.yaml").write_text(text.replace(old, new))
    return folder


@pytest.mark.parametrize(("old", "new", "what"), [("row-", "hall-", "units"), ("P-", "Q-", "points")])
def test_a_site_that_knows_nothing_of_the_recording_is_refused(
    tmp_path: Path,
    made: tuple[Path, list[Record]],
    capfd: pytest.CaptureFixture[str],
    old: str,
    new: str,
    what: str,
) -> None:
    path = write(tmp_path / "run.mcap", *made)
    site_dir = other_site(made, tmp_path / "other", old, new)
    assert run_app(["replay", str(path), "--site", str(site_dir)]) == 2
    said = capfd.readouterr().err
    assert f"{path} is a recording of site 'small': site 'small' has none of its {what}" in said


def test_a_site_that_lacks_a_unit_is_a_finding(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = write(tmp_path / "run.mcap", *made)
    site_dir = other_site(made, tmp_path / "other", "row-b", "row-c")
    code, out = run(capfdbinary, "replay", path, "--site", site_dir)
    assert code == 1
    assert b"181 inputs are of units that the site lacks: row-b" in out
    code, out = run(capfdbinary, "replay", path, "--site", site_dir, "--json")
    assert code == 1
    assert json.loads(out)["unknown_units"] == ["row-b"]


def test_recordings_of_two_sites_are_not_one_log(
    tmp_path: Path, made: tuple[Path, list[Record]], capfd: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path / "first.mcap", *made)
    second = write(
        tmp_path / "second.mcap", other_site(made, tmp_path / "other", "name: small", "name: large"), made[1]
    )
    assert run_app(["replay", str(first), str(second)]) == 2
    said = capfd.readouterr().err
    assert f"{second}: error: a recording of site 'large', but {first} is one of site 'small'" in said


def test_a_recording_whose_rules_are_damaged_is_a_finding(
    tmp_path: Path, made: tuple[Path, list[Record]], capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "run.mcap", *made)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"on_delay: 2 s", b"on_delay: 9 s"))
    assert run_app(["replay", str(path)]) == 2
    assert "has lost its rules/pumps.yaml" in capfd.readouterr().err
