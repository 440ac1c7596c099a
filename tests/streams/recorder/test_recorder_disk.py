"""The recorder and its disk: full, failing, and what it says of the room that is left."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from rules.engine.inputs import Readings
from rules.errors import UnreachableError
from streams.recorder.recorder import record, run
from streams.recording.recording import Recording, RecordingWriter
from streams.recording.segments import segment_name, segments_in
from streams.wire import decode_input
from tests.streams.recorder.recorders import SITE, Recorder, bus_with_topics, events_of, in_partitions, send

RECORDED_NS = 1_795_782_615_123_000_000
WITH_POINT = SITE.replace("{range: 0..100 %}", "{range: 0..100 %, source: plc}").replace(
    "units:", "  recorder: {kind: recorder, period: 10 ms}\nunits:"
) + (
    "      REC-1:\n        type: System\n        points: {FreeSpace: {range: 0..10000 MB, source: recorder}}\n"
)


def disk_with(monkeypatch: pytest.MonkeyPatch, free_mb: float) -> dict[str, float]:
    """What the disk has left, to be changed by the test."""
    left = {"mb": free_mb}
    monkeypatch.setattr("streams.recorder.retention.free_bytes", lambda _: round(left["mb"] * 1e6))
    return left


async def test_a_full_disk_ends_the_segment_and_recording_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await bus_with_topics()
    disk = disk_with(monkeypatch, 200)
    recorder = Recorder(tmp_path, bus, reserve_mb=100)
    await send(bus, 10)
    await recorder.until(11)
    disk["mb"] = 99
    async with asyncio.timeout(60):
        while not recorder.context.metrics.get("disk_full"):
            await asyncio.sleep(0.01)
    (file,) = segments_in(recorder.folder)
    assert Recording(file).damage == []
    assert "recording stops: the disk has less" in caplog.text
    await send(bus, 6)
    disk["mb"] = 200
    await recorder.until(17)
    assert recorder.context.metrics["disk_full"] is False
    await recorder.stop()
    files = segments_in(recorder.folder)
    assert [len(events_of([file])) for file in files] == [10, 6]
    assert in_partitions(events_of(files)) == in_partitions(bus.records("events"))


async def test_a_recorder_that_starts_on_a_full_disk_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await bus_with_topics()
    disk = disk_with(monkeypatch, 50)
    recorder = Recorder(tmp_path, bus, reserve_mb=100)
    async with asyncio.timeout(60):
        while not recorder.context.metrics.get("disk_full"):
            await asyncio.sleep(0.01)
    assert segments_in(recorder.folder) == []
    await send(bus, 2)
    disk["mb"] = 200
    await recorder.until(3)
    await recorder.stop()
    assert len(events_of(segments_in(recorder.folder))) == 2


async def test_a_stop_on_a_full_disk_says_what_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await bus_with_topics()
    disk = disk_with(monkeypatch, 200)
    recorder = Recorder(tmp_path, bus, reserve_mb=100)
    recorder.context.options["drain_s"] = "0.1"
    await recorder.until(1)
    disk["mb"] = 99
    async with asyncio.timeout(60):
        while not recorder.context.metrics.get("disk_full"):
            await asyncio.sleep(0.01)
    await send(bus, 7)
    await recorder.stop()
    assert recorder.context.metrics["undrained"] == 7


async def test_a_write_that_fails_ends_the_recorder_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await bus_with_topics()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordingWriter, "write", full)
    await send(bus, 1)
    recorder = Recorder(tmp_path, bus)
    with pytest.raises(UnreachableError, match=r"can't be written: .*No space left"):
        await recorder.stop()


async def test_no_room_is_told_while_publishers_hold(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    recorder = Recorder(tmp_path, bus, site=WITH_POINT)
    recorder.context.settings.run_dir = tmp_path
    recorder.context.hold()
    async with asyncio.timeout(60):
        while "room_gb" not in recorder.context.metrics:
            await asyncio.sleep(0)
    await recorder.until(1)
    await recorder.stop()  # which would send what waits
    assert bus.records("events") == []


@pytest.mark.parametrize("role", [True, False])
async def test_the_role_alone_tells_the_engine_how_much_can_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: bool
) -> None:
    bus = await bus_with_topics()
    disk_with(monkeypatch, 2600)
    recorder = Recorder(tmp_path, bus, reserve_mb=100, runs=run if role else record, site=WITH_POINT)
    recorder.context.settings.run_dir = tmp_path
    recorder.context.clock = lambda: RECORDED_NS
    await recorder.until(4 if role else 1)
    await recorder.stop()
    assert [file.name for file in segments_in(recorder.folder)] == [segment_name(RECORDED_NS)]
    told = [decode_input(one.key, one.headers, one.value) for one in bus.records("events")]
    assert bool(told) == role
    for reading in told:
        assert isinstance(reading, Readings)
        assert (reading.unit, reading.points, list(reading.values), list(reading.time_ns)) == (
            "hall",
            ("REC-1.FreeSpace",),
            [2500.0],
            [RECORDED_NS],
        )


async def test_what_was_recorded_is_on_the_disk_and_not_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, list[int]] = {}

    def note(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.setdefault(status.st_ino, []).append(status.st_size)

    monkeypatch.setattr("streams.recording.recording.os.fdatasync", note)
    bus = await bus_with_topics()
    recorder = Recorder(tmp_path, bus, segment_s=0.001)
    await send(bus, 10)
    async with asyncio.timeout(60):
        while not recorder.folder.exists() or len(segments_in(recorder.folder)) < 2:
            await asyncio.sleep(0.01)
    await recorder.stop()
    files = segments_in(recorder.folder)
    assert [synced[file.stat().st_ino][-1] for file in files] == [file.stat().st_size for file in files]
    # its head, its chunk while it was open, and its end
    assert len(set(synced[files[0].stat().st_ino])) == 3
