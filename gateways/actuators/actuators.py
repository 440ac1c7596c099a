"""From the topic `commands` to the devices, each command once, and a receipt for every one.

Rules, in this order: what can't be read goes to dead-letters; where keys are trusted, what none of them has signed is
refused, under a name of its own, and nothing that it says counts, its owner's epoch neither; what a worker says that
has lost the unit is fenced (`fence`); a command whose receipt is out is a repeat, dropped and counted; an expired one
is refused first; then an unknown actuator, a value out of range, a wrong unit. What is left is marked on disk, *then*
written. Before all of this: on a log that is a replay's nothing is acted on, marked or answered, and no batch is looked
at before the log has said that it is none; a command with a replay's header is refused on any log, under a name of its
own. A command that was marked and not told belongs to a process that ended in between: set points are idempotent, so
within its expiry it is written again, but where a later one of its actuator was taken too; after that it is `unknown`.
Every target has a queue and a task of its own, so that one that hangs holds up no other. What the ledger or the
publisher does not take waits, and is tried again: the dead man lives in this process, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from gateways.actuators.burial import Burial
from gateways.actuators.dead_man import DeadMan
from gateways.actuators.fence import Fence
from gateways.actuators.forgeries import Forgeries
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.outcome import Outcome, Target, Task, TaskQueue
from gateways.actuators.receipts import NAME_MAX, Receipts
from gateways.observability.traces import Trace, untraced
from rules.engine.outputs import Command
from rules.errors import InvariantError, UndecodableError, UnreachableError
from rules.findings import nearest
from rules.site.model import Actuator
from streams.bus.bus import Reader
from streams.command_signatures import TrustedKeys
from streams.log_limit import limited
from streams.record import Record
from streams.replay_mark import is_replayed, replay_of
from streams.role import RoleContext
from streams.topics import COMMANDS, partition_of
from streams.wire import decode_output, owner_epoch_of

log = logging.getLogger(__name__)
log_again = limited(__name__)

BATCH: Final = 500
BROKER_AHEAD_NS: Final = 60_000_000_000
"""How far the clock of a broker, which says what retention takes, may be behind ours."""
KEEP_NS: Final = COMMANDS.retention_ms * 1_000_000 + BROKER_AHEAD_NS
"""How long an id is kept after its command's expiry: as long as the log may bring the command again."""
TELL_EVERY_S: Final = 0.25
FORGET_EVERY_S: Final = 600.0
STOP_WITHIN_S: Final = 5.0
LOST: Final = "taken by a process that ended before it said what it did"


def target_of(actuator: Actuator) -> str:
    """Which target carries an actuator: an OPC UA server by its source, `nvml` for all GPUs of this host."""
    return "nvml" if actuator.kind == "nvml" else actuator.source


class Actuators:
    """`targets` by `target_of`. Status goes to the context's metrics; `trace` is told of each receipt."""

    def __init__(
        self,
        context: RoleContext,
        receipts: Receipts,
        ledger: CommandLedger,
        targets: Mapping[str, Target],
        dead_man: DeadMan,
        trusted: TrustedKeys,
        trace: Trace = untraced,
    ) -> None:
        self._context = context
        self._receipts = receipts
        self._ledger = ledger
        self._fence = Fence()
        self._forgeries = Forgeries(asyncio.get_running_loop().time)
        self._targets = targets
        self._dead_man = dead_man
        self._trusted = trusted
        self._queues = {name: TaskQueue() for name in targets}
        self._in_hand: set[str] = set()
        self._latest_ns: Mapping[str, int] = {}
        """By actuator, as in the ledger when the log was read from its beginning."""

        self._logged_ns = 0
        """Of the newest command that was read: up to here the log has been kept."""

        self._latency_ms: deque[float] = deque(maxlen=2000)
        self._taken: dict[str, tuple[int, int]] = {}
        """By the id of a command when it was logged, in ms, and taken here, in ns."""

        self._trace = trace
        self._metrics = context.metrics
        self._metrics.update(seen=0, done=0, refused=0, expired=0, failed=0, unknown=0)
        self._metrics.update(replay=None, replayed=0, fenced=0, forged=0, signed=bool(trusted), refuses={})
        self._metrics.update(repeats=0, again=0, too_old=0, latency_ms={"p50": None, "p99": None})
        self._burial = Burial(context, ledger)

    async def run(self) -> None:
        """Work until the context's stop. Raises what no target, reader or ledger should raise."""
        serving = [
            asyncio.create_task(self._serve(target, self._queues[name]), name=f"actuators {name}")
            for name, target in self._targets.items()
        ]
        telling = asyncio.create_task(self._tell_regularly())
        reading = asyncio.create_task(self._read())
        watching = asyncio.create_task(self._dead_man.run(self._put))
        beside = (*serving, telling, watching)
        try:
            await asyncio.wait([*beside, reading], return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_WITHIN_S if reading.done() else 0):
                    while self._in_hand and not any(task.done() for task in serving):
                        await asyncio.sleep(0.01)
        finally:
            for task in (*beside, reading):
                task.cancel()
            ended = await asyncio.gather(*beside, reading, return_exceptions=True)
        for result in ended:
            if isinstance(result, Exception):
                raise result

    async def _read(self) -> None:
        stop = self._context.stop
        reader: Reader | None = None
        while not stop.is_set():
            try:
                if reader is None:
                    # From the beginning, every time: the ledger knows what was done, the log what was asked.
                    reader = await self._context.bus.reader([COMMANDS.name], "earliest")
                    self._fence.begin(await asyncio.to_thread(self._ledger.epochs))
                    self._latest_ns = await asyncio.to_thread(self._ledger.latest)
                    if self._context.state == "starting":
                        self._context.ready()
                    await self._is_replay()
                records = await reader.read(0.2, BATCH)
                if records and await self._is_replay():
                    self._metrics["replayed"] += len(records)
                elif records:
                    await self._take(records)
                self._metrics["positions"] = {
                    place.partition: offset for place, offset in reader.positions().items()
                }
                if self._context.state == "degraded":
                    self._context.ready()
            except UnreachableError as error:
                self._context.state = "degraded"
                log_again.warning("commands can't be read: %s", error)
                if reader is not None:  # what it has read and nobody has taken is read again
                    await reader.close()
                    reader = None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 1.0)
        if reader is not None:
            await reader.close()
        await self._burial.close()

    async def _is_replay(self) -> bool:
        """Whether the log is a replay's, as it says itself at this moment. UnreachableError."""
        replay = await replay_of(self._context.bus)
        known, self._metrics["replay"] = self._metrics["replay"], replay and replay.recording
        if replay is None:
            return False
        if known is None:
            log.error("the log is a replay of %s: no command on it is acted on", replay.recording)
        self._context.state = "replay"
        return True

    async def _take(self, records: Sequence[Record]) -> None:
        """A batch. A record at which this code fails in a way that nobody foresaw is buried: it must not end the role,
        and the dead man with it.
        """
        try:
            await self._take_batch(records)
        except (InvariantError, UnreachableError):
            raise
        except Exception as error:
            if len(records) == 1:
                wrong = UndecodableError("unexpected", f"{type(error).__name__}: {error}")
                await self._burial.bury([(records[0], wrong)])
                return
            half = len(records) // 2
            await self._take(records[:half])
            await self._take(records[half:])

    async def _take_batch(self, records: Sequence[Record]) -> None:
        """Sort out a batch, mark what is new in one commit, and hand it on."""
        commands: list[tuple[Record, Command, int]] = []
        undecodable: list[tuple[Record, UndecodableError]] = []
        for record in records:
            self._logged_ns = max(self._logged_ns, record.timestamp_ms * 1_000_000)
            said = self._command_of(record)
            if isinstance(said, UndecodableError):
                undecodable.append((record, said))
            else:
                commands.append((record, *said))
        names = [
            name
            for _, command, epoch in commands
            for name in (command.id, _fenced_name(command, epoch), _replayed_name(command))
        ]
        known = await asyncio.to_thread(self._ledger.known, names)
        forged: list[tuple[Record, Command, str]] = []
        if self._trusted:
            commands, forged = await self._signed(commands, known)
        acts: dict[str, Callable[[], None]] = {}
        """What is to be done with each that is new, by its name in the ledger."""

        try:
            await self._begin(commands, known, acts)
            while acts:
                name = next(iter(acts))
                acts[name]()
                del acts[name]
        except BaseException:
            # they are read again, and so are the epochs that they showed
            self._in_hand.difference_update(acts)
            self._fence.forget()
            raise
        # whoever can write to the log can write of these as many as it takes: nobody waits for them
        if forged:
            await self._refuse_forged(forged)
        if undecodable:
            await self._burial.bury(undecodable)

    async def _begin(
        self,
        commands: Sequence[tuple[Record, Command, int]],
        known: Mapping[str, bool],
        acts: dict[str, Callable[[], None]],
    ) -> None:
        """Judge commands, and mark those that are new: then `acts` may be done. UnreachableError: the ledger."""
        now_ns = self._context.clock()
        marks: list[tuple[str, int]] = []
        latest_ns: dict[str, int] = {}

        def begin(name: str, expires_ns: int, act: Callable[[], None]) -> None:
            self._in_hand.add(name)
            acts[name] = act
            if name not in known:
                marks.append((name, expires_ns))

        for record, command, epoch in commands:
            self._metrics["seen"] += 1
            was_taken = command.id in self._in_hand or command.id in known
            if is_replayed(record.headers):
                # nobody signs that header: the worker's own command of this id is still to come, or is done
                name = _replayed_name(command)
                if name in self._in_hand or known.get(name):
                    self._metrics["repeats"] += 1
                    continue
                refused = Outcome("refused", None, "a command of a replay")
                begin(name, command.expires_ns, partial(self._receipt, command, refused, name))
            elif self._fence.is_fenced(command, epoch, was_taken):
                self._metrics["fenced"] += 1
                name = _fenced_name(command, epoch)
                if not (was_taken or name in self._in_hand or known.get(name)):
                    refused = self._of_lost_owner(command, epoch)
                    begin(name, command.expires_ns, partial(self._receipt, command, refused, name))
            elif command.id in self._in_hand or known.get(command.id):
                self._metrics["repeats"] += 1
            elif command.expires_ns < now_ns - KEEP_NS:
                self._metrics["too_old"] += 1
            else:
                self._taken[command.id] = (record.timestamp_ms, now_ns)
                self._metrics["again"] += command.id in known
                verdict = self._judge(command, command.id in known, now_ns)
                if isinstance(verdict, Task):
                    before_ns = latest_ns.get(command.actuator, 0)
                    latest_ns[command.actuator] = max(before_ns, command.cause_ns)
                    begin(command.id, command.expires_ns, partial(self._put, verdict))
                else:
                    begin(command.id, command.expires_ns, partial(self._receipt, command, verdict))
        raised = self._fence.raised()
        await asyncio.to_thread(self._ledger.mark, marks, raised, latest_ns)
        self._fence.keep(raised)

    async def _signed(
        self, commands: list[tuple[Record, Command, int]], known: Mapping[str, bool]
    ) -> tuple[list[tuple[Record, Command, int]], list[tuple[Record, Command, str]]]:
        """Those that are to be believed, and those that are not, with the reason.

        A command that is told is a repeat whoever says it: it need not be looked at, and says nothing.
        """
        told = [one for one in commands if known.get(one[1].id)]
        self._metrics["seen"] += len(told)
        self._metrics["repeats"] += len(told)
        open_ones = [one for one in commands if not known.get(one[1].id)]
        reasons = await asyncio.to_thread(lambda: [self._trusted.wrong(record) for record, *_ in open_ones])
        judged = list(zip(open_ones, reasons, strict=True))
        believed = [one for one, reason in judged if not reason]
        return believed, [(record, command, reason) for (record, command, _), reason in judged if reason]

    async def _refuse_forged(self, found: Sequence[tuple[Record, Command, str]]) -> None:
        """Each has a name of its own in the ledger: its id may be that of a command that is still to come."""
        forged = {_forged_name(record): (command, reason) for record, command, reason in found}
        known = await asyncio.to_thread(self._ledger.known, list(forged))
        new = {name: said for name, said in forged.items() if not (name in self._in_hand or known.get(name))}
        now_ns = self._context.clock()
        await asyncio.to_thread(self._ledger.mark, [(name, now_ns) for name in new])
        self._metrics["seen"] += len(found)
        self._metrics["forged"] += len(new)
        self._metrics["repeats"] += len(found) - len(new)
        others: list[str] = []
        for name, (command, reason) in new.items():
            if command.unit not in self._context.site.units:
                others.append(name)
                log_again.error("a command of no unit of the site is refused, forged: %s", reason)
            elif self._forgeries.keep(name, command, reason):
                self._in_hand.add(name)
            else:
                others.append(name)
        self._say_forgeries()
        await asyncio.to_thread(self._ledger.tell, others)

    def _say_forgeries(self) -> None:
        due = self._forgeries.due()
        if due is not None:
            self._receipt(*due)

    def _of_lost_owner(self, command: Command, epoch: int) -> Outcome:
        highest = self._fence.highest(command.unit)
        text = f"of a worker that has lost {command.unit}: its epoch is {epoch}, the owner's {highest}"
        return Outcome("refused", None, text)

    def _judge(self, command: Command, was_marked: bool, now_ns: int) -> Task | Outcome:
        """Act on it, or why not."""
        if now_ns > command.expires_ns:
            if was_marked:
                return Outcome("unknown", None, LOST)
            return Outcome("expired", None, f"{(now_ns - command.expires_ns) / 1e9:.1f} s after its expiry")
        actuator = self._context.site.actuators.get(command.actuator)
        if actuator is None:
            hint = nearest(command.actuator[:NAME_MAX], self._context.site.actuators)
            return Outcome("refused", None, f"unknown actuator{f', {hint}' if hint else ''}")
        if not math.isfinite(command.value) or not actuator.low <= command.value <= actuator.high:
            limits = f"{actuator.low:g} to {actuator.high:g} {actuator.engineering_unit}"
            return Outcome("refused", None, f"{command.value:g} is out of range {limits}")
        if command.engineering_unit != actuator.engineering_unit:
            units = f"'{command.engineering_unit}', the actuator's is '{actuator.engineering_unit}'"
            return Outcome("refused", None, f"unit {units}")
        if target_of(actuator) not in self._targets:
            return Outcome("refused", None, f"no target for source '{actuator.source}'")
        if why_not := self._dead_man.refusal(command):
            return Outcome("unknown" if was_marked else "refused", None, why_not)
        if was_marked and command.cause_ns < self._latest_ns.get(command.actuator, 0):
            return Outcome("unknown", None, f"{LOST}; a later one of this actuator was taken too")
        return Task(command, actuator)

    def _put(self, task: Task) -> None:
        self._queues[target_of(task.actuator)].put(task)

    async def _serve(self, target: Target, queue: TaskQueue) -> None:
        while True:
            batch = await queue.take(BATCH)
            now_ns = self._context.clock()
            due: list[Task] = []
            for task in batch:
                if now_ns > task.command.expires_ns:
                    self._settle(task, Outcome("expired", None, "while its target was busy"))
                elif task.is_wanted():
                    due.append(task)
            if due:
                for task, outcome in zip(due, await target.write(due), strict=True):
                    self._settle(task, outcome)

    def _settle(self, task: Task, outcome: Outcome) -> None:
        if task.settle is not None:
            task.settle(outcome)
            return
        if outcome.status == "done":
            self._dead_man.done(task.command)
        self._receipt(task.command, outcome)

    def _receipt(self, command: Command, outcome: Outcome, name: str = "") -> None:
        """`name`: in the ledger, where it is not the command's id."""
        at_ns = self._context.clock()
        name = name or command.id
        if outcome.status == "refused":  # of such a command nothing is known to be of a sound length
            command = replace(command, id=command.id[:NAME_MAX], actuator=command.actuator[:NAME_MAX])
            outcome = replace(outcome, detail=outcome.detail[: 5 * NAME_MAX])
        self._receipts.say(command, outcome, at_ns, name)
        self._metrics[outcome.status] += 1
        logged_ms, taken_ns = self._taken.pop(name, (0, at_ns))
        if outcome.status == "done":
            self._latency_ms.append(at_ns / 1e6 - logged_ms)
        else:
            ids = {"command": command.id, "actuator": command.actuator, "unit": command.unit}
            said = (command.id, command.actuator, outcome.status, outcome.detail)
            log.warning("%s -> %s: %s (%s)", *said, extra=ids)
        self._trace(command, outcome, logged_ms, taken_ns, at_ns)

    async def _tell_regularly(self) -> None:
        forget_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._receipts.push()
            self._say_forgeries()
            await self.tell()
            self._metrics["refuses"] = {
                name: target.refusal for name, target in self._targets.items() if target.refusal
            }
            if self._latency_ms:
                ordered = sorted(self._latency_ms)
                self._metrics["latency_ms"] = {
                    "p50": round(ordered[len(ordered) // 2], 1),
                    "p99": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], 1),
                }
            if loop.time() >= forget_at:
                await self._forget()
                forget_at = loop.time() + FORGET_EVERY_S

    async def _forget(self) -> None:
        """What the log can't bring again, by its own newest time too: a clock that is wrong must empty no ledger."""
        try:
            before_ns = min(self._context.clock(), self._logged_ns) - KEEP_NS
            await asyncio.to_thread(self._ledger.forget, before_ns)
        except UnreachableError as error:
            log_again.warning("old commands are not forgotten: %s", error)

    async def tell(self, everything: bool = False) -> None:
        """Write down which receipts are safe; `everything`: the publisher is closed."""
        told = self._receipts.safe(everything)
        try:
            await asyncio.to_thread(self._ledger.tell, told)
        except UnreachableError as error:
            log_again.warning("whose receipts are out is not written down: %s", error)
        else:
            self._receipts.told(told)
            self._in_hand.difference_update(told)

    def _command_of(self, record: Record) -> tuple[Command, int] | UndecodableError:
        """The command of a record and its owner's epoch, or what is wrong with it."""
        try:
            command, epoch = decode_output(record.headers, record.value), owner_epoch_of(record.headers)
        except UndecodableError as error:
            return error
        if not isinstance(command, Command):
            return UndecodableError("unknown-schema", f"{type(command).__name__} on {record.topic}")
        due = partition_of(command.unit, self._context.settings.broker.partitions)
        if record.partition != due:
            # between partitions there is no order: a copy there would turn that of the unit's commands
            return UndecodableError("wrong-partition", f"{command.unit} is on partition {due}")
        return command, epoch


def _forged_name(record: Record) -> str:
    said = b"\n".join([record.value or b"", *(value for _, value in record.headers)])
    return f"forged:{hashlib.sha256(said).hexdigest()[:32]}"


def _fenced_name(command: Command, epoch: int) -> str:
    return f"fenced:{epoch}:{command.id}"


def _replayed_name(command: Command) -> str:
    return f"replayed:{command.id}"
