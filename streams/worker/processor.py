"""The worker without its transport: records in, outputs on the bus, snapshots, and what may be acknowledged.

Rules that this module obeys:
- All records of one fetch that belong to a unit go into one `engine.step`, in the order of their offsets. Only what
  stands in front of an activation is stepped before it: by that the engine knows whether to believe it, and nothing is
  read or made ready for one that is forged.
- What nobody can read goes to `dead-letters` with its reason, is counted, and stops nothing.
- A snapshot is taken between two batches, of one unit at a time. It is written only when the broker has
  acknowledged everything that was sent before it, and counts only when the broker has its manifest.
- A partition is acknowledged up to the lowest snapshot of its units, never further.
- A partition is claimed before anything is said about it (`owners`). One that a rebalance brings back, and that
  nobody has claimed meanwhile, goes on as it was.
- On a replay's log (`replay_mark`) all that is sent is marked, and no fact is sent that the recording holds; on any
  other log a marked record is not evaluated.
- With a key, a signed head of the journal follows the lines of each hour of event time, and those before a clean stop;
  not on a replay's log.
- A log that ends in front of what was read, or has another record at that offset, has lost its end: stop, start from
  the snapshots, which know it too. A log `with_holes` is not asked for its ends: there that costs much.
- An offset that is missing in the middle of a partition is a broken invariant: stop, start from the snapshots. Not on
  a log `with_holes` (the embedded broker), where it is counted: whoever was refused there has sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from rules.engine.inputs import Activation, Fact, Input
from rules.engine.outputs import Alarm, Command, Output
from rules.errors import InvariantError, UndecodableError
from rules.site.model import Site
from streams.bus.bus import Bus, Producer
from streams.command_signatures import CommandSigner
from streams.dead_letter import dead_letter
from streams.journal.heads import Signer, head_message
from streams.record import Record
from streams.replay_mark import Marking, is_replayed, replay_of
from streams.snapshots import Snapshot, is_covered, log_ids
from streams.topics import EVENTS
from streams.wire import decode_input, encode_output
from streams.worker.alarm_upkeep import AlarmUpkeep
from streams.worker.counts import Counts
from streams.worker.crash_switch import CrashSwitch
from streams.worker.outbox import Outbox
from streams.worker.owned import PartitionState, Rules, UnitState
from streams.worker.owners import Owners
from streams.worker.site_on_log import SiteOnLog
from streams.worker.snapshot_writer import SnapshotWriter
from streams.worker.take_over import TakeOver

log = logging.getLogger("headrace.worker")


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
        command_signer: CommandSigner | None = None,
        head_every_s: float = 3600.0,
        worker: str = "worker",
        replaces_site: str = "",
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
        self._command_signer = command_signer
        self._head_every_ns = int(head_every_s * 1e9)
        self._clock_s = clock_s
        self._clock_ns = clock_ns
        self._outbox = Outbox(self._producer, on_failure)
        self._owners = Owners(bus, self._producer, worker, clock_ns)
        self._upkeep = AlarmUpkeep(bus, self._outbox)
        self._partitions: dict[int, PartitionState] = {}
        self._given_up: dict[int, PartitionState] = {}
        """What the last rebalance took: some of it may come back untouched."""
        self._writing: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()
        """Partitions do not change hands in the middle of a batch."""
        self.counts = Counts()
        self._writer = SnapshotWriter(self._producer, site, partitions, self.counts, crash, clock_s)
        self._take_over = TakeOver(
            bus,
            self._producer,
            site,
            rules,
            partitions,
            snapshot_every_s,
            self._writer,
            self.counts,
            SiteOnLog(bus, site, replaces_site),
            clock_s,
            clock_ns,
        )

    # Partitions come and go.

    async def assign(self, partitions: Collection[int]) -> dict[int, int]:
        """Claim `partitions` and restore their units; the offset from which each has to be read. UnreachableError.

        ConfigurationError where a unit is another site file's, InvariantError where no claim counts.
        """
        async with self._busy:
            self.counts.assignments += 1
            self._producer.mark = await replay_of(self._bus)
            given_up, self._given_up = self._given_up, {}
            found = await log_ids(self._bus, self._producer)
            if found != self._writer.log_ids:
                self._writer.log_ids = found
                self._owners.forget()
            await self._owners.follow()
            for number in partitions:
                if number in given_up and self._owners.is_mine(number, given_up[number].epoch):
                    self._partitions[number] = given_up[number]
                elif number in given_up:
                    log.warning("partition %d was another worker's meanwhile: its snapshots are read", number)
            new = [number for number in partitions if number not in self._partitions]
            if new:
                epoch = await self._owners.claim(new)
                self._upkeep.begin(new)
                for partition in await self._take_over.partitions(new, epoch):
                    self._partitions[partition.number] = partition
            return {number: self._partitions[number].position for number in sorted(partitions)}

    async def revoke(self) -> None:
        """Let go of all partitions: another worker may own them next."""
        async with self._busy:
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None
            self._given_up, self._partitions = self._given_up | self._partitions, {}

    async def keep_ownership(self) -> None:
        """Look whether the partitions are still this worker's, and its words on alarms still the last ones.

        InvariantError: somebody else has claimed one, or its log has lost its end. UnreachableError; the ends come
        last: one partition without a leader fails them all, and the others are still to be looked after.
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
        if not self._with_holes:
            await self._look_at_ends()

    async def _look_at_ends(self) -> None:
        read = dict(self.positions())  # before the ends: these can only be further
        for place, end in (await self._bus.ends(EVENTS.name)).items():
            if end < read.get(place.partition, 0):
                raise InvariantError(
                    f"{EVENTS.name}[{place.partition}] ends at {end} and was read up to {read[place.partition]}: "
                    "the log has lost its end"
                )

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

    async def _step(self, unit: UnitState, inputs: Sequence[Input]) -> Sequence[Output]:
        if not any(isinstance(value, Activation) for value in inputs):
            return unit.engine.step(inputs)
        outputs: list[Output] = []
        begun = 0
        for place, value in enumerate(inputs):
            if isinstance(value, Activation) and unit.engine.lacks(value.rules_digest):
                outputs += self._timed_step(unit, inputs[begun:place])
                begun = place
                if unit.engine.believes(value):
                    meaning = await self._rules.rules_of(value.rules_digest, unit.id)
                    unit.engine.offer(value.rules_digest, meaning)
        outputs += self._timed_step(unit, inputs[begun:])
        unit.engine.withdraw_offers()
        return outputs

    def _timed_step(self, unit: UnitState, inputs: Sequence[Input]) -> Sequence[Output]:
        started_s = time.perf_counter()
        outputs = unit.engine.step(inputs)
        pause_ms = (time.perf_counter() - started_s) * 1e3
        self.counts.activation_pause_ms_max = max(self.counts.activation_pause_ms_max, pause_ms)
        return outputs

    def _advance(self, partition: PartitionState, record: Record) -> bool:
        """Whether the record is the next one of its partition."""
        if record.offset < partition.position:
            is_last = record.offset == partition.position - 1 and partition.last_value is not None
            if is_last and partition.last_value != (record.value or b""):
                raise InvariantError(
                    f"{record.topic}[{record.partition}] has another record at offset {record.offset} than was read "
                    "there: the log has lost its end"
                )
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
        partition.last_value = record.value or b""
        return True

    def _decode(self, partition: PartitionState, record: Record) -> tuple[UnitState, Input]:
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
        if isinstance(output, Command) and self._command_signer is not None and mark is None:
            message = self._command_signer.signed(message)

        def acknowledged(offset: int) -> None:
            self.counts.acknowledged(output, self._clock_ns(), oldest_ms)
            if isinstance(output, Alarm):
                self._upkeep.spoke(message.partition, offset)

        if isinstance(output, Alarm):
            self._upkeep.speaks(message)
        await self._outbox.send(message, acknowledged)
        self._crash.at("publish")

    def _head_due_ns(self, unit: UnitState) -> int | None:
        """Event time of the next head: a multiple, so that a restart puts none off."""
        if self._signer is None:
            return None
        return (unit.engine.now_ns // self._head_every_ns + 1) * self._head_every_ns

    async def _say_head(self, unit: UnitState) -> None:
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
                self._or_fail(
                    self._write(partition, unit, self._writer.capture(unit, partition.last_record(unit)))
                )
            )
            return
        for partition in self._partitions.values():
            if not partition.units and partition.position > partition.acknowledged:
                self._writing = asyncio.create_task(self._or_fail(self._pass(partition, partition.position)))
                return

    async def _or_fail(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._on_failure(error)

    async def _write(self, partition: PartitionState, unit: UnitState, snapshot: Snapshot) -> None:
        await self._outbox.settled()
        await self._writer.send(unit, snapshot)
        await self._acknowledge_covered(partition)

    async def _acknowledge_covered(self, partition: PartitionState) -> None:
        if partition.covered > partition.acknowledged:
            self._crash.at("ack")
            partition.acknowledged = partition.covered
            await self._acknowledge(partition.number, partition.covered)

    async def _pass(self, partition: PartitionState, offset: int) -> None:
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
                        await self._write(
                            partition, unit, self._writer.capture(unit, partition.last_record(unit))
                        )
                await self._acknowledge_covered(partition)
                if not partition.units and partition.position > partition.acknowledged:
                    await self._pass(partition, partition.position)
            await self._outbox.settled()

    def _units(self) -> Iterator[UnitState]:
        for partition in self._partitions.values():
            yield from partition.units.values()

    def metrics(self) -> dict[str, Any]:
        """The counts, and what only the state knows, for the status record."""
        return {
            **self.counts.metrics(self._clock_s(), self._clock_ns()),
            "unacknowledged": len(self._outbox),
            "positions": dict(self.positions()),
            "owner_epochs": self._epochs(),
            "acknowledged": {
                number: p.covered if p.units else p.acknowledged for number, p in self._partitions.items()
            },
            "replay": None if self._producer.mark is None else self._producer.mark.recording,
            "rules": {unit.id: unit.engine.rules_digest for unit in self._units()},
            "access": {unit.id: unit.engine.access_digest for unit in self._units()},
            "now_ns": {unit.id: max(unit.engine.now_ns, 0) for unit in self._units()},
            "engine": {unit.id: dict(unit.engine.counters) for unit in self._units()},
        }
