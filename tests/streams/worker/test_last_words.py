"""Which word on an alarm wins, and that an owner says again what a stale one has buried."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from streams.bus.memory import MemoryBus
from streams.last_words import LastWords, buried
from streams.record import Record, TopicPartition
from streams.roll import carry_over
from streams.topics import ALARMS, TOPICS
from streams.wire import OWNER_EPOCH, owner_epoch_of
from streams.worker.processor import Processor
from tests.streams.worker.scenario import PARTITIONS, Plant, inputs


def word(offset: int, epoch: str | None, key: bytes = b"u:r:a") -> Record:
    headers = () if epoch is None else ((OWNER_EPOCH, epoch.encode()),)
    return Record(ALARMS.name, 0, offset, 0, key, b"%d" % offset, headers)


def test_the_higher_epoch_wins_and_of_one_epoch_the_later_word() -> None:
    said = [
        (None, True),
        ("5", True),
        ("5", True),
        ("4", False),
        (None, False),
        ("7", True),
        ("5", False),
        ("x", False),
    ]
    words = LastWords()
    assert [words.wins(word(n, epoch)) for n, (epoch, _) in enumerate(said)] == [wins for _, wins in said]
    assert words.wins(word(99, "1", b"another"))


def test_buried_is_what_a_lower_epoch_came_behind() -> None:
    records = [word(0, "5"), word(1, "6"), word(2, "5"), word(3, "5", b"b"), word(4, "5"), word(5, "4", b"b")]
    assert [record.offset for record in buried(records)] == [1, 3]
    assert [record.offset for record in buried([*records, word(6, "6")])] == [3]


async def with_zombie(plant: Plant) -> tuple[Processor, Processor, dict[bytes | None, bytes | None]]:
    """A worker that was stopped, the one that has taken over and gone on, and the last words that are right."""
    await plant.send(*inputs(10))
    await plant.feed(zombie := await plant.worker(name="a"))
    await zombie.finish()
    await plant.feed(owner := await plant.worker(name="b"))
    for _ in range(2):
        await owner.keep_ownership()
    await plant.send(*inputs(30)[82:])
    await plant.feed(owner)
    return zombie, owner, plant.alarms()


async def wakes(plant: Plant, zombie: Processor) -> None:
    """The stopped one says what it makes of some records that it had fetched."""
    await plant.feed(zombie, limit=60)
    await plant.idle()


def last_epochs(bus: MemoryBus) -> dict[bytes | None, int]:
    """Of the record that comes last, by alarm."""
    return {record.key: owner_epoch_of(record.headers) for record in bus.records(ALARMS.name)}


async def test_a_zombies_word_behind_the_owners_is_said_over(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    zombie, owner, right = await with_zombie(plant)
    await wakes(plant, zombie)
    wrong = plant.alarms()
    assert wrong != right
    for _ in range(3):
        await owner.keep_ownership()
    assert plant.alarms() == right
    assert owner.metrics()["alarms_said_again"] >= sum(wrong[key] != right[key] for key in right) > 3
    assert zombie.metrics()["alarms_said_again"] == 0
    said = len(plant.bus.records(ALARMS.name))
    for _ in range(3):
        await owner.keep_ownership()
    assert len(plant.bus.records(ALARMS.name)) == said
    words, shown = LastWords(), dict[bytes | None, bytes | None]()
    for record in plant.bus.records(ALARMS.name):
        if words.wins(record):
            shown[record.key] = record.value
    assert shown == right


async def test_what_was_buried_before_a_take_over_is_said_by_the_next_owner(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    zombie, owner, right = await with_zombie(plant)
    await owner.finish()
    await wakes(plant, zombie)
    assert plant.alarms() != right
    third = await plant.worker(name="c")
    for _ in range(3):
        await third.keep_ownership()
    assert plant.alarms() == right
    assert third.metrics()["steps"] == 0  # it had nothing new to decide
    assert set(third.metrics()["owner_epochs"].values()) <= set(last_epochs(plant.bus).values())


async def test_what_the_owner_says_meanwhile_is_not_said_over(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    zombie, owner, _ = await with_zombie(plant)
    await wakes(plant, zombie)
    await owner.keep_ownership()
    look, fed = owner._upkeep.look, False

    async def looked_while_it_works(owned: Collection[int]) -> list[Record]:
        nonlocal fed
        found = await look(owned)
        if found and not fed:
            fed = True
            await plant.send(*inputs(50)[246:])
            await plant.feed(owner)
        return found

    owner._upkeep.look = looked_while_it_works  # type: ignore[method-assign]
    for _ in range(3):
        await owner.keep_ownership()
    assert fed
    undisturbed = await Plant(tmp_path / "other").ready()
    await undisturbed.send(*inputs(50))
    await undisturbed.feed(await undisturbed.worker())
    assert plant.alarms() == undisturbed.alarms()


async def test_the_owner_reads_alarms_only_where_there_is_something_of_others(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    owner = await plant.worker()
    await owner.keep_ownership()
    reads: list[object] = []
    reader = plant.bus.reader

    async def counted(topics: list[str], *start: object) -> object:
        reads.append(topics)
        return await reader(topics, *start)  # type: ignore[arg-type]

    plant.bus.reader = counted  # type: ignore[assignment, method-assign]
    for part in range(3):
        await plant.send(*inputs(10 * (part + 1))[80 * part :])
        positions = {TopicPartition("events", n): offset for n, offset in owner.positions().items()}
        await owner.process(await (await reader(["events"], positions)).read(0.0, limit=1000))
        await plant.idle()
        await owner.keep_ownership()
    assert len(plant.alarms()) > 5
    assert reads == []


async def test_a_roll_carries_over_the_word_that_wins(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    zombie, _, right = await with_zombie(plant)
    await wakes(plant, zombie)
    fresh = MemoryBus()
    await fresh.create_topics(TOPICS, PARTITIONS)

    async def opened() -> MemoryBus:
        return fresh

    await carry_over(plant.bus, opened)
    assert {record.key: record.value for record in fresh.records(ALARMS.name)} == right
    worker = await Plant(tmp_path, bus=fresh).worker()
    assert min(worker.metrics()["owner_epochs"].values()) > max(last_epochs(plant.bus).values())
