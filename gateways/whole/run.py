"""One run of the whole: roles, field and log on virtual time, what goes wrong in it, and what is found at its end.

Rules: all that is random is drawn from the seed before the run begins; the log's digest says whether two runs were the
same. Behind the last fault everything is healed, the sources fall silent, the workers read to the end: then it is asked
what must hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateways.sim.faults import FAULTS, Fault
from gateways.whole.bus import FaultyBus, Network
from gateways.whole.disk import Disk
from gateways.whole.field import Field
from gateways.whole.group import Group
from gateways.whole.invariants import Life, broken
from gateways.whole.loop import VirtualLoop, guarded
from gateways.whole.process import Process, task_factory
from gateways.whole.reference import Reference
from gateways.whole.roles import ACTUATORS, TICKER, WORKER, Role, roles_of
from gateways.whole.rules import Rules
from gateways.whole.schedule import Trouble
from gateways.whole.tap import Accepted
from rules.errors import UnreachableError
from rules.site.model import Site
from streams.bus_memory import MemoryBus
from streams.record import Message, TopicPartition
from streams.role import RoleContext
from streams.settings import Settings, SpoolSettings
from streams.snapshots import LOG_KEY
from streams.topics import COMMANDS, EVENTS, SNAPSHOTS, TOPICS

PARTITIONS: Final = 3
START_NS: Final = 1_800_000_000_000_000_000
RESTART_S: Final = 1.0
FOLLOW_EVERY_S: Final = 2.0
SETTLE_S: Final = 5.0
END_WITHIN_S: Final = 300.0
"""After the last fault: spools drain, receipts come, the workers read to the end."""
SPOOL_MB: Final = 1
"""Small, so that an outage of some seconds fills it."""


@dataclass(slots=True)
class Outcome:
    """What a run came to. `broken`: what does not hold, empty for a good one."""

    seed: int
    troubles: Sequence[Trouble]
    simulated_s: float
    broken: list[str] = field(default_factory=list)
    digest: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0


def run(
    site_dir: Path, site: Site, rules: Rules, seed: int, duration_s: float, troubles: Sequence[Trouble], folder: Path
) -> Outcome:
    """Run it in `folder`, which is emptied before. Raises what no role should raise, as a finding of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    began_s = time.process_time()
    outcome = Outcome(seed, troubles, duration_s)
    disk = Disk()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop: Any = runner.get_loop()
        loop.set_task_factory(task_factory)
        with disk.mounted(), guarded():
            whole = Whole(site_dir, site, rules, outcome, folder, disk, loop)
            runner.run(whole.run())
    outcome.cpu_s = time.process_time() - began_s
    return outcome


class Whole:
    """Everything of one run."""

    def __init__(
        self, site_dir: Path, site: Site, rules: Rules, outcome: Outcome, folder: Path, disk: Disk, loop: VirtualLoop
    ) -> None:
        self._site_dir = site_dir
        self._site = site
        self._rules = rules
        self._outcome = outcome
        self._folder = folder
        self._disk = disk
        self._loop = loop
        self._network = Network()
        self.log = MemoryBus(self.now_ns)
        self._bus = FaultyBus(self.log, self._network)
        self._field = Field(site, outcome.seed, self.now_ns, START_NS)
        self._group = Group(PARTITIONS)
        self._accepted = Accepted()
        self._reference = Reference(self.log, self._accepted, rules.offers, rules.new_engine)
        self._roles = roles_of(self._field, self._group, self._accepted)
        self._offsets_ns: dict[str, int] = {}
        self._processes: dict[str, Process] = {}
        self._contexts: dict[str, RoleContext] = {}
        self._down_s: dict[str, float] = {}
        self._lives: list[Life] = []
        self._ends: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()
        self._stopping = False

    def now_ns(self) -> int:
        """True time."""
        return START_NS + round(self._loop.time() * 1e9)

    async def run(self) -> None:
        """From an empty log to the answer."""
        await self._bus.create_topics(TOPICS, PARTITIONS)
        # a log has an id, which is random elsewhere
        self.log.append(Message(SNAPSHOTS.name, 0, LOG_KEY + b"simulated", b"simulated", (("schema", b"log/1"),)))
        keepers = {name: asyncio.create_task(self._keep(name, role)) for name, role in self._roles.items()}
        around = [
            asyncio.create_task(work)
            for work in (self._field.run(), self._group.coordinate(), self._follow(), self._cause())
        ]
        await asyncio.sleep(self._outcome.simulated_s)
        await self._end(keepers)
        for task in around:
            task.cancel()
        for result in await asyncio.gather(*around, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self._reference.finish()
        self._outcome.broken += broken(self._reference, self._field, self._lives, self._ends)
        self._outcome.digest = self._reference.digest()
        self._outcome.counts = self._all_counts()

    # Processes.

    async def _keep(self, name: str, role: Role) -> None:
        """The supervisor of one role."""
        while not self._stopping:
            process = self._processes[name] = Process(name, self._folder / name)
            context = self._contexts[name] = self._context(name)
            began_ns = self.now_ns()
            main = process.run(partial(self._main, role, context))
            await asyncio.wait([main])
            if name == ACTUATORS:
                self._lives.append((began_ns, self.now_ns()))
            if process.is_alive:
                self._note_end(name, main)
                process.kill()
            else:
                self._counts["killed"] += 1
            if not self._stopping:
                await asyncio.sleep(self._down_s.pop(name, RESTART_S))

    @staticmethod
    async def _main(role: Role, context: RoleContext) -> None:
        await role(context)

    def _context(self, name: str) -> RoleContext:
        run_dir = self._rules.folder if name.startswith(WORKER) else self._folder / name
        settings = Settings(run_dir=run_dir, spool=SpoolSettings(limit_mb=SPOOL_MB))
        settings.broker.partitions = PARTITIONS
        made = RoleContext(name, self._site, self._site_dir, settings, self._bus, asyncio.Event())
        made.clock = lambda: self.now_ns() + self._offsets_ns.get(name, 0)
        return made

    def _note_end(self, name: str, main: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if main.cancelled() else main.exception()
        if error is None:
            if not self._stopping:
                self._ends.setdefault(name, []).append("it returned")
            return
        self._counts["ended by themselves"] += 1
        of_disk = self._disk.refused and (
            isinstance(error, sqlite3.OperationalError) or "publisher" in str(error)
        )
        if not (isinstance(error, UnreachableError) or of_disk):
            self._ends.setdefault(name, []).append(f"{type(error).__name__}: {error}")

    # What goes wrong.

    async def _cause(self) -> None:
        for trouble in self._outcome.troubles:
            await asyncio.sleep(max(0.0, trouble.at_s - self._loop.time()))
            self._counts[f"trouble {trouble.kind}"] += 1
            self._begin(trouble)

    def _begin(self, trouble: Trouble) -> None:
        kind, target, size, network = trouble.kind, trouble.target, trouble.size, self._network
        later = partial(self._loop.call_later, trouble.length_s)
        if kind == "kill":
            self._down_s[target] = trouble.length_s
            self._processes[target].kill()
        elif kind == "crash":
            network.crash[WORKER] = (target, round(size))
        elif kind == "away":
            network.is_away = True
            later(self._come_back)
        elif kind == "slow-partition":
            topic, _, number = target.partition("/")
            network.send_delay_s[TopicPartition(topic, int(number))] = size
            later(network.send_delay_s.pop, TopicPartition(topic, int(number)), None)
        elif kind == "slow-reader":
            network.read_delay_s[target] = size
            later(network.read_delay_s.pop, target, None)
        elif kind == "lose-ack":
            network.lose_acknowledgements[target] = round(size)
        elif kind == "refuse":
            network.refuse[target] = round(size)
        elif kind == "repeat":
            self._repeat(round(size))
        elif kind == "clock":
            self._offsets_ns[target] = round(size * 1e9)
            later(self._offsets_ns.pop, target, None)
        elif kind == "disk-full":
            self._disk.full.add(target)
            later(self._disk.full.discard, target)
        elif kind in ("server-away", "server-deaf"):
            servers = self._field.away if kind == "server-away" else self._field.deaf
            servers.add(target)
            later(servers.discard, target)
        elif kind == "plant":
            name, _, what = target.partition(":")
            self._field.inject(Fault(name, trouble.at_s, what, FAULTS[name].size if size == 1.0 else size))
            later(self._field.inject, Fault(name, 0.0, what, remove=True))

    def _come_back(self) -> None:
        self._network.is_away = False

    def _repeat(self, count: int) -> None:
        """The newest records of each partition once more, as a sender does that thinks they failed."""
        for place in self.log.places(EVENTS.name):
            end = self._reference.position(place)
            for record in self.log.records_from(place, max(0, end - count))[:count]:
                self.log.append(
                    Message(record.topic, record.partition, record.key, record.value, record.headers)
                )

    def _heal(self) -> None:
        network = self._network
        network.is_away = False
        for faults in (
            network.send_delay_s, network.read_delay_s, network.lose_acknowledgements, network.refuse, network.crash,
            self._offsets_ns, self._disk.full, self._field.away, self._field.deaf,
        ):  # fmt: skip
            faults.clear()

    # Following the log.

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            self._reference.follow()
            self._prune()

    def _prune(self) -> None:
        """Retention: what all snapshots cover and the reference has read; compaction of what is superseded."""
        for place in self.log.places(EVENTS.name):
            covered = self._group.committed.get(place.partition, 0)
            self.log.truncate(place, min(covered, max(0, self._reference.position(place) - 1000)))
        self.log.compact(SNAPSHOTS.name)

    # The end.

    async def _end(self, keepers: dict[str, asyncio.Task[None]]) -> None:
        """Sources fall silent, what is on its way arrives, workers read to the end, all stop."""
        self._heal()
        await asyncio.sleep(SETTLE_S)
        until_s = self._loop.time() + END_WITHIN_S
        await self._until(self._is_drained, until_s)
        self._stopping = True
        last = [name for name in keepers if name.startswith(WORKER) or name == ACTUATORS]
        await self._stop([name for name in keepers if name not in last and not name.startswith(TICKER)], keepers)
        await asyncio.sleep(1.0)
        await self._until(self._is_answered, until_s)
        await self._stop([name for name in keepers if name.startswith(TICKER)], keepers)
        await self._until(self._is_read, until_s)
        await self._stop([ACTUATORS], keepers)
        await asyncio.sleep(1.0)
        await self._until(self._is_read, until_s)
        await self._stop([name for name in keepers if name.startswith(WORKER)], keepers)

    async def _stop(self, names: Sequence[str], keepers: dict[str, asyncio.Task[None]]) -> None:
        for name in names:
            self._contexts[name].stop.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(keepers[name] for name in names)), 60.0)

    async def _until(self, is_so: Any, until_s: float) -> None:
        while not is_so():
            if self._loop.time() > until_s:
                self._outcome.broken.append(
                    f"{END_WITHIN_S:g} s after the last fault still not: {is_so.__name__.removeprefix('_is_')}"
                )
                return
            await asyncio.sleep(0.5)

    def _is_drained(self) -> bool:
        publishers = [
            metrics for context in self._contexts.values() for metrics in context.metrics.get("publishers", {}).values()
        ]
        return all(metrics["unsent"] == metrics["spool_records"] == 0 for metrics in publishers)

    def _is_answered(self) -> bool:
        self._reference.follow()
        return self._reference.commands.keys() <= self._reference.receipts.keys()

    def _is_read(self) -> bool:
        """Whether workers have all of `events`, for a moment in which nothing new came."""
        read: dict[int, int] = {}
        for name in self._processes:
            if name.startswith(WORKER):
                read.update(self._contexts[name].metrics.get("positions", {}))
        ends = {place.partition: self.log.end(place) for place in self.log.places(EVENTS.name)}
        return all(read.get(number, 0) >= end for number, end in ends.items())

    def _all_counts(self) -> dict[str, int]:
        reference, counts = self._reference, self._counts
        counts.update(reference.counts)
        counts["accepted"] = self._accepted.count
        counts["outputs"] = len(reference.said)
        counts["commands"] = len(reference.commands)
        counts["writes"] = len(self._field.writes)
        counts["rebalances"] = self._group.rebalances
        counts["power_kw_max"] = round(self._field.power_kw_max)
        counts["commands_records"] = self.log.end(TopicPartition(COMMANDS.name, 0))
        for engine in reference.engines.values():
            for name in ("alarms_raised", "late", "out_of_order", "repeats", "gaps", "backfill", "clock_corrected"):
                counts[f"engine {name}"] += engine.counters[name]
        return dict(sorted(counts.items()))

