"""The worker ends when its carrier fails it: silence while input waits, a crash, an exception in a callback."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rules.errors import InvariantError
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import BrokerSettings, Settings
from streams.site_folder import load_site
from streams.topics import TOPICS
from streams.worker import role as worker
from streams.worker.faust_app import Callbacks, Membership
from tests.streams.worker.scenario import PARTITIONS, readings

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"


class SilentInput:
    """A carrier that is assigned everything and brings nothing."""

    crashes = False
    fails: BaseException | None = None

    def __init__(
        self, topic: str, broker: BrokerSettings, membership: Membership, callbacks: Callbacks
    ) -> None:
        self.callbacks = callbacks
        self.commits: list[tuple[int, int]] = []

    async def start(self) -> None:
        await self.callbacks.assigned(range(PARTITIONS))
        if self.fails is not None:
            self.callbacks.failure(self.fails)

    async def stop(self) -> None: ...

    def close(self) -> None: ...

    @property
    def crashed(self) -> bool:
        return self.crashes

    def lag(self) -> int:
        return 0

    async def commit(self, partition: int, offset: int) -> None:
        raise AssertionError("nothing was covered")


@pytest.fixture
async def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RoleContext:
    monkeypatch.setattr(worker, "_WATCH_S", 0.01)
    bus = MemoryBus()
    await bus.create_topics(TOPICS, PARTITIONS)
    settings = Settings(run_dir=tmp_path, worker={"watchdog_s": 0.05})  # type: ignore[arg-type]
    return RoleContext("worker", load_site(NARVIK), NARVIK, settings, bus, asyncio.Event())


def carried_by(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    monkeypatch.setattr(worker, "FaustInput", type("Changed", (SilentInput,), changed))


async def test_silence_while_input_waits_ends_it(
    context: RoleContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_by(monkeypatch)
    producer = await context.bus.producer("test")
    await (await producer.send(readings("row-a", 1)))
    with pytest.raises(InvariantError, match="no progress"):
        await asyncio.wait_for(worker.run(context), 120)


async def test_silence_without_input_is_no_reason(
    context: RoleContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReadToTheEnd(SilentInput):
        async def start(self) -> None:
            await super().start()
            await self.callbacks.records(context.bus.records("events"))  # type: ignore[attr-defined]

        async def commit(self, partition: int, offset: int) -> None: ...

    monkeypatch.setattr(worker, "FaustInput", ReadToTheEnd)
    running = asyncio.create_task(worker.run(context))
    checks = 0
    check = worker._Worker._check_waiting

    async def counted(*of: Any) -> None:
        nonlocal checks
        await check(*of)
        checks += 1
        if checks == 3:
            context.stop.set()

    monkeypatch.setattr(worker._Worker, "_check_waiting", counted)
    await asyncio.wait_for(running, 120)
    assert context.metrics["records"] == len(context.site.units)  # what the worker has said itself


async def test_a_crash_of_faust_ends_it(context: RoleContext, monkeypatch: pytest.MonkeyPatch) -> None:
    carried_by(monkeypatch, crashes=True)
    with pytest.raises(InvariantError, match="Faust has crashed"):
        await asyncio.wait_for(worker.run(context), 120)


async def test_an_exception_of_a_callback_ends_it(
    context: RoleContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_by(monkeypatch, fails=InvariantError("broken"))
    with pytest.raises(InvariantError, match="broken"):
        await asyncio.wait_for(worker.run(context), 120)
