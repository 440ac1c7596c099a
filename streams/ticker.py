"""Role `ticker`: the only clock of the engine, one tick per unit and period of the site.

Rules that this module obeys:
- A tick's time is a multiple of `site.tick_ns`; its identity (`ticker`, 0, time // period) depends on nothing
  else, so that a second ticker's ticks are repeats.
- It is published `hold_back_ms` after its time, so that the samples before it reach the log first.
- It never says a time that is not above its last one: not when the wall clock jumps back, nor after a pause. A
  pause (or a broker that was away) is followed by the current tick, not by those that were missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable

from rules.engine.inputs import Identity, Tick
from rules.errors import UnreachableError
from streams.bus.bus import Producer
from streams.publisher.catch_up import SPEED, CatchUp
from streams.role import RoleContext
from streams.wire import encode_input

logger = logging.getLogger(__name__)

SOURCE = "ticker"


class Ticker:
    """Ticks of all units of a site. `hold` and `release` as a publisher's, and then in step with them."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._clock = context.clock
        self._period_ns = context.site.tick_ns
        self._hold_back_ns = context.settings.ticker.hold_back_ms * 1_000_000
        self._last = 0
        self._held = False
        self._held_ns = 0
        self._catch_up: CatchUp | None = None
        self._producer: Producer | None = None
        context.metrics.update(ticks=0, skipped=0, failed=0, last_tick_ns=0, clock_back=0)

    def hold(self) -> None:
        """Say nothing from now on."""
        if not self._held:
            self._held_ns = self._now_ns()
        self._held = True

    def release(self) -> None:
        """Go on with the tick at which the hold began."""
        if self._held:
            self._catch_up = CatchUp(self._held_ns, self._clock())
        self._held = False

    def _now_ns(self) -> int:
        """The present, but for a while after a hold."""
        now = self._clock()
        if self._catch_up is not None and self._catch_up.is_over(now):
            self._catch_up = None
        return now if self._catch_up is None else self._catch_up.until_ns(now)

    def due_in_s(self) -> float:
        """How long until the next tick may be said; 0 when it may be now."""
        now = self._now_ns()
        due_ns = ((now - self._hold_back_ns) // self._period_ns + 1) * self._period_ns
        speed = 1 if self._catch_up is None else SPEED
        return max(0.0, (due_ns + self._hold_back_ns - now) / 1e9 / speed)

    async def tick(self) -> bool:
        """Say the current tick of every unit, if it is above the last one; whether it was. UnreachableError."""
        # before the clock is read: to connect can take seconds, and the tick would be as old
        producer = self._producer = self._producer or await self._context.bus.producer(self._context.name)
        sequence = (self._now_ns() - self._hold_back_ns) // self._period_ns
        metrics = self._context.metrics
        if sequence <= self._last:
            metrics["clock_back"] += sequence < self._last
            return False
        if self._held:
            return False
        if self._last:
            metrics["skipped"] += sequence - self._last - 1
        # Said or not, this one is over: a repeat after a failure could only come late.
        self._last = sequence
        partitions = self._context.settings.broker.partitions
        identity = Identity(SOURCE, 0, sequence)
        waiting: list[Awaitable[int]] = []
        for unit in self._context.site.units:
            tick = Tick(unit, identity, sequence * self._period_ns)
            waiting.append(await producer.send(encode_input(tick, partitions)))
        for acknowledgement in waiting:
            await acknowledgement
        metrics["ticks"] += 1
        metrics["last_tick_ns"] = sequence * self._period_ns
        return True

    async def close(self) -> None:
        """Let go of the connection."""
        if self._producer is not None:
            with contextlib.suppress(UnreachableError):
                await self._producer.close()


async def run(context: RoleContext) -> None:
    """Tick until the role is told to stop. A broker that is away is waited for."""
    ticker = Ticker(context)
    context.publishers.append(ticker)
    reachable = True
    try:
        while not context.stop.is_set():
            try:
                await ticker.tick()
                if not reachable:
                    logger.info("the broker is back")
                reachable = True
                context.ready()
            except UnreachableError as error:
                context.metrics["failed"] += 1
                if reachable:
                    logger.warning("%s", error)
                reachable = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(context.stop.wait(), ticker.due_in_s())
    finally:
        await ticker.close()
