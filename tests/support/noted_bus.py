"""A bus that notes which topics are read and written, beside what it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from streams.bus.bus import Bus, Producer, Reader, Start
from streams.record import Message, TopicPartition
from streams.rights import RIGHTS
from streams.topics import Topic

Used = defaultdict[tuple[str, str], set[str]]
"""By who it was and what they did (`reads`, `writes`, `asks`): the topics."""


def nothing_used() -> Used:
    """A note of nothing."""
    return defaultdict(set)


def check_rights(role: str, used: Used) -> None:
    """Fail where a role has used what the table of rights does not give it."""
    rights = RIGHTS[role]
    reads, writes = {topic.name for topic in rights.reads}, {topic.name for topic in rights.writes}
    assert used[role, "reads"] <= reads, role
    assert used[role, "writes"] <= writes, role
    assert used[role, "asks"] <= reads | writes, role


class NotedBus:
    """`who` says, at each call, who calls."""

    def __init__(self, inner: Bus, used: Used, who: Callable[[], str]) -> None:
        self.inner = inner
        self.used = used
        self._who = who

    def note(self, verb: str, topic: str) -> None:
        self.used[self._who(), verb].add(topic)

    async def create_topics(self, topics: Sequence[Topic], partitions: int) -> None:
        await self.inner.create_topics(topics, partitions)

    async def partitions(self, topic: str) -> int:
        self.note("asks", topic)
        return await self.inner.partitions(topic)

    async def ends(self, topic: str) -> Mapping[TopicPartition, int]:
        self.note("asks", topic)
        return await self.inner.ends(topic)

    async def lacks(self) -> Sequence[str]:
        return await self.inner.lacks()

    async def producer(self, client_id: str) -> Producer:
        return _NotedProducer(self, await self.inner.producer(client_id))

    async def reader(
        self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int] = "earliest"
    ) -> Reader:
        places = start if isinstance(start, Mapping) else ()
        for topic in {*topics, *(place.topic for place in places)}:
            self.note("reads", topic)
        return await self.inner.reader(topics, start)

    async def close(self) -> None:
        await self.inner.close()


class _NotedProducer:
    def __init__(self, bus: NotedBus, inner: Producer) -> None:
        self._bus = bus
        self._inner = inner

    async def send(self, message: Message) -> Awaitable[int]:
        self._bus.note("writes", message.topic)
        return await self._inner.send(message)

    async def flush(self) -> None:
        await self._inner.flush()

    async def close(self) -> None:
        await self._inner.close()
