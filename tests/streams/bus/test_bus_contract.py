"""One contract for every bus: in memory, the simulation's, Kafka's protocol on the embedded broker, Apache Kafka."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateways.broker import EmbeddedBroker
from gateways.whole.bus import FaultyBus, Network
from rules.errors import UnreachableError
from streams.bus.bus import MAX_MESSAGE_BYTES, Bus, Reader, up_to_the_end
from streams.bus.kafka import KafkaBus
from streams.bus.memory import MemoryBus
from streams.record import Message, Record, TopicPartition
from streams.settings import BrokerSettings
from streams.topics import Topic

PATIENCE_S = 120.0


@pytest.fixture(params=["memory", "simulated", "embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def bootstrap(request: pytest.FixtureRequest, unused_port: int) -> str:
    """Where the broker is: nowhere, on a port of this test's own, or where Apache Kafka runs."""
    if request.param == "apache":
        return str(request.getfixturevalue("apache_kafka"))
    return f"127.0.0.1:{unused_port}" if request.param == "embedded" else ""


@pytest.fixture
async def bus(request: pytest.FixtureRequest, bootstrap: str, tmp_path: Path) -> AsyncIterator[Bus]:
    """Each of the implementations, empty or with topics of other tests."""
    broker = None
    if "embedded" in request.node.callspec.id:
        broker = EmbeddedBroker(int(bootstrap.rpartition(":")[2]), tmp_path)
        await broker.start()
    made: Bus = MemoryBus()
    if bootstrap:
        made = KafkaBus(BrokerSettings(bootstrap=bootstrap, request_timeout_s=30))
    if "simulated" in request.node.callspec.id:
        made = FaultyBus(MemoryBus(), Network())
    try:
        yield made
    finally:
        await made.close()
        if broker is not None:
            await broker.stop()


@pytest.fixture
async def topic(bus: Bus) -> str:
    """A topic of three partitions of this test's own."""
    name = f"contract-{uuid.uuid4().hex}"
    await bus.create_topics([Topic(name, "", "")], 3)
    return name


async def read(reader: Reader, count: int, limit: int = 500) -> list[Record]:
    """Exactly `count` records, in the order in which they come."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            found += await reader.read(0.5, limit)
    assert len(found) == count
    return found


async def send(bus: Bus, messages: Sequence[Message]) -> list[int]:
    producer = await bus.producer("contract")
    try:
        waiting = [await producer.send(message) for message in messages]
        return [await offset for offset in waiting]
    finally:
        await producer.close()


def numbered(topic: str, partition: int, count: int, start: int = 0) -> list[Message]:
    return [Message(topic, partition, b"k", str(number).encode()) for number in range(start, start + count)]


async def test_topics_are_created_once(bus: Bus, topic: str) -> None:
    await bus.create_topics([Topic(topic, "", "")], 3)
    assert await bus.partitions(topic) == 3


async def test_a_topic_says_how_many_partitions_it_wants(bus: Bus) -> None:
    fixed = Topic(f"fixed-{uuid.uuid4().hex}", "", "", partitions=1, cleanup="compact")
    await bus.create_topics([fixed], 3)
    assert await bus.partitions(fixed.name) == 1


async def test_asking_for_a_topic_does_not_create_it(bus: Bus, topic: str) -> None:
    missing = f"missing-{uuid.uuid4().hex}"
    assert await bus.partitions(missing) == 0
    with pytest.raises(UnreachableError, match=missing):
        await bus.reader([missing])
    producer = await bus.producer("contract")
    with pytest.raises(UnreachableError, match=missing):
        await (await producer.send(Message(missing, 0, None, b"")))
    with pytest.raises(UnreachableError, match=topic):
        await (await producer.send(Message(topic, 3, None, b"")))
    await producer.close()
    assert await bus.partitions(missing) == 0


async def test_a_record_comes_back_as_it_was_sent(bus: Bus, topic: str) -> None:
    headers = (("schema", b"frame/1"), ("empty", b""), ("schema", b"again"))
    messages = [
        Message(topic, 1, b"row-a", bytes(range(256)), headers),
        Message(topic, 1, None, b""),
        Message(topic, 1, b"gone", None),
    ]
    assert await send(bus, messages) == [0, 1, 2]
    reader = await bus.reader([topic])
    found = await read(reader, 3)
    await reader.close()
    for offset, (record, message) in enumerate(zip(found, messages, strict=True)):
        assert (record.topic, record.partition, record.offset) == (topic, 1, offset)
        assert (record.key, record.value, record.headers) == (message.key, message.value, message.headers)
        assert record.timestamp_ms > 1_600_000_000_000


async def test_order_is_kept_per_partition_and_offsets_have_no_holes(bus: Bus, topic: str) -> None:
    messages = [Message(topic, n % 3, None, str(n).encode() * 50) for n in range(600)]
    offsets = await send(bus, messages)
    for partition in range(3):
        assert offsets[partition::3] == list(range(200))
    reader = await bus.reader([topic])
    found = await read(reader, 600)
    await reader.close()
    for partition in range(3):
        of_partition = [record for record in found if record.partition == partition]
        assert [record.offset for record in of_partition] == list(range(200))
        assert [record.value for record in of_partition] == [
            message.value for message in messages[partition::3]
        ]


async def test_a_reader_starts_at_the_end_or_where_it_is_told(bus: Bus, topic: str) -> None:
    await send(bus, numbered(topic, 0, 5))
    ends = await bus.ends(topic)
    assert ends == {TopicPartition(topic, 0): 5, TopicPartition(topic, 1): 0, TopicPartition(topic, 2): 0}
    latest = await bus.reader([topic], "latest")
    told = await bus.reader([], {TopicPartition(topic, 0): 3})
    assert latest.positions() == ends
    await send(bus, numbered(topic, 0, 1, start=5))
    await send(bus, numbered(topic, 1, 1))
    assert [record.offset for record in await read(told, 3)] == [3, 4, 5]
    assert told.positions() == {TopicPartition(topic, 0): 6}
    assert {(record.partition, record.offset) for record in await read(latest, 2)} == {(0, 5), (1, 0)}
    assert latest.positions() == await bus.ends(topic)
    await latest.close()
    await told.close()


async def test_a_read_brings_no_more_than_its_limit_and_starves_no_partition(bus: Bus, topic: str) -> None:
    await send(bus, [*numbered(topic, 0, 300), *numbered(topic, 2, 3)])
    reader = await bus.reader([topic])
    seen: set[int] = set()
    got = 0
    async with asyncio.timeout(PATIENCE_S):
        while got < 303:
            records = await reader.read(0.5, limit=50)
            assert len(records) <= 50
            got += len(records)
            seen |= {record.partition for record in records}
            if got <= 200 and 2 in seen:
                break
    assert 2 in seen
    await reader.close()


async def test_nothing_to_read_is_no_error(bus: Bus, topic: str) -> None:
    reader = await bus.reader([topic])
    assert not await reader.read(0.01)
    await reader.close()


async def test_two_readers_have_positions_of_their_own(bus: Bus, topic: str) -> None:
    one, two = await bus.reader([topic]), await bus.reader([topic])
    await send(bus, numbered(topic, 0, 4))
    assert await read(one, 4) == await read(two, 4)
    await one.close()
    await two.close()


async def test_an_offset_beyond_the_log_goes_on_at_its_start(bus: Bus, topic: str) -> None:
    await send(bus, numbered(topic, 0, 2))
    reader = await bus.reader([], {TopicPartition(topic, 0): 1000})
    assert [record.offset for record in await read(reader, 2)] == [0, 1]
    assert reader.positions() == {TopicPartition(topic, 0): 2}
    await reader.close()


async def test_flush_returns_when_all_is_in_the_log(bus: Bus, topic: str) -> None:
    producer = await bus.producer("contract")
    for message in numbered(topic, 0, 20):
        await producer.send(message)
    await producer.flush()
    assert (await bus.ends(topic))[TopicPartition(topic, 0)] == 20
    await producer.close()


async def test_what_no_broker_takes_is_refused_at_once(bus: Bus, topic: str) -> None:
    producer = await bus.producer("contract")
    with pytest.raises(ValueError, match="split it"):
        await producer.send(Message(topic, 0, b"", bytes(MAX_MESSAGE_BYTES + 1)))
    for headers in ((("", b""),) * 600_000, (("æ" * 600_000, b""),)):
        with pytest.raises(ValueError, match="split it"):
            await producer.send(Message(topic, 0, b"", b"", headers))
    assert await (await producer.send(Message(topic, 0, b"", bytes(MAX_MESSAGE_BYTES)))) == 0
    reader = await bus.reader([topic])
    assert len((await read(reader, 1))[0].value or b"") == MAX_MESSAGE_BYTES
    await reader.close()
    await producer.close()


async def test_a_reader_at_the_end_misses_nothing_while_several_producers_append(
    bus: Bus, topic: str
) -> None:
    """The embedded broker may show a record before the one in front of it (decision 0030)."""
    writers, each = 8, 500
    reader = await bus.reader([topic], "earliest")

    async def write(number: int) -> None:
        producer = await bus.producer(f"writer-{number}")
        for count in range(each):
            await (await producer.send(Message(topic, 0, b"k", f"{number}:{count}".encode().ljust(8000))))
        await producer.close()

    found, *_ = await asyncio.gather(
        read(reader, writers * each), *(write(number) for number in range(writers))
    )
    assert [record.offset for record in found] == list(range(writers * each))
    for number in range(writers):
        mine = [
            record.value.strip()
            for record in found
            if record.value and record.value.startswith(b"%d:" % number)
        ]
        assert mine == [f"{number}:{count}".encode() for count in range(each)]
    await reader.close()


async def test_a_topic_is_read_up_to_its_end(bus: Bus, topic: str) -> None:
    await send(bus, [*numbered(topic, 0, 600), *numbered(topic, 2, 1, 600)])
    reader = await bus.reader([topic])
    found = [record async for record in up_to_the_end(bus, reader, topic)]
    assert sorted(int(record.value or b"") for record in found) == list(range(601))
    assert reader.positions() == await bus.ends(topic)
    assert not [record async for record in up_to_the_end(bus, reader, topic)]
    await reader.close()


async def test_a_topic_that_brings_nothing_before_its_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus = MemoryBus()
    await bus.create_topics([Topic("full", "", "")], 1)
    await send(bus, numbered("full", 0, 1))
    reader = await bus.reader(["full"])

    async def nothing(timeout_s: float) -> Sequence[Record]:
        return ()

    monkeypatch.setattr(reader, "read", nothing)
    with pytest.raises(UnreachableError, match="'full' brings nothing any more"):
        [record async for record in up_to_the_end(bus, reader, "full")]
