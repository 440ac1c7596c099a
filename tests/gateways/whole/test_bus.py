"""The bus's faults, one at a time, as a process sees them; and kill -9."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateways.whole.bus import REQUEST_TIMEOUT_S, FaultyBus, Network
from gateways.whole.disk import Disk
from gateways.whole.process import Process
from rules.errors import UnreachableError
from streams.bus.bus import Producer
from streams.bus.memory import MemoryBus
from streams.record import Message, TopicPartition
from streams.topics import EVENTS
from tests.gateways.whole.conftest import Simulated


async def a_bus() -> FaultyBus:
    bus = FaultyBus(MemoryBus(lambda: 0), Network())
    await bus.create_topics([EVENTS], 2)
    return bus


def message(number: int, partition: int = 0) -> Message:
    return Message(EVENTS.name, partition, b"k", str(number).encode())


def on_the_log(bus: FaultyBus) -> list[bytes | None]:
    return [record.value for record in bus.inner.records(EVENTS.name)]


async def in_process(process: Process, bus: FaultyBus, numbers: range) -> list[object]:
    """What became of messages that a process sends: offsets and errors."""
    found: list[object] = []

    async def work() -> None:
        producer = await bus.producer("p")
        waiting = [await producer.send(message(number)) for number in numbers]
        found.extend(await asyncio.gather(*waiting, return_exceptions=True))

    await asyncio.wait([process.run(work)])
    return found


def test_a_lost_acknowledgement_leaves_the_record_in_the_log(simulated: Simulated[Any]) -> None:
    async def work() -> None:
        bus = await a_bus()
        bus.network.lose_acknowledgements["p"] = 1
        (error,) = await in_process(Process("p"), bus, range(1))
        assert isinstance(error, UnreachableError)
        assert on_the_log(bus) == [b"0"]
        assert await in_process(Process("p"), bus, range(1, 2)) == [1]

    simulated(work())


def test_what_is_refused_is_in_no_log_and_what_is_behind_it_fails_too(simulated: Simulated[Any]) -> None:
    async def work() -> None:
        bus = await a_bus()
        bus.network.refuse["p"] = 1
        found = await in_process(Process("p"), bus, range(3))
        assert [type(error) for error in found] == [UnreachableError] * 3
        await asyncio.sleep(60.0)
        assert on_the_log(bus) == []

    simulated(work())


def test_an_outage_fails_after_the_request_time_out_and_a_short_one_not_at_all(
    simulated: Simulated[Any],
) -> None:
    async def work() -> None:
        bus = await a_bus()
        loop = asyncio.get_running_loop()
        producer = await bus.producer("p")
        bus.network.is_away = True
        sent = await producer.send(message(0))
        loop.call_later(2.0, setattr, bus.network, "is_away", False)
        assert await sent == 0
        bus.network.is_away = True
        began_s = loop.time()
        with pytest.raises(UnreachableError):
            await (await producer.send(message(1)))
        assert REQUEST_TIMEOUT_S <= loop.time() - began_s < REQUEST_TIMEOUT_S + 1.0
        with pytest.raises(UnreachableError):
            await bus.producer("another")

    simulated(work())


def test_a_slow_partition_is_passed_by_another(simulated: Simulated[Any]) -> None:
    async def work() -> None:
        bus = await a_bus()
        bus.network.send_delay_s[TopicPartition(EVENTS.name, 0)] = 1.0
        reader = await bus.reader([EVENTS.name])
        producer: Producer = await bus.producer("p")
        for number in range(4):
            await producer.send(message(number, number % 2))
        seen = [record.value for _ in range(2) for record in await reader.read(5.0)]
        assert seen == [b"1", b"3", b"0", b"2"]

    simulated(work())


def test_what_a_killed_process_has_not_sent_is_gone_and_it_sends_no_more(simulated: Simulated[Any]) -> None:
    async def work() -> None:
        bus = await a_bus()
        process = Process("p")
        tidied: list[str] = []

        async def role() -> None:
            producer = await bus.producer("p")
            await producer.send(message(0))
            try:
                await asyncio.Event().wait()
            finally:
                with pytest.raises(UnreachableError):
                    await producer.send(message(1))
                with pytest.raises(UnreachableError):
                    await bus.producer("p")
                tidied.append("its cleanup ran, and reached nothing")

        async def with_child() -> None:
            await asyncio.create_task(role())

        main = process.run(with_child)
        await asyncio.sleep(0.001)
        process.kill()
        await asyncio.sleep(1.0)
        assert main.cancelled()
        assert tidied
        assert on_the_log(bus) == []

    simulated(work())


def test_a_crash_comes_with_the_message_in_hand(simulated: Simulated[Any]) -> None:
    async def work() -> None:
        bus = await a_bus()
        bus.network.crash["p"] = (EVENTS.name, 3)
        process = Process("p")

        async def role() -> None:
            producer = await bus.producer("p")
            for number in range(9):
                await (await producer.send(message(number)))

        main = process.run(role)
        await asyncio.wait([main])
        assert not process.is_alive
        assert on_the_log(bus) == [b"0", b"1"]

    simulated(work())


def test_a_kill_rolls_back_what_was_not_committed_and_lets_go_of_the_file(
    simulated: Simulated[Any], tmp_path: Path
) -> None:
    async def work() -> None:
        process = Process("p")

        async def role() -> None:
            database = sqlite3.connect(tmp_path / "disk", isolation_level=None)
            database.execute("pragma locking_mode = exclusive")
            database.execute("create table t (x)")
            database.execute("insert into t values (1)")
            database.execute("begin immediate")
            database.execute("insert into t values (2)")
            await asyncio.Event().wait()

        process.run(role)
        await asyncio.sleep(0.1)
        process.kill()
        assert sqlite3.connect(tmp_path / "disk").execute("select x from t").fetchall() == [(1,)]

    with Disk().mounted():
        simulated(work())


def test_a_full_disk_is_one_process_s(simulated: Simulated[Any], tmp_path: Path) -> None:
    disk = Disk()

    async def work() -> None:
        async def role(name: str) -> None:
            database = sqlite3.connect(tmp_path / name, isolation_level=None)
            database.execute("create table t (x)")
            database.execute("insert into t values (1)")

        disk.full.add("p")
        full, other = Process("p").run(lambda: role("p")), Process("q").run(lambda: role("q"))
        await asyncio.wait([full, other])
        assert isinstance(full.exception(), sqlite3.OperationalError)
        assert other.exception() is None

    with disk.mounted():
        simulated(work())
    assert disk.refused == 1
