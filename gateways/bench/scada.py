"""`headrace bench scada`: the OPC UA server under many alarms and clients.

Rules: the server is a process of its own, fed with words on alarms from a log in memory; its clients are in this one,
and count what comes, event by event, in messages that they do not take apart. One more client stops reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import psutil

from gateways.bench.machine import machine
from gateways.bench.scada_client import CountingClient
from gateways.bench.session import quiet_logging
from gateways.listen import free_port

REFRESH_S: Final = 5.0
"""What a refresh may take."""
GROWTH_MB: Final = 8.0
"""Of the server's memory between a quarter of the run and its end."""
_SETTLE_S: Final = 10.0


class ScadaBench(NamedTuple):
    """What was asked for."""

    site: Path
    alarms: int
    clients: int
    per_s: int
    seconds: int


class Server:
    """The process that is measured."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._seen = psutil.Process(process.pid)

    async def ask(self, name: str, *given: Any) -> dict[str, Any]:
        """Its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *given]).encode() + b"\n")
        return await self.line()

    async def line(self) -> dict[str, Any]:
        """Its next word."""
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return said

    def memory_mb(self) -> float:
        """What it holds now."""
        return float(self._seen.memory_info().rss) / 1e6


@asynccontextmanager
async def _serving(site: Path) -> AsyncIterator[tuple[Server, str]]:
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/headrace"
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateways.bench.scada_server", str(site), endpoint, folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        server = Server(process)
        try:
            await server.line()
            yield server, endpoint
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def bench_scada(wanted: ScadaBench, as_json: bool) -> int:
    """Measure; 0, or 1 where a refresh is too slow, something is lost, or memory grows."""
    quiet_logging()
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    result = {**asyncio.run(_measure(wanted)), "machine": machine()}
    if as_json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:28} {value}")
    is_quick = max(result["refresh_s"], result["refresh_all_s"]) < REFRESH_S
    is_whole = not result["refresh_missing"] and not result["lost"]
    return 0 if is_quick and is_whole and result["memory_growth_mb"] < GROWTH_MB else 1


async def _measure(wanted: ScadaBench) -> dict[str, Any]:
    async with _serving(wanted.site) as (server, endpoint):
        standing = (await server.ask("stand", wanted.alarms))["standing"]
        while (await server.ask("metrics"))["alarms"] < standing:
            await asyncio.sleep(0.05)
        clients = [CountingClient(endpoint) for _ in range(wanted.clients)]
        for client in clients:
            await client.start()
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        await clients[0].refresh()
        one_s = loop.time() - begin_s
        begin_s = loop.time()
        await asyncio.gather(*(client.refresh() for client in clients))
        all_s = loop.time() - begin_s
        refreshed = sum(client.count for client in clients)
        result = await _transitions(wanted, server, endpoint, clients)
        for client in clients:
            await client.close()
    return {
        "alarms": standing,
        "clients": wanted.clients,
        "refresh_s": round(one_s, 3),
        "refresh_all_s": round(all_s, 3),
        "refresh_missing": (wanted.clients + 1) * (standing + 2) - refreshed,
        **result,
    }


async def _transitions(
    wanted: ScadaBench, server: Server, endpoint: str, clients: list[CountingClient]
) -> dict[str, Any]:
    stuck = CountingClient(endpoint)
    await stuck.start()
    stuck.stop_reading()
    before = [client.count for client in clients]
    for client in clients:
        client.ages_ms.clear()
    memory: list[float] = []

    async def watch() -> None:
        while True:
            memory.append(server.memory_mb())
            await asyncio.sleep(1.0)

    watching = asyncio.create_task(watch())
    said = await server.ask("say", wanted.per_s, wanted.seconds)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _SETTLE_S
    while loop.time() < until_s and any(
        client.count - start < said["said"] for client, start in zip(clients, before, strict=True)
    ):
        await asyncio.sleep(0.05)
    watching.cancel()
    delivered = sum(client.count - start for client, start in zip(clients, before, strict=True))
    ages = np.array([age for client in clients for age in client.ages_ms] or [0.0])
    lost_of_stuck = (await server.ask("metrics"))["notifications_lost"]
    await stuck.close()
    tail = memory[len(memory) // 4 :]
    return {
        "transitions": said["said"],
        "per_s": round(said["said"] / said["wall_s"], 1),
        "delivered": delivered,
        "lost": said["said"] * len(clients) - delivered,
        "age_ms": {
            name: round(float(np.percentile(ages, percent)), 1)
            for name, percent in (("p50", 50), ("p99", 99), ("max", 100))
        },
        "server_core_percent": round(100 * said["cpu_s"] / said["wall_s"], 1),
        "memory_mb": round(memory[-1], 1),
        "memory_growth_mb": round(tail[-1] - tail[0], 1),
        "dropped_for_one_that_does_not_read": lost_of_stuck,
    }
