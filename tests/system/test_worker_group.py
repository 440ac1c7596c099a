"""Several workers on Apache Kafka: restarted under their names, stopped and woken up, doubled, added and killed.

Whatever happens to them, what stands on the log and at the device is what undisturbed engines say, once.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from gateways.nvml.state import NvmlState
from rules.engine.inputs import Receipt
from streams.last_words import LastWords
from streams.record import Message, Record
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, OWNERS, partition_of
from streams.wire import decode_input, owner_epoch_of
from streams.worker.role import GROUP
from tests.support.broker import LIMIT_S
from tests.support.worker_world import World, world_on

pytestmark = [pytest.mark.system, pytest.mark.kafka]
CALM = {"HEADRACE_BROKER__SESSION_TIMEOUT_S": "15"}
"""A busy machine must not be what takes the partitions from a worker."""
UNHURRIED = {"HEADRACE_BROKER__REQUEST_TIMEOUT_S": "90"}
"""A worker that was stopped while a request was on its way would end by that alone, and say nothing more."""
PATIENT = {"HEADRACE_BROKER__SESSION_TIMEOUT_S": "90"}
"""A restart has to come within the session, on a busy machine as well."""


@pytest.fixture
async def world(apache_kafka_module: ModuleType, tmp_path: Path) -> AsyncIterator[World]:
    """A broker of each test's own: the site's topics and the group have the same names everywhere."""
    apache = apache_kafka_module.ApacheKafka(tmp_path / "kafka")
    try:
        await asyncio.to_thread(apache.start)
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    async with world_on(apache.bootstrap, tmp_path) as made:
        yield made
    await asyncio.to_thread(apache.stop)


def metric(newest: Mapping[str, Any], role: str, name: str) -> int:
    """0 as long as the role has said nothing."""
    return int(newest.get(role, {"metrics": {}})["metrics"].get(name, 0))


async def worked_off(world: World, *processes: asyncio.subprocess.Process) -> dict[str, Any]:
    """When snapshots of these cover the log to its end, all together, so that nothing they say is on its way."""
    pids = {process.pid for process in processes}
    while True:
        ends = await world.ends()

        def is_there(newest: Mapping[str, Any], ends: Mapping[str, int] = ends) -> bool:
            mine = [one["metrics"].get("acknowledged", {}) for one in newest.values() if one["pid"] in pids]
            return all(any(one.get(number, -1) >= end for one in mine) for number, end in ends.items())

        said = await world.until(f"{pids} at {ends}", is_there)
        if await world.ends() == ends:  # what they said did not go on to others of them
            return said


async def shared(world: World, *processes: asyncio.subprocess.Process) -> dict[int, set[int]]:
    """Who has which partition, once each of these has some and all are had."""
    pids = [process.pid for process in processes]

    def shares(newest: Mapping[str, Any]) -> dict[int, set[int]]:
        return {
            one["pid"]: {int(number) for number in one["metrics"].get("positions", ())}
            for one in newest.values()
            if one["pid"] in pids
        }

    def is_shared(newest: Mapping[str, Any]) -> bool:
        mine = shares(newest)
        had = [number for one in mine.values() for number in one]
        return len(mine) == len(pids) and all(mine.values()) and sorted(had) == list(range(world.partitions))

    return shares(await world.until(f"{pids} share the partitions", is_shared))


async def claims(world: World) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in await world.read(OWNERS.name)]


async def committed(world: World) -> dict[str, int]:
    """The group's offsets, by partition."""
    client = AIOKafkaAdminClient(bootstrap_servers=world.bootstrap)
    await client.start()
    try:
        offsets = await client.list_consumer_group_offsets(GROUP)
    finally:
        await client.close()
    return {str(place.partition): one.offset for place, one in offsets.items()}


def last_words(records: list[Record]) -> dict[bytes | None, bytes | None]:
    words = LastWords()
    return {record.key: record.value for record in records if words.wins(record)}


async def check_outputs(world: World) -> None:
    """Outputs are those of undisturbed engines, and so are the last words on alarms, however one reads them."""
    wanted, facts = await world.undisturbed(await world.ends())
    assert await world.said() == wanted
    assert await world.facts() == facts
    right: dict[bytes, bytes] = {}
    for value in wanted.values():
        said = orjson.loads(value)
        if said["schema"] == "alarm/1":
            body = said["body"]
            right[f"{said['unit']}:{body['rule']}:{body['asset']}".encode()] = value
    alarms = await world.read(ALARMS.name)
    assert last_words(alarms) == right
    for _ in range(100):  # the owner looks once a second whether its words are the last ones
        if {record.key: record.value for record in alarms} == right:
            return
        await asyncio.sleep(0.2)
        alarms = await world.read(ALARMS.name)
    pytest.fail("a stale word is the last one on the topic 'alarms'")


async def test_a_restart_under_its_name_moves_no_partition_of_others(world: World) -> None:
    async with world.worker(name="worker-2", **PATIENT) as other:
        async with world.worker(**PATIENT) as first:
            before = await shared(world, first, other)
            await world.send(0, 20)
            said = await worked_off(world, first, other)
            assignments = said["worker-2"]["metrics"]["assignments"]
            first.send_signal(signal.SIGKILL)
            await first.wait()
        killed_s = time.monotonic()
        await world.send(20, 30)
        async with world.worker(**PATIENT) as again:
            said = await worked_off(world, again, other)
            print(f"\nrecovery after kill -9: {time.monotonic() - killed_s:.1f} s")
            after = await shared(world, again, other)
            assert after[again.pid] == before[first.pid]
            assert after[other.pid] == before[other.pid]
            assert said["worker-2"]["metrics"]["assignments"] == assignments  # no rebalance at all
            await check_outputs(world)
    by_worker = Counter(claim["worker"] for claim in await claims(world))
    assert by_worker["worker"] == by_worker["worker-2"] + 1


async def test_a_worker_that_was_stopped_and_wakes_up_can_do_nothing(world: World) -> None:
    gpus = [gpu for unit in world.site.units.values() for gpu in unit.gpus]
    state = NvmlState.create(world.folder / "nvml.state", gpus)
    device = {"HEADRACE_FAKE_NVML_STATE": str(world.folder / "nvml.state")}
    async with (
        world.process("run", "actuators", str(world.site_dir), **device),
        world.worker(**CALM, **UNHURRIED) as first,
        world.worker(name="worker-2", **CALM, **UNHURRIED) as second,
    ):
        # the group decides who has the unit whose GPUs get hot: that one has commands to say
        place = partition_of("row-a", world.partitions)
        has_commands = place in (await shared(world, first, second))[first.pid]
        zombie, name, owner = (first, "worker", second) if has_commands else (second, "worker-2", first)
        await world.send(0, 20)
        joined = metric(await worked_off(world, zombie, owner), name, "assignments")
        before = await world.bus.ends(COMMANDS.name)
        epoch = [claim["epoch"] for claim in await claims(world) if place in claim["partitions"]][-1]
        # it stops in the middle of a backlog: what it has fetched it says when it wakes up
        await world.send(20, 140)
        async with asyncio.timeout(LIMIT_S):
            while await world.bus.ends(COMMANDS.name) == before:
                await asyncio.sleep(0.02)
        zombie.send_signal(signal.SIGSTOP)
        await worked_off(world, owner)
        zombie.send_signal(signal.SIGCONT)
        await world.until(
            "the zombie ends, or joins again, with partitions that it need not have had before",
            lambda newest: zombie.returncode is not None or metric(newest, name, "assignments") > joined,
        )
        await world.send(140, 150)
        async with asyncio.timeout(LIMIT_S):  # what comes before the owner's word is not late
            while all(owner_epoch_of(one.headers) <= epoch for one in await world.read(COMMANDS.name)):
                await asyncio.sleep(0.2)
        # how much it still said is a matter of time; what may have been on its way to the broker comes for certain
        for late in await world.read(COMMANDS.name, ALARMS.name):
            if owner_epoch_of(late.headers) == epoch:
                await world.producer.send(
                    Message(late.topic, late.partition, late.key, late.value, late.headers)
                )
        await world.producer.flush()
        live = [process for process in (zombie, owner) if process.returncode is None]
        await worked_off(world, *live)
        commands = await world.read(COMMANDS.name)
        ids = {orjson.loads(record.value or b"")["id"] for record in commands}

        def are_at_the_device(newest: Mapping[str, Any]) -> bool:
            seen, done = (metric(newest, "actuators", name) for name in ("seen", "done"))
            return seen >= len(commands) and done >= len(ids)

        said = await world.until("all commands at the device", are_at_the_device)
        await worked_off(world, *live)  # with the receipts
        await check_outputs(world)

    highest: dict[bytes | None, int] = {}
    stale = 0
    for record in commands:
        epoch = owner_epoch_of(record.headers)
        stale += epoch < highest.get(record.key, 0)
        highest[record.key] = max(epoch, highest.get(record.key, 0))
    metrics = said["actuators"]["metrics"]
    print(f"\nthe zombie said {stale} commands: fenced {metrics['fenced']}")
    assert metrics["fenced"] == stale > 0
    assert metrics["done"] == len(ids) == int(state.field("limit_writes").sum())
    told = [decode_input(r.key, r.headers, r.value) for r in await world.read(EVENTS.name)]
    done = Counter(one.command for one in told if isinstance(one, Receipt) and one.status == "done")
    assert set(done.values()) == {1}
    assert set(done) == ids


async def test_of_two_with_one_name_the_first_ends_and_says_why(world: World) -> None:
    async with world.worker(**CALM) as first:
        await world.send(0, 20)
        await worked_off(world, first)
        async with world.worker(**CALM) as second:
            assert await asyncio.wait_for(first.wait(), LIMIT_S) not in (0, -signal.SIGKILL)
            assert second.returncode is None
            words = (world.folder / "words.log").read_text()
            assert "two workers have one name" in words or "has another owner, 'worker'" in words
            await world.send(20, 40)
            said = await worked_off(world, second)
            assert said["worker"]["metrics"]["assignments"] < 6
            await check_outputs(world)
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), LIMIT_S) == 0
    assert await committed(world) == await world.ends()
    assert len(await claims(world)) == 2


class FaustNamed(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types of its own
    """Members of a group have to agree on the name of what shares the partitions out."""

    name = "faust"


async def test_a_name_is_lost_to_who_joins_last_before_that_one_has_claimed_anything(world: World) -> None:
    """It may take long to begin: in that time the first must not take the place back."""
    async with world.worker(**CALM) as first:
        await world.send(0, 20)
        await worked_off(world, first)
        second = AIOKafkaConsumer(
            EVENTS.name,
            bootstrap_servers=world.bootstrap,
            group_id=GROUP,
            group_instance_id="worker",
            partition_assignment_strategy=(FaustNamed,),
            enable_auto_commit=False,
        )
        try:
            await asyncio.wait_for(second.start(), LIMIT_S)
            assert await asyncio.wait_for(first.wait(), LIMIT_S) not in (0, -signal.SIGKILL)
        finally:
            await second.stop()
    assert "two workers have one name" in (world.folder / "words.log").read_text()


async def test_adding_and_killing_moves_no_more_than_a_share_and_changes_no_output(world: World) -> None:
    (world.site_dir / "rules" / "pulse.yaml").write_text(PULSE)
    lags: dict[str, float] = {}
    async with world.worker(**CALM) as first:
        await world.send(0, 1)
        await worked_off(world, first)
        steady_ms = time.time() * 1000
        step = await live(world, 1, 40)
        await worked_off(world, first)
        lags["before"] = await longest_stop(world, steady_ms)
        added_ms = time.time() * 1000
        async with world.worker(name="worker-2", **CALM) as second:
            step = await live(world, step, step + 100)
            shares = await shared(world, first, second)
            assert len(shares[second.pid]) <= -(-world.partitions // 2)
            await worked_off(world, first, second)
            lags["add"] = await longest_stop(world, added_ms)
            killed_ms = time.time() * 1000
            first.send_signal(signal.SIGKILL)
            await first.wait()
            step = await live(world, step, step + 20)
            await worked_off(world, second)
            lags["kill"] = await longest_stop(world, killed_ms)
            assert (await shared(world, second))[second.pid] == set(range(world.partitions))
            await check_outputs(world)
    moved = [claim["partitions"] for claim in await claims(world)]
    assert [len(one) for one in moved] == [3, len(shares[second.pid]), 3 - len(shares[second.pid])]
    print("\nlongest from input to output:", {what: f"{lag_ms:.0f} ms" for what, lag_ms in lags.items()})


PULSE = """
rules:
  pulse:                                # goes off and clears with every sample
    for: GPU
    when: memory_temperature > 90 degC
    severity: low
    message: "{asset}"
"""


async def live(world: World, first: int, last: int) -> int:
    """Steps at their own pace."""
    begun_s = time.monotonic()
    for step in range(first, last):
        await world.send(step, step + 1)
        await asyncio.sleep(max(0.0, begun_s + (step + 1 - first) * 0.1 - time.monotonic()))
    return last


async def longest_stop(world: World, since_ms: float) -> float:
    """Of all lines of the journal that a frame since then has caused, the longest from input to output, in ms."""
    at: dict[str, int] = {}
    for record in await world.read(EVENTS.name):
        if record.timestamp_ms >= since_ms and any(pair == ("schema", b"frame/1") for pair in record.headers):
            value = decode_input(record.key, record.headers, record.value)
            at[f"{value.unit}:{value.identity.source}:{value.identity.epoch}:{value.identity.sequence}"] = (
                record.timestamp_ms
            )
    first: dict[str, float] = {}
    for record in await world.read(JOURNAL.name):
        name = orjson.loads(record.value or b"")["id"]
        cause = name.rpartition(":")[0]
        if cause in at:
            first.setdefault(name, record.timestamp_ms - at[cause])
    return max(first.values())
