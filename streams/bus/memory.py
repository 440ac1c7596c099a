"""The bus in memory: one log, shared between the tasks of one event loop. For tests, simulation and replay.

It passes the same contract tests as `kafka`. Faults are said, never drawn: `go_away` and `come_back`,
`hold_acknowledgements` (the records are in the log, nobody is told before the release),
`drop_acknowledgements` (in the log, and the sender is told that it failed), `truncate` (retention) and
`replace_log` (a broker that lost everything). Nothing waits by the wall clock but a reader's own timeout.
Retention and compaction are done when they are asked for (`truncate`, `compact`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rules.errors import UnreachableError
from streams.bus.bus import Start, refuse_oversized
from streams.record import Message, Record, TopicPartition, headers_of
from streams.topics import Topic


@dataclass(slots=True)
class _Log:
    """One partition: `records[i]` has the offset `base + i`."""

    base: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.base + len(self.records)


class MemoryBus:
    """A log with topics that lives as long as this object."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._logs: dict[TopicPartition, _Log] = {}
        self._away = False
        self._generation = 0
        self._drop = 0
        self._held: list[tuple[asyncio.Future[int], int]] | None = None
        self._waiting: dict[MemoryReader, None] = {}
        """Readers that wait for a record, in the order in which they came."""

    # What a test does to it.

    def go_away(self) -> None:
        """From now on every call fails or, at a reader, brings nothing. What is in the log stays there."""
        self._away = True
        self._wake()

    def come_back(self) -> None:
        """The end of `go_away`."""
        self._away = False
        self._wake()

    def hold_acknowledgements(self) -> None:
        """Records enter the log, their senders wait until `release_acknowledgements`."""
        self._held = self._held if self._held is not None else []

    def release_acknowledgements(self) -> None:
        """Acknowledge what was held, in order, and hold no more."""
        held, self._held = self._held or [], None
        for future, offset in held:
            if not future.done():
                future.set_result(offset)

    def drop_acknowledgements(self, count: int) -> None:
        """The next `count` messages enter the log, and their senders get UnreachableError."""
        self._drop = count

    def truncate(self, partition: TopicPartition, offset: int) -> None:
        """Forget what lies before `offset`, as retention does."""
        log = self._logs[partition]
        del log.records[: max(0, offset - log.base)]
        log.base = max(log.base, offset)

    def replace_log(self) -> None:
        """An empty log under the same topics; readers find their offsets gone and start at the earliest."""
        self._generation += 1
        for partition in self._logs:
            self._logs[partition] = _Log()
        self._wake()

    def records(self, topic: str) -> list[Record]:
        """Everything that the topic holds, partition by partition."""
        return [
            record
            for partition in sorted(self._logs)
            if partition.topic == topic
            for record in self._logs[partition].records
        ]

    def places(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic, ascending."""
        return [partition for partition in sorted(self._logs) if partition.topic == topic]

    def end(self, partition: TopicPartition) -> int:
        """One past the last offset of a partition, reachable or not."""
        return self._logs[partition].end

    def records_from(self, partition: TopicPartition, offset: int) -> list[Record]:
        """What a partition holds from `offset` on."""
        log = self._logs[partition]
        return log.records[max(0, offset - log.base) :]

    def compact(self, topic: str) -> None:
        """Records that a later one of their key supersedes lose their value; offsets stay as they are."""
        for partition in self.places(topic):
            records = self._logs[partition].records
            seen: set[bytes | None] = set()
            for place in range(len(records) - 1, -1, -1):
                record = records[place]
                if record.key in seen and record.value is not None:
                    records[place] = replace(record, value=None)
                seen.add(record.key)

    # The face of a bus.

    async def create_topics(self, topics: Sequence[Topic], partitions: int) -> None:
        """Create those that do not exist."""
        self._reach()
        for topic in topics:
            if not self.places(topic.name):
                for number in range(topic.partitions or partitions):
                    self._logs[TopicPartition(topic.name, number)] = _Log()

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it does not exist."""
        self._reach()
        return len(self.places(topic))

    async def ends(self, topic: str) -> Mapping[TopicPartition, int]:
        """One past the last offset of each partition."""
        self._reach()
        return {partition: self._logs[partition].end for partition in self.places(topic)}

    async def lacks(self) -> Sequence[str]:
        """Nothing that its users would have to know."""
        self._reach()
        return ()

    async def producer(self, client_id: str) -> MemoryProducer:
        """A producer; `client_id` means nothing here."""
        self._reach()
        return MemoryProducer(self)

    async def reader(
        self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int] = "earliest"
    ) -> MemoryReader:
        """A reader over `topics`, or over the partitions of `start` from those offsets."""
        self._reach()
        if isinstance(start, Mapping):
            positions = dict(start)
            for partition in positions:
                self._log(partition)
        else:
            positions = {}
            for topic in topics:
                found = self.places(topic)
                if not found:
                    raise UnreachableError(f"topic '{topic}' does not exist")
                for partition in found:
                    log = self._logs[partition]
                    positions[partition] = log.base if start == "earliest" else log.end
        return MemoryReader(self, positions)

    async def close(self) -> None:
        """Nothing is held: what was written can still be read by who has the object."""

    # What producer and reader share.

    def _reach(self) -> None:
        if self._away:
            raise UnreachableError("the broker is away")

    def _wake(self, partition: TopicPartition | None = None) -> None:
        for reader in self._waiting:
            if partition is None or partition in reader._positions:
                reader._news.set()

    def _log(self, partition: TopicPartition) -> _Log:
        log = self._logs.get(partition)
        if log is None:
            raise UnreachableError(f"topic '{partition.topic}' has no partition {partition.partition}")
        return log

    def _append(self, message: Message, future: asyncio.Future[int]) -> None:
        if self._away:
            future.set_exception(UnreachableError("the broker is away"))
            return
        offset = self.append(message)
        if self._drop:
            self._drop -= 1
            future.set_exception(UnreachableError("the acknowledgement got lost"))
        elif self._held is not None:
            self._held.append((future, offset))
        else:
            future.set_result(offset)

    def append(self, message: Message) -> int:
        """Put it into the log, reachable or not; its offset. UnreachableError without such a partition."""
        log = self._log(TopicPartition(message.topic, message.partition))
        offset = log.end
        log.records.append(
            Record(
                message.topic,
                message.partition,
                offset,
                self._clock() // 1_000_000,
                message.key,
                message.value,
                headers_of(message.headers),
            )
        )
        self._wake(TopicPartition(message.topic, message.partition))
        return offset

    def check(self, partition: TopicPartition) -> None:
        """Raise UnreachableError where there is no such partition."""
        self._log(partition)


class MemoryProducer:
    """Appends at once; what a caller awaits is the acknowledgement."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._pending: set[asyncio.Future[int]] = set()
        self._failed: UnreachableError | None = None

    async def send(self, message: Message) -> Awaitable[int]:
        """Append one message. ValueError when it is too large, UnreachableError without such a partition."""
        refuse_oversized(message)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._bus._append(message, future)
        self._pending.add(future)
        future.add_done_callback(self._settle)
        return future

    async def flush(self) -> None:
        """Wait for every acknowledgement; raises UnreachableError when one failed since the last flush."""
        while self._pending:
            await asyncio.wait(list(self._pending))
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    async def close(self) -> None:
        """Let go. What is held unacknowledged stays so."""
        for future in list(self._pending):
            future.cancel()

    def _settle(self, future: asyncio.Future[int]) -> None:
        self._pending.discard(future)
        error = None if future.cancelled() else future.exception()
        if isinstance(error, UnreachableError):
            self._failed = error


class MemoryReader:
    """Reads from positions of its own."""

    def __init__(self, bus: MemoryBus, positions: dict[TopicPartition, int]) -> None:
        self._bus = bus
        self._positions = positions
        self._generation = bus._generation
        self._news = asyncio.Event()

    async def read(self, timeout_s: float, limit: int = 500) -> Sequence[Record]:
        """The next records; waits up to `timeout_s` for the first one."""
        records = self._take(limit)
        if records:
            return records
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not records:
                    await self._wait()
                    records = self._take(limit)
        return records

    async def _wait(self) -> None:
        self._news.clear()
        self._bus._waiting[self] = None
        try:
            await self._news.wait()
        finally:
            del self._bus._waiting[self]

    def positions(self) -> Mapping[TopicPartition, int]:
        """The offset of the next record of each partition."""
        return dict(self._positions)

    async def close(self) -> None:
        """Let go."""

    def _take(self, limit: int) -> list[Record]:
        bus = self._bus
        if bus._away:
            return []
        if self._generation != bus._generation:
            self._generation = bus._generation
            self._positions = dict.fromkeys(self._positions, 0)
        taken: list[Record] = []
        for partition, wanted in list(self._positions.items()):
            log = bus._logs[partition]
            position = wanted if log.base <= wanted <= log.end else log.base
            found = log.records[position - log.base :][: limit - len(taken)]
            taken.extend(found)
            # What was read goes to the back, so that a busy partition starves no other.
            del self._positions[partition]
            self._positions[partition] = position + len(found)
            if len(taken) >= limit:
                break
        return taken
