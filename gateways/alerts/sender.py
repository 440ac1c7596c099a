"""One channel at work: its notifications from the outbox to the receiver.

Rules that this module obeys:
- A lane is what a subscription has on the channel, or its part of that for some alarms: one notification at a time, in
  order, the next one when this one is taken. So the order per alarm and subscription is kept, and one that has to wait
  holds up no other lane.
- At most `parallel` lanes are at work; another channel has workers of its own, so that a receiver that hangs delays
  nobody elsewhere.
- What is not taken is tried again after a pause that doubles, with chance in it, or after as long as the receiver asks.
- Nothing taken for `give_up_s`, by a clock that nobody sets, and the channel is dead: all that it has, and all that
  comes, goes to its fallback, and who reads that is told. A dead channel is tried with a word of our own; when that is
  taken, it is alive. Without a fallback it keeps what it has, and tries that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, Protocol

from gateways.alerts.delivery import Deliverer, DeliveryError
from gateways.alerts.intake import Sent
from gateways.alerts.model import Channel
from gateways.alerts.notification import Notification, of_itself
from gateways.alerts.outbox import Message, Outbox

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
PROBE_S: Final = 30.0
FAILURES_MIN: Final = 3
"""A channel that was seldom used is not dead after one failure."""
_SLACK_S: Final = 5.0
"""Beyond a channel's own time-out: whoever is still busy then hangs."""


class Switchboard(Protocol):
    """Where a sender hands on what is not its own any more."""

    def dispatch(self, sent: list[Sent]) -> None:
        """To the senders of their channels."""
        ...

    def announce(self, notification: Notification, channel: str) -> None:
        """A word of our own to a channel, through the outbox."""
        ...


@dataclass(slots=True)
class _Lane:
    name: str
    waiting: list[int] = field(default_factory=list)
    """A heap: what comes from another channel may be older than what waits here."""

    is_busy: bool = False
    """At work, in line for it, or pausing."""

    attempts: int = 0


class Sender:
    """Of one channel. `chance` is a part of 1, from 0; `elapsed_s` is of a clock that nobody sets."""

    def __init__(
        self,
        channel: Channel,
        deliverer: Deliverer,
        outbox: Outbox,
        switchboard: Switchboard,
        clock: Callable[[], int],
        site: str,
        metrics: dict[str, Any],
        chance: Callable[[], float] = random.random,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self.deliverer = deliverer
        self._outbox = outbox
        self._switchboard = switchboard
        self._clock = clock
        self._site = site
        self._metrics = metrics
        self._chance = chance
        self._elapsed_s = elapsed_s
        self._lanes: dict[str, _Lane] = {}
        self._ready: asyncio.Queue[_Lane] = asyncio.Queue()
        self._on_their_way: set[int] = set()
        self._failing_since_ns = 0
        self._failing_since_s = 0.0
        self._failures = 0
        dead = outbox.dead_channels().get(channel.name)
        self.dead_since_ns, self.last_error = dead or (0, "")

    @property
    def backlog(self) -> int:
        """Notifications on their way."""
        return sum(len(lane.waiting) for lane in self._lanes.values()) + len(self._on_their_way)

    @property
    def is_at_work(self) -> bool:
        """Whether anything goes out now, or would at once: not while all that waits pauses."""
        return bool(self._on_their_way) or not self._ready.empty()

    def add(self, seq: int, name: str) -> None:
        """A notification that is in the outbox."""
        lane = self._lanes.setdefault(name, _Lane(name))
        heappush(lane.waiting, seq)
        if self.dead_since_ns and self.channel.fallback:
            return  # who called hands all of it on: `hand_on`
        self._wake(lane)

    def hand_on(self) -> None:
        """While it is dead, all that it has goes to its fallback; what came here because another is dead stays."""
        fallback = self.channel.fallback
        if not (self.dead_since_ns and fallback and any(lane.waiting for lane in self._lanes.values())):
            return
        moved = self._outbox.divert(self.channel.name, fallback)
        for lane in self._lanes.values():
            lane.waiting.clear()
        for seq, name in self._outbox.pending_of(self.channel.name):
            if seq not in self._on_their_way:
                lane = self._lanes.setdefault(name, _Lane(name))
                heappush(lane.waiting, seq)
                self._wake(lane)
        if moved:
            self._metrics["diverted"] += len(moved)
            self._switchboard.dispatch([Sent(seq, name, fallback) for seq, name in moved])

    async def run(self) -> None:
        """Deliver until cancelled. UnreachableError: the outbox takes nothing."""
        tasks = [asyncio.create_task(self._work()) for _ in range(self.channel.parallel)]
        tasks.append(asyncio.create_task(self._probe()))
        self.hand_on()
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self.deliverer.close()
        for result in ended:
            if isinstance(result, Exception):
                raise result

    def _wake(self, lane: _Lane) -> None:
        if not lane.is_busy and lane.waiting:
            lane.is_busy = True
            self._ready.put_nowait(lane)

    async def _work(self) -> None:
        while True:
            lane = await self._ready.get()
            pause_s = await self._next(lane)
            if pause_s:
                asyncio.get_running_loop().call_later(pause_s, self._ready.put_nowait, lane)
            else:
                lane.is_busy = False
                self._wake(lane)

    async def _next(self, lane: _Lane) -> float:
        """Deliver the first of a lane; how long it has to pause before the next attempt, 0 when it is done with it."""
        if not lane.waiting:
            return 0.0
        message = self._outbox.message(heappop(lane.waiting))
        if message is None or message.channel != self.channel.name:  # it went to another channel
            return 0.0
        self._on_their_way.add(message.seq)
        try:
            error = await self._try(message.notification)
        finally:
            self._on_their_way.discard(message.seq)
        if error is None:
            lane.attempts = 0
            self._outbox.delivered(message, self._clock())
            self._metrics["deliveries"] += 1
            self._succeeded()
            return 0.0
        self._metrics["failures"] += 1
        self.last_error = str(error)
        self._outbox.failed(message, self.last_error, self._clock(), error.is_final)
        if error.is_final:
            lane.attempts = 0
            self._refused(message)
            return 0.0
        heappush(lane.waiting, message.seq)
        lane.attempts += 1
        self._failed()
        return error.after_s or self._pause_s(lane.attempts)

    async def _try(self, notification: Notification) -> DeliveryError | None:
        limit_s = self.channel.timeout_s * 2 + _SLACK_S
        try:
            # not `wait_for`, which in Python 3.11 may take a cancellation for an answer
            async with asyncio.timeout(limit_s):
                await self.deliverer.send(notification)
        except DeliveryError as error:
            return error
        except TimeoutError:
            return DeliveryError(f"no end within {limit_s:g} s")
        return None

    def _pause_s(self, attempts: int) -> float:
        longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempts - 1, 10))
        return float(longest_s * (0.5 + 0.5 * self._chance()))

    def _refused(self, message: Message) -> None:
        self._metrics["refused"] += 1
        ids = {"channel": self.channel.name, "notification": message.notification.id}
        log.warning("%s refuses %s: %s", *ids.values(), self.last_error, extra=ids)
        fallback = self.channel.fallback
        if fallback and not message.notification.instead_of:
            seq = self._outbox.divert_one(message, fallback)
            if seq is not None:
                self._metrics["diverted"] += 1
                self._switchboard.dispatch([Sent(seq, message.notification.lane, fallback)])

    def _failed(self) -> None:
        if not self._failures:
            self._failing_since_ns, self._failing_since_s = self._clock(), self._elapsed_s()
        self._failures += 1
        self.look()
        self.hand_on()  # it may have died while this one was on its way

    def look(self) -> None:
        """Whether it is dead now: also while all that it has pauses. UnreachableError."""
        is_long = self._elapsed_s() - self._failing_since_s >= self.channel.give_up_s
        if self.dead_since_ns or self._failures < FAILURES_MIN or not is_long:
            return
        self.dead_since_ns = self._failing_since_ns
        with self._outbox.transaction():
            self._outbox.bury(self.channel.name, self.dead_since_ns, self.last_error)
        goes_to = f"; its notifications go to {self.channel.fallback}" if self.channel.fallback else ""
        log.error(
            "channel %s is dead: %s%s",
            self.channel.name,
            self.last_error,
            goes_to,
            extra={"channel": self.channel.name},
        )
        if self.channel.fallback:
            self._announce("channel-dead", f"channel {self.channel.name} is dead: {self.last_error}{goes_to}")
        self.hand_on()

    def _succeeded(self) -> None:
        self._failures = 0
        if not self.dead_since_ns:
            return
        self.dead_since_ns = 0
        with self._outbox.transaction():
            self._outbox.revive(self.channel.name)
        log.warning(
            "channel %s takes notifications again", self.channel.name, extra={"channel": self.channel.name}
        )
        if self.channel.fallback:
            self._announce("channel-alive", f"channel {self.channel.name} takes notifications again")

    def _announce(self, kind: str, words: str) -> None:
        self._switchboard.announce(self._word(kind, words), self.channel.fallback)

    def _word(self, kind: str, words: str) -> Notification:
        return of_itself(kind, "headrace", self._site, self._clock(), words, channel=self.channel.name)

    async def _probe(self) -> None:
        """Whether a dead channel is alive again, with a word that says so to who reads it."""
        while True:
            await asyncio.sleep(PROBE_S)
            if not (self.dead_since_ns and self.channel.fallback):
                continue
            words = f"channel {self.channel.name} takes notifications again; meanwhile {self.channel.fallback} had them"
            error = await self._try(self._word("channel-alive", words))
            if error is None:
                self._succeeded()
            else:
                self.last_error = str(error)
