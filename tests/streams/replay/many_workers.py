"""Workers without Faust on the log of `many_units`: killed, and given other partitions, at any moment."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from rules.engine.engine import Engine
from rules.engine.tables import Compiled
from rules.site.model import Site
from streams.bus.bus import Producer
from streams.bus.memory import MemoryBus
from streams.record import Record, TopicPartition
from streams.topics import EVENTS, TOPICS
from streams.worker.crash_switch import CrashSwitch
from streams.worker.processor import Processor
from tests.streams.replay.many_units import FIRST, LIVE_PARTITIONS, MS, OTHER, inputs


class GivenRules:
    """The worker's rules, made in this process: those two rule sets."""

    first_digest = FIRST.digest

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: dict[str, dict[str, Compiled]] = {}
        for one in (FIRST, OTHER):
            made = one.compiled_for(site.digest, site.units)
            assert not isinstance(made, str), made
            self._made[one.digest] = made

    def new_engine(self, unit: str, digest: str = "") -> Engine:
        digest = digest or self.first_digest
        return Engine(self._made[digest][unit], self._site, unit, digest)

    async def rules_of(self, digest: str, unit: str) -> Compiled | str:
        return self._made[digest][unit]

    async def publish_first(self, producer: Producer) -> None:
        """Each log here has its rule sets."""


@dataclass
class Workers:
    """Workers on one log, each with partitions of its own: what Kafka's group would give them."""

    bus: MemoryBus
    folder: Path
    partitions: int
    site: Site
    rules: GivenRules
    draw: random.Random
    snapshot_every_s: float = 5.0
    now_s: float = 0.0
    owned: list[set[int]] = field(default_factory=list)
    processors: list[Processor] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    async def begin(self, workers: int) -> None:
        """Round robin, as a group of so many."""
        for number in range(workers):
            self.owned.append(set(range(number, self.partitions, workers)))
            self.processors.append(await self._worker(number))
            await self.processors[-1].assign(self.owned[-1])

    async def _worker(self, number: int) -> Processor:
        async def acknowledge(partition: int, offset: int) -> None:
            """Nothing is read by the group's offsets."""

        return Processor(
            bus=self.bus,
            producer=await self.bus.producer("worker"),
            site=self.site,
            rules=self.rules,
            partitions=self.partitions,
            snapshot_every_s=self.snapshot_every_s,
            acknowledge=acknowledge,
            on_failure=self.failures.append,
            crash=CrashSwitch("", self.folder),
            worker=f"worker-{number}",
            clock_s=lambda: self.now_s,
        )

    async def some(self) -> None:
        """One worker reads a few records; now and then one is killed, or a partition changes hands."""
        number = self.draw.randrange(len(self.processors))
        chance = self.draw.random()
        if chance < 0.003:
            await self.processors[number].revoke()
            self.processors[number] = await self._worker(number)
            await self.processors[number].assign(self.owned[number])
        elif chance < 0.006 and len(self.owned[number]) > 1:
            moved = self.draw.choice(sorted(self.owned[number]))
            other = (number + 1) % len(self.processors)
            self.owned[number].discard(moved)
            self.owned[other].add(moved)
            for one in (number, other):
                await self.processors[one].revoke()
            for one in (number, other):
                await self.processors[one].assign(self.owned[one])
        await self.read(number, self.draw.randint(1, 60))

    async def read(self, number: int, limit: int) -> int:
        """So many records at most through a worker; how many they were."""
        processor = self.processors[number]
        start = {TopicPartition(EVENTS.name, n): offset for n, offset in processor.positions().items()}
        reader = await self.bus.reader([EVENTS.name], start)
        records = await reader.read(0.0, limit)
        await reader.close()
        if records:
            self.now_s += 0.05
            await processor.process(records)
            await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        return len(records)

    async def to_the_end(self) -> None:
        """All that is in the log, facts that come of it included; then a clean stop."""
        while sum([await self.read(number, 60) for number in range(len(self.processors))]):
            pass
        for processor in self.processors:
            await processor.finish()


async def live(folder: Path, seed: int = 1) -> list[Record]:
    """One worker, as the inputs come: all records of the log, in the order in which they came into it."""
    clock_ms = count(1)
    bus = MemoryBus(lambda: next(clock_ms) * MS)
    await bus.create_topics(TOPICS, LIVE_PARTITIONS)
    site = FIRST.load_site()
    workers = Workers(bus, folder, LIVE_PARTITIONS, site, GivenRules(site), random.Random(seed))
    steps = inputs(seed)
    producer = await bus.producer("gateways")
    for message in steps[0]:
        await producer.send(message)
    await workers.begin(1)
    for step in steps[1:]:
        for message in step:
            await producer.send(message)
            if workers.draw.random() < 0.3:
                await workers.read(0, workers.draw.randint(1, 30))
    await workers.to_the_end()
    records = [record for topic in TOPICS for record in bus.records(topic.name)]
    return sorted(records, key=lambda record: record.timestamp_ms)
