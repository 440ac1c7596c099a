"""A consumer group without Faust: partitions of `events` among the simulated workers, and a carrier for each of them.

Rules: the carrier has the face that the worker wants of Faust's; a member that is killed keeps its partitions until its
session is over, as a broker can't know; at a rebalance all who live give up theirs before any is given some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from gateways.whole.process import PROCESS, Process
from streams.bus.bus import Bus, Reader
from streams.record import TopicPartition
from streams.topics import EVENTS
from streams.worker.faust_app import BATCH_RECORDS, GATHER_S, Callbacks

SESSION_S: Final = 3.0
JOIN_S: Final = 0.2
LOOK_EVERY_S: Final = 0.25
FETCH_S: Final = 0.5


class Group:
    """Who is in it, and who has which partition. `committed` is what the members have moved the offsets to."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.committed: dict[int, int] = {}
        self.rebalances = 0
        self._members: list[GroupInput] = []
        self._dead_since_s: dict[str, float] = {}
        self._to_give_up: set[GroupInput] = set()
        self._changed = False

    def join(self, member: GroupInput) -> None:
        """It takes part in the next rebalance; one of the same name (a restart) is out at once."""
        self._members = [one for one in self._members if one.process.name != member.process.name]
        self._members.append(member)
        self._changed = True

    def leave(self, member: GroupInput) -> None:
        """A clean stop."""
        if member in self._members:
            self._members.remove(member)
            self._changed = True

    def give_up(self, member: GroupInput) -> None:
        """It has given up what it had."""
        self._to_give_up.discard(member)

    def is_given_up(self) -> bool:
        """Whether all who live have given up what they had before this rebalance."""
        return not any(one in self._members and one.process.is_alive for one in self._to_give_up)

    async def coordinate(self) -> None:
        """Look who lives, and share out; until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for member in list(self._members):
                name = member.process.name
                if member.process.is_alive:
                    self._dead_since_s.pop(name, None)
                elif loop.time() - self._dead_since_s.setdefault(name, loop.time()) >= SESSION_S:
                    self.leave(member)
                    self._dead_since_s.pop(name)
            if self._changed:
                self._changed = False
                self._rebalance()

    def _rebalance(self) -> None:
        self.rebalances += 1
        members = sorted(self._members, key=lambda member: member.process.name)
        self._to_give_up = set(members)
        for index, member in enumerate(members):
            member.assign([p for p in range(self.partitions) if p % len(members) == index])


class GroupInput:
    """The carrier of one worker."""

    def __init__(self, group: Group, bus: Bus, callbacks: Callbacks) -> None:
        process = PROCESS.get()
        assert process is not None
        self.process: Process = process
        self._group = group
        self._bus = bus
        self._callbacks = callbacks
        self._closed = False
        self._wanted: list[int] | None = None
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._reader: Reader | None = None

    @property
    def crashed(self) -> bool:
        """Faust's services may crash; there are none here."""
        return False

    async def start(self) -> None:
        """Join; partitions are assigned later."""
        self._tasks = [asyncio.create_task(self._carry(), name="carrier")]
        self._group.join(self)

    def close(self) -> None:
        """Hand on no further record."""
        self._closed = True

    async def stop(self) -> None:
        """Leave."""
        self.close()
        self._group.leave(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lag(self) -> int:
        """What is read is worked off at once: what waits is not known here."""
        return 0

    async def commit(self, partition: int, offset: int) -> None:
        """Move the group's offset."""
        if self.process.is_alive:
            self._group.committed[partition] = offset

    def assign(self, partitions: list[int]) -> None:
        """Called by the group: from the next batch on these are its own."""
        self._wanted = partitions
        self._news.set()

    async def _carry(self) -> None:
        while not self._closed:
            if self._wanted is not None:
                wanted, self._wanted = self._wanted, None
                self._news.clear()
                self._reader = None
                await self._guarded(self._take_over(wanted))
            elif self._reader is None:
                await self._news.wait()
            else:
                records = await self._reader.read(FETCH_S, BATCH_RECORDS)
                if records:
                    await asyncio.sleep(GATHER_S)
                if records and self._wanted is None and not self._closed:
                    await self._guarded(self._callbacks.records(records))

    async def _take_over(self, partitions: list[int]) -> None:
        await self._callbacks.revoked()
        self._group.give_up(self)
        await asyncio.sleep(JOIN_S)
        while self._wanted is None and not self._group.is_given_up():
            await asyncio.sleep(JOIN_S)
        if self._wanted is not None:
            return  # the next rebalance has begun
        await self._callbacks.assigned(partitions)
        positions = self._callbacks.positions()
        start = {TopicPartition(EVENTS.name, number): positions[number] for number in partitions}
        self._reader = await self._bus.reader([EVENTS.name], start)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._closed = True
            self._callbacks.failure(error)
