"""A role's process: it says when it has stopped; a spare waits (`up/test_processes.py`); a run folder that is none."""

import asyncio
import io
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateways.broker import EmbeddedBroker
from gateways.cli import run_role as module
from gateways.cli.run_role import run_role
from rules.errors import ConfigurationError, InvariantError
from streams.bus.kafka import KafkaBus
from streams.publisher.publisher import Publisher
from streams.role import RoleContext
from streams.settings import Settings
from streams.topics import EVENTS

SITE = Path(__file__).parents[3] / "examples" / "narvik-small"


def test_a_spare_that_is_never_needed_reads_no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run_role("ticker", tmp_path / "nowhere", "ticker", ["spare=on"]) == 0


def test_a_spare_that_is_needed_goes_on_as_the_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    with pytest.raises(ConfigurationError, match="no folder"):
        run_role("ticker", tmp_path / "nowhere", "ticker", ["spare=on"])


async def stops(_context: RoleContext) -> None:
    return


async def fails(_context: RoleContext) -> None:
    raise InvariantError("broken")


@pytest.mark.parametrize(("role", "is_said"), [(stops, True), (fails, False)])
async def test_the_last_line_of_a_role_that_was_stopped(
    caplog: pytest.LogCaptureFixture,
    unused_port: int,
    role: Callable[[RoleContext], Awaitable[None]],
    is_said: bool,
) -> None:
    settings = Settings()
    settings.broker.bootstrap = f"127.0.0.1:{unused_port}"
    with caplog.at_level(logging.INFO):
        try:
            await module._run("ticker", role, SITE, settings, "ticker", {}, None)
        except InvariantError:
            assert not is_said
    assert (caplog.messages[-1:] == ["stopped"]) == is_said


async def test_systemd_is_told_that_it_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def waits(_context: RoleContext) -> None:
        async with asyncio.timeout(60):
            assert await asyncio.get_running_loop().sock_recv(heard, 100) == b"READY=1"

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        await module._run("ticker", waits, SITE, Settings(), "ticker", {}, None)


async def test_a_gateway_spools_until_it_is_known_that_its_partitions_are_not_those_of_the_log(
    tmp_path: Path, unused_port: int
) -> None:
    settings = Settings(run_dir=tmp_path)
    settings.broker.bootstrap = f"127.0.0.1:{unused_port}"
    broker = EmbeddedBroker(unused_port, tmp_path / "broker", partitions=3)
    contexts: list[RoleContext] = []

    async def gateway(context: RoleContext) -> None:
        contexts.append(context)
        publisher = await Publisher.open(context, "nvml")
        if len(contexts) == 1:
            publisher.publish_gap("row-a", "disconnected", 1, 2, 3)
        try:
            await context.stop.wait()
        finally:
            await publisher.close()

    async def run(partitions: int) -> None:
        settings.broker.partitions = partitions
        await module._run("nvml", gateway, SITE, settings, "nvml", {}, None)

    bus = KafkaBus(settings.broker)
    wrong = asyncio.create_task(run(6))
    try:
        while not contexts or not contexts[0].metrics.get("status_unsent"):
            await asyncio.sleep(0.01)
        assert not wrong.done(), "without a broker it goes on"
        await broker.start()
        await asyncio.wait([wrong], timeout=120)
        assert wrong.done(), "by itself"
        with pytest.raises(ConfigurationError, match="is 6 here, and topic 'events' has 3 partitions"):
            await wrong
        assert sum((await bus.ends(EVENTS.name)).values()) == 0

        right = asyncio.create_task(run(3))
        async with asyncio.timeout(120):
            while not sum((await bus.ends(EVENTS.name)).values()):
                await asyncio.sleep(0.05)
        contexts[-1].stop.set()
        await right
    finally:
        wrong.cancel()
        await bus.close()
        await broker.stop()


def test_a_run_folder_that_can_t_be_made_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    run_dir = tmp_path / "file" / "run"
    monkeypatch.setenv("HEADRACE_RUN_DIR", str(run_dir))

    async def works_there(*_: object) -> None:
        run_dir.mkdir(parents=True)

    monkeypatch.setattr(module, "_run", works_there)
    with pytest.raises(ConfigurationError) as caught:
        run_role("ticker", tmp_path, "ticker", [])
    (finding,) = caught.value.findings
    assert (finding.file, finding.message) == (str(run_dir), "can't be written: Not a directory")
    assert "HEADRACE_RUN_DIR" in finding.hint
