"""The worker's outbox: behind a message that the broker has refused, nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from rules.errors import UnreachableError
from streams.record import Message
from streams.worker.outbox import Outbox

FACTS = [Message("events", 0, b"hall", str(number).encode(), ()) for number in range(3)]


class Refusing:
    """A producer whose first message is refused when a test says so."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def send(self, message: Message) -> Awaitable[int]:
        self.sent.append(message)
        return self.first

    async def flush(self) -> None: ...

    async def close(self) -> None: ...


async def test_nothing_is_sent_behind_what_was_refused() -> None:
    producer, heard = Refusing(), list[BaseException]()
    outbox = Outbox(producer, heard.append)
    await outbox.send(FACTS[0])
    producer.first.set_exception(UnreachableError("refused"))
    # nobody has called the loop since: who sends has not been told yet
    with pytest.raises(UnreachableError, match="refused"):
        await outbox.send(FACTS[1])
    await asyncio.sleep(0)
    assert [str(error) for error in heard] == ["refused"]
    with pytest.raises(UnreachableError, match="refused"):
        await outbox.send(FACTS[2])
    with pytest.raises(UnreachableError, match="refused"):
        await outbox.settled()
    assert producer.sent == FACTS[:1]
