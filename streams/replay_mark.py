"""The mark of a replay: what keeps a recording that is fed into a broker away from devices and from a plant's engines.

Rules that this module obeys (decision 0076):
- The mark is of the log: a log on whose topic `replay-mark` a record ever stood is a replay for good. What is asked is
  where the topic ends, which neither retention nor compaction moves back; that somebody creates the topic says nothing.
- The mark is on the log before the first record of the replay is.
- Each record of a replay, and all that a worker says on such a log, has the header `replay` besides: it is known for
  what it is wherever it is copied to.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from rules.errors import UnreachableError
from rules.json_bytes import json_bytes
from streams.bus.bus import Bus, Producer
from streams.record import Headers, Message, Record, TopicPartition
from streams.topics import REPLAY_MARK

HEADER: Final = "replay"
SCHEMA: Final = "replay-mark/1"
_HEADERS: Final = (("schema", SCHEMA.encode()),)
_PLACE: Final = TopicPartition(REPLAY_MARK.name, 0)
_READ_S: Final = 1.0
_PATIENCE: Final = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """`recording`: its name. `has_facts`: what units told each other is in it, so that no worker tells it again."""

    recording: str
    has_facts: bool


def is_replayed(headers: Headers) -> bool:
    """Whether a record is one of a replay, or was said to one."""
    return any(name == HEADER for name, _ in headers)


def marked(message: Message, mark: Mark) -> Message:
    """The message with the header; one that has it already (the recording is of a replay) stays as it is."""
    if is_replayed(message.headers):
        return message
    headers = (*message.headers, (HEADER, _raw(mark.recording)))
    return Message(message.topic, message.partition, message.key, message.value, headers)


class Marking:
    """A producer that marks all that it sends, once `mark` is set."""

    def __init__(self, producer: Producer, mark: Mark | None = None) -> None:
        self._producer = producer
        self.mark = mark

    async def send(self, message: Message) -> Awaitable[int]:
        """As the producer's."""
        return await self._producer.send(message if self.mark is None else marked(message, self.mark))

    async def flush(self) -> None:
        """As the producer's."""
        await self._producer.flush()

    async def close(self) -> None:
        """As the producer's."""
        await self._producer.close()


async def mark_log(bus: Bus, mark: Mark) -> None:
    """Make the log a replay's; returns when the broker has the mark. UnreachableError."""
    await bus.create_topics([REPLAY_MARK], 1)
    producer = await bus.producer("replay-mark")
    try:
        said = {**asdict(mark), "recording": _raw(mark.recording).decode()}
        value = json_bytes(said)
        message = Message(REPLAY_MARK.name, 0, _raw(mark.recording), value, _HEADERS)
        await (await producer.send(marked(message, mark)))
    finally:
        await producer.close()


async def replay_of(bus: Bus) -> Mark | None:
    """The last mark of the log, None where it is no replay. UnreachableError: nobody knows, so nothing may be done."""
    if not await bus.partitions(REPLAY_MARK.name):
        return None
    end = (await bus.ends(REPLAY_MARK.name))[_PLACE]
    if not end:
        return None
    last = Mark("a recording whose name can't be read", False)
    reader = await bus.reader([REPLAY_MARK.name])
    try:
        for _ in range(_PATIENCE):
            for record in await reader.read(_READ_S):
                last = _read(record) or last
            if reader.positions()[_PLACE] >= end:
                return last
    finally:
        await reader.close()
    raise UnreachableError(f"'{REPLAY_MARK.name}' stopped at {reader.positions()[_PLACE]} of {end}")


def _raw(name: str) -> bytes:
    """The name of a file may be no text."""
    return name.encode("utf-8", "replace")


def _read(record: Record) -> Mark | None:
    """None for what is no mark; that it stands there makes the log a replay all the same."""
    try:
        said = orjson.loads(record.value or b"")
        return Mark(str(said["recording"]), bool(said["has_facts"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
