"""A reader on Kafka's protocol says where it is, also where no record can tell it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from gateways.cli.migrate import check_topic
from streams.bus.bus import read_span
from streams.bus.kafka import KafkaReader
from streams.record import TopicPartition
from streams.topics import COMMANDS

PLACE = TopicPartition(COMMANDS.name, 0)
END = 40


class Emptied:
    """A consumer of a partition from which retention has taken all: it looks for the earliest record, and is there."""

    def __init__(self) -> None:
        self.reads = 0

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        self.reads += 1
        return {}

    async def position(self, place: object) -> int:
        if self.reads < 2:
            await asyncio.get_running_loop().create_future()  # until the broker has said where its log begins
        return END

    async def stop(self) -> None:
        return


class Bus:
    """A Kafka with that partition."""

    last_cluster_id = "kafka"

    async def partitions(self, topic: str) -> int:
        return 1

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        return {PLACE: END}

    async def reader(self, topics: object, start: dict[TopicPartition, int]) -> KafkaReader:
        bus: Any = SimpleNamespace(last_cluster_id="kafka")
        consumer: Any = Emptied()
        return KafkaReader(bus, consumer, dict(start), "kafka")


async def test_a_reader_knows_where_retention_has_moved_it() -> None:
    reader = await Bus().reader([], {PLACE: 3})
    assert not await reader.read(0.01)
    assert reader.positions() == {PLACE: 3}, "not yet known, and not waited for"
    assert not await reader.read(0.01)
    assert reader.positions() == {PLACE: END}


async def test_a_partition_that_retention_has_emptied_is_read_to_its_end() -> None:
    bus: Any = Bus()
    assert await read_span(bus, PLACE, 0, END) == []
    found = await check_topic(bus, COMMANDS)
    assert (found.word, found.found) == ("ok", "0 newest records can be read")
