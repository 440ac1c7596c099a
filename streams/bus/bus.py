"""The bus: what Headrace needs of a log. `memory` and `kafka` pass one contract test suite.

Groups are no part of it: the worker's group is Faust's; everybody else reads from an offset of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Final, Literal, Protocol

from rules.errors import UnreachableError
from streams.record import Message, Record, TopicPartition, length_of
from streams.topics import Topic

Start = Literal["earliest", "latest"]

_PATIENCE_S: Final = 10

MAX_MESSAGE_BYTES = 1_000_000
"""Key, value and headers of one message: below every broker's default of 1 MiB for a batch."""


def refuse_oversized(message: Message, room_bytes: int = 0) -> None:
    """Raise ValueError when no broker would take the message. `room_bytes`: what it may still get more."""
    size = len(message.key or b"") + len(message.value or b"") + length_of(message.headers) + room_bytes
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(
            f"a message of {size} bytes for '{message.topic}' exceeds {MAX_MESSAGE_BYTES}: split it"
        )


class Producer(Protocol):
    """Sends in order per partition. Compresses (LZ4), waits for all replicas."""

    async def send(self, message: Message) -> Awaitable[int]:
        """Queue one message; the awaitable that comes back is the offset once the broker has it.

        Raises UnreachableError, from either await, when the broker does not take it in time; the message may
        be in the log all the same. What was sent after it and is not acknowledged fails with it, at once, so
        that a sender that looks at its oldest acknowledgement before each send, and starts again there, keeps
        its order. Raises ValueError when it is larger than `MAX_MESSAGE_BYTES`, which no repeat can heal.
        """
        ...

    async def flush(self) -> None:
        """Return when the broker has all that was sent since the last flush. Raises UnreachableError."""
        ...

    async def close(self) -> None:
        """Flush what can be flushed, then let go."""
        ...


class Reader(Protocol):
    """Reads partitions without a group. Survives a broker that goes away and comes back.

    Where a position is no longer in the log (retention, or a log that was rolled to a fresh one) it goes on
    at the earliest record.
    """

    async def read(self, timeout_s: float, limit: int = 500) -> Sequence[Record]:
        """The next records, in offset order per partition; empty when none came in `timeout_s`."""
        ...

    def positions(self) -> Mapping[TopicPartition, int]:
        """The offset of the next record of each partition; a read that brings nothing sees what retention moved."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class Bus(Protocol):
    """A log with topics."""

    async def create_topics(self, topics: Sequence[Topic], partitions: int) -> None:
        """Create those that do not exist; `partitions` for topics that leave it open. UnreachableError."""
        ...

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it does not exist. UnreachableError."""
        ...

    async def ends(self, topic: str) -> Mapping[TopicPartition, int]:
        """One past the last offset of each partition of `topic`. UnreachableError."""
        ...

    async def lacks(self) -> Sequence[str]:
        """What it has not of what Headrace asks of a log, in stable words; () on Apache Kafka. UnreachableError."""
        ...

    async def producer(self, client_id: str) -> Producer:
        """A producer of its own connection. UnreachableError."""
        ...

    async def reader(
        self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int] = "earliest"
    ) -> Reader:
        """A reader over all partitions of `topics` (or those of `start`, from there). UnreachableError."""
        ...

    async def close(self) -> None:
        """Let go of whatever the bus itself holds."""
        ...


async def up_to_the_end(bus: Bus, reader: Reader, topic: str) -> AsyncIterator[Record]:
    """What a reader of all of `topic` has before it, up to where that ends now; the last read may go beyond.

    The reader has to begin at the earliest record. UnreachableError where nothing comes any more before the end.
    """
    ends = await bus.ends(topic)
    empty = 0
    while any(reader.positions()[place] < end for place, end in ends.items()):
        records = await reader.read(timeout_s=1.0)
        for record in records:
            yield record
        empty = 0 if records else empty + 1
        if empty == _PATIENCE_S:
            raise UnreachableError(f"'{topic}' brings nothing any more, before its end: {dict(ends)}")


Span = tuple[int, int]
"""Offsets: the first, and one past the last."""


async def read_spans(bus: Bus, spans: Mapping[TopicPartition, Span]) -> dict[TopicPartition, list[Record]]:
    """What each partition holds of its span, perhaps more behind it; one reader for all of them.

    UnreachableError where nothing comes any more before an end.
    """
    found: dict[TopicPartition, list[Record]] = {place: [] for place in spans}
    wanted = {place: end for place, (start, end) in spans.items() if start < end}
    if not wanted:
        return found
    topics = sorted({place.topic for place in wanted})
    reader = await bus.reader(topics, {place: spans[place][0] for place in wanted})
    empty = 0
    try:
        while any(reader.positions()[place] < end for place, end in wanted.items()):
            records = await reader.read(timeout_s=1.0)
            for record in records:
                found[TopicPartition(record.topic, record.partition)].append(record)
            empty = 0 if records else empty + 1
            if empty == _PATIENCE_S:
                raise UnreachableError(
                    f"{', '.join(topics)} stopped at {dict(reader.positions())} of {wanted}"
                )
    finally:
        await reader.close()
    return found


async def read_span(bus: Bus, partition: TopicPartition, start: int, end: int) -> list[Record]:
    """What one partition holds, as `read_spans` says."""
    return (await read_spans(bus, {partition: (start, end)}))[partition]
