"""From a gateway to the log: one publisher per source; it never blocks who publishes, and loses nothing silently.

Rules that this module obeys (docs/architecture.md, "Identity and order"):
- Every input gets its identity when it is accepted: (source, epoch, sequence per unit from 1). The epoch is the start
  in ns, but above every one that the spool's file knows.
- What no broker would take, live or as backfill, goes nowhere: Gap('oversized') tells of it.
- What the broker has not acknowledged stays in memory and is sent again, in order, under the same identity.
- When the oldest of it is older than `spool.memory_s`, newer records go to the spool, as backfill. When the broker
  has everything from memory, a Gap('spooled') says so on the live source, and live records flow again; the spool
  drains beside them, and only while no live record waits to be sent.
- At the end, what was handed over and not acknowledged may be on the log: the spool keeps it under its identity, and
  the next process sends it before all else, accepted once more. What was not handed over becomes backfill.
- What did not fit the spool, or can't be sent from there any more, is told by Gap('spool-full'); what a dead process
  may have lost, by Gap('restart').
- A disk that takes nothing stops no start, no end and no record on its way to a broker that takes it: what was sent is
  then noted later, so that a restart tells of more than was lost, never of less. What only the disk could keep ends the
  process.
- How long something takes is measured by a clock that nobody sets.

`metrics`, in records: accepted = acknowledged + unsent + spooled + oversized, and what was ever in the spool (with
what an earlier process left there) = spool_records + drained + dropped. Lost is what is in no topic, no spool and
no gap: after a clean end `unsent` is 0, unless the disk took nothing; the next process tells of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt, ReceiptStatus
from rules.errors import InvariantError, UnreachableError
from streams.bus.bus import Bus, Producer, refuse_oversized
from streams.publisher.catch_up import CatchUp
from streams.publisher.notes import Notes
from streams.publisher.spool import Span, Spool, span_of
from streams.publisher.window import Entry, Window
from streams.role import Holds, RoleContext
from streams.settings import Settings
from streams.wire import encode_input

logger = logging.getLogger(__name__)

HOLD_MEMORY_S = 30.0
"""A hold is planned and short: live data waits for its end in memory, rather than become backfill."""
CLOSE_PATIENCE_S = 3.0
RETRY_S = (0.05, 1.0)
"""First and longest pause before the broker is tried again."""
DRAIN_EVERY_S = 0.05
DRAIN_AT_ONCE = 100
"""Records: the gateway's other work waits for so many."""
CATCH_UP_STEP_S = 0.005
BACKFILL_BYTES = 64
"""What a message has more as backfill, at most: another source, its mark, the digits of another sequence."""
RESTART = "restart"
"""Why the first gap of a process is: what the one before it may have lost, since what the broker has of it."""
COUNTERS = (
    "accepted",
    "acknowledged",
    "retried",
    "spooled",
    "drained",
    "dropped",
    "dropped_readings",
    "oversized",
    "disk_failures",
)


class Publisher:
    """The only writer of a source."""

    def __init__(
        self,
        bus: Bus,
        source: str,
        settings: Settings,
        spool_dir: Path,
        partitions: int,
        clock: Callable[[], int] = time.time_ns,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: the time of day in ns; `steady_s`: one that nobody sets, in s. ConfigurationError, OSError."""
        self.source = source
        self._log = logging.LoggerAdapter(logger, {"source": source})
        self._bus = bus
        self._settings = settings.spool
        self._partitions = partitions
        self._clock, self._steady_s = clock, steady_s
        file = spool_dir / f"{source}.sqlite"
        self._spool = Spool(file, source, self._settings.limit_mb * 1_000_000, clock())
        self._epoch = self._spool.epoch
        self._sequences: dict[str, int] = {}
        self._window = Window()
        self._held = False
        self._spooling = False
        self._spooled: dict[str, Span] = {}
        self._sent_until = self._spool.sent_until()
        self._work = asyncio.Event()
        self._to_drain = asyncio.Event()
        self._telling: set[str] = set()
        self._untold = False
        self._accepted_ns = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._producers: list[Producer] = []
        self._beside: list[Holds] = []
        """The publishers of its role, itself among them until it is closed."""

        self._held_ns = 0
        self._catch_up: CatchUp | None = None
        self._catch_up_over_s = -math.inf
        self.metrics: dict[str, Any] = {
            **dict.fromkeys(COUNTERS, 0),
            "units": {unit: {"accepted": 0, "acknowledged": 0} for unit in self._sent_until},
        }
        self._disk_notes = Notes(source, self._remember, steady_s, self.metrics)
        self._note()

    @classmethod
    async def open(cls, context: RoleContext, source: str) -> Publisher:
        """A started publisher of a role: its spool is in the run folder, its metrics in the role's status.

        ConfigurationError with the spool's file where it can't be used; a full disk is none. OSError, sqlite3.Error: it
        may be tried again.
        """
        settings = context.settings
        partitions, spool_dir = settings.broker.partitions, settings.run_dir / "spool"
        steady_s = asyncio.get_running_loop().time
        publisher = cls(context.bus, source, settings, spool_dir, partitions, context.clock, steady_s)
        try:
            await publisher.start()
        except BaseException:
            publisher._spool.close()  # nothing has left; whoever tries again needs the file
            raise
        context.metrics.setdefault("publishers", {})[source] = publisher.metrics
        publisher._beside = context.publishers
        context.publishers.append(publisher)
        return publisher

    async def start(self) -> None:
        """Begin to send: what the process before this one kept, then what it may have lost, per unit."""
        if self._spool.refusal:
            self._disk_notes.failed("this start", self._spool.refusal)
        self._send_in_flight()
        now = self._clock()
        for unit, until_ns in self._sent_until.items():
            self._accept(Gap(unit, self._none(), RESTART, min(until_ns, now), now, 0))
        self._report_dropped()
        if self._spool.records:
            self._to_drain.set()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._drain())]

    def publish_frame(
        self,
        unit: str,
        asset: str,
        time_ns: NDArray[np.int64],
        gpu: NDArray[np.uint16],
        values: NDArray[np.float32],
        quality: NDArray[np.uint8],
        energy_mj: NDArray[np.int64],
    ) -> None:
        """GPU samples; shapes as in `rules.engine.inputs.Frame`. Returns at once, as all of these do."""
        self._accept(
            Frame(unit, self._none(), self._clock(), asset, time_ns, gpu, values, quality, energy_mj)
        )

    def publish_readings(
        self,
        unit: str,
        points: tuple[str, ...],
        time_ns: NDArray[np.int64],
        server_ns: NDArray[np.int64],
        values: NDArray[np.float64],
        quality: NDArray[np.uint8],
        status: NDArray[np.uint32],
    ) -> None:
        """Plant readings; columns as in `rules.engine.inputs.Readings`."""
        self._accept(
            Readings(unit, self._none(), self._clock(), points, time_ns, server_ns, values, quality, status)
        )

    def publish_gap(self, unit: str, reason: str, from_ns: int, to_ns: int, readings: int) -> None:
        """What the gateway could not get: `readings` as well as they can be estimated."""
        self._accept(Gap(unit, self._none(), reason, from_ns, to_ns, readings))

    def publish_receipt(
        self,
        unit: str,
        command: str,
        actuator: str,
        status: ReceiptStatus,
        value: float,
        read_back: float | None,
        at_ns: int,
        detail: str = "",
    ) -> None:
        """What became of a command."""
        self._accept(Receipt(unit, self._none(), command, actuator, status, value, read_back, at_ns, detail))

    def hold(self) -> None:
        """Send nothing more, accept everything: the log is about to be replaced."""
        if not self._held:
            self._held_ns = self._may_send_until_ns(self._clock())
        self._held = True
        self._note()

    def release(self) -> None:
        """Send again, in order, and in step with the other sources until the present is reached."""
        if self._held:
            self._catch_up = CatchUp(self._held_ns, self._clock())
        self._held = False
        self._note()
        self._work.set()

    async def close(self) -> None:
        """Send what can be sent in a few seconds; the rest goes to the spool."""
        self._held, self._catch_up = False, None
        self._work.set()
        # Not asyncio.timeout: in a task that was cancelled, which closes in its `finally`, Python 3.11.2 turns the
        # time-out into another cancellation, and what comes after it would never run.
        loop = asyncio.get_running_loop()
        until_s = loop.time() + (0.0 if self._spooling else CLOSE_PATIENCE_S)
        while len(self._window) and loop.time() < until_s:
            await asyncio.sleep(0.02)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self in self._beside:
            self._beside.remove(self)
        self._settle()
        self._leave()
        self._disk_notes.write()
        self._note()
        self._spool.close()
        for producer in self._producers:
            with contextlib.suppress(UnreachableError):
                await producer.close()

    # From one process to the next.

    def _send_in_flight(self) -> None:
        in_flight = self._spool.take_in_flight()
        for record in in_flight.records:
            message = encode_input(record.value, self._partitions)
            entry = Entry(record.value, message, self._clock(), self._steady_s(), spool_id=record.id)
            self._window.append(entry)
            self.metrics["accepted"] += 1
            self._work.set()
        if in_flight.unsendable:
            self._disk_notes.add(partial(self._give_up, in_flight.unsendable))
            self._disk_notes.write()

    def _leave(self) -> None:
        """To the spool with what is left. What the disk refuses stays `unsent`: the next process tells of its time."""
        may_be_there = [entry for entry in self._window if entry.was_handed_over and not entry.spool_id]
        reported = {entry.value.unit: entry.reported for entry in may_be_there if entry.reported is not None}
        try:
            if may_be_there:
                self._spool.save_in_flight([entry.value for entry in may_be_there], reported)
            for entry in list(self._window):
                is_said_again = entry.reported is not None or _is_of_a_restart(entry.value)
                if entry.spool_id or (is_said_again and not entry.was_handed_over):
                    # The spool has it, or what it tells of, or nothing was sent since: the next process says it.
                    self.metrics["accepted"] -= 1
                elif entry.was_handed_over:
                    self.metrics["spooled"] += 1
                else:
                    self._to_spool(entry.value)
                self._window.drop(1)
        except sqlite3.Error as error:
            self._disk_notes.failed("what is left", error)

    # Accepting.

    def _none(self) -> Identity:
        return Identity(self.source, self._epoch, 0)

    def _accept(self, value: Input, reported: Span | None = None) -> None:
        if (ended := self._ended()) is not None:
            raise InvariantError(f"the publisher of {self.source} has ended: {ended!r}")
        self.metrics["accepted"] += 1
        now = self._clock()
        set_back_s = (self._accepted_ns - now) / 1e9
        self._accepted_ns = now
        if set_back_s > 0:
            self._log.warning("%s: the clock was set back by %.1f s", self.source, set_back_s)
        if not self._spooling and len(self._window) and reported is None and self._overdue():
            self._log.warning("%s: the broker takes nothing, newer records go to the spool", self.source)
            self._spooling = True
        identity = Identity(self.source, self._epoch, self._sequences.get(value.unit, 0) + 1)
        value = dataclasses.replace(value, identity=identity)
        message = encode_input(value, self._partitions)
        try:
            refuse_oversized(message, BACKFILL_BYTES)
        except ValueError as error:
            self._refused(value, error)
        else:
            if self._spooling:
                self._to_spool(value)
            else:
                self._to_window(Entry(value, message, self._clock(), self._steady_s(), reported))
        if set_back_s > 0:
            self._disk_notes.write()
        self._note()

    def _ended(self) -> asyncio.Task[None] | None:
        return next((task for task in self._tasks if task.done()), None)

    def _overdue(self) -> bool:
        """Whether memory has waited for the broker long enough. Time in and after a hold is not the broker's."""
        now = self._clock()
        planned = self._held or self._may_send_until_ns(now) < now
        limit_s = max(HOLD_MEMORY_S, self._settings.memory_s) if planned else self._settings.memory_s
        begin_s = max(self._window.oldest_s, self._catch_up_over_s)
        return self._steady_s() - begin_s > limit_s

    def _may_send_until_ns(self, now: int) -> int:
        """What was accepted up to here may leave at `now`: all of it, but for a while after a hold."""
        if self._catch_up is None:
            return now
        if self._catch_up.is_over(now):
            self._catch_up, self._catch_up_over_s = None, self._steady_s()
            return now
        return self._catch_up.until_ns(now)

    def _refused(self, value: Input, why: ValueError) -> None:
        self.metrics["oversized"] += 1
        self._log.error("%s: %s", self.source, why)
        span = span_of(value)
        if span.readings:
            self._accept(Gap(value.unit, self._none(), "oversized", span.from_ns, span.to_ns, span.readings))

    def _to_window(self, entry: Entry) -> None:
        unit, sequence = entry.value.unit, entry.value.identity.sequence
        self._sequences[unit] = sequence
        if unit not in self._sent_until:
            # In the file before it leaves: whoever comes after this process, also after kill -9, must know that the
            # source has spoken. A power cut may cost the note.
            self._sent_until[unit] = entry.accepted_ns
            self._disk_notes.write()
        self._unit(unit)["accepted"] = sequence
        self._window.append(entry)
        self._work.set()

    def _to_spool(self, value: Input) -> None:
        gone = self._spool.put(_as_backfill(value))
        self._to_drain.set()
        self.metrics["spooled"] += 1
        self._count_dropped(gone)
        span = span_of(value)
        known = self._spooled.get(value.unit)
        self._spooled[value.unit] = span if known is None else known.join(span)

    def _count_dropped(self, gone: Span) -> None:
        self.metrics["dropped"] += gone.records
        self.metrics["dropped_readings"] += gone.readings

    def _give_up(self, ids: Sequence[int]) -> None:
        gone = self._spool.give_up(ids)
        self._untold = True
        self._count_dropped(gone)
        words = (
            "%s: %d records in the spool can't be read or sent any more and are given up, with %d readings"
        )
        self._log.error(words, self.source, gone.records, gone.readings)

    # Sending what is live.

    async def _send(self) -> None:
        producer: Producer | None = None
        pause_s = RETRY_S[0]
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                producer = producer or await self._new_producer(self.source)
                await self._send_waiting(producer)
                pause_s = RETRY_S[0]
            except UnreachableError as error:
                if pause_s == RETRY_S[0]:
                    self._log.warning("%s: %s", self.source, error)
                self._begin_again()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])

    async def _new_producer(self, name: str) -> Producer:
        producer = await self._bus.producer(name)
        self._producers.append(producer)
        return producer

    async def _send_waiting(self, producer: Producer) -> None:
        """Hand everything that waits to the producer. UnreachableError when something before it has failed."""
        while True:
            # Looked at before every message, not in a callback alone: that may come later.
            failure = self._window.failure()
            if failure is not None:
                raise UnreachableError(str(failure))
            if self._held or not self._window.waits:
                return
            until_ns = self._may_send_until_ns(self._clock())
            if self._catch_up is not None and self._window.next_ns > until_ns:
                asyncio.get_running_loop().call_later(CATCH_UP_STEP_S, self._work.set)
                return
            acknowledgement = await self._window.hand_over(producer)
            acknowledgement.add_done_callback(self._acknowledged)

    def _begin_again(self) -> None:
        """From the oldest that is not acknowledged, under the same identities."""
        self._settle()
        self.metrics["retried"] += self._window.begin_again()
        self._work.set()

    def _acknowledged(self, acknowledgement: asyncio.Future[int]) -> None:
        if acknowledgement.cancelled() or acknowledgement.exception() is not None:
            self._work.set()  # The sender looks for what failed.
        elif self._ended() is None:
            self._settle()

    def _settle(self) -> None:
        """Let go of what the broker has, oldest first."""
        of_the_spool: list[int] = []
        for entry in self._window.arrived():
            unit = entry.value.unit
            self.metrics["acknowledged"] += 1
            if entry.spool_id:  # of another epoch, and what comes after it is not sent yet
                of_the_spool.append(entry.spool_id)
                continue
            self._unit(unit)["acknowledged"] = entry.value.identity.sequence
            self._sent_until[unit] = entry.accepted_ns
            if entry.reported is not None:
                self._disk_notes.add(partial(self._forget_dropped, unit, entry.reported))
        if of_the_spool:
            self._disk_notes.add(partial(self._forget_in_flight, of_the_spool))
        self._disk_notes.write_what_is_due()
        if self._ended() is None and self._spooling and not len(self._window):
            self._go_live()
        elif self._ended() is None and self._untold and not self._telling and not self._spooling:
            self._report_dropped()
        self._note()

    def _forget_dropped(self, unit: str, reported: Span) -> None:
        self._spool.forget_dropped(unit, reported)
        self._telling.discard(unit)

    def _forget_in_flight(self, ids: Sequence[int]) -> None:
        self._spool.delete(ids)
        self.metrics["drained"] += len(ids)

    def _remember(self) -> None:
        """For the next process: up to when the broker has everything. What waits may be older, by a clock set back."""
        oldest_ns = self._window.earliest_ns(self._clock())
        self._spool.remember_sent(
            {unit: min(until_ns, oldest_ns) for unit, until_ns in self._sent_until.items()}
        )
        if self._spool.records:  # its file may have been opened only now
            self._to_drain.set()

    def _go_live(self) -> None:
        """The broker is back: say what follows as backfill, and what does not."""
        self._spooling = False
        spooled, self._spooled = self._spooled, {}
        self._log.info("%s: live again; %d records to drain", self.source, self._spool.records)
        for unit, span in spooled.items():
            self._accept(Gap(unit, self._none(), "spooled", span.from_ns, span.to_ns, span.readings))
        self._report_dropped()

    def _report_dropped(self) -> None:
        """What is on its way already is not said again; what has come since follows it. While spooling: later."""
        if self._spooling:
            return
        self._untold = False
        for unit, span in self._spool.dropped().items():
            if unit in self._telling:
                self._untold = True
                continue
            self._telling.add(unit)
            gap = Gap(unit, self._none(), "spool-full", span.from_ns, span.to_ns, span.readings)
            self._accept(gap, reported=span)

    # Draining the spool.

    async def _drain(self) -> None:
        """Beside the live records, in order; deleted when the broker has them.

        `drain_speed` records go for each one that is accepted meanwhile: so a site works its backlog off in a share of
        the time that it took, and no source takes more of the broker than is its own. `drain_records_per_s` at least.
        """
        producer: Producer | None = None
        now_s = asyncio.get_running_loop().time
        last_s, accepted, due = now_s(), self.metrics["accepted"], 0.0
        while True:
            await self._to_drain.wait()
            await asyncio.sleep(DRAIN_EVERY_S)
            came, elapsed_s = self.metrics["accepted"] - accepted, now_s() - last_s
            last_s, accepted = now_s(), self.metrics["accepted"]
            more = max(came * self._settings.drain_speed, elapsed_s * self._settings.drain_records_per_s)
            due = min(due + more, DRAIN_AT_ONCE)
            if self._spooling or self._held or not self._spool.records:
                due = 0.0
                if not self._spool.records:
                    self._to_drain.clear()
                continue
            if self._window.waits or due < 1:
                continue
            try:
                producer = producer or await self._new_producer(f"{self.source}-backfill")
                await self._drain_step(producer, int(due))
                due -= int(due)
            except UnreachableError:
                await asyncio.sleep(RETRY_S[1])
            except sqlite3.Error as error:
                # what was sent and not deleted is sent again, under the same identities
                self._disk_notes.failed("what was drained", error)
                await asyncio.sleep(RETRY_S[1])

    async def _drain_step(self, producer: Producer, step: int) -> None:
        taken, unsendable = self._spool.take(step)
        if unsendable:
            self._give_up(unsendable)
            self._report_dropped()
        waiting: list[asyncio.Future[int]] = []
        for record in taken:
            for earlier in waiting:
                if earlier.done():
                    earlier.result()  # behind one that failed, this one would overtake it
            message = encode_input(record.value, self._partitions)
            waiting.append(asyncio.ensure_future(await producer.send(message)))
        for acknowledgement in waiting:
            await acknowledgement
        self._spool.delete([record.id for record in taken])
        self.metrics["drained"] += len(taken)
        self._note()

    # Saying how it is.

    def _unit(self, unit: str) -> dict[str, int]:
        counts: dict[str, int] = self.metrics["units"].setdefault(unit, {"accepted": 0, "acknowledged": 0})
        return counts

    def _note(self) -> None:
        self.metrics["unsent"] = len(self._window)
        self.metrics["spool_records"] = self._spool.records
        self.metrics["spool_mb"] = round(self._spool.size_bytes / 1e6, 3)
        self.metrics["state"] = "held" if self._held else "spooling" if self._spooling else "live"


def _is_of_a_restart(value: Input) -> bool:
    return isinstance(value, Gap) and value.reason == RESTART


def _as_backfill(value: Input) -> Input:
    return dataclasses.replace(value, backfill=True) if isinstance(value, Frame | Readings) else value
