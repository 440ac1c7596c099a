"""`headrace run scada` as a process, and clients that nobody here wrote, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateways.broker import EmbeddedBroker
from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from tests.gateways.scada.live import Live

ROOT = Path(__file__).parents[3]


class ServerProcess:
    """`headrace run scada` on a site's folder."""

    def __init__(self, folder: Path, endpoint: str, broker: EmbeddedBroker) -> None:
        self._command = (
            *(sys.executable, "-m", "gateways.cli.main", "run", "scada", str(folder), "--json"),
            *("--option", f"endpoint={endpoint}"),
        )
        self._env = os.environ | {
            "HEADRACE_BROKER__BOOTSTRAP": broker.bootstrap,
            "HEADRACE_RUN_DIR": str(folder / "run"),
            "HEADRACE_SCADA__ALLOW_NONE": "true",
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[bytes] | None = None

    async def start(self) -> None:
        """Return when clients are let in."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, env=self._env, stdout=asyncio.subprocess.PIPE
        )
        output = self._process.stdout
        assert output is not None
        while json.loads(await output.readline())["state"] != "ready":
            pass
        self._reading = asyncio.create_task(output.read())

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        code = await self._process.wait()
        if self._reading is not None:
            await self._reading
        return code


@asynccontextmanager
async def served(
    folder: Path, port: int, broker: EmbeddedBroker
) -> AsyncIterator[tuple[Live, ServerProcess]]:
    """A site's SCADA server as a process; worker and ticker are in the test."""
    bus = KafkaBus(BrokerSettings(bootstrap=broker.bootstrap))
    made = Live(folder, port, bus)
    tasks = await made.start_worker()
    (folder / "headrace.yaml").write_text(f"access: {{keys: {{scada: {folder / 'scada.pem'}}}}}\n")
    server = ServerProcess(folder, made.endpoint, broker)
    await server.start()
    try:
        yield made, server
        assert await server.end() == 0
    finally:
        await server.end(signal.SIGKILL)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.producer.close()
        await bus.close()


class RefusedError(Exception):
    """The server did not let the client in; the text is the client's."""


class Peer:
    """A client as a process that takes commands as JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, name: str, *given: Any) -> Any:
        """What it says of a command; AssertionError where it failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *given]).encode() + b"\n")
        said = await self.line()
        assert "done" in said, said
        return said["done"]

    async def line(self) -> dict[str, Any]:
        """The next JSON object; other lines are a library's."""
        assert self._process.stdout is not None
        while True:
            line = await asyncio.wait_for(self._process.stdout.readline(), 180)
            if not line:
                raise RefusedError("it has ended")
            if line.startswith(b"{"):
                found: dict[str, Any] = json.loads(line)
                return found

    async def events(self, condition: str, count: int) -> list[dict[str, Any]]:
        """The events of a condition, once there are as many."""
        for _ in range(2400):
            found = [
                one for one in await self.ask("events") if str(one["ConditionId"]).endswith(f"s={condition}")
            ]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{len(found)} events of {condition}")


@asynccontextmanager
async def peer(command: Sequence[Any], env: Mapping[str, str] | None = None) -> AsyncIterator[Peer]:
    """A client that is connected. RefusedError: it was not let in."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    made = Peer(process)
    try:
        said = await made.line()
        if "ready" not in said:
            raise RefusedError(str(said))
        yield made
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 60)
        except TimeoutError:
            process.kill()
