"""Claims: epochs rise with each change of owner, whatever the clocks say; what comes back untouched goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

import orjson
import pytest

from rules.errors import InvariantError, UnreachableError
from streams.bus.memory import MemoryBus
from streams.record import Message, TopicPartition, header
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, OWNERS, TOPICS
from streams.worker.owners import Owners
from tests.streams.worker.scenario import PARTITIONS, Plant, bus_with, inputs

HOUR_NS = 3600 * 10**9


LIVES = count()


async def owners(bus: MemoryBus, worker: str, clock_ns: Callable[[], int] = lambda: 5) -> Owners:
    return Owners(bus, await bus.producer(worker), worker, clock_ns, f"life {next(LIVES)}")


async def test_each_claim_is_higher_than_all_before_it_though_clocks_go_back() -> None:
    bus = await bus_with()
    times = [7 * HOUR_NS, 5 * HOUR_NS, 0, 9 * HOUR_NS]
    epochs = [await (await owners(bus, "worker", lambda at=at: at)).claim([0, 1]) for at in times]  # type: ignore[misc]
    assert epochs == [7 * HOUR_NS, 7 * HOUR_NS + 1, 7 * HOUR_NS + 2, 9 * HOUR_NS]


async def test_two_at_the_same_moment_have_different_epochs_and_the_first_sees_that_it_lost() -> None:
    bus = await bus_with()
    many = [await owners(bus, "one-name") for _ in range(5)]
    epochs = await asyncio.gather(*(one.claim([1]) for one in many))
    assert len(set(epochs)) == 5
    for one, epoch in zip(many, epochs, strict=True):
        await one.follow()
        taken = one.overtaken({1: epoch})
        assert (taken is None) == (epoch == max(epochs))


async def test_partitions_of_others_overtake_nobody() -> None:
    bus = await bus_with()
    first, second = await owners(bus, "a"), await owners(bus, "b")
    epoch = await first.claim([0, 2])
    await second.claim([1])
    await first.follow()
    assert first.overtaken({0: epoch, 2: epoch}) is None
    assert first.is_mine(0, epoch)
    await second.claim([2])
    await first.follow()
    assert first.overtaken({0: epoch, 2: epoch}) is not None


async def test_what_is_no_claim_is_passed_by_and_a_fresh_log_forgets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = await bus_with(
        *(Message(OWNERS.name, 0, b"x", value) for value in 9 * (b"", b"{}", b'{"epoch": 1}', None))
    )
    one = await owners(bus, "a")
    epoch = await one.claim([0])
    bus.replace_log()
    await one.follow()
    assert not one.is_mine(0, epoch)
    assert await one.claim([0]) >= epoch
    assert sum("is no claim" in record.getMessage() for record in caplog.records) <= 1, "said seldom"


@pytest.mark.parametrize("epoch", [1 << 62, (1 << 63) - 1, (1 << 64) - 1])
async def test_a_claim_that_none_could_be_above_is_none(epoch: int) -> None:
    said = {"epoch": epoch, "partitions": [0], "worker": "x", "host": "h", "pid": 1, "life": "h:1:1"}
    one = await owners(await bus_with(Message(OWNERS.name, 0, b"x", orjson.dumps(said))), "a")
    mine = await one.claim([0])
    assert mine < epoch
    assert one.is_mine(0, mine)


async def test_the_highest_number_stops_nobody() -> None:
    now_ns = 1_800_000_000 * 10**9
    for epoch in ((1 << 62) - 1, (1 << 63) - 1):
        said = {"epoch": epoch, "partitions": [0], "worker": "x", "host": "h", "pid": 1, "life": "h:1:1"}
        bus = await bus_with(Message(OWNERS.name, 0, b"x", orjson.dumps(said)))
        epochs = [await (await owners(bus, name, lambda: now_ns)).claim([0]) for name in "ab"]
        assert epochs == [now_ns, now_ns + 1]


async def test_clocks_may_be_many_years_ahead_or_behind() -> None:
    bus = await bus_with()
    times = [year * 365 * 24 * HOUR_NS for year in (55, 80, 56, 20)]
    epochs = [await (await owners(bus, "worker", lambda at=at: at)).claim([0]) for at in times]  # type: ignore[misc]
    assert epochs == [times[0], times[1], times[1] + 1, times[1] + 2]


async def test_who_is_overtaken_by_every_claim_of_another_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.worker.owners._PAUSE_S", 0.0)
    bus = await bus_with()
    one = await owners(bus, "a")
    follow, other = one.follow, {"partitions": [0], "worker": "x", "host": "h", "pid": 1, "life": "h:1:1"}

    async def overtaken() -> None:
        value = orjson.dumps({**other, "epoch": one._highest + 9})
        bus.append(Message(OWNERS.name, 0, b"x", value))
        await follow()

    monkeypatch.setattr(one, "follow", overtaken)
    with pytest.raises(InvariantError, match="50 claims of partitions"):
        await one.claim([0])


async def test_alarms_and_commands_carry_the_epoch_and_bytes_are_without_it(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(30))
    worker = await plant.worker()
    await plant.feed(worker)
    epochs = {str(epoch).encode() for epoch in worker.metrics()["owner_epochs"].values()}
    for topic in (ALARMS, COMMANDS):
        assert {header(record.headers, "owner-epoch") for record in plant.bus.records(topic.name)} == epochs
    assert {header(record.headers, "owner-epoch") for record in plant.bus.records(JOURNAL.name)} == {None}
    assert not any(
        epoch in (record.value or b"") for record in plant.bus.records(ALARMS.name) for epoch in epochs
    )


async def test_a_partition_that_comes_back_untouched_goes_on_without_its_snapshot(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(20))
    worker = await plant.worker()
    await plant.feed(worker)
    before = worker.metrics()
    await worker.revoke()
    assert worker.positions() == {}
    await worker.assign([0, 2])
    after = worker.metrics()
    assert after["positions"] == {n: before["positions"][n] for n in (0, 2)}
    assert after["owner_epochs"] == {n: before["owner_epochs"][n] for n in (0, 2)}
    assert after["restores"] == before["restores"]
    # what it gave up is not its own any more, though nobody else has claimed it: the group may have had another owner
    await worker.revoke()
    await worker.assign([1])
    assert worker.metrics()["owner_epochs"][1] > before["owner_epochs"][1]


async def test_a_partition_that_another_had_meanwhile_is_read_again(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(20))
    zombie = await plant.worker(name="a")
    await plant.feed(zombie)
    other = await plant.worker(name="b")
    await plant.feed(other)
    await plant.send(*inputs(30)[-40:])
    await plant.feed(other)
    await other.finish()
    await zombie.revoke()
    await zombie.assign(range(PARTITIONS))
    assert zombie.metrics()["restores"] == len(plant.site.units)
    assert zombie.positions() == other.positions()
    plant.outputs()


async def test_who_lost_a_partition_without_noticing_ends(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    zombie = await plant.worker(name="a")
    await zombie.keep_ownership()
    owner = await plant.worker(partitions=[1], name="b")
    with pytest.raises(InvariantError, match=r"partition 1 has another owner, 'b'"):
        await zombie.keep_ownership()
    await owner.keep_ownership()


async def test_a_partition_without_a_leader_hides_no_other_owner(tmp_path: Path) -> None:
    """All ends of `events` are asked for at once, and fail with one of them."""
    plant = await Plant(tmp_path).ready()
    zombie = await plant.worker(name="a")
    ends = plant.bus.ends

    async def without_leader(topic: str) -> dict[TopicPartition, int]:
        if topic == EVENTS.name:
            raise UnreachableError("events[2] has no leader")
        return await ends(topic)

    await plant.worker(partitions=[1], name="b")
    plant.bus.ends = without_leader  # type: ignore[method-assign]
    with pytest.raises(InvariantError, match=r"partition 1 has another owner, 'b'"):
        await zombie.keep_ownership()


def test_the_topic_is_kept_whole_for_a_while() -> None:
    for topic in (OWNERS, ALARMS):
        assert topic in TOPICS
        assert topic.config["min.compaction.lag.ms"] == "3600000"
