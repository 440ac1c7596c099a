"""The dead man of the actuators: where Headrace is silent, they go to the fallback that the site file names.

Rules: a unit is silent when `life` says so for longer than an actuator's `after`, whatever the reason, an unreachable
log included; on a replay's log never, nor before Headrace has ever worked on it. Then its fallback is written as a
command is, with read-back, once for each silence, and again only while it fails. An actuator is in its fallback until a
command is done that was decided after it; one that was decided before is refused. Nothing is restored when life
returns: what is right then, rules and people say. A silence goes on over a process that ends in it without being told
to, so that one that is started again and again does not wait for ever; it does not run while this process stood still.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any, Final, Protocol

from gateways.actuators.fallback_store import FallbackStore, Held
from gateways.actuators.life import WORKER, Life
from gateways.actuators.outcome import Outcome, Task
from gateways.actuators.receipts import Receipts
from gateways.own_count import own_points, tell_count
from rules.engine.outputs import Command
from rules.errors import UnreachableError
from rules.site.model import Actuator, Fallback, Point, Watchdog
from streams.bus.bus import Reader, read_spans
from streams.log_limit import limited
from streams.record import Record, TopicPartition
from streams.replay_mark import replay_of
from streams.role import RoleContext, as_status
from streams.times import iso_utc
from streams.topics import STATUS

log = logging.getLogger(__name__)
log_again = limited(__name__)

RULE: Final = "fallback"
"""In place of a rule's id, and how the ids of these commands begin."""
LISTEN_S: Final = 0.2
LISTEN_PAUSE_S: Final = 0.3
"""A fetch costs the embedded broker as much as its log is long (decision 0030)."""
CHECK_S: Final = 0.25
STALLED_S: Final = 1.0
"""A look that comes this much late was our own process's stall: what Headrace said meanwhile is still unread."""
HEAR_WITHIN_S: Final = 3.0
"""Each worker is heard within so long, a silence that is longer is noted on disk, and at a start it is waited for."""
TRY_S: Final = 3.0
"""How long a write may take that is tried: if life has returned meanwhile, no fallback comes later than this."""
RETRY_S: Final = 2.0
AGAIN_S: Final = 1.0
COUNT_AGAIN_S: Final = 10.0
ASK_EVERY_S: Final = 5.0
ASK_WITHIN_S: Final = 1.0
NAMED: Final = 20


class Counts(Protocol):
    """A server with a watchdog."""

    async def count(self, node: str, number: int) -> str:
        """Write the watchdog's counter; "" when the server has it, else why not."""
        ...


@dataclass(slots=True)
class _Group:
    """Actuators of one unit and source that fall back after the same silence. `since_ns`: when it began, 0 while there
    is none; `part`: what was silent then.

    `owed`: the fallbacks that are not written yet, each with the loop's time before which it is not tried again.
    """

    unit: str
    source: str
    after_s: float
    actuators: dict[str, tuple[Actuator, Fallback]] = field(default_factory=dict)
    since_ns: int = 0
    part: str = ""
    owed: dict[str, float] = field(default_factory=dict)


class DeadMan:
    """`servers`: those of OPC UA sources, by source. Status goes to the context's metrics, as `fallback`."""

    def __init__(
        self, context: RoleContext, receipts: Receipts, store: FallbackStore, servers: Mapping[str, Counts]
    ) -> None:
        self._context = context
        self._receipts = receipts
        self._store = store
        self._servers = servers
        self._loop = asyncio.get_running_loop()
        self._groups = _groups(context)
        units = dict.fromkeys(group.unit for group in self._groups)
        self._silent_ns = {unit: ns for unit, ns in store.silent().items() if unit in units}
        """Units whose silence is noted on disk, with its beginning."""

        self._life = Life(units, context.clock, self._loop.time, self._silent_ns)
        self._begun_s = self._loop.time()
        begun = store.begun()
        self._begun = set(units) if begun is None else begun
        """Units on which Headrace has worked, in whatever process of this role."""
        self._has_looked_back = self._begun >= units.keys()
        """Whether the log has been asked for units of which the store knows nothing."""
        self._held: dict[str, Held] = {}
        self._fell_ns: dict[str, int] = {}
        self._owed_before: set[str] = set()
        """Loaded with nothing written yet, until life is heard."""

        self._is_loaded = False
        self._save_at_s = -math.inf
        self._load()
        self._told: dict[str, tuple[int, str]] = {}
        self._to_save: set[str] = set()
        self._to_begin: set[str] = set()
        self._to_note: set[str] = set()
        self._replay: bool | None = None
        self._asked_s = -math.inf
        self._beats: dict[str, Any] = {}
        self._show()

    # What the actuators ask and say.

    def refusal(self, command: Command) -> str:
        """Why a command is not carried out: it was decided before its actuator fell back. "" where it may be."""
        fell_ns = self._fell_ns.get(command.actuator, 0)
        return f"decided before the fallback of {iso_utc(fell_ns)}" if command.cause_ns < fell_ns else ""

    def done(self, command: Command) -> None:
        """A command was carried out: it ends the fallback that it was decided after."""
        held = self._held.get(command.actuator)
        if held is not None and command.cause_ns >= held.at_ns:
            self._let_go(command.actuator)

    async def run(self, put: Callable[[Task], None]) -> None:
        """Until cancelled. `put` hands a task to the queue of its target."""
        works = [self._listen(), self._watch(put)]
        for name, server in self._servers.items():
            watchdog = self._context.site.sources[name].watchdog
            if watchdog is not None:
                works.append(self._beat(name, server, watchdog))
        if points := own_points(self._context, "actuators", "ActuatorsInFallback"):
            works.append(self._tell_count(points))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # who is told to end may be started again in the silence of another day
            if self._context.stop.is_set():
                self._note(self._silent_ns.keys(), set())
            await self._save()

    async def _tell_count(self, points: Sequence[Point]) -> None:
        """To the end. It must not end the dead man: where its disk is full, say, it is begun again."""
        while True:
            try:
                await tell_count(self._context, points, self._count)
                return
            except Exception as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # its publisher failed while it closed
                    raise
                log_again.error("how many are in their fallback can't be told: %s", str(error))
            await asyncio.sleep(COUNT_AGAIN_S)

    def _count(self) -> int | None:
        """For the engine; nothing is told to a log that is, or may be, a replay's."""
        return len(self._held) if self._replay is False else None

    # Listening.

    async def _listen(self) -> None:
        while True:
            try:
                await self._ask()
                bus = self._context.bus
                ends = await bus.ends(STATUS.name)
                if not self._has_looked_back:
                    await self._look_back(ends)
                reader = await bus.reader([STATUS.name], ends)
                try:
                    await self._follow(reader)
                finally:
                    await reader.close()
            except UnreachableError as error:
                log_again.warning("the words of roles can't be read: %s", error)
                await asyncio.sleep(AGAIN_S)

    async def _follow(self, reader: Reader) -> None:
        """Until cancelled. UnreachableError."""
        while True:
            for record in await reader.read(LISTEN_S):
                self._hear(record)
            await asyncio.sleep(LISTEN_PAUSE_S)

    async def _look_back(self, ends: Mapping[TopicPartition, int]) -> None:
        """The log may know workers of units of which the store knows nothing: it may be lost. UnreachableError."""
        worked: set[str] = set()
        spans = await read_spans(self._context.bus, {place: (0, end) for place, end in ends.items()})
        for record in chain.from_iterable(spans.values()):
            status = as_status(record.value)
            if status is None or status["kind"] != WORKER:
                continue
            now_ns = status["metrics"].get("now_ns")
            if isinstance(now_ns, dict):
                worked |= {unit for unit, at_ns in now_ns.items() if at_ns}
        self._begin(worked)
        self._has_looked_back = True
        if new := sorted({group.unit for group in self._groups} - self._begun):
            log.info(
                "no worker has ever worked on %s: nothing falls back there before one has", ", ".join(new)
            )

    def _hear(self, record: Record) -> None:
        status = as_status(record.value)
        if status is not None:
            self._life.hear(status["role"], status["kind"], status["metrics"])

    def _begin(self, units: Iterable[str]) -> None:
        """From now on silence on `units` is silence, for the processes after this one too."""
        new = {group.unit for group in self._groups}.intersection(units) - self._begun
        self._begun |= new
        self._to_begin |= new

    def _is_new(self, unit: str) -> bool:
        """Whether the store and the log know of no worker that ever worked on it: it is controlled by others yet."""
        return self._has_looked_back and unit not in self._begun

    async def _ask(self) -> None:
        """Whether the log is a replay's. UnreachableError: it does not say."""
        self._asked_s = self._loop.time()
        self._replay = await replay_of(self._context.bus) is not None

    async def _is_replay(self) -> bool:
        """As the log says, or last said: one that has never answered is nobody's recording."""
        if self._loop.time() - self._asked_s > ASK_EVERY_S:
            with contextlib.suppress(UnreachableError, TimeoutError):
                await asyncio.wait_for(self._ask(), ASK_WITHIN_S)
        return bool(self._replay)

    # Falling back.

    async def _watch(self, put: Callable[[Task], None]) -> None:
        while True:
            slept_s = self._loop.time()
            await asyncio.sleep(CHECK_S)
            stalled_s = self._loop.time() - slept_s - CHECK_S
            if stalled_s > STALLED_S:
                log.warning("this process stood still for %.1f s", stalled_s)
                self._life.stood_still(stalled_s)
                continue
            await self._look(put)

    async def _look(self, put: Callable[[Task], None]) -> None:
        if not self._is_loaded and self._loop.time() >= self._save_at_s:
            self._load()
        self._begin(group.unit for group in self._groups if self._life.was_heard(group.unit))
        for group in self._groups:
            if self._life.silence_s(group.unit) <= group.after_s:
                self._revive(group)
            elif self._is_early(group):
                continue
            elif await self._is_replay():
                group.since_ns = 0
                group.owed.clear()
            else:
                if not group.since_ns:
                    await self._fall(group)
                self._write_owed(group, put)
        self._note_silence()
        if self._loop.time() >= self._save_at_s:
            await self._save()
        self._show()

    def _is_early(self, group: _Group) -> bool:
        """Whether its silence is none yet: nobody ever worked there, or there was no time yet to hear anybody."""
        was_begun = self._loop.time() - self._begun_s >= HEAR_WITHIN_S
        return not group.since_ns and (self._is_new(group.unit) or not was_begun)

    def _note_silence(self) -> None:
        """For a process after this one: on disk when it begins, and gone when it ends."""
        units = {group.unit for group in self._groups}
        silent = {
            unit for unit in units & self._begun
            if self._life.silence_s(unit) > HEAR_WITHIN_S and self._replay is not True
        }  # fmt: skip
        self._note(units, silent)

    def _note(self, units: Iterable[str], silent: Collection[str]) -> None:
        for unit in list(units):
            if unit in silent and unit not in self._silent_ns:
                since_ns = self._context.clock() - round(self._life.silence_s(unit) * 1e9)
                self._silent_ns[unit] = since_ns
                self._to_note.add(unit)
            elif unit not in silent and self._silent_ns.pop(unit, 0):
                self._to_note.add(unit)

    async def _fall(self, group: _Group) -> None:
        """On disk before the act."""
        now_ns, silence_s = self._life.now_ns(group.unit), self._life.silence_s(group.unit)
        group.since_ns = now_ns - round(silence_s * 1e9)
        group.owed = dict.fromkeys(group.actuators, -math.inf)
        group.part = self._life.silent_part()
        for name in group.actuators:
            self._held[name] = Held(name, group.since_ns, now_ns, group.part)
            self._fell_ns[name] = now_ns
        self._to_save.update(group.actuators)
        await self._save()
        log.error(
            "%s has been without Headrace for %.1f s (silent: %s): %d actuators of %s fall back",
            group.unit, silence_s, group.part, len(group.actuators), group.source,
        )  # fmt: skip

    def _write_owed(self, group: _Group, put: Callable[[Task], None]) -> None:
        now_s = self._loop.time()
        for name in [name for name, due_s in group.owed.items() if due_s <= now_s]:
            group.owed[name] = math.inf  # in the queue of its target
            actuator, fallback = group.actuators[name]
            command = self._command(group, actuator, fallback)
            settle = partial(self._settle, group, command, group.since_ns)
            put(Task(command, actuator, settle, partial(self._is_wanted, name, group.since_ns)))

    def _is_wanted(self, name: str, since_ns: int) -> bool:
        """Whether no command has ended this fallback while it waited, and no other silence has come."""
        held = self._held.get(name)
        return held is not None and held.since_ns == since_ns

    def _command(self, group: _Group, actuator: Actuator, fallback: Fallback) -> Command:
        now_ns = self._context.clock()
        return Command(
            id=f"{RULE}:{actuator.id}:{group.since_ns}",
            unit=group.unit,
            rule=RULE,
            asset=actuator.asset,
            actuator=actuator.id,
            value=fallback.value,
            engineering_unit=actuator.engineering_unit,
            cause_ns=now_ns,
            expires_ns=now_ns + round(TRY_S * 1e9),
            reason=f"silent since {iso_utc(group.since_ns)}: {group.part}",
        )

    def _settle(self, group: _Group, command: Command, since_ns: int, outcome: Outcome) -> None:
        """What became of a write. The engine hears of it once, and again when it comes out otherwise."""
        name = command.actuator
        status = "failed" if outcome.status == "expired" else outcome.status
        if self._told.get(name) != (since_ns, status):
            self._told[name] = (since_ns, status)
            detail = f"{command.reason}; {outcome.detail}" if outcome.detail else command.reason
            said = Outcome(status, outcome.read_back, detail)
            self._receipts.say(command, said, self._context.clock())
            if status != "done":
                log.error("%s: its fallback %g is %s: %s", name, command.value, status, outcome.detail)
        held = self._held.get(name)
        if held is None or held.since_ns != since_ns:
            return  # a command or another silence has come since
        if status == "done" or (status == "unknown" and held.status == "owed"):
            held.status = "done" if status == "done" else "unknown"
            self._to_save.add(name)
        if group.since_ns != since_ns:  # life has returned
            if held.status == "owed":
                self._let_go(name)
        elif status != "done":
            group.owed[name] = self._loop.time() + RETRY_S
        elif group.owed.pop(name, None) is not None and not group.owed:
            log.warning("%s: all that fall back at %s are in their fallback", group.unit, group.source)

    def _revive(self, group: _Group) -> None:
        """Life is there (again): what was never written is not written any more."""
        if self._life.was_heard(group.unit):
            self._mend_times(group)
        if not group.since_ns:
            return
        group.since_ns = 0
        owed, group.owed = group.owed, {}
        for name, due_s in owed.items():
            if due_s < math.inf and self._held[name].status == "owed":
                self._let_go(name)
        held = sum(name in self._held for name in group.actuators)
        log.warning(
            "%s has Headrace again: %d actuators of %s stay in their fallback until a command",
            group.unit, held, group.source,
        )  # fmt: skip

    def _mend_times(self, group: _Group) -> None:
        """Where there is life the clock is right: a fallback that is still to come was told by one that was ahead. What
        a process before this one still owed then is not written any more.
        """
        now_ns = self._context.clock()
        for name in group.actuators:
            held = self._held.get(name)
            if self._fell_ns.get(name, 0) > now_ns:
                self._fell_ns[name] = now_ns
                if held is not None:
                    held.at_ns = now_ns
                    self._to_save.add(name)
            if name in self._owed_before:
                self._owed_before.discard(name)
                if not group.since_ns and held is not None and held.status == "owed":
                    self._let_go(name)

    def _let_go(self, name: str) -> None:
        self._held.pop(name, None)
        self._to_save.add(name)
        for group in self._groups:
            group.owed.pop(name, None)

    def _load(self) -> None:
        """What the process before left, as soon as the store says it."""
        found = self._store.load()
        if found is None:
            self._save_at_s = self._loop.time() + AGAIN_S
            return
        self._is_loaded = True
        names = {name for group in self._groups for name in group.actuators}
        for held in found:
            if held.actuator in names and held.actuator not in self._fell_ns:
                self._held[held.actuator] = held
                self._fell_ns[held.actuator] = held.at_ns
                if held.status == "owed":
                    self._owed_before.add(held.actuator)

    async def _save(self) -> None:
        """What has changed; what the disk does not take stays to be saved."""
        if not (self._to_save or self._to_begin or self._to_note):
            return
        names, self._to_save = self._to_save, set()
        begun, self._to_begin = self._to_begin, set()
        noted, self._to_note = self._to_note, set()
        kept = [replace(self._held[name]) for name in names if name in self._held]
        gone = [name for name in names if name not in self._held]
        silent = {unit: self._silent_ns.get(unit, 0) for unit in noted}
        if not await asyncio.to_thread(self._store.save, kept, gone, sorted(begun), silent):
            self._to_save |= names
            self._to_begin |= begun
            self._to_note |= noted
            self._save_at_s = self._loop.time() + AGAIN_S

    # The watchdogs of servers.

    async def _beat(self, source: str, server: Counts, watchdog: Watchdog) -> None:
        """One more every period, while a unit lives and nothing is owed; never the last number of a process before."""
        number = self._context.clock() // 1_000_000_000
        said = ""
        while True:
            await asyncio.sleep(watchdog.every_ns / 1e9)
            if not self._is_sound(source):
                self._beats[source] = "stands still"
                continue
            number += 1
            why = await server.count(watchdog.node, number & 0xFFFFFFFF)
            self._beats[source] = why or "counts"
            if why and why != said:
                log.warning("%s: the watchdog %s can't be written: %s", source, watchdog.node, why)
            said = why

    def _is_sound(self, source: str) -> bool:
        """Whether a unit of this server lives, and no fallback is owed to it."""
        groups = [group for group in self._groups if group.source == source]
        lives = any(not group.since_ns and self._life.was_heard(group.unit) for group in groups)
        return lives and not any(group.owed for group in groups) and self._replay is False

    # Saying how it is.

    def _show(self) -> None:
        silent = {
            group.unit: {"since_ns": group.since_ns, "part": group.part}
            for group in self._groups
            if group.since_ns
        }
        if silent and self._context.state != "replay":
            self._context.state = "fallback"
        elif not silent and self._context.state == "fallback":
            self._context.ready()
        oldest = min(self._held.values(), key=lambda held: held.since_ns, default=None)
        self._context.metrics["fallback"] = {
            "actuators": len(self._held),
            "names": list(islice(self._held, NAMED)),
            "owed": sum(len(group.owed) for group in self._groups),
            "part": "" if oldest is None else oldest.part,
            "since_ns": 0 if oldest is None else oldest.since_ns,
            "silent": silent,
            "watchdogs": self._beats,
            "disk_failures": self._store.failures,
        }


def _groups(context: RoleContext) -> list[_Group]:
    found: dict[tuple[str, str, int], _Group] = {}
    for actuator in context.site.actuators.values():
        if actuator.fallback is not None:
            unit, after_ns = context.site.assets[actuator.asset].unit, actuator.fallback.after_ns
            key = (unit, actuator.source, after_ns)
            group = found.setdefault(key, _Group(unit, actuator.source, after_ns / 1e9))
            group.actuators[actuator.id] = actuator, actuator.fallback
    return list(found.values())
