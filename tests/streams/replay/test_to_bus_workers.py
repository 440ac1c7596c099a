"""One recording, fed in again for one worker on one partition and for three on six: the same, unit by unit, in bytes.

With late, repeated and out-of-order samples, other rules in the middle, facts between units, workers that are killed
and partitions that change hands, whatever the order in which the workers get their turn.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import orjson
import pytest

from streams.bus.memory import MemoryBus
from streams.record import Message, Record, header
from streams.recording.recording import Recording
from streams.replay.start import WHOLE
from streams.replay.to_bus import feed, open_log
from streams.replay_mark import HEADER
from streams.topics import COMMANDS, DEAD_LETTERS, EVENTS, RULE_SETS, TOPICS, partition_of
from tests.streams.replay.many_units import FIRST, GARBAGE, OUTPUTS, in_order, said, write
from tests.streams.replay.many_workers import GivenRules, Workers, live


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A recording without outputs, as `recording strip` makes it, and all records that were recorded."""
    folder = tmp_path_factory.mktemp("recorded")
    records = asyncio.run(live(folder))
    write(
        folder / "bare.mcap", [record for record in records if record.topic in (EVENTS.name, RULE_SETS.name)]
    )
    return folder / "bare.mcap", records


async def workers_on(bus: MemoryBus, folder: Path, partitions: int, seed: int) -> Workers:
    await bus.create_topics(TOPICS, partitions)
    site = FIRST.load_site()
    return Workers(bus, folder, partitions, site, GivenRules(site), random.Random(seed))


async def fed(path: Path, folder: Path, partitions: int, workers: int, seed: int) -> MemoryBus:
    """The log after the recording was fed into it, while workers worked on it."""
    bus = MemoryBus()
    made = await workers_on(bus, folder, partitions, seed)
    recordings = [Recording(path)]
    mark = await open_log(bus, recordings, path.name, partitions)

    async def watch(_: int) -> bool:
        if not made.processors:  # once the first records are there, as a worker that waits for topics begins
            await made.begin(workers)
        for _ in range(made.draw.choice((0, 0, 1, 2, 8))):
            await made.some()
        return True

    await feed(recordings, bus, mark, WHOLE, watch)
    await made.to_the_end()
    return bus


def outputs(bus: MemoryBus) -> list[Record]:
    return [record for topic in OUTPUTS for record in bus.records(topic)]


def is_fact(record: Record) -> bool:
    return header(record.headers, "schema") == b"fact/1"


def test_the_recording_has_what_is_asked_for(recorded: tuple[Path, list[Record]]) -> None:
    found = said(recorded[1])
    kinds: Counter[str] = Counter()
    for (_, _), ids in found.items():
        for value in ids.values():
            body = orjson.loads(value)["body"]
            kinds[body.get("rule") or body["kind"]] += 1
    for kind in (
        "late",
        "out-of-order",
        "repeat",
        "gap",
        "receipt",
        "hot",
        "flow-low",
        "silent",
        "pump-slow",
        "source-gap",
    ):
        assert kinds[kind], kind
    assert kinds["activation"] == 2 * len(FIRST.load_site().units)
    assert kinds["total"] > 2  # of what the rows tell the hall
    assert kinds["shed"] > 2  # of what the hall tells the rows
    assert len({unit for topic, unit in found if topic == COMMANDS.name}) >= 6
    assert any(record.value == GARBAGE for record in recorded[1])


@pytest.mark.parametrize(("partitions", "workers"), [(1, 1), (6, 3), (2, 2)])
@pytest.mark.parametrize("seed", range(2))
async def test_alarms_commands_and_journal_are_the_recorded_ones(
    recorded: tuple[Path, list[Record]], tmp_path: Path, partitions: int, workers: int, seed: int
) -> None:
    path, records = recorded
    bus = await fed(path, tmp_path, partitions, workers, seed)
    assert in_order(said(outputs(bus))) == in_order(said(records))
    assert {record.value for record in bus.records(DEAD_LETTERS.name)} == {GARBAGE}
    for record in (*outputs(bus), *bus.records(EVENTS.name), *bus.records(DEAD_LETTERS.name)):
        assert dict(record.headers)[HEADER] == b"bare.mcap"
    told = [record for record in bus.records(EVENTS.name) if is_fact(record)]
    assert len(told) == len({(record.key, record.value) for record in told}), "no worker tells them again"


async def test_told_again_behind_the_recorded_ones_facts_change_nothing(
    recorded: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    """On a log without a mark, where workers tell: all of the recorded ones come before theirs, which are repeats."""
    _, records = recorded
    for partitions, workers in ((1, 1), (6, 3)):
        bus = MemoryBus()
        made = await workers_on(bus, tmp_path, partitions, seed=1)
        producer = await bus.producer("test")
        for record in records:
            if record.topic == EVENTS.name:
                partition = partition_of((record.key or b"").decode(), partitions)
                await producer.send(Message(EVENTS.name, partition, record.key, record.value, record.headers))
        await made.begin(workers)
        for _ in range(300):
            await made.some()
        await made.to_the_end()
        told = [record for record in bus.records(EVENTS.name) if is_fact(record)]
        assert len(told) >= 2 * len({(record.key, record.value) for record in told})
        assert in_order(said(outputs(bus))) == in_order(said(records))
