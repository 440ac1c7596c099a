"""A worker on a replay's log marks all that it says; on any other log it evaluates no record of a replay."""

from __future__ import annotations

from pathlib import Path

from streams.bus.memory import MemoryBus
from streams.replay_mark import Mark, is_replayed, mark_log, marked, replay_of
from streams.roll import carry_over
from streams.topics import COMMANDS, DEAD_LETTERS, EVENTS, SNAPSHOTS, TOPICS
from tests.streams.worker.scenario import OUTPUT_TOPICS, PARTITIONS, Plant, activation, garbage, inputs

MARK = Mark("run.mcap", has_facts=True)


def said(plant: Plant) -> dict[str, bool]:
    """By topic, whether all that the workers wrote is marked. A topic without any is not there."""
    records = {
        topic: plant.bus.records(topic) for topic in (*OUTPUT_TOPICS, DEAD_LETTERS.name, SNAPSHOTS.name)
    }
    return {topic: all(is_replayed(r.headers) for r in found) for topic, found in records.items() if found}


async def test_all_that_is_said_on_a_replays_log_is_marked(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    await plant.bus.create_topics(TOPICS, PARTITIONS)
    await mark_log(plant.bus, MARK)
    # what is replayed, and what somebody else says on the log without a mark: neither moves anything
    await plant.send(*(marked(message, MARK) for message in inputs(20)), *inputs(40), garbage("row-a"))
    await plant.run("publish:31")
    assert len(plant.bus.records(COMMANDS.name)) > 0
    assert said(plant) == dict.fromkeys((*OUTPUT_TOPICS, DEAD_LETTERS.name, SNAPSHOTS.name), True)
    first = [r for r in plant.bus.records(EVENTS.name) if b"activation/1" in dict(r.headers).values()]
    assert first, "the log had no activation: the worker has said one"
    assert all(is_replayed(record.headers) for record in first)


async def test_a_log_that_becomes_a_replays_under_a_worker_is_one(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    processor = await plant.worker()
    await mark_log(plant.bus, MARK)
    await plant.send(*(marked(message, MARK) for message in inputs(20)))
    await plant.feed(processor)
    await processor.finish()
    assert len(plant.bus.records(COMMANDS.name)) > 0
    assert all(is_replayed(r.headers) for r in plant.bus.records(COMMANDS.name))
    assert processor.metrics()["replay"] == "run.mcap"


async def test_on_a_plants_log_no_record_of_a_replay_is_evaluated(tmp_path: Path) -> None:
    plant, wanted = await Plant(tmp_path / "a").ready(), await Plant(tmp_path / "b").ready()
    for one in (plant, wanted):
        await one.send(*inputs(20))
    await plant.send(*(marked(message, MARK) for message in inputs(40)))
    for one in (plant, wanted):
        await one.run()
    assert plant.outputs() == wanted.outputs()
    assert said(plant)[COMMANDS.name] is False
    letters = plant.dead_letters()
    assert {reason for reason, _, _ in letters} == {b"replayed"}
    assert len(letters) == len(inputs(40))


async def test_a_roll_of_a_replays_log_is_one(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await mark_log(plant.bus, MARK)
    await plant.send(activation("row-a"))
    new = MemoryBus()
    await new.create_topics(TOPICS, PARTITIONS)

    async def fresh() -> MemoryBus:
        return new

    await carry_over(plant.bus, fresh, clock_ns=lambda: 0)
    assert await replay_of(new) == MARK
