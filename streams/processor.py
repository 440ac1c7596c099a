"""The worker without its transport: records in, outputs on the bus, snapshots, and what may be acknowledged.

Rules that this module obeys:
- All records of one fetch that belong to a unit go into one `engine.step`, in the order of their offsets.
- What nobody can read goes to `dead-letters` with its reason, is counted, and stops nothing.
- A snapshot is taken between two batches, of one unit at a time. It is written only when the broker has
  acknowledged everything that was sent before it, and counts only when the broker has its manifest.
- A partition is acknowledged up to the lowest snapshot of its units, never further.
- A partition is claimed before anything is said about it (`owners`). One that a rebalance brings back, and that
  nobody has claimed meanwhile, goes on as it was.
- A unit without a snapshot begins with the rules of the first activation in its log (`first_rules`).
- On a replay's log (`replay_mark`) all that is sent is marked, and no fact is sent that the recording holds; on any
  other log a marked record is not evaluated.
- With a key, a signed head of the journal follows the lines of each hour of event time, and those before a clean stop;
  not on a replay's log.
- An offset that is missing in the middle of a partition is a broken invariant: stop, start from the snapshots. Not on
  a log `with_holes` (the embedded broker), where it is counted: whoever was refused there has sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rules.engine.chain import ChainEnd
from rules.engine.inputs import Activation, Fact, Input
from rules.engine.outputs import Alarm, Output
from rules.engine.tables import Compiled
from rules.errors import HeadraceError, InvariantError, UndecodableError
from rules.site.model import Site
from streams.alarm_upkeep import AlarmUpkeep
from streams.bus import Bus, Producer
from streams.crash_switch import CrashSwitch
from streams.dead_letter import dead_letter
from streams.journal.heads import Signer, head_message
from streams.outbox import Outbox
from streams.owners import Owners
from streams.record import Record
from streams.replay_mark import Marking, is_replayed, replay_of
from streams.rule_sets.first_rules import first_activations
from streams.rule_sets.rule_set import activation
from streams.snapshots import Snapshot, is_covered, log_ids, read_snapshots, snapshot_messages
from streams.topics import EVENTS, partition_of
from streams.wire import decode_input, encode_input, encode_output
from streams.worker_counts import Counts

log = logging.getLogger("headrace.worker")


class Engine(Protocol):
    """The face of `rules.engine.engine.Engine` that the worker needs."""

    counters: Counter[str]
    rules_digest: str
    now_ns: int

    @property
    def access_digest(self) -> str:
        """Of the access list that rules, "" where there is none."""
        ...

    def lacks(self, rules_digest: str) -> bool:
        """Whether an activation would find no offer."""
        ...

    def offer(self, rules_digest: str, rules: Compiled | str) -> None:
        """What an activation means, or why it has to be refused."""
        ...

    def withdraw_offers(self) -> None:
        """All but that of the rules that rule."""
        ...

    def step(self, inputs: Sequence[Input]) -> Sequence[Output]:
        """React to inputs, in order."""
        ...

    def chain_end(self) -> ChainEnd:
        """The last line that it has said for the journal."""
        ...

    def snapshot(self) -> bytes:
        """All of the state."""
        ...

    def restore(self, state: bytes) -> None:
        """Take the state of a snapshot."""
        ...


class Rules(Protocol):
    """The face of `streams.rule_sets.prepared_rules.PreparedRules` that the worker needs."""

    first_digest: str

    def new_engine(self, unit: str, digest: str = "") -> Engine:
        """An empty one, with the first rules, or those of `digest`: HeadraceError where they are not to be had."""
        ...

    async def publish_first(self, producer: Producer) -> None:
        """Put the first rules on the log, if it does not have them."""
        ...

    async def rules_of(self, digest: str, unit: str) -> Compiled | str:
        """What an activation of `digest` means to a unit."""
        ...


@dataclass(slots=True)
class _Unit:
    id: str
    engine: Engine
    next_offset: int
    number: int
    covered: int
    due_s: float
    head_number: int = 0
    """The line that the last head names that was said here."""


@dataclass(slots=True)
class _Partition:
    """`position` is the next offset; `fresh` until the first record; dead letters below `reported` are sent."""

    number: int
    position: int
    reported: int
    units: dict[str, _Unit]
    epoch: int
    fresh: bool = True
    acknowledged: int = 0

    @property
    def covered(self) -> int:
        return min((unit.covered for unit in self.units.values()), default=0)


Acknowledge = Callable[[int, int], Awaitable[None]]
"""Commits an offset (the next to read) of a partition of `events`."""


class Processor:
    """The state of the partitions that this process owns. `on_failure` hears what ends the process."""

    def __init__(
        self,
        *,
        bus: Bus,
        producer: Producer,
        site: Site,
        rules: Rules,
        partitions: int,
        snapshot_every_s: float,
        acknowledge: Acknowledge,
        on_failure: Callable[[BaseException], None],
        crash: CrashSwitch,
        with_holes: bool = False,
        signer: Signer | None = None,
        head_every_s: float = 3600.0,
        worker: str = "worker",
        clock_s: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bus = bus
        self._producer = Marking(producer)
        self._site = site
        self._rules = rules
        self._count = partitions
        self._every_s = snapshot_every_s
        self._acknowledge = acknowledge
        self._on_failure = on_failure
        self._crash = crash
        self._with_holes = with_holes
        self._signer = signer
        self._head_every_ns = int(head_every_s * 1e9)
        self._clock_s = clock_s
        self._clock_ns = clock_ns
        self._outbox = Outbox(self._producer, on_failure)
        self._owners = Owners(bus, self._producer, worker, clock_ns)
        self._upkeep = AlarmUpkeep(bus, self._outbox)
        self._partitions: dict[int, _Partition] = {}
        self._given_up: dict[int, _Partition] = {}
        """What the last rebalance took: some of it may come back untouched."""
        self._writing: asyncio.Task[None] | None = None
        self._log_ids: frozenset[str] = frozenset()
        self._busy = asyncio.Lock()
        """Partitions do not change hands in the middle of a batch."""
        self.counts = Counts()

    # Partitions come and go.

    async def assign(self, partitions: Collection[int]) -> dict[int, int]:
        """Claim `partitions` and restore their units; the offset from which each has to be read. UnreachableError.

        InvariantError where another process has the name of this worker.
        """
        async with self._busy:
            self.counts.assignments += 1
            self._producer.mark = await replay_of(self._bus)
            given_up, self._given_up = self._given_up, {}
            found = await log_ids(self._bus, self._producer)
            if found != self._log_ids:
                self._log_ids = found
                self._owners.forget()
            await self._owners.follow()
            if (other := self._owners.namesake()) is not None:
                raise InvariantError(
                    f"two workers have one name: {other} has the partitions of this process now; give each --name"
                )
            for number in partitions:
                if number in given_up and self._owners.is_mine(number, given_up[number].epoch):
                    self._partitions[number] = given_up[number]
                elif number in given_up:
                    log.warning("partition %d was another worker's meanwhile: its snapshots are read", number)
            new = [number for number in partitions if number not in self._partitions]
            if new:
                await self._take_over(new, await self._owners.claim(new))
            return {number: self._partitions[number].position for number in sorted(partitions)}

    async def _take_over(self, partitions: Collection[int], epoch: int) -> None:
        self._upkeep.begin(partitions)
        units = [unit for unit in self._site.units if partition_of(unit, self._count) in partitions]
        found = await read_snapshots(self._bus, units, self._count, self._log_ids)
        self.counts.snapshots_rejected.update(found.rejected)
        begins_with, closed = await self._beginnings([unit for unit in units if unit not in found.snapshots])
        ends = {place.partition: end for place, end in (await self._bus.ends(EVENTS.name)).items()}
        for number in sorted(partitions):
            mine = [unit for unit in units if partition_of(unit, self._count) == number]
            states = {
                unit: await self._restore(found.snapshots[unit], ends.get(number, 0), index / len(mine))
                if unit in found.snapshots
                else await self._begin(unit, begins_with[unit], index / len(mine), unit in closed)
                for index, unit in enumerate(mine)
            }
            offsets = [unit.next_offset for unit in states.values()]
            start = min(offsets, default=0)
            self._partitions[number] = _Partition(number, start, max(offsets, default=0), states, epoch)

    async def _beginnings(self, units: Collection[str]) -> tuple[dict[str, str], frozenset[str]]:
        """The digest of the rules that each of `units`, of which there is no snapshot, begins with; where none is said.

        A log without any activation is given one: nothing is evaluated with rules that it does not name. Where only who
        has the right to it may say one, a snapshot names them.
        """
        found, closed = await first_activations(self._bus, self._site, units, self._count)
        new = [unit for unit in units if unit not in found]
        if new:
            digest = self._rules.first_digest
            await self._rules.publish_first(self._producer)
            for unit in new:
                if unit in closed:
                    words = "%s begins with rules %s, until somebody activates others"
                    log.info(words, unit, digest[:12], extra={"unit": unit})
                    continue
                words = "%s has no activation on the log yet: it begins with rules %s"
                log.info(words, unit, digest[:12], extra={"unit": unit})
                value = activation(self._site, unit, digest, self._clock_ns())
                await (await self._producer.send(encode_input(value, self._count)))
            found |= dict.fromkeys(new, digest)
        return found, closed

    async def _begin(self, unit_id: str, digest: str, stagger: float, is_closed: bool) -> _Unit:
        unit = _Unit(unit_id, await self._engine_of(unit_id, digest), 0, 0, 0, self._due_s(stagger))
        if is_closed:  # whoever begins here again begins with the same rules
            await self._send(unit, self._capture(unit))
        return unit

    async def _restore(self, snapshot: Snapshot, end: int, stagger: float) -> _Unit:
        unit = snapshot.unit
        self.counts.restores += 1
        # A log that is shorter than the snapshot says is another log, whatever its id.
        native = snapshot.log_id in self._log_ids and snapshot.next_offset <= end
        offset = snapshot.next_offset if native else 0
        self.counts.restores_on_other_log += not native
        engine = await self._engine_of(unit, snapshot.rules_digest)
        try:
            engine.restore(snapshot.state)
        except HeadraceError as error:
            # Another version's state: the past is not decided again, it begins here, empty.
            log.error(
                "%s begins with an empty state at offset %d: %s", unit, offset, error, extra={"unit": unit}
            )
            self.counts.restores_refused += 1
            engine = await self._engine_of(unit, snapshot.rules_digest)
        return _Unit(unit, engine, offset, snapshot.number, offset, self._due_s(stagger))

    def _due_s(self, stagger: float) -> float:
        return self._clock_s() + self._every_s * (0.5 + stagger / 2)

    async def _engine_of(self, unit: str, digest: str) -> Engine:
        """With the rules that ruled there, or the first ones where those are not to be had."""
        if digest != self._rules.first_digest:
            await self._rules.rules_of(digest, unit)
        try:
            return self._rules.new_engine(unit, digest)
        except HeadraceError as error:
            log.warning(
                "%s goes on with rules %s: %s",
                unit,
                self._rules.first_digest[:12],
                error,
                extra={"unit": unit},
            )
            self.counts.restores_of_other_rules += 1
            return self._rules.new_engine(unit)

    async def revoke(self) -> None:
        """Let go of all partitions: another worker may own them next."""
        async with self._busy:
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None
            self._given_up, self._partitions = self._given_up | self._partitions, {}

    async def keep_ownership(self) -> None:
        """Look whether the partitions are still this worker's, and its words on alarms still the last ones.

        InvariantError: somebody else has claimed one. UnreachableError.
        """
        await self._owners.follow()
        taken = self._owners.overtaken(self._epochs())
        if taken is not None:
            partition, claim = taken
            raise InvariantError(
                f"partition {partition} has another owner, {claim}: this process was stopped or cut off for longer "
                "than its session, or another has its name; what it says is refused"
            )
        for record in await self._upkeep.look(self._epochs()):
            async with self._busy:
                message = self._upkeep.again(record, self._epochs())
                if message is not None:
                    self.counts.alarms_said_again += 1
                    await self._outbox.send(message)

    def _epochs(self) -> dict[int, int]:
        return {number: partition.epoch for number, partition in self._partitions.items()}

    def positions(self) -> Mapping[int, int]:
        """The next offset of each partition that is owned."""
        return {number: partition.position for number, partition in self._partitions.items()}

    # Records.

    async def process(self, records: Sequence[Record]) -> None:
        """One fetch: decode, step every unit once, send what it says, begin a snapshot when one is due."""
        async with self._busy:
            await self._process(records)

    async def _process(self, records: Sequence[Record]) -> None:
        if self._producer.mark is None and any(is_replayed(record.headers) for record in records):
            # the log may have become one since the assignment
            self._producer.mark = await replay_of(self._bus)
        batches: dict[str, list[Input]] = {}
        oldest_ms: dict[str, int] = {}
        for record in records:
            partition = self._partitions.get(record.partition)
            if partition is None or not self._advance(partition, record):
                continue
            self.counts.records += 1
            try:
                unit, value = self._decode(partition, record)
            except UndecodableError as error:
                if record.offset >= partition.reported:
                    await self._dead_letter(record, error)
                continue
            if is_covered(record.offset, unit.next_offset):
                continue
            self.counts.input(value)
            batches.setdefault(unit.id, []).append(value)
            oldest_ms.setdefault(unit.id, record.timestamp_ms)
        for partition in self._partitions.values():
            for unit in partition.units.values():
                due_ns = self._head_due_ns(unit)
                outputs = await self._step(unit, batches[unit.id]) if unit.id in batches else ()
                unit.next_offset = max(unit.next_offset, partition.position)
                self.counts.steps += unit.id in batches
                for output in outputs:
                    await self._publish(output, oldest_ms[unit.id], partition.epoch)
                if due_ns is not None and unit.engine.now_ns >= due_ns:
                    await self._say_head(unit)
        self._snapshot_if_due()

    async def _step(self, unit: _Unit, inputs: Sequence[Input]) -> Sequence[Output]:
        activated = [value.rules_digest for value in inputs if isinstance(value, Activation)]
        for digest in activated:
            if unit.engine.lacks(digest):
                unit.engine.offer(digest, await self._rules.rules_of(digest, unit.id))
        started_s = time.perf_counter()
        outputs = unit.engine.step(inputs)
        if activated:
            unit.engine.withdraw_offers()
            pause_ms = (time.perf_counter() - started_s) * 1e3
            self.counts.activation_pause_ms_max = max(self.counts.activation_pause_ms_max, pause_ms)
        return outputs

    def _advance(self, partition: _Partition, record: Record) -> bool:
        """Whether the record is the next one of its partition."""
        if record.offset < partition.position:
            self.counts.redelivered += 1
            return False
        missing = record.offset - partition.position
        if missing and not partition.fresh and not self._with_holes:
            raise InvariantError(
                f"{record.topic}[{record.partition}] went from offset {partition.position} to {record.offset}"
            )
        self.counts.skipped_offsets += missing
        partition.fresh = False
        partition.position = record.offset + 1
        return True

    def _decode(self, partition: _Partition, record: Record) -> tuple[_Unit, Input]:
        if self._producer.mark is None and is_replayed(record.headers):
            raise UndecodableError("replayed", "a record of a replay, on a log that is none")
        value = decode_input(record.key, record.headers, record.value)
        unit = partition.units.get(value.unit)
        if unit is None:
            known = value.unit in self._site.units
            raise UndecodableError(
                "wrong-partition" if known else "unknown-unit",
                f"{value.unit!r} on partition {record.partition}",
            )
        return unit, value

    async def _publish(self, output: Output, oldest_ms: int, epoch: int) -> None:
        mark = self._producer.mark
        if mark is not None and mark.has_facts and isinstance(output, Fact):
            # It comes with the replay, at its place in the log; a second one would be a repeat, or come before it.
            self.counts.facts_left_to_replay += 1
            return
        self.counts.outputs[type(output).__name__.lower()] += 1

        message = encode_output(output, self._count, epoch)

        def acknowledged(offset: int) -> None:
            self.counts.acknowledged(output, self._clock_ns(), oldest_ms)
            if isinstance(output, Alarm):
                self._upkeep.spoke(message.partition, offset)

        if isinstance(output, Alarm):
            self._upkeep.speaks(message)
        await self._outbox.send(message, acknowledged)
        self._crash.at("publish")

    def _head_due_ns(self, unit: _Unit) -> int | None:
        """Event time of the next head: a multiple, so that a restart puts none off."""
        if self._signer is None:
            return None
        return (unit.engine.now_ns // self._head_every_ns + 1) * self._head_every_ns

    async def _say_head(self, unit: _Unit) -> None:
        if self._signer is None or self._producer.mark is not None:
            return
        end = unit.engine.chain_end()
        if end.number > unit.head_number:
            head = self._signer.head(unit.id, end, unit.engine.now_ns)
            await self._outbox.send(head_message(head, self._count))
            unit.head_number = end.number
            self.counts.heads += 1

    async def _dead_letter(self, record: Record, error: UndecodableError) -> None:
        self.counts.dead_letters[error.reason] += 1
        await self._outbox.send(dead_letter(record, error))

    # Snapshots.

    async def snapshot_if_due(self) -> None:
        """For the time in which no record comes: what came last is covered too."""
        async with self._busy:
            self._snapshot_if_due()

    def _snapshot_if_due(self) -> None:
        if self._writing is not None and not self._writing.done():
            return
        now_s = self._clock_s()
        due = [
            (unit.due_s, unit.id, partition, unit)
            for partition in self._partitions.values()
            for unit in partition.units.values()
            if unit.due_s <= now_s and unit.next_offset > unit.covered
        ]
        if due:
            _, _, partition, unit = min(due, key=lambda entry: entry[:2])
            unit.due_s = now_s + self._every_s
            self._writing = asyncio.create_task(
                self._or_fail(self._write(partition, unit, self._capture(unit)))
            )
            return
        for partition in self._partitions.values():
            if not partition.units and partition.position > partition.acknowledged:
                self._writing = asyncio.create_task(self._or_fail(self._pass(partition, partition.position)))
                return

    def _capture(self, unit: _Unit) -> Snapshot:
        started_s = time.perf_counter()
        state = unit.engine.snapshot()
        pause_ms = (time.perf_counter() - started_s) * 1e3
        self.counts.snapshot_pause_ms_max = max(self.counts.snapshot_pause_ms_max, pause_ms)
        return Snapshot(
            unit.id,
            unit.number + 1,
            unit.next_offset,
            min(self._log_ids),
            unit.engine.rules_digest,
            self._site.digest,
            state,
        )

    async def _or_fail(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._on_failure(error)

    async def _write(self, partition: _Partition, unit: _Unit, snapshot: Snapshot) -> None:
        await self._outbox.settled()
        await self._send(unit, snapshot)
        await self._acknowledge_covered(partition)

    async def _send(self, unit: _Unit, snapshot: Snapshot) -> None:
        chunks, manifest = snapshot_messages(snapshot, self._count)
        for sent in [await self._producer.send(chunk) for chunk in chunks]:
            await sent
        self._crash.at("snapshot")
        await (await self._producer.send(manifest))
        unit.number, unit.covered = snapshot.number, snapshot.next_offset
        self.counts.snapshots += 1
        self.counts.snapshot_bytes = len(snapshot.state)
        self.counts.snapshot_at_s = self._clock_s()

    async def _acknowledge_covered(self, partition: _Partition) -> None:
        if partition.covered > partition.acknowledged:
            self._crash.at("ack")
            partition.acknowledged = partition.covered
            await self._acknowledge(partition.number, partition.covered)

    async def _pass(self, partition: _Partition, offset: int) -> None:
        """A partition without units has no state: what the broker has taken of its dead letters is all there is."""
        await self._outbox.settled()
        partition.acknowledged = offset
        await self._acknowledge(partition.number, offset)

    async def finish(self) -> None:
        """A clean stop: a snapshot of every unit that has moved, and the acknowledgements that follow."""
        async with self._busy:
            if self._writing is not None:
                await self._writing
            for partition in self._partitions.values():
                for unit in partition.units.values():
                    await self._say_head(unit)
                    if unit.next_offset > unit.covered:
                        await self._write(partition, unit, self._capture(unit))
                await self._acknowledge_covered(partition)
                if not partition.units and partition.position > partition.acknowledged:
                    await self._pass(partition, partition.position)
            await self._outbox.settled()

    def _units(self) -> Iterator[_Unit]:
        for partition in self._partitions.values():
            yield from partition.units.values()

    def metrics(self) -> dict[str, Any]:
        """The counts, and what only the state knows, for the status record."""
        return {
            **self.counts.metrics(self._clock_s(), self._clock_ns()),
            "unacknowledged": len(self._outbox),
            "positions": dict(self.positions()),
            "owner_epochs": self._epochs(),
            "acknowledged": {number: p.acknowledged for number, p in self._partitions.items()},
            "replay": None if self._producer.mark is None else self._producer.mark.recording,
            "rules": {unit.id: unit.engine.rules_digest for unit in self._units()},
            "access": {unit.id: unit.engine.access_digest for unit in self._units()},
            "now_ns": {unit.id: max(unit.engine.now_ns, 0) for unit in self._units()},
            "engine": {unit.id: dict(unit.engine.counters) for unit in self._units()},
        }
