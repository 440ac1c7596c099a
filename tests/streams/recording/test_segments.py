"""Segments of a folder: where they end and go on, and what of the log nobody recorded between them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rules.engine.outputs import Alarm, Entry
from rules.errors import ConfigurationError, UnreachableError
from rules.site.model import Site
from streams.bus.memory import MemoryBus
from streams.record import Message, TopicPartition
from streams.recorder.incidents import incidents_in
from streams.recorder.recorder import run
from streams.recording.missing import MissingRecords
from streams.recording.recorded_site import recorded_rules
from streams.recording.recording import Recording
from streams.recording.segments import (
    begin_ns,
    head_positions,
    last_segment,
    segment_name,
    segments_in,
    with_segments,
)
from streams.rule_sets.rule_set import RuleSet, activation, rule_set_message
from streams.site_folder import load_site
from streams.snapshots import Snapshot, log_ids, snapshot_messages
from streams.wire import encode_input, encode_output
from tests.streams.recorder.recorders import SITE, Recorder, bus_with_topics, events_of, in_partitions, send

S = 1_000_000_000
T0 = 1_795_782_615 * S


def test_names_say_when_and_sort_by_it() -> None:
    name = segment_name(1_795_782_615_123_999_999)
    assert name == "20261127T123015.123Z.mcap"
    assert begin_ns(Path("kept") / name) == 1_795_782_615_123_000_000
    assert segment_name(1_795_782_615_124_000_000) > name


async def test_segments_end_by_size_and_nothing_is_lost_or_twice_at_their_borders(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    recorder = Recorder(tmp_path, bus, segment_mb=0.02)
    async with asyncio.timeout(120):
        for turn in range(3):
            await send(bus, 400)
            while not recorder.folder.exists() or len(segments_in(recorder.folder)) < turn + 2:
                await asyncio.sleep(0.01)
    await recorder.stop()
    files = segments_in(recorder.folder)
    assert [file.stat().st_size > 20_000 for file in files[:-1]] == [True] * (len(files) - 1)
    assert in_partitions(events_of(files)) == in_partitions(bus.records("events"))
    reached: dict[TopicPartition, int] = {}
    for file in files:
        recording = Recording(file)
        assert all(head_positions(recording)[place] == offset for place, offset in reached.items())
        assert recording.attachments["site.yaml"] == SITE.encode()
        assert recording.metadata["site"] == "small"
        for one in recording.records():
            reached[TopicPartition(one.topic, one.partition)] = one.offset + 1
        assert recording.damage == []


async def test_a_segment_ends_when_it_is_old(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    recorder = Recorder(tmp_path, bus, segment_s=0.001)
    await send(bus, 4)
    async with asyncio.timeout(60):
        while not recorder.folder.exists() or len(segments_in(recorder.folder)) < 2:
            await asyncio.sleep(0.01)
    await recorder.stop()
    assert len(events_of(segments_in(recorder.folder))) == 4


async def test_it_carries_the_rules_that_rule_at_its_beginning(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    producer = await bus.producer("test")
    old, new, newest = (RuleSet({"site.yaml": SITE, "rules/a.yaml": text}) for text in ("", "#", "##"))
    site = load_site_of(tmp_path)
    for one in (new, old):
        await (await producer.send(rule_set_message(one)))
    recorder = Recorder(tmp_path, bus, segment_s=0.001)
    await recorder.until(3)
    await (await producer.send(rule_set_message(newest)))  # published, not yet activated
    await (await producer.send(taken_up(new, 7)))
    await (await producer.send(encode_input(activation(site, "hall", newest.digest, 8), 2)))  # and refused
    await recorder.until(6)
    before = segments_in(recorder.folder)[-1]
    async with asyncio.timeout(60):
        while segments_in(recorder.folder)[-1] == before:
            await asyncio.sleep(0.01)
    await recorder.stop()
    files = segments_in(recorder.folder)
    assert recorded_rules(Recording(files[0])) == old  # the newest of the log
    assert recorded_rules(Recording(files[-1])) == new
    for rules in (new, old):  # the old ones are activated, in a segment that began under the new ones
        again = Recorder(tmp_path, bus)
        await (await producer.send(taken_up(old, 9)))
        await again.until(1)
        await again.stop()
        assert recorded_rules(Recording(segments_in(recorder.folder)[-1])) == rules


def taken_up(rule_set: RuleSet, at_ns: int) -> Message:
    """The line of the journal of a unit that has taken it up."""
    entry = Entry(
        f"hall:activation:{at_ns}:1:0", "hall", "activation", at_ns, {"rules_digest": rule_set.digest}
    )
    return encode_output(entry, 2)


def load_site_of(folder: Path) -> Site:
    (folder / "site.yaml").write_text(SITE)
    return load_site(folder)


async def test_who_starts_again_goes_on_behind_the_last_segment(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 10)
    first = Recorder(tmp_path, bus)
    await first.until(11)
    await first.stop()
    await send(bus, 6)
    second = Recorder(tmp_path, bus)
    await second.until(6)
    await second.stop()
    files = segments_in(second.folder)
    assert [len(events_of([file])) for file in files] == [10, 6]
    assert in_partitions(events_of(files)) == in_partitions(bus.records("events"))


async def test_what_the_log_has_forgotten_meanwhile_is_a_gap(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 10)
    first = Recorder(tmp_path, bus)
    await first.until(11)
    await first.stop()
    await send(bus, 10)
    bus.truncate(TopicPartition("events", 0), 8)
    second = Recorder(tmp_path, bus)
    await second.until(7)
    await second.stop()
    missing = MissingRecords({"events"})
    for file in segments_in(second.folder):
        recording = Recording(file)
        missing.begin(recording, is_intact=True)
        for log_ns, one in recording.timed_records({"events"}):
            missing.pass_by((one.topic, one.partition), one.offset, log_ns, is_intact=True)
        missing.end(recording)
    (gap,) = missing.spans.values()
    assert (gap.partition, gap.records, gap.first_offset, gap.last_offset) == (0, 3, 5, 7)
    begins = [begin_ns(file) for file in segments_in(second.folder)]
    assert begins[0] <= gap.from_ns <= gap.to_ns
    assert gap.to_ns >= begins[1]


KILLED = """
import os, signal, sys
from pathlib import Path
from streams.record import Record, TopicPartition
from streams.recording.recording import RecordingWriter
from streams.recording.segments import head
folder = Path(sys.argv[1])
writer = RecordingWriter(
    folder / "20261127T123015.123Z.mcap",
    attachments={"site.yaml": b"name: small"},
    metadata=head({TopicPartition("events", 0): 5, TopicPartition("events", 1): 3}, ["one"], ""),
)
for offset in range(1000):
    writer.write(Record("events", 0, offset + 5, 1, b"hall", b"{}", ()), offset)
    if offset == 700:
        writer.flush()
(folder / "20261127T124015.123Z.mcap.new").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_segment_whose_recorder_was_killed_is_made_whole_up_to_its_last_chunk(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == -9
    (file,) = segments_in(tmp_path)
    before = list(Recording(file).timed_records())
    last = last_segment(tmp_path)
    assert last is not None
    assert last.positions == {TopicPartition("events", 0): 706, TopicPartition("events", 1): 3}
    assert last.logs == {"one"}
    recording = Recording(file)
    assert list(recording.timed_records()) == before
    assert recording.damage == []
    assert recording.attachments == {"site.yaml": b"name: small"}
    assert list(tmp_path.iterdir()) == [file]  # what had no head is gone


def test_a_segment_that_was_made_whole_is_on_the_disk_before_it_takes_the_place_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    done: list[tuple[str, int, int]] = []

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        done.append(("synced", found.st_ino, found.st_size))

    def replace(new: Path, old: Path) -> Path:
        found = new.stat()
        done.append(("replaced", found.st_ino, found.st_size))
        return new.rename(old)

    monkeypatch.setattr(os, "fdatasync", note)
    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Path, "replace", replace)
    last_segment(tmp_path)
    (file,) = segments_in(tmp_path)
    whole = file.stat()
    folder = tmp_path.stat()
    assert done[-3:] == [
        ("synced", whole.st_ino, whole.st_size),
        ("replaced", whole.st_ino, whole.st_size),
        ("synced", folder.st_ino, folder.st_size),
    ]


def test_a_damaged_segment_is_left_as_it_is(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (file,) = segments_in(tmp_path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :] = b"\x06" + bytes(
        len(data) // 2
    )  # inside the only chunk: nothing of it can be read
    file.write_bytes(data + bytes(50) + data)
    damaged = file.read_bytes()
    last_segment(tmp_path)
    assert file.read_bytes() == damaged


async def test_a_fresh_log_is_recorded_from_its_start_and_what_nobody_has_is_said(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 10)
    first = Recorder(tmp_path, bus)
    await first.until(11)
    await first.stop()
    bus.replace_log()
    await log_ids(bus, await bus.producer("worker"))
    await send(bus, 30)  # more than the old log had: its offsets alone would not tell
    second = Recorder(tmp_path, bus)
    await second.until(31)
    await second.stop()
    begin = Recording(segments_in(second.folder)[-1])
    assert len(list(begin.records({"events"}))) == 30
    assert "not known for hall" in begin.metadata["missed"]


@pytest.mark.parametrize(("next_offset", "missed"), [(5, ""), (9, "4 inputs of the old one")])
async def test_the_snapshots_of_a_rolled_log_say_whether_all_was_recorded(
    next_offset: int, missed: str, tmp_path: Path
) -> None:
    bus = await bus_with_topics()
    (old,) = await log_ids(bus, await bus.producer("worker"))
    await send(bus, 10)
    recorder = Recorder(tmp_path, bus)
    await recorder.until(11)
    bus.replace_log()
    producer = await bus.producer("worker")
    await log_ids(bus, producer)
    chunks, manifest = snapshot_messages(Snapshot("hall", 1, next_offset, old, "", "", b"state"), 2)
    for message in (*chunks, manifest):
        await (await producer.send(message))
    await send(bus, 4)
    await recorder.until(18)
    await recorder.stop()
    begins = [Recording(file).metadata.get("missed", "") for file in segments_in(recorder.folder)]
    assert begins[0] == ""
    assert [bool(said) for said in begins] == [False, bool(missed)]
    assert missed in begins[1]
    assert len(events_of(segments_in(recorder.folder))) == 14


async def say_alarm(bus: MemoryBus) -> None:
    producer = await bus.producer("worker")
    alarm = Alarm("a:1", "hall", "slow", "P-1", "high", "unacknowledged", "a:1", 5, None, 1.0, "slow")
    await (await producer.send(encode_output(alarm, 2)))


async def test_an_alarm_of_high_severity_is_marked_beside_the_segments(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await say_alarm(bus)
    recorder = Recorder(tmp_path, bus, incident_before_s=60, incident_after_s=120)
    await recorder.until(2)
    await recorder.stop()
    (incident,) = incidents_in(recorder.folder)
    assert incident.to_ns - incident.from_ns == 180_000_000_000
    assert [one["id"] for one in incident.alarms] == ["a:1"]


async def test_an_incident_is_kept_though_the_names_of_segments_are_ahead_of_the_clock(
    tmp_path: Path,
) -> None:
    bus = await bus_with_topics()
    for ahead_ns in (7200 * S, 0):
        recorder = Recorder(tmp_path, bus, incident_before_s=60, incident_after_s=60)
        recorder.context.clock = lambda ahead_ns=ahead_ns: T0 + ahead_ns  # type: ignore[misc]
        await recorder.until(1)
        await recorder.stop()
        await say_alarm(bus)  # for the second one
    (incident,) = incidents_in(recorder.folder)
    _, file = segments_in(recorder.folder)
    assert [record.topic for record in Recording(file).records()] == ["alarms"]
    assert incident.from_ns <= begin_ns(file) <= incident.to_ns


@pytest.mark.parametrize("left", [None, b""])
async def test_a_mark_that_a_power_cut_took_is_made_again(tmp_path: Path, left: bytes | None) -> None:
    bus = await bus_with_topics()
    await say_alarm(bus)
    recorder = Recorder(tmp_path, bus)
    await recorder.until(2)
    await recorder.stop()
    before = incidents_in(recorder.folder)
    if left is None:
        before[0].file.unlink()
    else:
        before[0].file.write_bytes(left)
    again = Recorder(tmp_path, bus)
    await again.stop()
    assert incidents_in(recorder.folder) == before


def test_a_folder_stands_for_its_segments(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("20261127T124015.123Z.mcap", "20261127T123015.123Z.mcap", "notes.txt", "run.mcap"):
        (tmp_path / "kept" / name).touch()
    files = with_segments([tmp_path / "run.mcap", tmp_path / "kept"])
    assert [file.name for file in files] == [
        "run.mcap", "20261127T123015.123Z.mcap", "20261127T124015.123Z.mcap",
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match="no segments"):
        with_segments([tmp_path])


async def test_a_second_recorder_of_a_folder_is_refused(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    first = Recorder(tmp_path, bus)
    await first.until(1)
    with pytest.raises(UnreachableError, match="another recorder"):
        await Recorder(tmp_path, bus).stop()
    await first.stop()
    await Recorder(tmp_path, bus).stop()


async def test_a_folder_of_another_site_is_refused(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 2)
    first = Recorder(tmp_path, bus)
    await first.until(3)
    await first.stop()
    (tmp_path / "site.yaml").write_text(SITE.replace("small", "large"))
    first.context.site = load_site(tmp_path)
    first.context.stop.clear()
    with pytest.raises(ConfigurationError, match="site 'small'"):
        await run(first.context)
