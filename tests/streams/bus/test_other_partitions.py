"""The bus of a role at a log whose number of partitions is another than its setting says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateways.broker import EmbeddedBroker
from rules.errors import ConfigurationError, UnreachableError
from streams.bus.kafka import KafkaBus
from streams.record import Message
from streams.settings import BrokerSettings
from streams.topics import COMMANDS, EVENTS

BOTH_NUMBERS = (
    "broker.partitions is 6 here, and topic 'events' has 3 partitions .*HEADRACE_BROKER__PARTITIONS=3"
)


def bus_of(broker: EmbeddedBroker, partitions: int, *, of_role: bool = True) -> KafkaBus:
    return KafkaBus(BrokerSettings(bootstrap=broker.bootstrap, partitions=partitions), of_role=of_role)


async def test_a_role_neither_sends_nor_reads_there(embedded_broker: EmbeddedBroker) -> None:
    bus = bus_of(embedded_broker, 6)
    with pytest.raises(ConfigurationError, match=BOTH_NUMBERS):
        await bus.producer("ticker")
    with pytest.raises(ConfigurationError, match=BOTH_NUMBERS):
        await bus.reader([COMMANDS.name])
    await bus.close()


@pytest.mark.parametrize(("partitions", "of_role"), [(3, True), (6, False)])
async def test_the_same_number_is_right_and_a_command_takes_that_of_the_log(
    embedded_broker: EmbeddedBroker, partitions: int, of_role: bool
) -> None:
    bus = bus_of(embedded_broker, partitions, of_role=of_role)
    await (await bus.producer("test")).close()
    await (await bus.reader([EVENTS.name])).close()
    await bus.close()


async def test_while_there_is_no_topic_a_role_waits(unused_port: int, tmp_path: Path) -> None:
    broker = EmbeddedBroker(unused_port, tmp_path)
    await broker.start()
    bus = bus_of(broker, 3)
    try:
        with pytest.raises(UnreachableError, match="topic 'events' does not exist"):
            await bus.producer("ticker")
        await bus.create_topics([EVENTS], 3)
        await (await bus.producer("ticker")).close()
    finally:
        await bus.close()
        await broker.stop()


async def test_what_a_faster_client_has_made_for_a_moment_ends_no_role(
    embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter((1, 3))
    listed = KafkaBus._listed

    async def at_first_fewer(bus: KafkaBus) -> dict[str, Sequence[Any]]:
        found = await listed(bus)
        return {**found, EVENTS.name: found[EVENTS.name][: next(looks)]}

    monkeypatch.setattr(KafkaBus, "_listed", at_first_fewer)
    bus = bus_of(embedded_broker, 3)
    await bus.refuse_other_partitions()
    await bus.close()


async def test_a_partition_without_a_leader_keeps_no_role_from_other_topics(
    embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = KafkaBus._listed

    async def one_has_no_leader(bus: KafkaBus) -> dict[str, Sequence[Any]]:
        found = await listed(bus)
        return {**found, EVENTS.name: [{**found[EVENTS.name][0], "leader": -1}, *found[EVENTS.name][1:]]}

    monkeypatch.setattr(KafkaBus, "_listed", one_has_no_leader)
    bus = bus_of(embedded_broker, 3)
    await (await bus.producer("actuators")).close()
    await (await bus.reader([COMMANDS.name])).close()
    with pytest.raises(UnreachableError):
        await bus.reader([EVENTS.name])
    await bus.close()


async def test_a_log_that_was_right_and_has_other_partitions_now_is_out_of_reach(
    unused_port: int, tmp_path: Path
) -> None:
    broker = EmbeddedBroker(unused_port, tmp_path, partitions=3)
    await broker.start()
    settings = BrokerSettings(bootstrap=broker.bootstrap, partitions=3, request_timeout_s=4)
    bus = KafkaBus(settings, of_role=True)
    producer = await bus.producer("ticker")
    await (await producer.send(Message(EVENTS.name, 0, None, b"0")))
    await broker.stop()
    with pytest.raises(UnreachableError):
        await (await producer.send(Message(EVENTS.name, 0, None, b"1")))
    other = EmbeddedBroker(unused_port, tmp_path, partitions=2)
    await other.start()
    try:
        with pytest.raises(UnreachableError, match="is 3 here, and topic 'events' has 2"):
            await producer.send(Message(EVENTS.name, 0, None, b"2"))
        with pytest.raises(UnreachableError, match="is 3 here, and topic 'events' has 2"):
            await bus.reader([EVENTS.name])
    finally:
        await producer.close()
        await bus.close()
        await other.stop()
