"""What a unit's log begins with: its first activation, and who says it where nobody has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rules.engine.inputs import Activation
from rules.errors import UnreachableError
from streams.bus_memory import MemoryBus
from streams.record import Message, Record, TopicPartition
from streams.rule_sets.first_rules import first_activations
from streams.topics import EVENTS, partition_of
from streams.wire import decode_input
from tests.streams.worker.scenario import (
    PARTITIONS,
    UNITS,
    OneRuleSet,
    Plant,
    activation,
    bus_with,
    inputs,
    tick,
)


def unreadable(unit: str) -> Message:
    place = partition_of(unit, PARTITIONS)
    return Message(EVENTS.name, place, unit.encode(), b"{", (("schema", b"activation/1"),))


async def test_the_first_of_each_unit_counts_wherever_it_is() -> None:
    bus = await bus_with(
        *inputs(3),
        unreadable("row-a"),
        activation("row-a", "one"),
        activation("row-b", "two"),
        activation("row-a", "three", 2),
        *inputs(3),
        activation("row-c", "four"),
    )
    assert await first_activations(bus, ["row-a", "row-c"], PARTITIONS) == {"row-a": "one", "row-c": "four"}
    assert await first_activations(bus, UNITS, PARTITIONS) == {
        "row-a": "one",
        "row-b": "two",
        "row-c": "four",
    }
    assert await first_activations(bus, [], PARTITIONS) == {}


@dataclass
class Slow:
    """A log of which a reader brings one record at a time, and of which it says how far it was read."""

    records: Sequence[Record]
    brings: int
    read_until: int = 0
    closed: bool = False
    place: TopicPartition = field(default=TopicPartition(EVENTS.name, partition_of("row-a", PARTITIONS)))

    async def ends(self, topic: str) -> Mapping[TopicPartition, int]:
        return {self.place: len(self.records)}

    async def reader(self, topics: Sequence[str], start: Mapping[TopicPartition, int]) -> Slow:
        assert start == {self.place: 0}
        return self

    def positions(self) -> Mapping[TopicPartition, int]:
        return {self.place: self.read_until}

    async def read(self, timeout_s: float, limit: int = 500) -> Sequence[Record]:
        self.read_until = min(self.read_until + 1, self.brings)
        return self.records[self.read_until - 1 : self.read_until] if self.read_until < self.brings else ()

    async def close(self) -> None:
        self.closed = True


async def records(*messages: Message) -> Sequence[Record]:
    return (await bus_with(*messages)).records(EVENTS.name)


async def test_a_log_that_begins_with_it_is_read_no_further() -> None:
    log = Slow(await records(activation("row-a"), *(tick("row-a", n) for n in range(1, 50))), 50)
    assert await first_activations(log, ["row-a"], PARTITIONS) == {"row-a": "rules-1"}  # type: ignore[arg-type]
    assert (log.read_until, log.closed) == (1, True)


async def test_a_broker_that_brings_nothing_more_is_not_waited_for_without_end() -> None:
    log = Slow(await records(*(tick("row-a", n) for n in range(1, 50))), 7)
    with pytest.raises(UnreachableError, match="stopped"):
        await first_activations(log, ["row-a"], PARTITIONS)  # type: ignore[arg-type]
    assert log.closed


@dataclass
class Counted(OneRuleSet):
    """Counts how often it was to be on the log, and how many activations were there then."""

    published: list[int] = field(default_factory=list)
    bus: MemoryBus = field(default_factory=MemoryBus)

    async def publish_first(self, producer: object) -> None:
        self.published.append(len(said(self.bus)))


def said(bus: MemoryBus) -> list[Activation]:
    found = [decode_input(record.key, record.headers, record.value) for record in bus.records(EVENTS.name)]
    return [value for value in found if isinstance(value, Activation)]


async def test_a_log_without_any_is_given_one_before_an_input_is_taken(tmp_path: Path) -> None:
    bus = await bus_with(*inputs(2))
    plant = Plant(tmp_path, bus, rules=Counted(bus=bus))
    for _ in range(2):
        processor = await plant.worker()
        assert {value.unit: value.rules_digest for value in said(bus)} == dict.fromkeys(UNITS, "rules-1")
        assert len(said(bus)) == len(UNITS), "the second one finds them"
        await processor.revoke()
    assert plant.rules.published == [0]  # type: ignore[attr-defined]


async def test_a_unit_with_a_snapshot_needs_none(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    await plant.run()
    plant.rules = OneRuleSet("rules-2", ("rules-1", "rules-2"))
    before = len(plant.bus.records(EVENTS.name))
    processor = await plant.worker()
    assert len(plant.bus.records(EVENTS.name)) == before
    assert set(processor.metrics()["rules"].values()) == {"rules-1"}
