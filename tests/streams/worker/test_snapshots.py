"""Snapshots on the topic: whole ones are found, everything else is told from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from rules.errors import InvariantError, UnreachableError
from streams.bus.memory import MemoryBus, MemoryReader
from streams.record import Message, Record, TopicPartition, header
from streams.snapshots import (
    CHUNK_BYTES,
    MANIFEST_SCHEMA,
    Snapshot,
    log_ids,
    log_ids_of,
    read_snapshots,
    snapshot_messages,
)
from streams.topics import EVENTS, SNAPSHOTS, TOPICS, partition_of
from streams.worker.processor import Processor
from tests.streams.worker.scenario import (
    PARTITIONS,
    UNITS,
    OneRuleSet,
    Plant,
    bus_with,
    inputs,
    readings,
    small_site,
)

LOG = "log-1"


def snapshot(number: int, state: bytes = b"state", unit: str = "row-a", **changed: object) -> Snapshot:
    made = Snapshot(unit, number, number * 10, LOG, "program-1", "site-1", state)
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


def written(made: Snapshot) -> list[Message]:
    chunks, manifest = snapshot_messages(made, PARTITIONS)
    return [*chunks, manifest]


async def found(bus: MemoryBus, native: tuple[str, ...] = (LOG,)) -> tuple[Snapshot | None, dict[str, int]]:
    result = await read_snapshots(bus, ["row-a"], PARTITIONS, native)
    return result.snapshots.get("row-a"), dict(result.rejected)


async def test_large_state_comes_back_whole_from_chunks() -> None:
    state = bytes(range(256)) * 8000
    chunks, _ = snapshot_messages(snapshot(1, state), PARTITIONS)
    assert [len(chunk.value or b"") for chunk in chunks] == [
        CHUNK_BYTES,
        CHUNK_BYTES,
        len(state) - 2 * CHUNK_BYTES,
    ]
    assert await found(await bus_with(*written(snapshot(1, state)))) == (snapshot(1, state), {})


@pytest.mark.parametrize("state", [b"", b"x", b"x" * CHUNK_BYTES])
async def test_states_at_the_edges_of_chunks(state: bytes) -> None:
    assert (await found(await bus_with(*written(snapshot(1, state)))))[0] == snapshot(1, state)


async def test_no_snapshot_at_all() -> None:
    assert await found(await bus_with()) == (None, {})


async def test_a_crash_between_chunks_leaves_the_last_one_whole() -> None:
    old, new = snapshot(4, b"o" * CHUNK_BYTES * 2), snapshot(5, b"n" * CHUNK_BYTES * 2)
    assert (await found(await bus_with(*written(old), *written(new)[:1])))[0] == old
    assert (await found(await bus_with(*written(old), *written(new)[:2])))[0] == old


async def test_compaction_between_two_chunks_keeps_the_last_whole_one() -> None:
    log = [m for number in (3, 4) for m in written(snapshot(number, bytes([number]) * CHUNK_BYTES * 2))]
    log += written(snapshot(5, b"n" * CHUNK_BYTES * 2))[:1]
    kept = list({message.key: message for message in log}.values())
    assert (await found(await bus_with(*kept)))[0] == snapshot(4, b"\4" * CHUNK_BYTES * 2)


async def test_two_writers_that_interleave_are_not_mixed_up() -> None:
    a, b = snapshot(3, b"a" * CHUNK_BYTES * 2), snapshot(5, b"b" * CHUNK_BYTES * 2)
    (a0, a1, a_end), (b0, b1, b_end) = written(a), written(b)
    assert a0.key == b0.key
    assert (await found(await bus_with(a0, b0, b1, a1, b_end, a_end)))[0] == b
    assert (await found(await bus_with(b0, a0, b1, b_end, a1)))[0] == b


async def test_a_corrupt_chunk_is_noticed_and_counted() -> None:
    old, new = written(snapshot(1)), written(snapshot(2, b"newer"))
    new[0] = dataclasses.replace(new[0], value=b"nawer")
    assert await found(await bus_with(*old, *new)) == (snapshot(1), {"corrupt": 1})


@pytest.mark.parametrize(
    "change",
    [
        lambda said: b"\xff not json",
        lambda said: b"[]",
        lambda said: orjson.dumps({**said, "chunks": "1"}),
        lambda said: orjson.dumps({**said, "next_offset": -1}),
        lambda said: orjson.dumps({**said, "next_offset": 1.5}),
        lambda said: orjson.dumps({**said, "digest": None}),
        lambda said: orjson.dumps({**said, "unit": "row-b"}),
        lambda said: orjson.dumps({key: said[key] for key in said if key != "log_id"}),
    ],
)
async def test_a_manifest_that_says_nonsense_is_counted(change: object) -> None:
    old, new = written(snapshot(1)), written(snapshot(2, b"newer"))
    said = orjson.loads(new[-1].value or b"")
    new[-1] = dataclasses.replace(new[-1], value=change(said))  # type: ignore[operator]
    made, rejected = await found(await bus_with(*old, *new))
    assert made == snapshot(1)
    assert rejected == {"bad-manifest": 1}


async def test_a_manifest_of_more_chunks_than_there_are_is_a_torn_one() -> None:
    chunks, manifest = snapshot_messages(snapshot(2), PARTITIONS)
    said = {**orjson.loads(manifest.value or b""), "chunks": 10**12}
    torn = dataclasses.replace(manifest, value=orjson.dumps(said))
    assert await found(await bus_with(*written(snapshot(1)), *chunks, torn)) == (snapshot(1), {})


async def test_garbage_on_the_topic_changes_nothing() -> None:
    partition = partition_of("row-a", PARTITIONS)
    junk = [
        Message(SNAPSHOTS.name, partition, key, value, headers)
        for key in (None, b"", b"row-a", b"row-a:a:0000", b"\xff\xfe:a:manifest")
        for value, headers in ((None, ()), (b"x", ()), (b"x", (("schema", b"snapshot/1"),)))
    ]
    assert (await found(await bus_with(*written(snapshot(1)), *junk)))[0] == snapshot(1)


async def test_the_last_snapshot_is_found_behind_many_others() -> None:
    mine = written(snapshot(1))
    same = [
        u for u in (*UNITS, "x1", "x2", "x3", "x4", "x5") if partition_of(u, PARTITIONS) == mine[0].partition
    ]
    others = [m for n in range(1, 60) for u in same if u != "row-a" for m in written(snapshot(n, unit=u))]
    assert len(others) > 100
    assert (await found(await bus_with(*mine, *others)))[0] == snapshot(1)


async def test_a_snapshot_of_this_log_goes_before_one_of_another() -> None:
    foreign = snapshot(9, log_id="log-0")
    assert (await found(await bus_with(*written(foreign))))[0] == foreign
    assert (await found(await bus_with(*written(foreign), *written(snapshot(2)))))[0] == snapshot(2)


async def test_a_log_has_one_id_for_ever_and_another_log_has_another() -> None:
    bus, other = await bus_with(), await bus_with()
    ids = await log_ids(bus, await bus.producer("one"))
    assert len(ids) == 1
    for number in range(20):
        for message in written(snapshot(number)):
            await (await (await bus.producer("w")).send(message))
    assert await log_ids(bus, await bus.producer("two")) == ids
    assert await log_ids(other, await other.producer("one")) != ids


async def test_a_topic_that_was_made_again_under_a_worker_gets_an_id_that_is_found(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    worker = await plant.worker()
    await plant.feed(worker)
    before = await log_ids_of(plant.bus)
    for place in plant.bus.places(SNAPSHOTS.name):
        del plant.bus._logs[place]
    await plant.bus.create_topics(TOPICS, PARTITIONS)
    for sequence in range(11, 40):
        await plant.send(*(readings(unit, sequence) for unit in UNITS))
        await plant.feed(worker)
    await worker.finish()
    assert len(plant.bus.records_from(TopicPartition(SNAPSHOTS.name, 0), 0)) > 8
    assert await log_ids_of(plant.bus) == frozenset()
    await plant.run()
    ids = await log_ids_of(plant.bus)
    assert len(ids) == 1
    assert ids != before, (
        "what it wrote there meanwhile is another log's: that one goes on at the first input"
    )
    worker = await plant.worker()
    assert await log_ids_of(plant.bus) == ids
    assert worker.counts.restores_on_other_log == 0
    plant.outputs()


async def test_a_broker_that_has_just_gone_is_no_log_without_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = await bus_with()
    producer = await bus.producer("one")
    ids = await log_ids(bus, producer)

    async def nothing(self: MemoryReader, timeout_s: float, limit: int = 500) -> Sequence[Record]:
        return ()

    with monkeypatch.context() as gone:
        gone.setattr(MemoryReader, "read", nothing)
        with pytest.raises(UnreachableError, match="brings none"):
            await log_ids(bus, producer)
    assert await log_ids(bus, producer) == ids


async def test_a_missing_topic_is_said() -> None:
    bus = MemoryBus()
    with pytest.raises(UnreachableError, match="create the topics"):
        await log_ids(bus, await bus.producer("test"))


async def test_other_rules_go_on_where_the_old_ones_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    await plant.run()
    plant.rules = OneRuleSet("rules-2", ("rules-2",))
    processor = await plant.worker()
    ends = await plant.bus.ends("events")
    assert plant.starts[-1] == {place.partition: end for place, end in ends.items()}
    assert processor.counts.restores_of_other_rules == len(UNITS)
    assert processor.counts.site_files_replaced == 0
    said = {one.getMessage() for one in caplog.records if one.levelname == "ERROR"}
    assert said == {f"{unit} goes on with rules rules-2: nobody has these rules" for unit in UNITS}


async def test_a_state_that_the_engine_refuses_is_counted_and_begins_empty_at_its_offset(
    tmp_path: Path,
) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    await plant.run()
    (name,) = await log_ids(plant.bus, await plant.bus.producer("test"))
    place = TopicPartition("events", partition_of("row-a", PARTITIONS))
    end = (await plant.bus.ends("events"))[place]
    old = snapshot(90, b"of an older version", next_offset=end, log_id=name, rules_digest="rules-2")
    await plant.send(*written(old))
    plant.rules = OneRuleSet(known=("rules-1", "rules-2"))
    processor = await plant.worker()
    assert processor.metrics()["rules"]["row-a"] == "rules-2", "those that rule at its offset"
    assert processor.counts.restores_refused == 1
    assert processor.positions()[place.partition] == end


async def test_a_log_that_is_shorter_than_the_snapshot_is_another_log(tmp_path: Path) -> None:
    plant = await Plant(tmp_path, site=small_site(units=["row-a"])).ready()
    (name,) = await log_ids(plant.bus, await plant.bus.producer("test"))
    state = orjson.dumps({"last": {"plant": 3}, "total": 1.0})
    await plant.send(*written(snapshot(5, state, next_offset=1000, log_id=name)))
    processor = await plant.worker()
    assert processor.positions() == dict.fromkeys(range(PARTITIONS), 0)
    assert processor.counts.restores_on_other_log == 1


async def test_retention_that_overtook_the_worker_is_counted(tmp_path: Path) -> None:
    plant = await Plant(tmp_path, site=small_site(units=["row-a"])).ready()
    await plant.send(*(m for m in inputs(20) if m.key == b"row-a"))
    place = TopicPartition("events", partition_of("row-a", PARTITIONS))
    plant.bus.truncate(place, 12)
    processor = await plant.worker()
    await plant.feed(processor)
    assert processor.counts.skipped_offsets == 12
    assert processor.positions()[place.partition] == (await plant.bus.ends("events"))[place]


async def cut_short(folder: Path) -> tuple[Plant, TopicPartition, Processor]:
    """A worker that has read everything of a log which has lost its last five inputs since, and left snapshots."""
    plant = await Plant(folder, site=small_site(units=["row-a"])).ready()
    place = TopicPartition(EVENTS.name, partition_of("row-a", PARTITIONS))
    await plant.send(*(readings("row-a", n) for n in range(1, 21)))
    worker = await plant.worker()
    await plant.feed(worker)
    await worker.finish()
    del plant.bus._logs[place].records[-5:]
    return plant, place, worker


async def test_inputs_under_the_offsets_of_lost_ones_are_evaluated_by_the_next_worker(tmp_path: Path) -> None:
    plant, place, _ = await cut_short(tmp_path)
    await plant.send(*(readings("row-a", n) for n in range(21, 30)))
    worker = await plant.worker()
    assert worker.positions()[place.partition] == 0
    await plant.feed(worker)
    said = plant.outputs()
    assert all(f"row-a:plant:7:{n}:0" in said for n in range(1, 30))
    await worker.finish()
    end = plant.bus.end(place)
    worker = await plant.worker()
    assert (worker.positions()[place.partition], worker.counts.restores_on_other_log) == (end, 0)
    assert worker.metrics()["acknowledged"][place.partition] == end  # by the snapshot that it began with


async def test_who_reads_a_log_that_loses_its_end_ends(tmp_path: Path) -> None:
    plant, place, worker = await cut_short(tmp_path)
    with pytest.raises(InvariantError, match="ends at 16 and was read up to 21"):
        await worker.keep_ownership()
    await plant.send(*(readings("row-a", n) for n in range(21, 30)))
    await worker.keep_ownership()
    with pytest.raises(
        InvariantError, match="another record at offset 20"
    ):  # the consumer begins at the earliest
        await worker.process(plant.bus.records_from(place, 0))


async def test_what_retention_has_taken_or_an_older_version_has_not_named_is_believed(tmp_path: Path) -> None:
    plant, place, _ = await cut_short(tmp_path)
    await plant.send(*(readings("row-a", n) for n in range(21, 30)))
    whole = list(plant.bus.records_from(TopicPartition(SNAPSHOTS.name, place.partition), 0))
    records = plant.bus._logs[TopicPartition(SNAPSHOTS.name, place.partition)].records
    for index, record in enumerate(whole):
        if header(record.headers, "schema") == MANIFEST_SCHEMA:
            said = orjson.loads(record.value or b"")
            del said["last_record"]
            records[index] = dataclasses.replace(record, value=orjson.dumps(said))
    assert (await plant.worker()).positions()[place.partition] == 21
    records[:] = whole
    plant.bus.truncate(place, 21)
    assert (await plant.worker()).positions()[place.partition] == 21
