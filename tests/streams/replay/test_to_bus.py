"""A recording into a log: into which one, with which mark, and what of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rules.errors import ConfigurationError, UnreachableError
from streams.bus.memory import MemoryBus
from streams.record import Message, Record, TopicPartition
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import Recording, RecordingWriter
from streams.replay.start import WHOLE, Part
from streams.replay.to_bus import Fed, Watch, feed, open_log
from streams.replay_mark import Mark, is_replayed, mark_log, replay_of
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from streams.topics import (
    ALARMS,
    COMMANDS,
    EVENTS,
    JOURNAL,
    REPLAY_MARK,
    SNAPSHOTS,
    STATUS,
    TOPICS,
    partition_of,
)
from streams.wire import decode_input
from tests.streams.replay.conftest import T0, S

Made = tuple[Path, list[Record]]


@pytest.fixture
def recording(tmp_path: Path, made: Made) -> Recording:
    """That of `made`, with a status, a snapshot and a record of a topic that no site has."""
    site = load_site(made[0])
    attachments = site_attachments(rule_set_of(made[0], site))
    others = [
        Record(topic, 0, 0, 1, b"row-a:a:0000", b"{}", ())
        for topic in (STATUS.name, SNAPSHOTS.name, "somebody-elses")
    ]
    path = tmp_path / "run.mcap"
    with RecordingWriter(
        path, attachments=attachments, metadata=recording_metadata(site, attachments)
    ) as writer:
        for number, record in enumerate([*made[1], *others]):
            writer.write(record, number)
    return Recording(path)


async def fed_into(
    bus: MemoryBus, recording: Recording, part: Part = WHOLE, watch: Watch | None = None
) -> Fed:
    mark = await open_log(bus, [recording], "run.mcap", 3)
    return await feed([recording], bus, mark, part, watch)


def of_unit(records: list[Record], topic: str, unit: str) -> list[tuple[bytes | None, bytes | None]]:
    return [
        (r.key, r.value)
        for r in records
        if r.topic == topic and (r.key or b"").split(b":")[0].decode() == unit
    ]


@pytest.mark.parametrize("partitions", [1, 3, 7])
async def test_each_unit_has_its_records_in_their_order_on_its_partition(
    made: Made, recording: Recording, partitions: int
) -> None:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, partitions)
    fed = await fed_into(bus, recording)
    assert fed.partitions == partitions
    for topic in (EVENTS.name, ALARMS.name, COMMANDS.name, JOURNAL.name):
        records = bus.records(topic)
        assert fed.records[topic] == len(records) > 0
        for unit in ("row-a", "row-b"):
            assert of_unit(records, topic, unit) == of_unit(made[1], topic, unit)
            assert {r.partition for r in records if (r.key or b"").startswith(unit.encode())} == {
                partition_of(unit, partitions)
            }
    assert fed.left_out == {"snapshots": 1, "of no topic of a site": 1}
    assert fed.records[STATUS.name] == 1
    assert (fed.first_ns, fed.last_ns) == (T0, T0 + 89 * S)


async def test_every_record_and_the_log_itself_say_that_it_is_a_replay(recording: Recording) -> None:
    bus = MemoryBus()
    assert await replay_of(bus) is None
    await fed_into(bus, recording)
    for topic in (*TOPICS, REPLAY_MARK):
        for record in bus.records(topic.name):
            assert dict(record.headers)["replay"] == b"run.mcap"
    assert await replay_of(bus) == Mark("run.mcap", has_facts=False)


async def test_the_mark_is_there_before_the_first_record(recording: Recording) -> None:
    bus = MemoryBus()
    await open_log(bus, [recording], "run.mcap", 3)
    assert [topic.name for topic in TOPICS if bus.records(topic.name)] == []
    assert (await replay_of(bus)) is not None


async def test_what_retention_takes_and_what_nobody_can_read_leaves_the_mark(recording: Recording) -> None:
    bus = MemoryBus()
    await bus.create_topics([REPLAY_MARK], 1)
    assert await replay_of(bus) is None, "that somebody names the topic makes no replay of a plant's log"
    producer = await bus.producer("somebody")
    await (await producer.send(Message(REPLAY_MARK.name, 0, None, b"?")))
    assert await replay_of(bus) is not None
    bus.truncate(TopicPartition(REPLAY_MARK.name, 0), 1)
    assert await replay_of(bus) is not None
    bus.go_away()
    with pytest.raises(UnreachableError):
        await replay_of(bus)


@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS])
async def test_a_log_that_has_had_a_record_is_refused(recording: Recording, topic: str) -> None:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 3)
    producer = await bus.producer("a site")
    await (await producer.send(Message(topic, 0, b"key", b"{}")))
    bus.truncate(TopicPartition(topic, 0), 1)
    with pytest.raises(ConfigurationError, match=f"in use.*'{topic}' has had 1 records"):
        await open_log(bus, [recording], "run.mcap", 3)
    assert await replay_of(bus) is None


async def test_a_replays_log_takes_another_of_the_same_kind(recording: Recording) -> None:
    bus = MemoryBus()
    await fed_into(bus, recording)
    once = len(bus.records(EVENTS.name))
    await fed_into(bus, recording)
    assert len(bus.records(EVENTS.name)) == 2 * once
    await mark_log(bus, Mark("other.mcap", has_facts=True))
    with pytest.raises(ConfigurationError, match=r"other\.mcap"):
        await open_log(bus, [recording], "run.mcap", 3)


async def test_a_part_ends_with_what_was_said_to_it(made: Made, recording: Recording) -> None:
    bus = MemoryBus()
    to_ns = (
        T0 + 12 * S + 5000
    )  # the pumps are slow from second 10 on: said at the tick of second 13, raised at 12
    fed = await fed_into(bus, recording, Part(T0 + 5 * S, to_ns, ("row-a",)))
    inputs = [decode_input(r.key, r.headers, r.value) for r in bus.records(EVENTS.name)]
    assert {value.unit for value in inputs} == {"row-a"}
    assert fed.first_ns == T0, "what lies before the part goes along, for the state at its beginning"
    assert fed.last_ns == T0 + 12 * S
    raised = [json.loads(r.value or b"")["body"]["raised_ns"] for r in bus.records(ALARMS.name)]
    assert raised
    assert max(raised) <= to_ns
    recorded = [r for r in made[1] if r.topic == ALARMS.name and (r.key or b"").startswith(b"row-a")]
    early = [r for r in recorded if json.loads(r.value or b"")["body"]["raised_ns"] <= to_ns]
    assert len(raised) == len([r for r in early if json.loads(r.value or b"")["body"]["cleared_ns"] is None])
    assert fed.left_out["of other units"] > 0


async def test_it_stops_where_it_is_told_to(recording: Recording) -> None:
    heard: list[int] = []

    async def watch(event_ns: int) -> bool:
        heard.append(event_ns)
        return event_ns < T0 + 20 * S

    bus = MemoryBus()
    fed = await fed_into(bus, recording, watch=watch)
    assert fed.is_partial
    assert fed.last_ns == T0 + 19 * S
    assert max(heard) == T0 + 20 * S
    assert fed.records[EVENTS.name] == len(bus.records(EVENTS.name))


async def test_what_a_broker_does_not_take_is_said(recording: Recording) -> None:
    bus = MemoryBus()
    mark = await open_log(bus, [recording], "run.mcap", 3)

    async def watch(event_ns: int) -> bool:
        if event_ns == T0 + 30 * S:
            bus.go_away()
        return True

    with pytest.raises(UnreachableError, match=r"[1-9]\d* records were sent"):
        await feed([recording], bus, mark, WHOLE, watch)


async def test_what_is_missing_from_a_damaged_recording_is_said(made: Made, tmp_path: Path) -> None:
    path, ends = tmp_path / "damaged.mcap", []
    records = made[1][:-1]  # the last one has an offset far behind
    with RecordingWriter(path) as writer:
        for number, record in enumerate(records):
            writer.write(record, number)
            if number % 100 == 99:
                writer.flush()
                ends.append(path.stat().st_size)
    raw = bytearray(path.read_bytes())
    raw[(ends[0] + ends[1]) // 2] ^= 0xFF
    path.write_bytes(raw)
    bus = MemoryBus()
    fed = await fed_into(bus, Recording(path))
    lost = [record for record in records[100:200] if record.topic == EVENTS.name]
    assert fed.damage
    assert sum(one.records for one in fed.missing.values()) == len(lost) > 50
    events = [record for record in records if record.topic == EVENTS.name]
    assert fed.records[EVENTS.name] == len(bus.records(EVENTS.name)) == len(events) - len(lost)


async def test_a_recording_of_a_replay_keeps_its_mark(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "again.mcap"
    with RecordingWriter(path) as writer:
        for number, record in enumerate(made[1]):
            headers = (*record.headers, ("replay", b"first.mcap"))
            writer.write(
                Record(
                    *(record.topic, record.partition, record.offset, 1, record.key, record.value), headers
                ),
                number,
            )
    bus = MemoryBus()
    mark = await open_log(bus, [Recording(path)], "again.mcap", 3)
    await feed([Recording(path)], bus, mark, WHOLE)
    events = bus.records(EVENTS.name)
    assert {[value for name, value in r.headers if name == "replay"][-1] for r in events} == {b"first.mcap"}
    assert all(is_replayed(record.headers) for record in events)
