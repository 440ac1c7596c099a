"""What an owner does so that its words stay the last ones on `alarms`: it says again what a stale word has buried.

Compaction leaves the record that comes last, whoever said it: a word of a lower epoch behind the owner's would be all
that a newcomer finds. Rules that this module obeys (decision 0107):
- After a take-over the owner reads its partitions of `alarms` once; later only when they hold an offset that is not
  its own.
- A word is said again with the bytes that it has, under the owner's epoch; not where the owner has said something
  newer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from streams.bus.bus import Bus, read_span
from streams.last_words import buried
from streams.record import Message, Record, TopicPartition
from streams.topics import ALARMS
from streams.wire import OWNER_EPOCH
from streams.worker.outbox import Outbox


@dataclass(slots=True)
class _Known:
    """Up to `position` all is known: read, or the owner's own. `own`: its offsets from there on."""

    position: int = 0
    end: int = 1
    """Of the partition, a look ago: what is acknowledged until the next look counts as the owner's. At first: read."""
    own: set[int] = field(default_factory=set)

    def has_others(self) -> bool:
        while self.position in self.own:
            self.own.remove(self.position)
            self.position += 1
        return self.position < self.end


class AlarmUpkeep:
    """The partitions of `alarms` of one worker."""

    def __init__(self, bus: Bus, outbox: Outbox) -> None:
        self._bus = bus
        self._outbox = outbox
        self._known: dict[int, _Known] = {}
        self._spoken: set[bytes | None] = set()
        """Alarms about which the owner has said something since the last look began."""

    def begin(self, partitions: Collection[int]) -> None:
        """These were taken over."""
        self._known.update({partition: _Known() for partition in partitions})

    def speaks(self, message: Message) -> None:
        """The owner says something on an alarm."""
        self._spoken.add(message.key)

    def spoke(self, partition: int, offset: int) -> None:
        """And it is on the log."""
        if partition in self._known:
            self._known[partition].own.add(offset)

    async def look(self, owned: Collection[int]) -> list[Record]:
        """Words that were the last, and are buried. UnreachableError, and what the outbox has failed with."""
        ends = await self._bus.ends(ALARMS.name)
        suspects = []
        for partition in owned:
            known = self._known.setdefault(partition, _Known())
            if known.has_others():
                suspects.append(partition)
            known.end = ends.get(TopicPartition(ALARMS.name, partition), 0)
        if not suspects:
            return []
        self._spoken.clear()
        await self._outbox.settled()
        ends = await self._bus.ends(ALARMS.name)
        found: list[Record] = []
        for partition in suspects:
            place = TopicPartition(ALARMS.name, partition)
            found += buried(await read_span(self._bus, place, 0, ends[place]))
            self._known[partition].position = ends[place]
        return found

    def again(self, record: Record, epochs: Mapping[int, int]) -> Message | None:
        """The message that says it again; None where that is not ours to say, or something newer was said."""
        if record.key in self._spoken or record.partition not in epochs:
            return None
        own = (OWNER_EPOCH, str(epochs[record.partition]).encode())
        headers = tuple(pair for pair in record.headers if pair[0] != OWNER_EPOCH)
        return Message(record.topic, record.partition, record.key, record.value, (*headers, own))
