"""The bus in memory behind a network that has faults: the port of `streams.bus.bus`, as each process sees it.

Rules: a message is on its way for some ms, in order per producer and partition; what a process has not sent when it is
killed is gone; an acknowledgement may get lost while the record is in the log. When one message of a producer fails, so
do all of it that are not acknowledged. Without a fault it is a bus like any other, and passes the contract of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from gateways.whole.process import PROCESS, Process
from rules.errors import UnreachableError
from streams.bus.bus import Producer, Reader, Start, refuse_oversized
from streams.bus.memory import MemoryBus
from streams.record import Message, Record, TopicPartition
from streams.topics import Topic

SEND_S: Final = 0.002
ACKNOWLEDGE_S: Final = 0.001
REQUEST_TIMEOUT_S: Final = 5.0
TRY_AGAIN_S: Final = 0.1
_GONE: Final = "the process has ended"


class Network:
    """What is wrong with it now. Delays in seconds, by topic and partition or by process."""

    def __init__(self) -> None:
        self.is_away = False
        self.send_delay_s: dict[TopicPartition, float] = {}
        self.read_delay_s: dict[str, float] = {}
        self.lose_acknowledgements: dict[str, int] = {}
        """How many of a process's batches still lose theirs."""
        self.refuse: dict[str, int] = {}
        """How many of a process's batches are still refused, and not in the log."""
        self.crash: dict[str, tuple[str, int]] = {}
        """By process: it is killed with the n-th message to a topic in its hands."""


class FaultyBus:
    """`inner` has the log; `network` may be changed at any time."""

    def __init__(self, inner: MemoryBus, network: Network) -> None:
        self.inner = inner
        self.network = network

    async def create_topics(self, topics: Sequence[Topic], partitions: int) -> None:
        """Create those that do not exist."""
        self._reach()
        await self.inner.create_topics(topics, partitions)

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it does not exist."""
        self._reach()
        return await self.inner.partitions(topic)

    async def ends(self, topic: str) -> Mapping[TopicPartition, int]:
        """One past the last offset of each partition."""
        self._reach()
        return await self.inner.ends(topic)

    async def lacks(self) -> Sequence[str]:
        """As the log within."""
        self._reach()
        return await self.inner.lacks()

    async def producer(self, client_id: str) -> Producer:
        """A producer of the process that asks."""
        self._reach()
        return FaultyProducer(self)

    async def reader(
        self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int] = "earliest"
    ) -> Reader:
        """A reader of the process that asks."""
        self._reach()
        return FaultyReader(self, await self.inner.reader(topics, start))

    async def close(self) -> None:
        """Nothing is held."""

    def _reach(self) -> None:
        process = PROCESS.get()
        if process is not None and not process.is_alive:
            raise UnreachableError(_GONE)
        if self.network.is_away:
            raise UnreachableError("the broker is away")


class FaultyProducer:
    """Messages wait in a lane for each partition, and leave it together."""

    def __init__(self, bus: FaultyBus) -> None:
        self._bus = bus
        self._process = PROCESS.get()
        self._lanes: dict[TopicPartition, list[tuple[Message, asyncio.Future[int], float]]] = {}
        self._pending: dict[asyncio.Future[int], None] = {}
        self._failed: UnreachableError | None = None

    async def send(self, message: Message) -> Awaitable[int]:
        """Queue one message; see `streams.bus.bus.Producer`."""
        refuse_oversized(message)
        if not self._is_alive:
            raise UnreachableError(_GONE)
        place = TopicPartition(message.topic, message.partition)
        self._bus.inner.check(place)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        lane = self._lanes.setdefault(place, [])
        if not lane:
            loop.call_later(SEND_S + self._bus.network.send_delay_s.get(place, 0.0), self._leave, place)
        lane.append((message, future, loop.time()))
        self._pending[future] = None
        self._crash_if_due(message.topic)
        return future

    async def flush(self) -> None:
        """Wait for every acknowledgement; raises UnreachableError when one failed since the last flush."""
        while self._pending:
            await asyncio.wait(list(self._pending))
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    async def close(self) -> None:
        """Flush what can be flushed."""
        if self._is_alive and self._pending:
            await asyncio.wait(list(self._pending))

    @property
    def _is_alive(self) -> bool:
        return self._process is None or self._process.is_alive

    def _crash_if_due(self, topic: str) -> None:
        process, crash = self._process, self._bus.network.crash
        if not crash or process is None or crash.get(process.name, ("", 0))[0] != topic:
            return
        left = crash[process.name][1] - 1
        crash[process.name] = (topic, left)
        if left <= 0:
            del crash[process.name]
            process.kill()
            raise asyncio.CancelledError

    def _leave(self, place: TopicPartition) -> None:
        """A lane's messages come to the broker, or not."""
        lane, network = self._lanes[place], self._bus.network
        if not self._is_alive or not lane:
            return
        loop = asyncio.get_running_loop()
        if network.is_away:
            if loop.time() - lane[0][2] >= REQUEST_TIMEOUT_S:
                self._fail("the broker is away")
            else:
                loop.call_later(TRY_AGAIN_S, self._leave, place)
            return
        if _counted(network.refuse, self._process):
            self._fail("the broker refused")
            return
        self._lanes[place] = []
        sent = [(self._bus.inner.append(message), future) for message, future, _ in lane]
        if _counted(network.lose_acknowledgements, self._process):
            self._fail("the acknowledgement got lost")
        else:
            loop.call_later(ACKNOWLEDGE_S, self._settle, sent)

    def _settle(self, sent: Sequence[tuple[int, asyncio.Future[int]]]) -> None:
        for offset, future in sent:
            if self._pending.pop(future, future) is None and self._is_alive and not future.done():
                future.set_result(offset)

    def _fail(self, why: str) -> None:
        """All that is not acknowledged, at once; nothing of it is sent later."""
        self._failed = UnreachableError(why)
        pending, self._pending, self._lanes = self._pending, {}, {place: [] for place in self._lanes}
        for future in pending:
            if not future.done():
                future.set_exception(UnreachableError(why))
                future.exception()  # seen: whoever counts on flush() alone leaves no warning behind


class FaultyReader:
    """Brings nothing while the broker is away, and late where its process is slow."""

    def __init__(self, bus: FaultyBus, inner: Reader) -> None:
        self._bus = bus
        self._inner = inner
        self._process = PROCESS.get()

    async def read(self, timeout_s: float, limit: int = 500) -> Sequence[Record]:
        """The next records; see `streams.bus.bus.Reader`."""
        network = self._bus.network
        delay_s = network.read_delay_s.get(self._process.name, 0.0) if self._process is not None else 0.0
        if delay_s:
            await asyncio.sleep(delay_s)
        if network.is_away or (self._process is not None and not self._process.is_alive):
            await asyncio.sleep(timeout_s)
            return ()
        return await self._inner.read(timeout_s, limit)

    def positions(self) -> Mapping[TopicPartition, int]:
        """The offset of the next record of each partition."""
        return self._inner.positions()

    async def close(self) -> None:
        """Let go."""
        await self._inner.close()


def _counted(left: dict[str, int], process: Process | None) -> bool:
    """Whether one of the faults that are left to a process happens now."""
    if not left or process is None or not left.get(process.name):
        return False
    left[process.name] -= 1
    return True
