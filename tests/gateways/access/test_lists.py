"""Users of a site put on its log: what the units answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateways.access.lists import apply_users
from rules.access.users import digest_of
from rules.engine.engine import Engine
from rules.errors import ConfigurationError, UnreachableError
from streams.bus.memory import MemoryBus
from streams.topics import EVENTS, TOPICS
from streams.wire import decode_input, encode_output
from tests.rules.access.people import PEOPLE, key_of
from tests.rules.engine.plant import LOW, START, program, site, tick


@asynccontextmanager
async def running(*units: str) -> AsyncIterator[MemoryBus]:
    """Workers of these units, which have their first tick behind them."""
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 3)
    engines = {unit: Engine(program(LOW), site(), unit) for unit in units}
    for unit, engine in engines.items():
        engine.step([tick(START, unit)])
    reader, producer = await bus.reader([EVENTS.name]), await bus.producer("worker")

    async def work() -> None:
        while True:
            for record in await reader.read(0.01):
                value = decode_input(record.key, record.headers, record.value)
                if value.unit in engines:
                    for output in engines[value.unit].step([value]):
                        await producer.send(encode_output(output, 3))

    working = asyncio.create_task(work())
    try:
        yield bus
    finally:
        working.cancel()


def clock_ns() -> int:
    return START


async def test_every_unit_takes_the_users_and_says_so() -> None:
    async with running("row", "hall") as bus:
        answers = await apply_users(bus, site(), PEOPLE, "ada", key_of("ada"), clock_ns)
        assert [*answers] == ["row", "hall"]
        for entry in answers.values():
            assert entry.detail == {"signer": "ada", "digest": digest_of(PEOPLE), "users": 7, "first": True}
        refused = await apply_users(bus, site(), PEOPLE, "eng", key_of("eng"), lambda: START + 1)
        assert {entry.detail["reason"] for entry in refused.values()} == {"its signer is no admin"}
        late = await apply_users(bus, site(), PEOPLE, "ada", key_of("ada"), lambda: START + 2)
        assert {entry.kind for entry in late.values()} == {"access-list"}


async def test_a_unit_that_does_not_answer_is_waited_for_a_while() -> None:
    async with running("row") as bus:
        with pytest.raises(UnreachableError, match="not every unit has answered"):
            await apply_users(bus, site(), PEOPLE, "ada", key_of("ada"), clock_ns, within_s=0.1)


async def test_what_no_unit_would_take_is_not_sent() -> None:
    without_key = {**PEOPLE, "ada": PEOPLE["ada"]._replace(keys=())}
    with pytest.raises(ConfigurationError, match="no admin has a key"):
        await apply_users(MemoryBus(), site(), without_key, "ada", key_of("ada"))
