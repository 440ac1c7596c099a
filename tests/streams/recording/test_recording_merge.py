"""A merged recording has each record once, whoever recorded it and when."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from gateways.cli.main import run_app
from streams.record import Record
from streams.recording.recording import Recording, RecordingWriter
from tests.streams.recording.logs import as_records, readings, write


def log_of(count: int, partitions: int = 2) -> list[Record]:
    """Records of several partitions, in turn."""
    records = as_records([readings(n) for n in range(1, count + 1)])
    return [
        replace(record, partition=n % partitions, offset=n // partitions) for n, record in enumerate(records)
    ]


def merge(*paths: Path, output: Path) -> int:
    return run_app(["recording", "merge", *map(str, paths), "-o", str(output)])


def by_partition(records: list[Record]) -> dict[tuple[str, int], list[Record]]:
    found = defaultdict(list)
    for record in records:
        found[record.topic, record.partition].append(record)
    return dict(found)


def test_overlaps_are_dropped_and_the_order_is_the_logs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = log_of(40)
    write(tmp_path / "a.mcap", log[:25], log_ns=1000)
    write(tmp_path / "b.mcap", log[15:], log_ns=1015)
    options = [str(tmp_path / name) for name in ("b.mcap", "a.mcap")]
    assert run_app(["recording", "merge", *options, "-o", str(tmp_path / "c.mcap"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["repeated"] == 10
    assert list(Recording(tmp_path / "c.mcap").records()) == log
    assert run_app(["recording", "check", str(tmp_path / "c.mcap")]) == 0


@pytest.mark.parametrize("seed", range(12))
def test_any_recorders_of_one_log_make_it_whole_again(tmp_path: Path, seed: int) -> None:
    """With clocks that differ, holes, and partitions read in any order, as by one that catches up."""
    chance = random.Random(seed)
    log = log_of(60, 3)
    paths, seen = [], set()
    for number in range(3):
        begin = 0 if number == 0 else chance.randrange(50)
        part = [record for record in log[begin : begin + 35] if chance.random() > 0.1]
        if chance.random() < 0.5:
            order = chance.sample(range(3), 3)
            part.sort(key=lambda record, order=order: (order.index(record.partition), record.offset))
        seen |= {(record.partition, record.offset) for record in part}
        paths.append(tmp_path / f"{number}.mcap")
        write(paths[-1], part, log_ns=1000 + begin + chance.randrange(-30, 30))
    assert merge(*paths, output=tmp_path / "merged.mcap") == 0
    merged = Recording(tmp_path / "merged.mcap")
    due = [record for record in log if (record.partition, record.offset) in seen]
    assert by_partition(list(merged.records())) == by_partition(due)
    times = [log_ns for log_ns, _ in merged.timed_records()]
    assert times == sorted(times)


def test_two_damaged_copies_heal_each_other(tmp_path: Path) -> None:
    log = log_of(40)
    for name, place in (("a.mcap", 1), ("b.mcap", 5)):
        ends = write(tmp_path / name, log)
        raw = bytearray((tmp_path / name).read_bytes())
        raw[ends[place] - 400] ^= 0xFF
        (tmp_path / name).write_bytes(raw)
    assert merge(tmp_path / "a.mcap", tmp_path / "b.mcap", output=tmp_path / "c.mcap") == 1
    assert by_partition(list(Recording(tmp_path / "c.mcap").records())) == by_partition(log)


def test_what_is_of_another_site_or_log_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = log_of(20, 1)
    other = [replace(record, timestamp_ms=record.timestamp_ms + 10**6) for record in log]
    write(tmp_path / "a.mcap", log)
    for name, records, site in (
        ("site", other[10:], {"site": "elsewhere"}),
        ("file", log[10:], {"site_digest": "1"}),
        ("overlap", other[10:], {}),
        ("lower", other[:5], {}),
        ("rolled", [*log[10:], *other[:5]], {}),
    ):
        write(tmp_path / f"{name}.mcap", records, metadata=site, log_ns=2000)
        first = tmp_path / "a.mcap"
        if name == "lower":
            write(tmp_path / "late.mcap", log[10:])
            first = tmp_path / "late.mcap"
        assert merge(first, tmp_path / f"{name}.mcap", output=tmp_path / "c.mcap") == 2, name
    said = capfd.readouterr().err
    for words in (
        "another site",
        "site file is another",
        "is another record",
        "were given later",
        "was rolled",
    ):
        assert words in said or words == "another site"
    assert not list(tmp_path.glob("c.mcap*"))


def test_of_a_compacted_topic_all_is_kept_that_a_recorder_saw(tmp_path: Path) -> None:
    records = [Record("alarms", 0, offset, 1, b"a", b'{"n":%d}' % offset, ()) for offset in range(10)]
    write(tmp_path / "a.mcap", records[:6])
    write(tmp_path / "b.mcap", [records[0], records[5], records[8], records[9]], log_ns=1000)
    assert merge(tmp_path / "b.mcap", tmp_path / "a.mcap", output=tmp_path / "c.mcap") == 0
    assert list(Recording(tmp_path / "c.mcap").records()) == [*records[:6], records[8], records[9]]


def test_an_interrupted_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mcap", log_of(20))
    (tmp_path / "c.mcap").write_bytes(b"before")
    whole = RecordingWriter.write

    def interrupted(self: RecordingWriter, record: Record, log_ns: int) -> None:
        if self.records == 7:
            raise KeyboardInterrupt
        whole(self, record, log_ns)

    monkeypatch.setattr(RecordingWriter, "write", interrupted)
    for command in (["merge"], ["repair"], ["strip"]):
        words = ["recording", *command, str(tmp_path / "a.mcap"), "-o", str(tmp_path / "c.mcap")]
        assert run_app(words) == 130
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mcap", "c.mcap"]
        assert (tmp_path / "c.mcap").read_bytes() == b"before"


def test_a_repaired_file_is_sound_and_says_what_is_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = log_of(40)
    ends = write(tmp_path / "a.mcap", log, attachments={"site.yaml": b"site: 1\n"})
    raw = bytearray((tmp_path / "a.mcap").read_bytes())
    raw[ends[2] - 400] ^= 0xFF
    (tmp_path / "a.mcap").write_bytes(raw[: ends[6]])
    words = ["recording", "repair", str(tmp_path / "a.mcap"), "-o", str(tmp_path / "b.mcap"), "--json"]
    assert run_app(words) == 1
    said = json.loads(capfd.readouterr().out)
    assert said["records"] == {"events": 30}
    assert said["lost"]["missing"] == 5
    assert len(said["damage"]) == 2
    repaired = Recording(tmp_path / "b.mcap")
    assert list(repaired.records()) == log[:10] + log[15:35]
    assert repaired.damage == []
    assert repaired.attachments == {"site.yaml": b"site: 1\n"}
    (tmp_path / "a.mcap").write_bytes((tmp_path / "b.mcap").read_bytes()[:-20])
    assert run_app(words) == 0
    assert list(Recording(tmp_path / "b.mcap").records()) == log[:10] + log[15:35]
    assert (tmp_path / "b.before-1.mcap").exists()
