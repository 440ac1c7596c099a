"""What roles say of themselves in the simulation is what they say in production."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateways.whole import roles
from streams.bus.memory import MemoryBus
from streams.record import Message
from streams.role import RoleContext, as_status
from streams.settings import Settings
from tests.rules.engine.plant import site


async def test_it_is_a_status_of_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "SAY_EVERY_S", 0.0)
    said: list[Message] = []
    spoke = asyncio.Event()

    def say(message: Message) -> None:
        said.append(message)
        spoke.set()

    async def work(context: RoleContext) -> None:
        context.metrics.update(now_ns={"row-a": 5}, only_this_run_knows=7)
        await spoke.wait()

    context = RoleContext("worker-2", site(), Path(), Settings(), MemoryBus(), asyncio.Event())
    context.clock = lambda: 9
    await roles._speaking(work, roles.WORKER, say)(context)
    status = as_status(said[0].value)
    assert status is not None
    assert (status["role"], status["kind"], status["at_ns"]) == ("worker-2", "worker", 9)
    assert status["metrics"] == {"now_ns": {"row-a": 5}}
