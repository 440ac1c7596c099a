"""How a worker takes partitions over: each unit from its last snapshot, or from the beginning of its log.

A unit without a snapshot begins at its first record on the log, or where that ends now, with the rules of the first
activation in it (`first_rules`). Before anything is said of any unit, all of them are held against the site file
(`site_on_log`). A partition without units is read from where it ends: nothing of it is anybody's.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from rules.errors import HeadraceError
from rules.site.model import Site
from streams.bus.bus import Bus, Producer, read_spans
from streams.record import TopicPartition
from streams.rule_sets.first_rules import Beginnings
from streams.rule_sets.rule_set import activation
from streams.snapshots import Snapshot, read_snapshots, record_digest
from streams.topics import EVENTS, partition_of
from streams.wire import encode_input
from streams.worker.counts import Counts
from streams.worker.owned import Engine, PartitionState, Rules, UnitState
from streams.worker.site_on_log import SiteOnLog
from streams.worker.snapshot_writer import SnapshotWriter

log = logging.getLogger("headrace.worker")


class TakeOver:
    """`every_s`: how often a unit has a snapshot; the first ones are spread over that time."""

    def __init__(
        self,
        bus: Bus,
        producer: Producer,
        site: Site,
        rules: Rules,
        partitions: int,
        every_s: float,
        writer: SnapshotWriter,
        counts: Counts,
        on_log: SiteOnLog,
        clock_s: Callable[[], float],
        clock_ns: Callable[[], int],
    ) -> None:
        self._bus = bus
        self._producer = producer
        self._site = site
        self._rules = rules
        self._count = partitions
        self._every_s = every_s
        self._writer = writer
        self._counts = counts
        self._on_log = on_log
        self._clock_s = clock_s
        self._clock_ns = clock_ns

    async def partitions(self, partitions: Collection[int], epoch: int) -> list[PartitionState]:
        """Those that were claimed with `epoch`, each with all of its units.

        ConfigurationError where one of them is another site file's.
        """
        taken: list[PartitionState] = []
        units = [unit for unit in self._site.units if partition_of(unit, self._count) in partitions]
        found = await read_snapshots(self._bus, units, self._count, self._writer.log_ids)
        self._counts.snapshots_rejected.update(found.rejected)
        files = {one.site_digest for one in found.snapshots.values()}
        gone = {file for file in files if await self._on_log.is_replaced(file)}
        replaced = {unit for unit, one in found.snapshots.items() if one.site_digest in gone}
        new = [unit for unit in units if unit not in found.snapshots]
        beginnings = Beginnings(self._bus, self._site, new, self._count)
        begins_with, unsaid = await self._begin_with(new, beginnings)
        if replaced:
            await self._rules.publish_first(self._producer)
        ends = {place.partition: end for place, end in (await self._bus.ends(EVENTS.name)).items()}
        native = await self._native(found.snapshots.values(), ends)
        for number in sorted(partitions):
            mine = [unit for unit in units if partition_of(unit, self._count) == number]
            end, states = ends.get(number, 0), {}
            for index, unit in enumerate(mine):
                stagger = index / len(mine)
                if unit in replaced:
                    states[unit] = await self._replace(found.snapshots[unit], unit in native, stagger)
                elif unit in found.snapshots:
                    states[unit] = await self._restore(found.snapshots[unit], unit in native, stagger)
                else:
                    offset = beginnings.offset(unit)
                    states[unit] = await self._begin(unit, begins_with[unit], offset, stagger, unit in unsaid)
            start = min((unit.next_offset for unit in states.values()), default=end)
            reported = (unit.next_offset for unit in states.values() if unit.id in found.snapshots)
            taken.append(PartitionState(number, start, max(reported, default=start), states, epoch))
        return taken

    async def _begin_with(
        self, units: Collection[str], beginnings: Beginnings
    ) -> tuple[dict[str, str], frozenset[str]]:
        """The digest of the rules that each of `units`, of which there is no snapshot, begins with; where none is said.

        A log without any activation is given one: nothing is evaluated with rules that it does not name. Where only who
        has the right to it may say one, or the first is of a site file that this one replaces, a snapshot names them.
        """
        found, closed = await beginnings.read()
        if len(found) < len(units):
            await self._rules.publish_first(self._producer)
            # on, right before one is said: that took a while, and a list that came in it would have it refused
            found, closed = await beginnings.read()
        old = [unit for unit, digest in found.items() if await self._on_log.is_replaced_at_beginning(digest)]
        new = [unit for unit in units if unit not in found]
        digest = self._rules.first_digest
        if old:
            await self._rules.publish_first(self._producer)
        for unit in old:
            self._say_replaced(unit)
        for unit in new:
            if unit in closed:
                words = "%s begins with rules %s, until somebody activates others"
                log.info(words, unit, digest[:12], extra={"unit": unit})
                continue
            words = "%s has no activation on the log yet: it begins with rules %s"
            log.info(words, unit, digest[:12], extra={"unit": unit})
            await self._activate(unit)
        return found | dict.fromkeys([*new, *old], digest), closed.union(old)

    async def _activate(self, unit: str) -> None:
        """Say on the log that the first rules rule from here on."""
        value = activation(self._site, unit, self._rules.first_digest, self._clock_ns())
        await (await self._producer.send(encode_input(value, self._count)))

    async def _begin(
        self, unit_id: str, digest: str, offset: int, stagger: float, is_unsaid: bool
    ) -> UnitState:
        engine = await self._engine_of(unit_id, digest)
        unit = UnitState(unit_id, engine, offset, 0, offset, self._due_s(stagger))
        if is_unsaid:  # whoever begins here again begins with the same rules
            await self._writer.send(unit, self._writer.capture(unit, ""))
        return unit

    async def _native(self, snapshots: Collection[Snapshot], ends: Mapping[int, int]) -> set[str]:
        """The units whose snapshots have offsets of the log as it is now.

        A log that is shorter than a snapshot says is another log, whatever its id. So is one that has another record in
        front of the last of them, for all units of the partition; one that it has no more, or that no snapshot names,
        says nothing.
        """
        fitting: dict[TopicPartition, list[Snapshot]] = defaultdict(list)
        for one in snapshots:
            place = TopicPartition(EVENTS.name, partition_of(one.unit, self._count))
            if one.log_id in self._writer.log_ids and one.next_offset <= ends.get(place.partition, 0):
                fitting[place].append(one)
        last = {
            place: max(named, key=lambda one: one.next_offset)
            for place, some in fitting.items()
            if (named := [one for one in some if one.last_record and one.next_offset])
        }
        spans = {place: (one.next_offset - 1, one.next_offset) for place, one in last.items()}
        for place, records in (await read_spans(self._bus, spans)).items():
            here = [record for record in records if record.offset == last[place].next_offset - 1]
            if here and record_digest(here[0].value) != last[place].last_record:
                log.error(
                    "partition %d has lost its end, and other records have its offsets: it is read from its beginning",
                    place.partition,
                )
                del fitting[place]
        return {one.unit for some in fitting.values() for one in some}

    async def _replace(self, snapshot: Snapshot, is_native: bool, stagger: float) -> UnitState:
        """A unit whose snapshot is of a site file that this one replaces: its state goes on with the first rules."""
        self._say_replaced(snapshot.unit)
        unit = await self._restore(
            replace(snapshot, rules_digest=self._rules.first_digest), is_native, stagger
        )
        if not (unit.engine.access_digest or self._site.root_key):  # elsewhere it would have to be signed
            await self._activate(unit.id)
        last_record = snapshot.last_record if is_native else ""
        # from here on the log is this site file's
        await self._writer.send(unit, self._writer.capture(unit, last_record))
        return unit

    def _say_replaced(self, unit: str) -> None:
        log.warning(
            "%s goes on under site file %s in place of %s, by worker.replaces_site, with rules %s",
            unit,
            self._site.digest[:12],
            self._on_log.replaces,
            self._rules.first_digest[:12],
            extra={"unit": unit},
        )
        self._counts.site_files_replaced += 1

    async def _restore(self, snapshot: Snapshot, is_native: bool, stagger: float) -> UnitState:
        unit = snapshot.unit
        self._counts.restores += 1
        offset = snapshot.next_offset if is_native else 0
        self._counts.restores_on_other_log += not is_native
        engine = await self._engine_of(unit, snapshot.rules_digest)
        try:
            engine.restore(snapshot.state)
        except HeadraceError as error:
            # Another version's state: the past is not decided again, it begins here, empty.
            log.error(
                "%s begins with an empty state at offset %d: %s", unit, offset, error, extra={"unit": unit}
            )
            self._counts.restores_refused += 1
            engine = await self._engine_of(unit, snapshot.rules_digest)
        return UnitState(unit, engine, offset, snapshot.number, offset, self._due_s(stagger))

    def _due_s(self, stagger: float) -> float:
        return self._clock_s() + self._every_s * (0.5 + stagger / 2)

    async def _engine_of(self, unit: str, digest: str) -> Engine:
        """With the rules that ruled there, or the first ones where those are not to be had."""
        if digest != self._rules.first_digest:
            await self._rules.rules_of(digest, unit)
        try:
            return self._rules.new_engine(unit, digest)
        except HeadraceError as error:
            log.error(
                "%s goes on with rules %s: %s",
                unit,
                self._rules.first_digest[:12],
                error,
                extra={"unit": unit},
            )
            self._counts.restores_of_other_rules += 1
            return self._rules.new_engine(unit)
