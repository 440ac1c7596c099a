"""The words of the log as a stream that can be resumed: what Server-Sent Events and WebSockets have in common.

Rules: an event's id is `EPOCH-NUMBER`, of this outbox; who comes without one has the alarms that stand first; who comes
with one goes on behind it, or is told that there is a gap, and has what stands. Nothing is kept for a client: it reads
the outbox at its own pace, so that a slow one costs nobody anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

import orjson

from gateways.alerts.filters import Directory, Transition, is_told
from gateways.alerts.intake import Intake
from gateways.alerts.model import Subscription, Subscriptions
from gateways.alerts.outbox import Outbox
from gateways.alerts.store import alarm_bytes
from rules.site.model import Site

KEEP_ALIVE_S: Final = 15.0


class Event(NamedTuple):
    """`name`: 'alarm' (a record of the topic `alarms`), 'gap', or '' for a sign of life. `id` '': it has none."""

    id: str
    name: str
    data: bytes


class Streams:
    """All streams of a role."""

    def __init__(self, site: Site, subscriptions: Subscriptions, outbox: Outbox, intake: Intake) -> None:
        self._site = site
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._intake = intake
        self._epoch = outbox.epoch
        self._news = asyncio.Event()
        self.clients = 0

    def wake(self) -> None:
        """There are new words."""
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, last_id: str, subscription: Subscription | None) -> AsyncIterator[Event]:
        """Events for ever. `subscription`: only what it is told of; `last_id` '' for a new client."""
        is_wanted = self._wanted(subscription)
        self.clients += 1
        try:
            first, last = self._outbox.word_numbers()
            after = self._number(last_id)
            if after is None or not first - 1 <= after <= last:
                if last_id:
                    said = last_id.encode(errors="replace").decode()  # a header's bytes need not be text
                    yield Event("", "gap", orjson.dumps({"after": said, "first": self._id(first)}))
                after = last
                for event in self._picture(is_wanted, after):
                    yield event
            while True:
                news = self._news
                words = self._outbox.words(after)
                for word in words:
                    after = word.seq
                    if is_wanted(word.transition):
                        yield Event(self._id(word.seq), "alarm", word.body)
                if words:
                    await asyncio.sleep(0)
                    continue
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await news.wait()
                except TimeoutError:
                    yield Event("", "", b"")
        finally:
            self.clients -= 1

    def _picture(self, is_wanted: Callable[[Transition], bool], after: int) -> list[Event]:
        """What stands, as if it had just been said; all with the number of the last word, behind which they go on."""
        standing = sorted(
            (one for one in self._intake.last.values() if one.alarm.state != "normal"),
            key=lambda one: (one.alarm.at_ns, one.alarm.key),
        )
        return [
            Event(self._id(after), "alarm", alarm_bytes(one.alarm))
            for one in standing
            if is_wanted(Transition(one.alarm, one.is_heard, True))
        ]

    def _wanted(self, subscription: Subscription | None) -> Callable[[Transition], bool]:
        if subscription is None:
            return lambda _: True
        directory = Directory([subscription], self._intake.type_of, self._subscriptions.group_of)
        zone = self._subscriptions.zone
        return lambda one: bool(directory.of(one.alarm)) and is_told(subscription.filter, one, zone)

    def _id(self, number: int) -> str:
        return f"{self._epoch}-{number}"

    def _number(self, own_id: str) -> int | None:
        epoch, _, number = own_id.partition("-")
        return int(number) if epoch == self._epoch and number.isdecimal() and len(number) < 19 else None
