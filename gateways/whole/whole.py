"""Everything of one run: roles under a supervisor, field and log, on virtual time, and its end.

Rules: behind the last trouble everything is healed, the sources fall silent, what is on its way arrives, the workers
read to the end: then it is asked what must hold. Whoever ends by itself, and not for the broker or the disk, is a
finding.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from gateways.whole.activations import Operator, RuleSets
from gateways.whole.bus import FaultyBus, Network
from gateways.whole.disk import Disk
from gateways.whole.field import Field
from gateways.whole.group import Group
from gateways.whole.invariants import FALLBACK, Life, broken, left_behind
from gateways.whole.loop import VirtualLoop
from gateways.whole.process import Process
from gateways.whole.recorded import Recordings, recording_holds
from gateways.whole.reference import Reference, Steps
from gateways.whole.roles import ACTUATORS, RECORDER, TICKER, WORKER, Role, roles_of
from gateways.whole.sabotage import Sabotage
from gateways.whole.schedule import PARTITIONS, Trouble
from gateways.whole.tap import Accepted
from rules.errors import UnreachableError
from rules.site.model import Site
from streams.bus.memory import MemoryBus
from streams.record import Message
from streams.role import RoleContext
from streams.settings import Settings
from streams.snapshots import LOG_KEY, LOG_SCHEMA
from streams.topics import EVENTS, RULE_SETS, SNAPSHOTS, STATUS, TOPICS

START_NS: Final = 1_800_000_000_000_000_000
RESTART_S: Final = 1.0
FOLLOW_EVERY_S: Final = 2.0
STOP_WITHIN_S: Final = 30.0
SETTLE_S: Final = 5.0
END_WITHIN_S: Final = 300.0
"""After the last trouble: spools drain, receipts come, the workers read to the end."""
SPOOL_MB: Final = 0.15
"""Less than settings allow, so that an outage fills it."""
SEGMENT_S: Final = 60.0
KEPT_RECORDS: Final = 1000
"""Of each partition of `events`, besides what no snapshot covers yet: repeats are taken from them."""
_ENGINE_COUNTS: Final = (
    "alarms_raised", "alarms_cleared", "late", "out_of_order", "repeats", "gaps", "backfill", "clock_corrected",
    "activations",
)  # fmt: skip


class Setting(NamedTuple):
    """What a run is of. `tables`: the run folder of the workers; `folder`: that of everybody else's."""

    site_dir: Path
    site: Site
    tables: Path
    folder: Path
    rules: RuleSets
    undisturbed: Callable[[str], Steps]


class Whole:
    """`names`: the instances of roles that run. After `run`, `reference` and `counts` say what was."""

    def __init__(
        self, setting: Setting, seed: int, names: Sequence[str], disk: Disk, loop: VirtualLoop
    ) -> None:
        self._setting = setting
        self._disk = disk
        self._loop = loop
        self._log = MemoryBus(self.now_ns)
        network = Network()
        self._bus = FaultyBus(self._log, network)
        self._field = Field(setting.site, seed, self.now_ns, START_NS)
        self._group = Group(PARTITIONS)
        self._accepted = Accepted()
        self._recordings = Recordings(setting.folder / "recordings")
        self.reference = Reference(self._log, self._accepted, setting.undisturbed)
        self._network = network
        roles = roles_of(self._field, self._group, self._accepted, self._recordings, self._say)
        self._roles: dict[str, Role] = {name: roles[name] for name in names}
        self._processes: dict[str, Process] = {}
        self._contexts: dict[str, RoleContext] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._operator = Operator(self._bus, setting.site, setting.rules.sets, PARTITIONS, self.now_ns)
        self._sabotage = Sabotage(
            loop, self._log, network, disk, self._field, self._processes, self._operator, self._stop_role
        )
        self._lives: list[Life] = []
        self._ends: dict[str, list[str]] = {}
        self._broken: list[str] = []
        self._counts: Counter[str] = Counter()
        self._stopping = False

    def now_ns(self) -> int:
        """True time."""
        return START_NS + round(self._loop.time() * 1e9)

    async def run(self, duration_s: float, troubles: Sequence[Trouble]) -> list[str]:
        """From an empty log to what does not hold. Raises what the simulation itself fails with."""
        await self._log.create_topics(TOPICS, PARTITIONS)
        # a log has an id, which is random elsewhere
        schema = (("schema", LOG_SCHEMA),)
        self._log.append(Message(SNAPSHOTS.name, 0, LOG_KEY + b"simulated", b"simulated", schema))
        for name, role in self._roles.items():
            self._keepers[name] = asyncio.create_task(self._keep(name, role))
        works = (self._field.run(), self._group.coordinate(), self._follow(), self._cause(troubles))
        around = [asyncio.create_task(work) for work in works]
        await asyncio.sleep(duration_s)
        await self._end()
        for task in around:
            task.cancel()
        for result in await asyncio.gather(*around, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self.reference.finish()
        return self._broken + broken(self.reference, self._field, self._lives, self._ends)

    def recording(self) -> list[str]:
        """What does not hold of the recording; nothing where none was made."""
        return (
            list(recording_holds(self._recordings.folder, self.reference)) if RECORDER in self._roles else []
        )

    def counts(self) -> dict[str, int]:
        """What happened, for people."""
        reference, counts = self.reference, self._counts + self._sabotage.counts + self.reference.counts
        counts += self._operator.counts
        counts["accepted"] = self._accepted.count
        counts["outputs"] = len(reference.said)
        counts["commands"] = len(reference.commands)
        fallbacks = sum(write.command.startswith(FALLBACK) for write in self._field.writes)
        counts["writes"] = len(self._field.writes) - fallbacks
        counts["fallbacks"] = fallbacks
        counts["watchdog fallbacks"] = len(self._field.falls)
        counts["rebalances"] = self._group.rebalances
        counts["disk refusals"] = self._disk.refused
        counts["power_kw_max"] = round(self._field.power_kw_max)
        for engine in reference.engines.values():
            for name in _ENGINE_COUNTS:
                counts[name] += engine.counters[name]
        return dict(sorted(counts.items()))

    # Processes.

    def _say(self, message: Message) -> None:
        if not self._network.is_away:
            self._log.append(message)

    async def _keep(self, name: str, role: Role) -> None:
        """The supervisor of one role."""
        while not self._stopping:
            process = self._processes[name] = Process(name)
            context = self._contexts[name] = self._context(name)
            began_ns = self.now_ns()
            main = process.run(partial(role, context))
            await asyncio.wait([main])
            if name == ACTUATORS:
                self._lives.append((began_ns, self.now_ns()))
            if process.is_alive:
                self._note_end(context, main)
                process.kill()
            else:
                self._counts["killed"] += 1
            if not self._stopping:
                await asyncio.sleep(self._sabotage.down_s.pop(name, RESTART_S))

    def _context(self, name: str) -> RoleContext:
        # all workers keep the tables of rules in one place, and nothing else
        setting = self._setting
        run_dir = setting.tables if name.startswith(WORKER) else setting.folder / name
        # not read, as elsewhere: a variable of this machine would make another log of the seed
        settings = Settings.model_construct(run_dir=run_dir)
        settings.spool = settings.spool.model_copy(update={"limit_mb": SPOOL_MB})
        settings.broker.partitions = PARTITIONS
        recorder = {"folder": str(self._recordings.folder), "segment_s": SEGMENT_S}
        settings.recorder = settings.recorder.model_copy(update=recorder)
        made = RoleContext(name, setting.site, setting.site_dir, settings, self._bus, asyncio.Event())
        made.clock = lambda: self.now_ns() + self._sabotage.clock_ns.get(name, 0)
        return made

    def _note_end(self, context: RoleContext, main: asyncio.Task[None]) -> None:
        name = context.name
        error = asyncio.CancelledError() if main.cancelled() else main.exception()
        if error is None:
            if not context.stop.is_set():
                self._ends.setdefault(name, []).append("it returned")
            self._counts["stopped"] += 1
            self._broken += left_behind(name, context.metrics)
            return
        self._counts["ended by themselves"] += 1
        is_of_disk = isinstance(error, sqlite3.OperationalError) or "the publisher of" in str(error)
        if not (isinstance(error, UnreachableError) or (self._disk.refused and is_of_disk)):
            self._ends.setdefault(name, []).append(f"{type(error).__name__}: {error}")

    def _stop_role(self, name: str) -> None:
        """As a supervisor does it: tell it to end, and kill it where it does not."""
        process = self._processes[name]
        self._contexts[name].stop.set()

        def lose_patience() -> None:
            if process.is_alive:
                self._broken.append(f"{name} did not end within {STOP_WITHIN_S:g} s of its stop")
                process.kill()

        self._loop.call_later(STOP_WITHIN_S, lose_patience)

    async def _cause(self, troubles: Sequence[Trouble]) -> None:
        for trouble in troubles:
            await asyncio.sleep(max(0.0, trouble.at_s - self._loop.time()))
            self._sabotage.begin(trouble)

    # Following the log.

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            self.reference.follow()
            self._prune()

    def _prune(self) -> None:
        """Retention: what all snapshots cover and the reference has read; compaction of what is superseded."""
        for place in self._log.places(EVENTS.name):
            covered = self._group.committed.get(place.partition, 0)
            read = self.reference.position(place) - KEPT_RECORDS
            self._log.truncate(place, min(covered, read))
        for topic in (SNAPSHOTS, RULE_SETS, STATUS):
            self._log.compact(topic.name)

    # The end.

    async def _end(self) -> None:
        """Sources fall silent, what is on its way arrives, workers read to the end, all stop."""
        self._sabotage.heal()
        await asyncio.sleep(SETTLE_S)
        until_s = self._loop.time() + END_WITHIN_S
        await self._until(self._is_drained, until_s)
        self._stopping = True
        names = list(self._roles)
        workers = [name for name in names if name.startswith(WORKER)]
        tickers = [name for name in names if name.startswith(TICKER)]
        last = [name for name in names if name == RECORDER]
        for name in last:
            self._contexts[name].hold()  # what it says of its disk is for the workers, who end before it
        await self._stop([name for name in names if name not in (*workers, *tickers, *last, ACTUATORS)])
        await self._until(self._is_answered, until_s)
        await self._stop(tickers)
        await self._until(self._is_read, until_s)
        await self._stop([ACTUATORS])
        await self._until(self._is_read, until_s)
        await self._stop(workers)
        await self._stop(last)

    async def _stop(self, names: Sequence[str]) -> None:
        for name in names:
            self._contexts[name].stop.set()
        stopping: list[Awaitable[None]] = [self._keepers[name] for name in names]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*stopping), END_WITHIN_S)

    async def _until(self, is_so: Callable[[], bool], until_s: float) -> None:
        await asyncio.sleep(SETTLE_S / 2)
        while not is_so():
            if self._loop.time() > until_s:
                what = is_so.__name__.removeprefix("_is_")
                self._broken.append(f"{END_WITHIN_S:g} s after the last trouble, not everything is {what}")
                return
            await asyncio.sleep(0.5)

    def _is_drained(self) -> bool:
        found = [context.metrics.get("publishers", {}) for context in self._contexts.values()]
        publishers = [metrics for publishers in found for metrics in publishers.values()]
        return all(metrics["unsent"] == metrics["spool_records"] == 0 for metrics in publishers)

    def _is_answered(self) -> bool:
        self.reference.follow()
        return self.reference.commands.keys() <= self.reference.receipts.keys()

    def _is_read(self) -> bool:
        """Whether the workers have all of `events`."""
        read: dict[int, int] = {}
        for name, context in self._contexts.items():
            if name.startswith(WORKER):
                read.update(context.metrics.get("positions", {}))
        return all(
            read.get(place.partition, 0) >= self._log.end(place) for place in self._log.places(EVENTS.name)
        )
