"""What systemd hears of a role, over a datagram socket as it has one."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.observability import watchdog
from gateways.observability.progress import PATIENCE_S
from gateways.observability.watchdog import watched
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import Settings
from tests.rules.engine.plant import site


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket of systemd: a file, or a name of Linux's own."""
    name = f"@headrace-{tmp_path}" if request.param == "abstract" else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    monkeypatch.setattr(watchdog, "EVERY_S", 0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        heard.setblocking(False)
        yield heard


def context_of(kind: str) -> RoleContext:
    return RoleContext(f"{kind}-host", site(), Path(), Settings(), MemoryBus(), asyncio.Event(), kind=kind)


async def word(manager: socket.socket) -> str:
    async with asyncio.timeout(60):
        return (await asyncio.get_running_loop().sock_recv(manager, 4096)).decode()


def later(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    now_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: now_s() + seconds)


async def test_it_is_told_that_a_role_has_started_and_then_that_it_lives(manager: socket.socket) -> None:
    async with watched(context_of("opcua")):
        assert await word(manager) == "READY=1"
        assert await word(manager) == "WATCHDOG=1"


async def test_a_loop_that_does_not_turn_says_nothing(manager: socket.socket) -> None:
    async with watched(context_of("opcua")):
        await word(manager)
        while True:
            try:
                manager.recv(4096)
            except BlockingIOError:
                break
        time.sleep(0.05)  # noqa: ASYNC251 (so a loop stands still)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


async def test_a_role_that_is_stuck_asks_for_its_end_and_says_why(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context = context_of("ticker")
    context.metrics["ticks"] = 7
    async with watched(context):
        assert await word(manager) == "READY=1"
        assert await word(manager) == "WATCHDOG=1"
        later(PATIENCE_S + 1, monkeypatch)
        async with asyncio.timeout(60):
            while (said := await word(manager)) == "WATCHDOG=1":
                pass
    assert said.startswith("WATCHDOG=trigger\nSTATUS=ticks, failed, clock_back: nothing has moved for ")
    assert "the role is stuck" in caplog.text


async def test_what_moves_is_not_stuck(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of("ticker")
    async with watched(context):
        await word(manager)
        await word(manager)
        context.metrics["ticks"] = 8
        later(PATIENCE_S + 1, monkeypatch)
        for _ in range(3):
            assert await word(manager) == "WATCHDOG=1"


async def test_a_systemd_that_is_being_started_anew_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(watchdog, "EVERY_S", 0.0)
    async with watched(context_of("opcua")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            for _ in range(5):
                await asyncio.sleep(0)
            heard.bind(str(tmp_path / "notify"))
            heard.setblocking(False)
            assert await word(heard) == "WATCHDOG=1"


async def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    async with watched(context_of("ticker")):
        names = {task.get_name() for task in asyncio.all_tasks()}
    assert "watchdog" not in names
