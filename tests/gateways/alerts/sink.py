"""A receiver of webhooks for tests: what it got, and what it is to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web


@dataclass
class Sink:
    """`answers`: the statuses to give, one after the other, then 200; `hangs`: it gives none."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    always: int = 200
    hangs: bool = False

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.hangs:
            await asyncio.sleep(600)
        status = self.answers.pop(0) if self.answers else self.always
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.paths.append(request.path)
        if status < 300:
            self.got.append(orjson.loads(body))
        to_elsewhere = {"location": "/elsewhere"} if 300 <= status < 400 else None
        return web.Response(status=status, headers=to_elsewhere)

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.got]


@asynccontextmanager
async def running_sink() -> AsyncIterator[Sink]:
    sink = Sink()
    app = web.Application()
    app.router.add_post("/{path:.*}", sink.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sink.url = f"http://127.0.0.1:{runner.addresses[0][1]}/alarms"
    try:
        yield sink
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Return when it is so; TimeoutError, which only ends a test that has failed."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)
