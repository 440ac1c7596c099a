"""A worker without Faust on the bus in memory: a small site, an engine that forgets nothing, crashes on demand."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import orjson

from rules.engine.chain import ChainEnd, entry_bytes, hash_of
from rules.engine.inputs import Activation, Identity, Input, Readings, Tick
from rules.engine.outputs import Alarm, Command, Entry, Output
from rules.errors import HeadraceError
from rules.site.model import Site, Unit
from streams.bus.bus import Producer
from streams.bus.memory import MemoryBus
from streams.journal.heads import Signer
from streams.record import Message, TopicPartition, header
from streams.topics import ALARMS, COMMANDS, DEAD_LETTERS, EVENTS, JOURNAL, TOPICS, partition_of
from streams.wire import encode_input
from streams.worker.crash_switch import CrashSwitch
from streams.worker.processor import Processor

PARTITIONS = 3
UNITS = ("site", "row-a", "row-b", "row-c")
OUTPUT_TOPICS = (ALARMS.name, COMMANDS.name, JOURNAL.name)


def small_site(digest: str = "site-1", units: Sequence[str] = UNITS) -> Site:
    """Units, and nothing in them: the core asks for no more."""
    empty: MappingProxyType[str, object] = MappingProxyType({})
    made = {unit: Unit(unit, (), (), (), {}, {}) for unit in units}
    return Site("test", digest, 100_000_000, made, empty, empty, empty, empty)  # type: ignore[arg-type]


class MemoryfulEngine:
    """Says something on every input, with bytes that depend on every input before it: a loss or double shows."""

    def __init__(self, unit: str, rules_digest: str = "rules-1") -> None:
        self.unit = unit
        self.rules_digest = rules_digest
        self.access_digest = "people-1"
        self.offers: dict[str, object] = {}
        self.withdrawn: list[str] = []
        self.last: dict[str, int] = {}
        self.total = 0.0
        self.now_ns = 0
        self.end = ChainEnd()
        self.counters: Counter[str] = Counter()

    def step(self, inputs: Sequence[Input]) -> list[Output]:
        out: list[Output] = []
        for value in inputs:
            identity = value.identity
            if identity.sequence <= self.last.get(identity.source, 0):
                self.counters["repeats"] += 1
                continue
            self.last[identity.source] = identity.sequence
            self.total += float(value.values.sum()) if isinstance(value, Readings) else 0.5
            cause = f"{self.unit}:{identity.source}:{identity.epoch}:{identity.sequence}"
            at_ns = identity.sequence
            self.now_ns = value.time_ns if isinstance(value, Tick) else self.now_ns
            number, previous = self.end
            said = {"total": self.total}
            line = Entry(f"{cause}:0", self.unit, "seen", at_ns, said, number + 1, previous)
            self.end = ChainEnd(number + 1, hash_of(entry_bytes(line)))
            out.append(line)
            if identity.sequence % 3 == 0:
                up = identity.sequence % 2 == 0
                out.append(
                    Alarm(
                        f"{cause}:1", self.unit, "rule", f"asset-{identity.sequence % 4}", "high",
                        "unacknowledged" if up else "normal", f"{cause}:1", at_ns, None if up else at_ns,
                        self.total, "text",
                    )
                )  # fmt: skip
            if identity.sequence % 5 == 0:
                out.append(
                    Command(
                        f"{cause}:2", self.unit, "rule", "a", "a.x", self.total, "W", at_ns, at_ns + 9, "why"
                    )
                )
        return out

    def lacks(self, rules_digest: str) -> bool:
        return rules_digest not in (self.rules_digest, *self.offers)

    def believes(self, value: Activation) -> bool:
        return True

    def offer(self, rules_digest: str, rules: object) -> None:
        self.offers[rules_digest] = rules

    def withdraw_offers(self) -> None:
        self.withdrawn = [*self.withdrawn, *self.offers]
        self.offers = {}

    def chain_end(self) -> ChainEnd:
        return self.end

    def snapshot(self) -> bytes:
        state = {"last": self.last, "total": self.total, "now_ns": self.now_ns, "end": [*self.end]}
        return orjson.dumps(state, option=orjson.OPT_SORT_KEYS)

    def restore(self, state: bytes) -> None:
        try:
            said = orjson.loads(state)
        except orjson.JSONDecodeError:
            raise HeadraceError("not a state of this engine") from None
        self.last, self.total = said["last"], said["total"]
        self.now_ns, self.end = said.get("now_ns", 0), ChainEnd(*said.get("end", ()))


@dataclass
class OneRuleSet:
    """The worker's rules, where nobody activates others: snapshots of `lost` ones can't be gone on with."""

    first_digest: str = "rules-1"
    known: tuple[str, ...] = ("rules-1",)

    def new_engine(self, unit: str, digest: str = "") -> MemoryfulEngine:
        if digest not in ("", *self.known):
            raise HeadraceError("nobody has these rules")
        return MemoryfulEngine(unit, digest or self.first_digest)

    async def rules_of(self, digest: str, unit: str) -> str:
        return f"{unit}: nobody has {digest}"

    async def publish_first(self, producer: Producer) -> None:
        """There is only one."""


class SimulatedCrashError(Exception):
    """The process ended here."""


async def bus_with(*messages: Message) -> MemoryBus:
    """A log that holds these."""
    bus = MemoryBus()
    await bus.create_topics(TOPICS, PARTITIONS)
    producer = await bus.producer("test")
    for message in messages:
        await (await producer.send(message))
    return bus


@dataclass
class Plant:
    """A log with inputs, and one worker after another on it."""

    run_dir: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    site: Site = field(default_factory=small_site)
    rules: OneRuleSet = field(default_factory=OneRuleSet)
    snapshot_every_s: float = 2.0
    now_s: float = 0.0
    committed: dict[int, int] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)
    starts: list[dict[int, int]] = field(default_factory=list)
    processors: list[Processor] = field(default_factory=list)
    batch_seed: int = 0
    signer: Signer | None = None
    head_every_s: float = 1.0
    replaces_site: str = ""

    async def ready(self) -> Plant:
        """With a log that begins as one should."""
        await self.bus.create_topics(TOPICS, PARTITIONS)
        await self.send(*(activation(unit) for unit in self.site.units))
        return self

    async def send(self, *messages: Message) -> None:
        producer = await self.bus.producer("test")
        for message in messages:
            await (await producer.send(message))

    async def worker(
        self,
        crash_at: str = "",
        partitions: Sequence[int] = range(PARTITIONS),
        with_holes: bool = False,
        name: str = "worker",
    ) -> Processor:
        """A worker that has just been assigned `partitions`."""

        def end(_: int) -> None:
            raise SimulatedCrashError

        mine: dict[int, int] = {}

        async def acknowledge(partition: int, offset: int) -> None:
            assert offset > mine.get(partition, 0)
            mine[partition] = offset
            self.committed[partition] = max(offset, self.committed.get(partition, 0))

        processor = Processor(
            bus=self.bus,
            producer=await self.bus.producer("worker"),
            site=self.site,
            rules=self.rules,
            partitions=PARTITIONS,
            snapshot_every_s=self.snapshot_every_s,
            acknowledge=acknowledge,
            on_failure=self.failures.append,
            crash=CrashSwitch(crash_at, self.run_dir, end),
            with_holes=with_holes,
            signer=self.signer,
            head_every_s=self.head_every_s,
            worker=name,
            replaces_site=self.replaces_site,
            clock_s=lambda: self.now_s,
        )
        self.processors.append(processor)
        self.starts.append(await processor.assign(list(partitions)))
        return processor

    async def feed(self, processor: Processor, limit: int | None = None, until: int = 1 << 60) -> None:
        """Bring records in batches of changing size, up to the end; one second passes with each batch.

        Raises what the worker raises, or has failed with in the background.
        """
        cut = random.Random(self.batch_seed)
        start = {TopicPartition(EVENTS.name, n): offset for n, offset in processor.positions().items()}
        reader = await self.bus.reader([EVENTS.name], start)
        seen = 0
        while limit is None or seen < limit:
            records = [r for r in await reader.read(0.0, limit=cut.randint(1, 25)) if r.offset < until]
            if not records:
                break
            seen += len(records)
            self.now_s += 1.0
            await processor.process(records)
            await self.idle()

    async def idle(self) -> None:
        """Let what runs in the background come to rest; raises what it failed with."""
        for _ in range(30):
            await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()

    async def run(self, crash_at: str = "") -> int:
        """Work off the log, with a new worker after every crash, to a clean stop; how often it crashed."""
        crashes = 0
        while True:
            processor = await self.worker(crash_at)
            try:
                await self.feed(processor)
                await processor.finish()
            except SimulatedCrashError:
                crashes += 1
                await processor.revoke()
            else:
                return crashes

    def outputs(self) -> dict[str, bytes]:
        """Bytes by id. Fails when one id has two contents."""
        found: dict[str, bytes] = {}
        for topic in OUTPUT_TOPICS:
            for record in self.bus.records(topic):
                assert record.value is not None
                name = orjson.loads(record.value)["id"]
                assert found.setdefault(name, record.value) == record.value, f"{name} has two contents"
        return found

    def alarms(self) -> dict[bytes | None, bytes | None]:
        """The last word on every alarm."""
        return {record.key: record.value for record in self.bus.records(ALARMS.name)}

    def dead_letters(self) -> list[tuple[bytes | None, bytes | None, bytes | None]]:
        """(reason, partition, offset) of every dead letter, in order."""
        names = ("dead-letter-reason", "dead-letter-partition", "dead-letter-offset")
        return [
            tuple(header(record.headers, name) for name in names)  # type: ignore[misc]
            for record in self.bus.records(DEAD_LETTERS.name)
        ]


def activation(unit: str, digest: str = "rules-1", sequence: int = 1) -> Message:
    value = Activation(unit, Identity("activation", 1, sequence), "site-1", digest)
    return encode_input(value, PARTITIONS)


def tick(unit: str, sequence: int) -> Message:
    return encode_input(Tick(unit, Identity("ticker", 0, sequence), sequence * 100_000_000), PARTITIONS)


def readings(unit: str, sequence: int, source: str = "plant") -> Message:
    values = np.array([sequence * 1.25, 2.0])
    stamps = np.array([sequence, sequence])
    flags = np.zeros(2, np.uint8)
    status = flags.astype(np.uint32)
    identity = Identity(source, 7, sequence)
    value = Readings(unit, identity, sequence, ("p", "q"), stamps, stamps, values, flags, status)
    return encode_input(value, PARTITIONS)


def garbage(unit: str) -> Message:
    return Message(
        EVENTS.name, partition_of(unit, PARTITIONS), unit.encode(), b"\x00garbage", (("schema", b"tick/1"),)
    )


def inputs(count: int, *, bad_every: int = 0) -> list[Message]:
    """`count` ticks and batches of readings for every unit; each `bad_every`-th is followed by garbage."""
    messages: list[Message] = []
    for sequence in range(1, count + 1):
        for unit in UNITS:
            messages += [readings(unit, sequence), tick(unit, sequence)]
        if sequence % 4 == 0:
            messages.append(readings("row-a", sequence - 1))  # a repeat
        if bad_every and sequence % bad_every == 0:
            messages.append(garbage(UNITS[sequence % len(UNITS)]))
    return messages
