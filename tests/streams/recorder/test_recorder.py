from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rules.errors import ConfigurationError, UnreachableError
from streams.bus.memory import MemoryBus
from streams.record import Message
from streams.recorder.recorder import run
from streams.recording.recorded_site import recorded_rules
from streams.recording.recording import Recording
from streams.recording.segments import segments_in
from streams.role import RoleContext
from streams.rule_sets.rule_set import rule_set_message
from streams.settings import Settings
from streams.site_folder import load_site
from streams.topics import TOPICS
from tests.streams.rule_sets.narrow import rule_set
from tests.support.small_sites import HALL

SITE = HALL.replace("rules: [rules]\n", "")


async def context_of(tmp_path: Path, bus: MemoryBus, **options: str) -> RoleContext:
    (tmp_path / "site.yaml").write_text(SITE)
    given = {"file": str(tmp_path / "run.mcap"), **options}
    settings = Settings(_env_file=None)
    return RoleContext(
        "recorder", load_site(tmp_path), tmp_path, settings, bus, asyncio.Event(), options=given
    )


async def bus_with_topics() -> MemoryBus:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 2)
    return bus


async def send(bus: MemoryBus, count: int, topic: str = "events") -> None:
    producer = await bus.producer("test")
    for number in range(count):
        await producer.send(
            Message(topic, number % 2, b"hall", b'{"n":%d}' % number, (("schema", b"tick/1"),))
        )
    await producer.flush()


async def recorded(context: RoleContext, count: int) -> None:
    async with asyncio.timeout(60):
        while context.metrics.get("records", 0) < count:
            await asyncio.sleep(0)


async def test_a_stop_drains_every_topic_to_its_end(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 40)
    context = await context_of(tmp_path, bus)
    task = asyncio.create_task(run(context))
    await recorded(context, 40)
    await send(bus, 30)
    await send(bus, 20, "alarms")
    context.stop.set()
    await task
    recording = Recording(tmp_path / "run.mcap")
    records = list(recording.records())
    assert [r for r in records if r.topic == "events" and r.partition == 0] == [
        r for r in bus.records("events") if r.partition == 0
    ]
    assert len(records) == 90
    assert context.metrics["topics"] == {"events": 70, "alarms": 20}
    assert context.metrics["undrained"] == 0
    assert recording.damage == []
    assert recording.attachments["site.yaml"] == SITE.encode()
    assert recording.metadata["site"] == "small"


async def test_what_is_recorded_when_is_by_the_roles_clock(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 4)
    context = await context_of(tmp_path, bus)
    context.clock = lambda: 5_000_000_000
    task = asyncio.create_task(run(context))
    await recorded(context, 4)
    context.stop.set()
    await task
    assert {log_ns for log_ns, _ in Recording(tmp_path / "run.mcap").timed_records()} == {5_000_000_000}


async def test_from_now_on_means_every_rule_set_all_the_same(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 10)
    producer = await bus.producer("test")
    old = rule_set()
    await (await producer.send(rule_set_message(old)))
    context = await context_of(tmp_path, bus, start="latest")
    task = asyncio.create_task(run(context))
    await recorded(context, 1)
    context.stop.set()
    await task
    recording = Recording(tmp_path / "run.mcap")
    assert [record.topic for record in recording.records()] == ["rule-sets"]
    assert recorded_rules(recording) == old  # not the folder's: the newest of the log


async def test_what_could_not_be_drained_is_said(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    context = await context_of(tmp_path, bus, drain_s="0.3", start="latest")
    task = asyncio.create_task(run(context))
    async with asyncio.timeout(60):
        while context.state != "ready":
            await asyncio.sleep(0)
    await send(bus, 1)
    await recorded(context, 1)
    real = bus.ends

    async def more(topic: str) -> dict[object, int]:
        return {place: end + (3 if topic == "events" else 0) for place, end in (await real(topic)).items()}

    bus.ends = more  # type: ignore[method-assign, assignment]
    context.stop.set()
    await task
    assert context.metrics["undrained"] == 6
    assert len(list(Recording(tmp_path / "run.mcap").records())) == 1


async def test_a_broker_that_is_away_at_the_stop_ends_the_file_all_the_same(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    await send(bus, 4)
    context = await context_of(tmp_path, bus)
    task = asyncio.create_task(run(context))
    await recorded(context, 4)
    bus.go_away()
    context.stop.set()
    await task
    recording = Recording(tmp_path / "run.mcap")
    assert len(list(recording.records())) == 4
    assert recording.damage == []


async def test_an_existing_file_is_moved_aside(tmp_path: Path) -> None:
    bus = await bus_with_topics()
    (tmp_path / "run.mcap").write_bytes(b"older")
    (tmp_path / "run.before-1.mcap").write_bytes(b"oldest")
    context = await context_of(tmp_path, bus)
    context.stop.set()
    await run(context)
    assert (tmp_path / "run.before-1.mcap").read_bytes() == b"oldest"
    assert (tmp_path / "run.before-2.mcap").read_bytes() == b"older"


async def test_without_a_folder_it_records_into_its_run_folder(tmp_path: Path) -> None:
    context = await context_of(tmp_path, await bus_with_topics())
    context.options.clear()
    context.settings.run_dir = tmp_path / "state" / "recorder"
    context.stop.set()
    await run(context)
    assert segments_in(tmp_path / "state" / "recorder" / "recordings")


async def test_a_run_folder_that_can_t_be_made_for_recordings_is_named(tmp_path: Path) -> None:
    context = await context_of(tmp_path, await bus_with_topics())
    context.options.clear()
    context.settings.run_dir = tmp_path / "site.yaml" / "run"
    with pytest.raises(ConfigurationError, match="HEADRACE_RUN_DIR"):
        await run(context)


async def test_without_topics_or_a_folder_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no topic events"):
        await run(await context_of(tmp_path, MemoryBus()))
    bus = await bus_with_topics()
    with pytest.raises(ConfigurationError, match="does not exist"):
        await run(await context_of(tmp_path, bus, file=str(tmp_path / "nowhere" / "run.mcap")))


KILLED = """
import os, signal, sys
from pathlib import Path
from streams.record import Record
from streams.recording.recorded_site import recorded_rules
from streams.rule_sets.rule_set import rule_set_message
from tests.streams.rule_sets.narrow import rule_set
from streams.recording.recording import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]), attachments={"site.yaml": b"name: small"})
for offset in range(1000):
    writer.write(Record("events", 0, offset, 1, b"hall", b"{}", ()), offset)
    if offset == 700:
        writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_recorder_killed_in_the_middle_leaves_a_file_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, env={**os.environ})
    assert done.returncode == -9
    recording = Recording(path)
    assert [record.offset for record in recording.records()] == list(range(701))
    assert "cut off" in recording.damage[0]
    assert recording.attachments == {"site.yaml": b"name: small"}
