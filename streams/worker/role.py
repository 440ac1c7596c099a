"""The role `worker`: records of `events` through the engines, and what they say onto their topics.

Rules that this module obeys:
- Crash-only: a broken invariant, an output that the broker does not take, an exception in a callback, or input
  that waits without progress ends the process, before anything is acknowledged. The supervisor starts it again.
- A clean stop reads to the end of the log as it is then, snapshots every unit and acknowledges.
- All input comes through Faust (`faust_app`), or another carrier of the same face; what the worker writes goes through
  a producer of the bus, because the broker's word on every single output is what a snapshot has to wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, Final, Protocol

from rules.errors import InvariantError, UnreachableError
from streams.bus.bus import Producer
from streams.bus.kafka import EMBEDDED_PREFIX, KafkaBus
from streams.command_signatures import command_signer
from streams.journal.heads import read_signer
from streams.log_limit import limit_logs, limited
from streams.role import RoleContext
from streams.rule_sets.prepared_rules import PreparedRules, prepared_rules
from streams.topics import EVENTS
from streams.worker.crash_switch import CrashSwitch
from streams.worker.faust_app import LOGGERS, Callbacks, FaustInput, Membership
from streams.worker.processor import Processor
from streams.worker.site_on_log import SiteOnLog

log = logging.getLogger("headrace.worker")
log_again = limited("headrace.worker")

GROUP: Final = "headrace-worker"
FETCH_WAIT_MS: Final = 500
EMBEDDED_FETCH_WAIT_MS: Final = 20
EMBEDDED_SESSION_S: Final = 2.0
"""The embedded broker answers a join, and a fetch that has to wait, only after half of the time given."""
DRAIN_S: Final = 10.0
"""How long a clean stop goes on reading; what is left then is read by the next worker."""
_WATCH_S: Final = 1.0


class Carrier(Protocol):
    """What brings the records of `events`: `FaustInput`, or the simulation's. It says what happens by `Callbacks`."""

    @property
    def crashed(self) -> bool:
        """Whether it will bring nothing any more."""
        ...

    async def start(self) -> None:
        """Join the group; returns before partitions are assigned."""
        ...

    def close(self) -> None:
        """Hand on no further record."""
        ...

    async def stop(self) -> None:
        """Leave."""
        ...

    def lag(self) -> int:
        """Records that are in the log and not yet worked off."""
        ...

    async def commit(self, partition: int, offset: int) -> None:
        """Move the group's offset."""
        ...


async def run(context: RoleContext, new_carrier: Callable[[Callbacks], Carrier] | None = None) -> None:
    """Work until `context.stop`. Raises what ended the work: the process has to end with it.

    ConfigurationError where the log is another site file's.

    `new_carrier` brings the input; Faust does where it is left out.
    Option `crash_at` (`publish:120,snapshot:3`): a test's kill -9 from inside, each once in a run folder.
    """
    limit_logs(LOGGERS)
    producer, partitions = await _connected(context)
    if producer is None:
        return
    try:
        await SiteOnLog(context.bus, context.site, context.settings.worker.replaces_site).look()
        rules = await prepared_rules(context)
        hides_records = False
        if new_carrier is None:
            membership = await _membership(context)
            hides_records = membership.hides_records
            new_carrier = partial(FaustInput, EVENTS.name, context.settings.broker, membership)
        await _Worker(context, producer, partitions, rules, new_carrier, hides_records).work()
    finally:
        with contextlib.suppress(UnreachableError):
            await producer.close()


async def _connected(context: RoleContext) -> tuple[Producer | None, int]:
    """A producer and the number of partitions; tries for ever, and says so."""
    while not context.stop.is_set():
        try:
            partitions = await context.bus.partitions(EVENTS.name)
            if partitions:
                return await context.bus.producer(context.name), partitions
            log_again.warning(
                "the broker has no topic '%s' yet: `headrace topics apply` makes it", EVENTS.name
            )
        except UnreachableError as error:
            log_again.warning("%s; trying again", error)
        context.state = "waiting for the broker"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.stop.wait(), 1.0)
    return None, 0


class _Worker:
    """One run of the worker, from joining the group to leaving it. `with_holes`: as the processor's."""

    def __init__(
        self,
        context: RoleContext,
        producer: Producer,
        partitions: int,
        rules: PreparedRules,
        new_carrier: Callable[[Callbacks], Carrier],
        with_holes: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._context = context
        self._failure: asyncio.Future[None] = loop.create_future()
        self._assigned = False
        settings = context.settings
        self._rules = rules
        self._processor = Processor(
            bus=context.bus,
            producer=producer,
            site=context.site,
            rules=rules,
            partitions=partitions,
            snapshot_every_s=settings.worker.snapshot_every_s,
            acknowledge=self._commit,
            on_failure=self._fail,
            crash=CrashSwitch(context.options.get("crash_at", ""), settings.run_dir),
            with_holes=with_holes,
            signer=None if settings.journal.key is None else read_signer(settings.journal.key),
            command_signer=None
            if settings.commands.key is None
            else command_signer(settings.commands.key, context.site.name),
            head_every_s=settings.journal.head_every_s,
            worker=context.name,
            replaces_site=settings.worker.replaces_site,
            clock_s=loop.time,
            clock_ns=context.clock,
        )
        self._input = new_carrier(
            Callbacks(
                self._on_assigned,
                self._processor.revoke,
                self._processor.process,
                self._processor.positions,
                self._fail,
            )
        )

    async def work(self) -> None:
        """Until the stop or a failure; raises the failure."""
        context = self._context
        watch = asyncio.create_task(self._unfailing(self._watch_progress), name="worker-watchdog")
        owning = asyncio.create_task(self._unfailing(self._keep_ownership), name="worker-ownership")
        rules = asyncio.create_task(self._rules.follow(self._fail), name="worker-rules")
        stop = asyncio.create_task(context.stop.wait(), name="worker-stop")
        ends: set[asyncio.Future[Any]] = {stop, self._failure}
        try:
            await self._input.start()
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not self._failure.done():
                await self._drain()
        finally:
            watch.cancel()
            owning.cancel()
            rules.cancel()
            stop.cancel()
            # Nothing uncovered can be acknowledged by this: only what a snapshot covers is ever committed.
            await self._input.stop()
        if self._failure.done():
            self._failure.result()
        self._update()

    async def _drain(self) -> None:
        """Read to the end of the log as it is now, snapshot, acknowledge."""
        ends = await self._context.bus.ends(EVENTS.name)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + DRAIN_S
        while loop.time() < until_s and not self._failure.done():
            positions = self._processor.positions()
            if all(positions.get(place.partition, end) >= end for place, end in ends.items()):
                break
            await asyncio.sleep(0.02)
        self._input.close()
        if not self._failure.done():
            await self._processor.finish()

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            log.error("the worker ends: %s: %s", type(error).__name__, error)
            self._failure.set_exception(error)

    async def _commit(self, partition: int, offset: int) -> None:
        await self._input.commit(partition, offset)

    async def _on_assigned(self, partitions: Collection[int]) -> None:
        starts = await self._processor.assign(partitions)
        log.info("reads %s", ", ".join(f"partition {p} from {o}" for p, o in starts.items()) or "nothing")
        self._assigned = True
        self._context.ready()

    async def _unfailing(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What goes on beside the work must not end unheard either."""
        try:
            await work()
        except Exception as error:
            self._fail(error)

    async def _keep_ownership(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            with contextlib.suppress(UnreachableError):  # without a broker nobody takes anything over
                await self._processor.keep_ownership()

    async def _watch_progress(self) -> None:
        """Ends the process when input waits and nothing moves, or when Faust has crashed."""
        patience_s = self._context.settings.worker.watchdog_s
        loop = asyncio.get_running_loop()
        moved_s, before = loop.time(), dict(self._processor.positions())
        while True:
            await asyncio.sleep(_WATCH_S)
            self._update()
            await self._processor.snapshot_if_due()
            if self._input.crashed:
                self._fail(InvariantError("Faust has crashed"))
            positions = dict(self._processor.positions())
            if positions != before:
                moved_s, before = loop.time(), positions
            elif loop.time() - moved_s > patience_s:
                await self._check_waiting(positions, patience_s)
                moved_s = loop.time()

    async def _check_waiting(self, positions: dict[int, int], patience_s: float) -> None:
        try:
            ends = await self._context.bus.ends(EVENTS.name)
        except UnreachableError:
            return  # Without a broker there is nothing to make progress with; it is asked again.
        waiting = {p.partition: end for p, end in ends.items() if end > positions.get(p.partition, end)}
        if waiting or not self._assigned:
            self._fail(
                InvariantError(
                    f"no progress for {patience_s:.0f} s while input waits: at {positions}, log at {waiting}"
                    if waiting
                    else f"no partitions assigned in {patience_s:.0f} s"
                )
            )

    def _update(self) -> None:
        self._context.metrics.update(self._processor.metrics())
        self._context.metrics["lag"] = self._input.lag()
        self._context.metrics["rule_sets"] = {
            "ready": self._rules.ready,
            "waits": self._rules.waits,
            "take_over_ms_max": round(self._rules.pause_ms_max, 1),
        }


async def _membership(context: RoleContext) -> Membership:
    """Static on Kafka, where a restarted member has its partitions back at once; see decision 0040."""
    bus = context.bus
    if isinstance(bus, KafkaBus) and (await bus.cluster_id()).startswith(EMBEDDED_PREFIX):
        # It makes a static member wait for 6 s, and a member of any other kind for half of the session.
        group = f"{GROUP}-{context.clock()}-{os.getpid()}"
        return Membership(group, None, EMBEDDED_SESSION_S, EMBEDDED_FETCH_WAIT_MS, hides_records=True)
    return Membership(GROUP, context.name, context.settings.broker.session_timeout_s, FETCH_WAIT_MS)
