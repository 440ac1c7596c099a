"""A running role on the in-memory bus, and a receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateways.alerts.role import run
from rules.engine.outputs import Alarm
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import Settings
from streams.topics import TOPICS
from streams.wire import encode_output
from tests.gateways.alerts.sink import Sink, running_sink, until
from tests.rules.engine.plant import site
from tests.support.noted_bus import NotedBus, check_rights, nothing_used


class Running:
    """A role, its log, and a way to say words there."""

    def __init__(self, context: RoleContext, bus: MemoryBus) -> None:
        self.context = context
        self.bus = bus

    async def say(self, *alarms: Alarm) -> None:
        producer = await self.bus.producer("worker")
        for alarm in alarms:
            await (await producer.send(encode_output(alarm, 3)))


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as one:
        yield one


@pytest.fixture
async def second() -> AsyncIterator[Sink]:
    async with running_sink() as one:
        yield one


@pytest.fixture
async def bus() -> MemoryBus:
    made = MemoryBus()
    await made.create_topics(TOPICS, 3)
    return made


@pytest.fixture
def start(tmp_path: Path, bus: MemoryBus) -> Start:
    """Starts the role with a text of subscriptions; again with the same outbox."""

    @asynccontextmanager
    async def starting(text: str, **settings: Any) -> AsyncIterator[Running]:
        (tmp_path / "subscriptions.yaml").write_text(text)
        used = nothing_used()
        noted = NotedBus(bus, used, lambda: "alerts")
        context = RoleContext(
            "alerts", site(), tmp_path, Settings(run_dir=tmp_path / "run", **settings), noted, asyncio.Event()
        )
        task = asyncio.create_task(run(context))
        await until(lambda: context.state == "ready" or task.done())
        try:
            yield Running(context, bus)
        finally:
            context.stop.set()
            await task
            check_rights("alerts", used)

    return starting
