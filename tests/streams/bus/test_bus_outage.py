"""A broker that is killed and comes back, under producers, readers and publishers: nothing is lost, order is kept."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import pytest

from gateways.broker import EmbeddedBroker
from rules.engine.inputs import Gap, Input, Readings
from rules.errors import UnreachableError
from streams.bus.kafka import CLUSTER_WATCH_S, KafkaBus
from streams.publisher.publisher import Publisher
from streams.record import Message, TopicPartition
from streams.settings import BrokerSettings, Settings, SpoolSettings
from streams.topics import EVENTS, TOPICS
from streams.wire import decode_input


class Broker(Protocol):
    """What these tests do to a broker."""

    bootstrap: str

    async def stop(self) -> None: ...

    async def start(self) -> None: ...


class Apache:
    """Apache Kafka, whose starts block; `stop` is SIGKILL, as the embedded broker's."""

    def __init__(self, module: ModuleType, folder: Path) -> None:
        self._broker = module.ApacheKafka(folder)
        self.bootstrap: str = self._broker.bootstrap

    async def stop(self) -> None:
        await asyncio.to_thread(self._broker.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self._broker.start)


async def until(condition: Callable[[], bool], patience_s: float = 60.0) -> None:
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.01)


async def everything(bus: KafkaBus) -> list[Input]:
    """All inputs on the log, in order per partition."""
    reader = await bus.reader([EVENTS.name])
    ends = await bus.ends(EVENTS.name)
    found: list[Input] = []
    async with asyncio.timeout(120):
        while any(reader.positions()[partition] < end for partition, end in ends.items()):
            found += [decode_input(r.key, r.headers, r.value) for r in await reader.read(0.2)]
    await reader.close()
    return found


def publish(publisher: Publisher, number: int) -> None:
    one = np.array([number])
    zero = np.zeros(1, np.int64)
    publisher.publish_readings(
        "row-a", ("p",), one * 10**9, zero, one.astype(float), zero.astype(np.uint8), zero.astype(np.uint32)
    )


def engine_s_view(found: list[Input]) -> dict[str, list[Input]]:
    """By source, what an engine keeps: an identity that is not above the last one is a repeat."""
    kept: dict[str, list[Input]] = {}
    for value in found:
        of_source = kept.setdefault(value.identity.source, [])
        if not of_source or value.identity.sequence > of_source[-1].identity.sequence:
            of_source.append(value)
    return kept


def numbers(values: list[Input]) -> list[int]:
    return [int(value.values[0]) for value in values if isinstance(value, Readings)]


async def test_nothing_answers(unused_port: int, caplog: pytest.LogCaptureFixture) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=f"127.0.0.1:{unused_port}", request_timeout_s=1))
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            with pytest.raises(UnreachableError, match=f"no broker answers at 127.0.0.1:{unused_port}"):
                await bus.producer("test")
            with pytest.raises(UnreachableError, match="no broker"):
                await bus.reader([EVENTS.name])
    await bus.close()
    assert len(caplog.records) < 10, "aiokafka's flood is held back"


async def test_a_send_that_the_broker_does_not_take_fails_with_all_behind_it(
    embedded_broker: EmbeddedBroker,
) -> None:
    # long enough for a busy machine to connect and to answer, before the outage and after it
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap, request_timeout_s=4))
    producer = await bus.producer("test")
    assert bus.idempotent is False, "Tansu takes no idempotent producers"
    await (await producer.send(Message(EVENTS.name, 0, None, b"0")))
    await embedded_broker.stop()
    waiting = [
        asyncio.ensure_future(await producer.send(Message(EVENTS.name, n, None, b"1"))) for n in range(3)
    ]
    done, _ = await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_EXCEPTION)
    assert len(done) == 3, "all at once"
    assert all(isinstance(future.exception(), UnreachableError) for future in waiting)
    with pytest.raises(UnreachableError):
        await producer.flush()
    await embedded_broker.start()
    assert await (await producer.send(Message(EVENTS.name, 0, None, b"2"))) == 0, "none of them came later"
    await producer.close()
    await bus.close()


async def test_a_reader_finds_a_fresh_log_even_when_it_has_grown_past_its_position(
    embedded_broker: EmbeddedBroker,
) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("test")
    reader = await bus.reader([EVENTS.name])
    await (await producer.send(Message(EVENTS.name, 0, None, b"old")))
    while not await reader.read(0.5):
        pass
    await embedded_broker.stop()
    await embedded_broker.start()
    fresh = [b"%d" % number for number in range(5)]
    for value in fresh:
        await (await producer.send(Message(EVENTS.name, 0, None, value)))
    seen: list[bytes | None] = []
    async with asyncio.timeout(120):
        while not set(fresh) <= set(seen):
            seen += [record.value for record in await reader.read(0.2)]
    assert seen[-5:] == fresh, "from its start, in order"
    assert reader.positions()[TopicPartition(EVENTS.name, 0)] == 5
    await reader.close()
    await producer.close()
    await bus.close()


async def kills(broker: Broker, tmp_path: Path, durable: bool) -> None:
    """A publisher through a short outage and a long one; what the engine would see of it."""
    patient = KafkaBus(BrokerSettings(bootstrap=broker.bootstrap, request_timeout_s=60))
    await patient.create_topics(TOPICS, 3)
    # longer than a busy machine needs to connect and to answer: nothing is to be spooled before the outage
    request_timeout_s, memory_s = (5.0, 15.0) if durable else (4.0, 10.0)
    settings = Settings(
        broker=BrokerSettings(bootstrap=broker.bootstrap, request_timeout_s=request_timeout_s),
        spool=SpoolSettings(memory_s=memory_s, drain_records_per_s=500),
    )
    bus = KafkaBus(settings.broker)
    publisher = Publisher(bus, "plant", settings, tmp_path / "spool", 3)
    await publisher.start()
    metrics = publisher.metrics
    number = 0

    async def go_on(count: int) -> None:
        nonlocal number
        for _ in range(count):
            number += 1
            publish(publisher, number)
            await asyncio.sleep(0.005)

    await go_on(50)
    await until(lambda: metrics["acknowledged"] == 50)
    lost_with_the_log = 0 if durable else 50
    await broker.stop()
    while metrics["state"] != "spooling":
        await go_on(5)
    await go_on(100)
    held = metrics["unsent"]
    assert metrics["spooled"] >= 100
    await broker.start()
    while metrics["state"] != "live":
        await go_on(1)
    await go_on(50)
    await until(lambda: metrics["unsent"] == 0 and metrics["spool_records"] == 0)

    kept = engine_s_view(await everything(patient))
    live, backfill = kept["plant"], kept["plant/backfill"]
    first = 1 + lost_with_the_log
    assert [value.identity.sequence for value in live] == list(range(first, first + len(live)))
    assert [value.identity.sequence for value in backfill] == list(range(1, len(backfill) + 1))
    assert sorted(numbers(live) + numbers(backfill)) == list(range(first, number + 1)), (
        "each once, none missing"
    )
    assert numbers(live) == sorted(numbers(live))
    assert numbers(backfill) == sorted(numbers(backfill))
    gaps = [value for value in live if isinstance(value, Gap)]
    assert [(gap.reason, gap.readings) for gap in gaps] == [("spooled", len(backfill))]
    assert held > 0
    await publisher.close()
    await bus.close()
    await patient.close()


async def test_a_reader_closes_while_its_fetch_waits_for_the_broker(embedded_broker: EmbeddedBroker) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    reader = await bus.reader([EVENTS.name])
    await embedded_broker.stop()
    while not reader._consumer._fetcher._pending_tasks:  # aiokafka sends the next fetch, and waits after it
        await reader.read(0.1)
    await reader.read(0.05)
    await reader.close()
    assert not reader._consumer._client._conns, "no connection is left"
    await bus.close()


async def test_a_reader_s_outage_is_said_once_and_so_is_its_end(
    embedded_broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))  # a late answer is no outage
    reader = await bus.reader([EVENTS.name])

    def said() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name == "streams.bus.kafka"]

    await embedded_broker.stop()
    await until(lambda: any("trying again" in line for line in said()))
    await asyncio.sleep(2 * CLUSTER_WATCH_S)
    await embedded_broker.start()
    await until(lambda: any("answers again" in line for line in said()))
    first, second = said()
    assert first.startswith(f"no broker answers at {embedded_broker.bootstrap}")
    assert second == f"the broker at {embedded_broker.bootstrap} answers again"
    await reader.close()
    await bus.close()


async def test_the_embedded_broker_is_killed_under_a_publisher(
    embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    await kills(embedded_broker, tmp_path, durable=False)


@pytest.mark.kafka
async def test_apache_kafka_is_killed_under_a_publisher(
    apache_kafka_module: ModuleType, tmp_path: Path
) -> None:
    broker = Apache(apache_kafka_module, tmp_path / "kafka")
    try:
        await broker.start()
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    try:
        await kills(broker, tmp_path, durable=True)
    finally:
        await broker.stop()
