"""A role's process: it says when it has stopped; a spare waits (`up/test_processes.py`); a run folder that is none."""

import asyncio
import io
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateways.cli import run_role as module
from gateways.cli.run_role import run_role
from rules.errors import ConfigurationError, InvariantError
from streams.role import RoleContext
from streams.settings import Settings

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
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(heard, 100) == b"READY=1"

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        await module._run("ticker", waits, SITE, Settings(), "ticker", {}, None)


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
