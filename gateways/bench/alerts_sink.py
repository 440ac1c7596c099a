"""A receiver of webhooks as a process: `python -m gateways.bench.alerts_sink LOG SHARE SEED`; its port on stdout.

Rules: a share of what comes fails, half of it before it is taken (503) and half after (the connection breaks, so that
the sender can't know); what it takes is a line of the log: when, in ns, and the ids of the deliveries. What comes to
`/hang` is answered after 30 s.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Final, TextIO

import orjson
from aiohttp import web

HANG_S: Final = 30.0


class Sink:
    """Takes, fails and hangs."""

    def __init__(self, log: TextIO, share: float, seed: int) -> None:
        self._log = log
        self._share = share
        self._chance = random.Random(seed)

    async def take(self, request: web.Request) -> web.Response:
        """A notification; its share of failures."""
        body = orjson.loads(await request.read())
        at_ns = time.time_ns()
        fails = self._chance.random() < self._share
        if fails and self._chance.random() < 0.5:
            return web.Response(status=503)
        ids = body.get("folded", {}).get("deliveries") or [one["delivery"] for one in body["alarms"]]
        self._log.write(f"{at_ns} {' '.join(ids)}\n")
        if fails and request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def hang(self, request: web.Request) -> web.Response:
        """An answer that nobody waits for."""
        await asyncio.sleep(HANG_S)
        return web.Response()


async def serve(log_file: Path, share: float, seed: int) -> None:
    """Until it is killed."""
    with log_file.open("w", buffering=1) as log:
        sink = Sink(log, share, seed)
        app = web.Application()
        app.router.add_post("/take", sink.take)
        app.router.add_post("/hang", sink.hang)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
