"""What a role says about itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from streams.bus.memory import MemoryBus
from streams.role import RoleContext, report_status
from streams.settings import Settings
from streams.topics import STATUS
from tests.rules.engine.plant import site


async def test_the_status_is_shown_as_it_is_published() -> None:
    bus = MemoryBus()
    await bus.create_topics([STATUS], 1)
    context = RoleContext("ticker", site(), Path(), Settings(), bus, asyncio.Event())
    context.ended.set()
    shown: list[bytes] = []
    await report_status(context, show=shown.append)
    assert [record.value for record in bus.records(STATUS.name)] == shown
    assert [orjson.loads(line)["state"] for line in shown] == ["stopping"]
