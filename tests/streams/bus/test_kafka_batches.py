"""What anybody may write into the headers of a record, as aiokafka brings it to both who read: the bus and Faust."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from rules.errors import UndecodableError
from streams.bus.kafka import KafkaReader
from streams.bus.kafka_batches import tolerate_header_names
from streams.dead_letter import dead_letter
from streams.record import Headers, Record, TopicPartition
from streams.wire import decode_input
from streams.worker.faust_app import _record

PLACE = aiokafka.TopicPartition("events", 0)
NO_TEXT = "zz"
"""Stands for a name of two bytes that are no UTF-8."""


def batch(base: int, names: Sequence[str]) -> bytes:
    """Records from offset `base` on, with a header each, as they lie in the log."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 100_000)
    for number, name in enumerate(names):
        builder.append(number, 5, b"row-a", b"%d" % (base + number), [(name, None)])
    data = bytearray(builder.build()).replace(NO_TEXT.encode(), b"\xff\xfe")
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return bytes(data)


def fetched(data: bytes, offset: int = 0) -> list[Any]:
    """What a consumer makes of a fetch from `offset` on."""
    tolerate_header_names()
    assert "PartitionRecords" in fetcher.Fetcher._proc_fetch_request.__code__.co_names, (
        "so a consumer takes it"
    )
    return list(fetcher.PartitionRecords(PLACE, MemoryRecords(data), [], offset, None, None, True, 0))


async def by_bus(found: list[Any]) -> list[Record]:
    """The same as a reader of the bus has it."""

    class Consumer:
        async def getmany(self, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
            return {PLACE: found}

    bus: Any = SimpleNamespace(last_cluster_id=None)
    consumer: Any = Consumer()
    return list(await KafkaReader(bus, consumer, {TopicPartition("events", 0): 0}, "kafka").read(0.1))


def by_faust(found: list[Any]) -> list[Record]:
    """The same as the worker's agent has it; Faust counts in seconds."""
    return [_record(SimpleNamespace(**{**one.__dict__, "timestamp": one.timestamp / 1000})) for one in found]


async def test_a_name_that_is_no_text_ends_no_reader() -> None:
    bad = batch(2, ["a", NO_TEXT, "a"]) + batch(5, ["a"])
    data = batch(0, ["a", "a"]) + bad
    records = await by_bus(fetched(data))
    assert [record.offset for record in records] == list(range(6)), "whoever counts offsets misses none"
    assert [record.value for record in records] == [b"0", b"1", b"2", b"", b"", b"5"]
    assert [record.offset for record in await by_bus(fetched(bad, 4))] == [4, 5]
    assert by_faust(fetched(data)) == records


async def test_what_could_not_be_read_becomes_a_dead_letter() -> None:
    (record,) = await by_bus(fetched(batch(7, [NO_TEXT]), 7))
    with pytest.raises(UndecodableError) as caught:
        decode_input(record.key, record.headers, record.value)
    assert caught.value.reason == "no-schema"
    letter = dead_letter(record, caught.value)
    assert letter.headers[-1][0] == "unreadable"


def test_a_flood_of_them_is_said_seldom(caplog: pytest.LogCaptureFixture) -> None:
    assert len(fetched(b"".join(batch(offset, [NO_TEXT]) for offset in range(50)))) == 50
    assert sum("can't be read" in record.getMessage() for record in caplog.records) <= 1


async def test_a_header_without_a_value_has_an_empty_one() -> None:
    expected: Headers = (("schema", b""),)
    found = fetched(batch(0, ["schema"]))
    assert found[0].headers == (("schema", None),)
    for records in (await by_bus(found), by_faust(found)):
        assert [record.headers for record in records] == [expected]
        dead_letter(records[0], UndecodableError("no-schema", "missing"))
