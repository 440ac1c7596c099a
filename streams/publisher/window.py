"""What a publisher has accepted and the broker does not have yet, in order, in memory.

Rules: entries leave at the front only, when they and all before them are acknowledged. After a failure everything
that is left is handed over again, from the oldest: a message behind one that failed would overtake it, and its
repeat be taken for an old one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from rules.engine.inputs import Input
from streams.bus.bus import Producer
from streams.publisher.spool import Span
from streams.record import Message


@dataclass(slots=True)
class Entry:
    """An accepted input. `reported`: the loss that counts as reported once this is acknowledged.

    `accepted_s`: by the clock that nobody sets. `spool_id`: its handle in the spool, where an earlier process left it.
    """

    value: Input
    message: Message
    accepted_ns: int
    accepted_s: float
    reported: Span | None = None
    spool_id: int = 0
    was_handed_over: bool = False
    acknowledgement: asyncio.Future[int] | None = None


class Window:
    """Entries in the order of their acceptance; the first `handed_over` of them are with the producer."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.handed_over = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def waits(self) -> bool:
        """Whether an entry is still to be handed to a producer."""
        return self.handed_over < len(self._entries)

    @property
    def oldest_s(self) -> float:
        """When the oldest entry was accepted, by the clock that nobody sets; only where there is one."""
        return self._entries[0].accepted_s

    @property
    def next_ns(self) -> int:
        """When the next entry to hand over was accepted; only where one waits."""
        return self._entries[self.handed_over].accepted_ns

    def earliest_ns(self, default_ns: int) -> int:
        """The lowest time at which one was accepted; `default_ns` where none is left."""
        return min((entry.accepted_ns for entry in self._entries), default=default_ns)

    def append(self, entry: Entry) -> None:
        """Add the newest."""
        self._entries.append(entry)

    def failure(self) -> BaseException | None:
        """Why one of the entries handed over did not arrive, if one did not."""
        for entry in self._entries:
            if entry.acknowledgement is None:
                return None
            if (error := _error(entry.acknowledgement)) is not None:
                return error
        return None

    async def hand_over(self, producer: Producer) -> asyncio.Future[int]:
        """Give the next entry to the producer; what comes back is its acknowledgement. UnreachableError."""
        entry = self._entries[self.handed_over]
        entry.was_handed_over = True  # also where the producer then says that it does not know
        entry.acknowledgement = asyncio.ensure_future(await producer.send(entry.message))
        # Others may have left at the front while this one waited for room.
        self.handed_over += 1
        return entry.acknowledgement

    def arrived(self) -> list[Entry]:
        """Take from the front what the broker has."""
        taken = []
        while self._entries:
            done = self._entries[0].acknowledgement
            if done is None or not done.done() or _error(done) is not None:
                break
            taken.append(self._entries.popleft())
            self.handed_over -= 1
        return taken

    def begin_again(self) -> int:
        """Hand over everything once more; how many that were."""
        count, self.handed_over = self.handed_over, 0
        for entry in self._entries:
            entry.acknowledgement = None
        return count

    def drop(self, count: int) -> None:
        """Give up the oldest `count`."""
        for _ in range(count):
            self._entries.popleft()
        self.handed_over = max(0, self.handed_over - count)


def _error(acknowledgement: asyncio.Future[int]) -> BaseException | None:
    """Why the broker does not have it; None while that is open, and when it has it."""
    if not acknowledgement.done():
        return None
    return asyncio.CancelledError() if acknowledgement.cancelled() else acknowledgement.exception()
