"""A folder of segments is one log: what its recorder missed is said, and nothing else differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateways.cli.main import run_app
from streams.record import Record, TopicPartition
from streams.recorder.incidents import Incident
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import Recording, RecordingWriter
from streams.recording.segments import begin_ns, head, segment_name, segments_in
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from tests.streams.replay.conftest import T0

Made = tuple[Path, list[Record]]
S = 1_000_000_000


class Folder:
    """Segments that are written one after the other; `log`: the id of the log that they are of."""

    def __init__(self, path: Path, site_dir: Path) -> None:
        self.path = path
        self.log = "one"
        path.mkdir()
        site = load_site(site_dir)
        self._attachments = site_attachments(rule_set_of(site_dir, site))
        self._metadata = recording_metadata(site, self._attachments)
        self._positions: dict[TopicPartition, int] = {}
        self._at_ns = 1_795_782_615 * S

    def begin_log(self, name: str, records: list[Record]) -> None:
        """A fresh log, which begins with these records."""
        self.log = name
        self._positions = {TopicPartition(r.topic, r.partition): r.offset for r in reversed(records)}

    def add(self, records: list[Record], missed: str = "") -> None:
        self._at_ns += S
        file = self.path / segment_name(self._at_ns)
        places = {TopicPartition(r.topic, r.partition): 0 for r in records} | self._positions
        metadata = self._metadata | head(places, [self.log], missed)
        with RecordingWriter(file, attachments=self._attachments, metadata=metadata) as writer:
            for record in records:
                writer.write(record, self._at_ns)
                self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1


@pytest.fixture
def folder(tmp_path: Path, made: Made) -> Folder:
    return Folder(tmp_path / "kept", made[0])


def answer(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run_app([*arguments, "--json"])
    return code, json.loads(capfdbinary.readouterr().out)


def whole(made: Made) -> list[Record]:
    """The records of the run without the one that leaves a hole in the offsets."""
    return [record for record in made[1] if record.value != b"garbage"]


def test_segments_replay_as_one_log(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = whole(made)
    for at in range(0, len(records), 37):
        folder.add(records[at : at + 37])
    code, said = answer(capfdbinary, "replay", str(folder.path))
    assert (code, said["missing"], said["missed"], said["damage"]) == (0, [], [], [])
    assert said["verification"]["differences"] == said["verification"]["after_end"] == 0
    assert said["verification"]["compared"] == sum(r.topic != "events" for r in records)
    code, info = answer(capfdbinary, "recording", "info", str(folder.path))
    assert (code, info["gaps"], info["missed"]) == (0, [], [])
    assert sum(info["records"].values()) == len(records)
    assert [one["records"] for one in info["segments"]][:2] == [37, 37]


@pytest.mark.parametrize("within", [False, True])
def test_what_lies_between_two_segments_or_within_one_is_a_gap(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes], within: bool
) -> None:
    records = whole(made)
    gone = records[60:100]
    if within:
        folder.add(records[:60] + records[100:])
    else:
        folder.add(records[:60])
        folder.add(records[100:])
    code, said = answer(capfdbinary, "replay", str(folder.path))
    lost = {
        place: [r.offset for r in gone if (r.topic, r.partition) == place]
        for place in {(r.topic, r.partition) for r in gone}
    }
    assert code == 1
    assert said["damage"] == []
    assert said["missing"]
    for one in said["missing"]:
        offsets = lost["events", one["partition"]]
        assert (one["records"], one["first_offset"], one["last_offset"]) == (
            len(offsets), offsets[0], offsets[-1],
        )  # fmt: skip
    assert said["verification"]["differences"] == 0
    assert said["verification"]["not_compared"] > 0
    code, info = answer(capfdbinary, "recording", "info", str(folder.path))
    assert code == 1
    # what a compacted topic lacks means nothing
    assert {(one["topic"], one["partition"]) for one in info["gaps"]} == {
        place for place in lost if place[0] != "alarms"
    }


def test_a_hole_before_the_first_record_of_a_partition_counts_from_where_the_segment_begins(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = [record for record in whole(made) if record.topic == "events"]
    place = (records[0].topic, records[0].partition)
    folder.add(
        [record for record in records if (record.topic, record.partition) != place or record.offset >= 9]
    )
    code, said = answer(capfdbinary, "replay", str(folder.path))
    assert code == 1
    assert [(one["records"], one["first_offset"]) for one in said["missing"]] == [(9, 0)]


def test_a_log_that_was_replaced_is_said_and_nothing_behind_it_is_compared(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = whole(made)
    folder.add(records[:60])
    folder.begin_log("two", records[100:])
    folder.add(records[100:], missed="nobody knows")
    code, said = answer(capfdbinary, "replay", str(folder.path))
    assert code == 1
    (line,) = said["missed"]
    assert line.endswith("nobody knows")
    assert said["verification"]["differences"] == 0
    assert said["verification"]["not_compared"] > 0
    code, info = answer(capfdbinary, "recording", "info", str(folder.path))
    assert (code, info["missed"]) == (1, [line])


def test_info_says_which_segments_an_incident_keeps(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = whole(made)
    for at in range(0, 80, 20):
        folder.add(records[at : at + 20])
    names = [file.name for file in segments_in(folder.path)]
    begin = begin_ns(folder.path / names[2])
    alarm = {
        "id": "one",
        "rule": "pump-slow",
        "message": "P-1: 30 %",
        "raised_at": "2026-11-27T12:30:15.000Z",
    }
    Incident(folder.path / "20261127T120015.000Z.incident.json", begin - 1, begin + 1, [alarm]).write()
    code, info = answer(capfdbinary, "recording", "info", str(folder.path))
    assert code == 0
    (said,) = info["incidents"]
    assert said["segments"] == names[1:3]
    assert said["alarms"] == [alarm]
    assert run_app(["recording", "info", str(folder.path)]) == 0
    said = capfdbinary.readouterr().out.decode()
    assert "2 segments: P-1: 30 % (pump-slow)" in said
    assert "first raised 2026-11-27T12:30:15.000Z, id one" in said


def test_only_the_last_segment_may_be_open(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = whole(made)
    folder.add(records[:20])
    folder.add(records[20:40])
    for file, code in zip(reversed(segments_in(folder.path)), (0, 1), strict=True):
        file.write_bytes(file.read_bytes()[:-100])
        found, info = answer(capfdbinary, "recording", "info", str(folder.path))
        assert found == code
        assert [one["open"] for one in info["segments"]] == [False, True]
        assert bool(info["segments"][0]["damage"]) == bool(code)


def gaps_in(folder: Folder, made: Made) -> None:
    """Two segments of a log with a hole between them, and the fresh log to which it was rolled."""
    records = whole(made)
    folder.add(records[:60])
    folder.add(records[100:180])
    folder.begin_log("two", records[180:])
    folder.add(records[180:200], missed="7 inputs of the old one")
    folder.add(records[200:])


@pytest.mark.parametrize("tool", ["merge", "strip", "cut"])
def test_a_copy_of_a_folder_says_what_was_missed_before_and_between_its_segments(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes], tool: str
) -> None:
    gaps_in(folder, made)
    copy = str(folder.path / "copy.mcap")
    options = ["--topics", "status"] if tool == "strip" else []
    _, of_folder = answer(capfdbinary, "replay", str(folder.path))
    assert answer(capfdbinary, "recording", tool, str(folder.path), *options, "-o", copy)[0] == 0
    code, said = answer(capfdbinary, "replay", copy)
    assert code == 1
    assert [line.partition(": ")[2] for line in said["missed"]] == ["7 inputs of the old one"]
    places = [(one["partition"], one["records"], one["first_offset"]) for one in said["missing"]]
    assert places == [(one["partition"], one["records"], one["first_offset"]) for one in of_folder["missing"]]
    assert places
    # in one file a partition's hole is come to with its next record, and not with the next segment
    assert said["verification"]["compared"] >= of_folder["verification"]["compared"] > 0
    assert said["verification"]["not_compared"] > 0
    assert said["verification"]["differences"] == 0
    _, checked = answer(capfdbinary, "recording", "check", copy)
    assert (checked["whole"], checked["missed"]) == (False, said["missed"])


def test_the_tools_take_a_folder_for_its_segments(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    records = whole(made)
    for at in range(0, len(records), 37):
        folder.add(records[at : at + 37])
    code, checked = answer(capfdbinary, "recording", "check", str(folder.path))
    assert (code, checked["whole"], checked["missed"]) == (0, True, [])
    merged, one_by_one = str(tmp_path / "merged.mcap"), str(tmp_path / "files.mcap")
    assert answer(capfdbinary, "recording", "merge", str(folder.path), "-o", merged)[0] == 0
    files = [str(file) for file in segments_in(folder.path)]
    assert answer(capfdbinary, "recording", "merge", *files, "-o", one_by_one)[0] == 0
    assert list(Recording(Path(merged)).records()) == list(Recording(Path(one_by_one)).records()) == records
    of_folder, of_file = (
        answer(capfdbinary, "recording", "export", source, "-o", str(tmp_path / name))[1]["rows"]
        for source, name in ((str(folder.path), "of-folder"), (merged, "of-file"))
    )
    assert of_folder == of_file
    assert of_folder["alarms"] > 0
    code, said = answer(capfdbinary, "replay", merged)
    assert (code, said["missing"], said["verification"]["differences"]) == (0, [], 0)
    assert run_app(["recording", "repair", str(folder.path), "-o", str(tmp_path / "x.mcap")]) == 2
    assert "give the segment that is damaged" in capfdbinary.readouterr().err.decode()


def test_a_cut_of_a_folder_that_is_being_written_is_not_damaged(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    records = whole(made)
    folder.add(records[:100])
    folder.add(records[100:])
    last = segments_in(folder.path)[-1]
    last.write_bytes(last.read_bytes()[: Recording(last).index.start])
    part = str(tmp_path / "part.mcap")
    code, said = answer(capfdbinary, "recording", "cut", str(folder.path), "--from", "20", "-o", part)
    assert (code, said["open"], said["damage"]) == (0, True, [])
    assert answer(capfdbinary, "replay", part)[1]["damage"] == []
    code, said = answer(capfdbinary, "recording", "cut", str(last), "-o", part)
    assert (code, said["open"], len(said["damage"])) == (1, False, 1), "a file by itself was cut off"


def test_a_repaired_segment_names_what_its_damage_cost(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    records = whole(made)
    path, metadata = tmp_path / "run.mcap", folder._metadata
    with RecordingWriter(path, attachments=folder._attachments, metadata=metadata) as writer:
        for number, record in enumerate(records):
            writer.write(record, T0 + number)
            if number % 40 == 39:
                writer.flush()
    raw = bytearray(path.read_bytes())
    raw[Recording(path).index.chunks[2].at + 200] ^= 0xFF
    path.write_bytes(raw)
    sound = str(tmp_path / "sound.mcap")
    assert answer(capfdbinary, "recording", "repair", str(path), "-o", sound)[0] == 1
    code, said = answer(capfdbinary, "replay", sound)
    assert (code, said["damage"]) == (1, [])
    lost = [record for record in records[80:120] if record.topic == "events"]
    assert sum(one["records"] for one in said["missing"]) == len(lost) > 0
    assert said["verification"]["differences"] == 0
    assert said["verification"]["not_compared"] > 0


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert run_app(["replay", str(tmp_path)]) == 2
    assert run_app(["recording", "info", str(tmp_path)]) == 2


def spoil(segment: Path, how: str) -> None:
    """Leave nothing of a segment that can be read."""
    data = segment.read_bytes()
    if how == "no magic":
        segment.write_bytes(b"\0" * 8 + data[8:])
    elif how == "empty":
        segment.write_bytes(b"")
    elif how == "cut off in its head":
        segment.write_bytes(data[:60])
    else:  # what no permission gives: an error of the system, also for root
        segment.unlink()
        segment.mkdir()


@pytest.mark.parametrize("how", ["no magic", "empty", "cut off in its head", "system error"])
def test_a_segment_of_which_nothing_can_be_read_is_a_gap(
    how: str, made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = whole(made)
    for at in range(0, len(records), 50):
        folder.add(records[at : at + 50])
    lost = segments_in(folder.path)[1]
    inputs = [record for record in records[50:100] if record.topic == "events"]
    spoil(lost, how)

    code, said = answer(capfdbinary, "replay", str(folder.path))
    assert code == 1
    assert [line for line in said["damage"] if lost.name in line] == said["damage"]
    assert sum(one["records"] for one in said["missing"]) == len(inputs)
    assert said["verification"]["differences"] == 0
    assert said["verification"]["not_compared"] > 0
    if how == "no magic":
        assert answer(capfdbinary, "replay", str(folder.path), "--jobs", "2") == (code, said)

    code, info = answer(capfdbinary, "recording", "info", str(folder.path))
    (segment,) = [one for one in info["segments"] if one["damage"]]
    assert (code, segment["file"], segment["records"], segment["open"]) == (1, lost.name, 0, False)
    assert sum(one["records"] for one in info["gaps"] if one["topic"] == "events") == len(inputs)

    code, checked = answer(capfdbinary, "recording", "check", str(folder.path))
    (file,) = [one for one in checked["files"] if one["damage"]]
    assert (code, file["file"], file["index"], file["attachments"]) == (1, str(lost), [], [])
    assert sum(hole["records"] for hole in checked["holes"] if hole["topic"] == "events") == len(inputs)

    assert checked["unknown_behind"] == []  # the head of the segment behind it says

    copy = folder.path.parent / "copy.mcap"
    code, cut = answer(capfdbinary, "recording", "cut", str(folder.path), "--from", "1", "-o", str(copy))
    assert (code, len(cut["damage"])) == (1, 1)
    code, again = answer(capfdbinary, "replay", str(copy))
    assert (code, again["missing"][0]["records"]) == (1, said["missing"][0]["records"])


def test_a_folder_may_begin_or_end_with_an_unreadable_segment(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = whole(made)
    for at in range(0, len(records), 100):
        folder.add(records[at : at + 100])
    first, *others = segments_in(folder.path)
    spoil(others[-1], "no magic")
    code, said = answer(capfdbinary, "replay", str(folder.path))
    assert (code, len(said["damage"]), said["verification"]["differences"]) == (1, 1, 0)
    code, checked = answer(capfdbinary, "recording", "check", str(folder.path))
    assert (code, checked["missing"], checked["unknown_behind"]) == (1, 0, [str(others[-1])])
    spoil(first, "no magic")
    code, said = answer(capfdbinary, "replay", str(folder.path), "--no-verify")
    assert (code, len(said["damage"])) == (1, 2)
    assert said["inputs"] > 0
    code, info = answer(capfdbinary, "recording", "info", str(folder.path))
    assert (code, info["site"]) == (1, load_site(made[0]).name)
    assert [bool(one["damage"]) for one in info["segments"]] == [True, *([False] * (len(others) - 1)), True]
    code, _ = answer(
        capfdbinary, "recording", "strip", str(folder.path), "-o", str(folder.path.parent / "bare.mcap")
    )
    assert code == 1


def test_a_log_that_was_rolled_in_an_unreadable_segment_is_compared_up_to_there(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = whole(made)
    folder.add(records[:50])
    folder.add(records[50:100])
    folder.begin_log("two", records[100:])
    folder.add(records[100:])
    spoil(segments_in(folder.path)[1], "no magic")
    code, said = answer(capfdbinary, "replay", str(folder.path))
    assert (code, len(said["damage"]), said["verification"]["differences"]) == (1, 1, 0)
    assert said["verification"]["not_compared"] > 0


def test_where_no_segment_can_be_read_each_is_named(
    made: Made, folder: Folder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder.add(whole(made)[:100])
    folder.add(whole(made)[100:])
    for segment in segments_in(folder.path):
        spoil(segment, "no magic")
    code, said = answer(capfdbinary, "recording", "check", str(folder.path))
    assert (code, [one["file"] for one in said["findings"]]) == (
        2,
        [str(s) for s in segments_in(folder.path)],
    )
