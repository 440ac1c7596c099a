"""Who has which partitions of `events`: claims on the topic `owners`, and the epoch that each of them gives.

Rules that this module obeys (decision 0106):
- A worker claims a partition before it says anything about its units, and speaks under the epoch of its claim.
- Claims stand in one partition, so they have one order. One counts when no claim in front of it has its epoch or a
  higher one; else its writer claims again, higher. So no two owners of a partition have one epoch, and the later one
  has the higher.
- The clock only proposes: an epoch is above every other on the log, wherever clocks stand. It is above those of a log
  that was lost as long as clocks are not behind it.
- What is further ahead of the reader's clock than any clock is wrong by is no claim: above the last number there would
  be none (decision 0125).
- Who sees a claim above its own on a partition that it works on is not its owner any more, or another believes to be:
  it ends, and whoever the group gives the partition to claims it anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from rules.errors import InvariantError, UnreachableError
from rules.json_bytes import json_bytes
from streams.bus.bus import Bus, Producer, read_span
from streams.log_limit import limited
from streams.record import Message, Record, TopicPartition
from streams.topics import OWNERS

log = logging.getLogger("headrace.worker")
log_again = limited("headrace.worker")

SCHEMA: Final = "owner/1"
_HEADERS: Final = (("schema", SCHEMA.encode()),)
_PLACE: Final = TopicPartition(OWNERS.name, 0)
_NUMBER_END: Final = 1 << 63
"""What a ledger of the actuators can keep."""
_AHEAD_NS: Final = 70 * 365 * 86_400 * 10**9
"""So much a clock may be behind that begins in 1970, or ahead of others: an epoch is theirs all the same."""
_ROUNDS: Final = 50
"""At least one of those who claim at the same time has its claim in each."""
_PAUSE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's word that these partitions are its own. `life` is another one with each start of a process."""

    epoch: int
    partitions: tuple[int, ...]
    worker: str
    host: str
    pid: int
    life: str

    def __str__(self) -> str:
        return f"'{self.worker}' (process {self.pid} on {self.host})"


class Owners:
    """What `owners` says, as far as it was read, and the claims of one worker."""

    def __init__(
        self, bus: Bus, producer: Producer, worker: str, clock_ns: Callable[[], int], life: str = ""
    ) -> None:
        """`life`: what no other start of a process is called; its host, process id and time where left out."""
        self._bus = bus
        self._producer = producer
        self._worker = worker
        self._clock_ns = clock_ns
        self._life = life or f"{socket.gethostname()}:{os.getpid()}:{clock_ns()}"
        self.forget()

    def forget(self) -> None:
        """The log is another one."""
        self._position = 0
        self._highest = 0
        self._last: dict[int, Claim] = {}

    async def claim(self, partitions: Collection[int]) -> int:
        """Make them this worker's own; the epoch under which it speaks of their units. UnreachableError.

        InvariantError where there is always another claim in front.
        """
        wanted = tuple(sorted(partitions))
        await self.follow()
        for _ in range(_ROUNDS):
            epoch = max(self._clock_ns(), self._highest + 1)
            claim = Claim(epoch, wanted, self._worker, socket.gethostname(), os.getpid(), self._life)
            value = json_bytes({"schema": SCHEMA, **asdict(claim)})
            message = Message(OWNERS.name, 0, self._worker.encode(), value, _HEADERS)
            await (await self._producer.send(message))
            await self.follow()
            if all(self._last.get(partition) == claim for partition in wanted):
                return epoch
            log.warning("another worker claimed partitions of %s at the same time: claiming again", wanted)
            await asyncio.sleep(_PAUSE_S)
        raise InvariantError(
            f"{_ROUNDS} claims of partitions {wanted} do not count, the last with epoch {epoch}: somebody is in front "
            f"of each on '{OWNERS.name}'"
        )

    async def follow(self) -> None:
        """Read what is new. UnreachableError."""
        end = (await self._bus.ends(OWNERS.name)).get(_PLACE)
        if end is None:
            raise UnreachableError(f"topic '{OWNERS.name}' does not exist: create the topics first")
        if end < self._position:
            self.forget()
        if end == self._position:
            return
        for record in await read_span(self._bus, _PLACE, self._position, end):
            self._position = max(self._position, record.offset + 1)
            claim = _claim_of(record)
            if claim is None or claim.epoch > self._clock_ns() + _AHEAD_NS:
                log_again.warning("'%s' offset %d is no claim", OWNERS.name, record.offset)
                continue
            self._highest = max(self._highest, claim.epoch)
            for partition in claim.partitions:
                known = self._last.get(partition)
                if known is None or claim.epoch > known.epoch:
                    self._last[partition] = claim

    def is_mine(self, partition: int, epoch: int) -> bool:
        """Whether, as far as was read, nobody has claimed the partition since this process did, with that epoch."""
        last = self._last.get(partition)
        return last is not None and (last.life, last.epoch) == (self._life, epoch)

    def overtaken(self, held: Mapping[int, int]) -> tuple[int, Claim] | None:
        """The first of these partitions, by epoch held, that somebody else has claimed since, and that claim."""
        for partition, epoch in held.items():
            last = self._last.get(partition)
            if last is not None and last.epoch > epoch:
                return partition, last
        return None


def _claim_of(record: Record) -> Claim | None:
    try:
        said = orjson.loads(record.value or b"")
        numbers = [said["epoch"], said["pid"], *said["partitions"]]
        texts = [said["worker"], said["host"], said["life"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if not all(type(n) is int and 0 <= n < _NUMBER_END for n in numbers) or not all(
        type(text) is str for text in texts
    ):
        return None
    return Claim(
        said["epoch"], tuple(said["partitions"]), said["worker"], said["host"], said["pid"], said["life"]
    )
