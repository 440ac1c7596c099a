"""What the worker has sent and the broker has not acknowledged yet.

Rules that this module obeys:
- Every message is tracked until the broker's word; a snapshot waits for all that was sent before it.
- A message that the broker refuses is a failure of the worker, no line in a log: `on_failure` hears it at once,
  nothing settles any more, and nothing is sent any more: a fact whose predecessor is not on the log would stand before
  it there, and make it a repeat when the next worker says it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streams.bus.bus import Producer
from streams.record import Message


class Outbox:
    """Messages on their way, in the order in which they were sent."""

    def __init__(self, producer: Producer, on_failure: Callable[[BaseException], None]) -> None:
        self._producer = producer
        self._on_failure = on_failure
        self._outstanding: dict[asyncio.Future[int], None] = {}
        self._refused: BaseException | None = None

    def __len__(self) -> int:
        return len(self._outstanding)

    async def send(self, message: Message, acknowledged: Callable[[int], None] | None = None) -> None:
        """Queue a message; `acknowledged` is called with its offset when the broker has it.

        Raises what the producer raises, and what it has failed with before.
        """
        # The oldest is looked at, not its callback awaited, which may come later; what follows it fails with it.
        oldest = next(iter(self._outstanding), None)
        if self._refused is None and oldest is not None and oldest.done() and not oldest.cancelled():
            self._refused = oldest.exception()
        if self._refused is not None:
            raise self._refused
        future = asyncio.ensure_future(await self._producer.send(message))
        self._outstanding[future] = None

        def settle(done: asyncio.Future[int]) -> None:
            self._outstanding.pop(done, None)
            if done.cancelled():
                return
            error = done.exception()
            if error is not None:
                self._refused = self._refused or error
                self._on_failure(error)
            elif acknowledged is not None:
                acknowledged(done.result())

        future.add_done_callback(settle)

    async def settled(self) -> None:
        """Return when the broker has all that was sent until now; raises when it has ever refused anything."""
        if self._outstanding:
            await asyncio.wait(tuple(self._outstanding))
        if self._refused is not None:
            raise self._refused
