"""What a unit's log begins with: its first activation, and who says it where nobody has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from rules.access.signatures import signed
from rules.engine.inputs import Activation, Identity, Input
from rules.errors import UnreachableError
from streams.bus.memory import MemoryBus, MemoryReader
from streams.record import Message, Record, TopicPartition
from streams.rule_sets.first_rules import Beginnings, FirstActivations
from streams.snapshots import log_ids, read_snapshots
from streams.topics import EVENTS, partition_of
from streams.wire import decode_input, encode_input
from tests.rules.access import people
from tests.rules.access.people import PEOPLE, listing, public_of
from tests.rules.engine.plant import START, S
from tests.rules.engine.plant import tick as time_is
from tests.streams.worker.scenario import (
    PARTITIONS,
    UNITS,
    OneRuleSet,
    Plant,
    activation,
    bus_with,
    inputs,
    small_site,
    tick,
)

HERE = TopicPartition(EVENTS.name, partition_of("row-a", PARTITIONS))


def unreadable(unit: str) -> Message:
    place = partition_of(unit, PARTITIONS)
    return Message(EVENTS.name, place, unit.encode(), b"{", (("schema", b"activation/1"),))


async def first(bus: MemoryBus | Slow, *units: str, root_key: str = "") -> FirstActivations:
    of = replace(small_site(), name="test", root_key=root_key)  # as those who sign call it
    return await Beginnings(bus, of, units, PARTITIONS).read()  # type: ignore[arg-type]


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
    assert await first(bus, "row-a", "row-c") == ({"row-a": "one", "row-c": "four"}, set())
    assert await first(bus, *UNITS) == ({"row-a": "one", "row-b": "two", "row-c": "four"}, set())
    assert await first(bus) == ({}, set())


async def test_a_unit_begins_at_its_first_record_and_one_without_any_where_the_log_ends() -> None:
    mine, other = (
        "row-a",
        next(f"x{n}" for n in range(99) if partition_of(f"x{n}", PARTITIONS) == HERE.partition),
    )
    bus = await bus_with(*(tick(mine, n) for n in range(1, 9)), tick(other, 1), activation(mine))
    one = Beginnings(bus, small_site(), [mine, other, "row-b"], PARTITIONS)
    await one.read()
    assert [one.offset(unit) for unit in (mine, other, "row-b")] == [0, 8, 0]
    bus.truncate(HERE, 4)
    one = Beginnings(bus, small_site(), [mine, other], PARTITIONS)
    assert (await one.read()).digests == {mine: "rules-1"}
    assert [one.offset(unit) for unit in (mine, other)] == [0, 8], "of the first one there may have been more"
    late = Beginnings(bus, small_site(), ["late"], PARTITIONS)
    await late.read()
    assert late.offset("late") == bus.end(TopicPartition(EVENTS.name, partition_of("late", PARTITIONS)))


async def test_what_stands_on_another_partition_says_nothing_of_a_unit() -> None:
    said = activation("row-a", "forged")
    elsewhere = replace(said, partition=(said.partition + 1) % PARTITIONS)
    assert await first(await bus_with(elsewhere, activation("row-a", "good")), "row-a") == (
        {"row-a": "good"},
        set(),
    )


async def test_a_second_look_goes_on_where_the_first_one_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = await bus_with(*(tick("row-a", n) for n in range(1, 50)))
    one = Beginnings(bus, small_site(), ["row-a"], PARTITIONS)
    assert (await one.read()).digests == {}
    bus.append(activation("row-a"))
    bus.truncate(HERE, 49)
    read: list[Record] = []
    take = MemoryReader._take
    monkeypatch.setattr(
        MemoryReader, "_take", lambda self, limit: read.extend(got := take(self, limit)) or got
    )
    assert (await one.read()).digests == {"row-a": "rules-1"}
    assert [record.offset for record in read] == [49]
    assert one.offset("row-a") == 0


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
    assert (await first(log, "row-a")).digests == {"row-a": "rules-1"}
    assert (log.read_until, log.closed) == (1, True)


async def test_a_broker_that_brings_nothing_more_is_not_waited_for_without_end() -> None:
    log = Slow(await records(*(tick("row-a", n) for n in range(1, 50))), 7)
    with pytest.raises(UnreachableError, match="stopped"):
        await first(log, "row-a")
    assert log.closed


def of_row(*values: Input) -> list[Message]:
    return [encode_input(value, PARTITIONS) for value in values]


async def test_one_that_the_engine_would_refuse_does_not_count() -> None:
    root_key = public_of("root")
    forged = Activation("row", Identity("activation", 1, 1), "a", "forged", START)
    listed = [time_is(START, "row"), listing(key="root")]
    for begins in (
        [forged],
        [forged, *listed],
        [*listed, forged, people.activation("forged", "eva"), people.activation("forged", key="otto")],
        [*listed, people.activation("forged", at_ns=START - 61 * S)],
        [forged, listing(), people.activation("forged")],  # a list that the root key has not signed
    ):
        bus = await bus_with(*of_row(*begins))
        assert await first(bus, "row", root_key=root_key) == ({}, {"row"})
        bus = await bus_with(*of_row(*begins, *listed, people.activation("good", epoch=START + 1)))
        assert await first(bus, "row", root_key=root_key) == ({"row": "good"}, set())


async def test_a_list_closes_a_log_and_an_older_one_that_comes_again_does_not_open_it() -> None:
    without = {name: one for name, one in PEOPLE.items() if name != "eng"}
    lists = [time_is(START, "row"), listing(), listing(START + 1, without), listing()]
    bus = await bus_with(*of_row(*lists, people.activation("forged")))
    assert await first(bus, "row") == ({}, {"row"})
    bus = await bus_with(*of_row(Activation("row", Identity("activation", 1, 1), "a", "open"), *lists))
    assert await first(bus, "row") == ({"row": "open"}, set())


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


@dataclass
class Meanwhile(OneRuleSet):
    """While it is put on the log, somebody applies users there."""

    bus: MemoryBus = field(default_factory=MemoryBus)

    async def publish_first(self, producer: object) -> None:
        value = signed(replace(listing(), unit="row-a"), "test", people.key_of("ada"))
        await (await (await self.bus.producer("users")).send(encode_input(value, PARTITIONS)))


async def test_where_users_are_applied_while_a_worker_begins_it_says_none(tmp_path: Path) -> None:
    bus = await bus_with()
    await Plant(tmp_path, bus, rules=Meanwhile(bus=bus)).worker()
    assert {value.unit for value in said(bus)} == {*UNITS} - {"row-a"}


async def test_where_nobody_can_sign_one_a_snapshot_names_the_rules(tmp_path: Path) -> None:
    """Who begins there again, and has other rules in its folder meanwhile, goes on with the same."""
    bus = await bus_with(*inputs(2))
    plant = Plant(tmp_path, bus, replace(small_site(), root_key=public_of("root")), Counted(bus=bus))
    await (await plant.worker()).revoke()
    assert said(bus) == []
    assert plant.rules.published == [0]  # type: ignore[attr-defined]
    found = await read_snapshots(bus, UNITS, PARTITIONS, await log_ids(bus, await bus.producer("test")))
    begins = {
        unit: next(r.offset for r in bus.records(EVENTS.name) if r.key == unit.encode()) for unit in UNITS
    }
    assert {(one.unit, one.rules_digest, one.next_offset) for one in found.snapshots.values()} == {
        (unit, "rules-1", begins[unit]) for unit in UNITS
    }
    plant.rules = OneRuleSet("rules-2", ("rules-1", "rules-2"))
    processor = await plant.worker()
    assert set(processor.metrics()["rules"].values()) == {"rules-1"}
    assert plant.starts[-1] == dict.fromkeys(range(PARTITIONS), 0)


async def test_a_unit_with_a_snapshot_needs_none(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    await plant.run()
    plant.rules = OneRuleSet("rules-2", ("rules-1", "rules-2"))
    before = len(plant.bus.records(EVENTS.name))
    processor = await plant.worker()
    assert len(plant.bus.records(EVENTS.name)) == before
    assert set(processor.metrics()["rules"].values()) == {"rules-1"}
