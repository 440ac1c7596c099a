"""The role's parts together: the log to the outbox, the outbox to the channels, and what goes by the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from gateways.alerts.acknowledge import Acknowledger
from gateways.alerts.channels import alertmanagers, open_channels
from gateways.alerts.delivery import Deliverer
from gateways.alerts.edge import HttpEdge
from gateways.alerts.intake import Intake, Sent
from gateways.alerts.links import link_key, links
from gateways.alerts.log_state import Position, digest
from gateways.alerts.model import Subscriptions
from gateways.alerts.notification import Notification
from gateways.alerts.outbox import Outbox
from gateways.alerts.sender import Sender
from gateways.alerts.streams import Streams
from gateways.alerts.watch import Workers, fire_always, renew_leases
from gateways.own_count import own_points, tell_count
from rules.errors import UnreachableError
from streams.bus.bus import Reader, Start
from streams.record import Record, TopicPartition
from streams.role import RoleContext
from streams.topics import ALARMS

log = logging.getLogger(__name__)

READ_S: Final = 0.2
READ_MAX: Final = 200
"""Words at once: who sends waits as long as that takes."""
CLOCK_S: Final = 0.05
"""How late a group, a digest or an escalation may be, and how long a delivery may be uncommitted."""
FORGET_S: Final = 3600.0
DRAIN_S: Final = 3.0
SETTLE_S: Final = 2.0
THREADS_MAX: Final = 512
THREADS_SPARE: Final = 8


class Alerts:
    """One role. A part that fails ends it: what it had not kept is read or delivered again by the next one."""

    def __init__(self, context: RoleContext, subscriptions: Subscriptions, outbox: Outbox) -> None:
        self._context = context
        self._subscriptions = subscriptions
        self._outbox = outbox
        metrics = context.metrics
        counters = (
            "deliveries",
            "failures",
            "refused",
            "diverted",
            "always_sent",
            "always_failed",
            "always_withheld",
        )
        metrics.update(dict.fromkeys(counters, 0))
        self._key = link_key(context.settings.run_dir)
        link = links(subscriptions.edge, self._key, context.clock)
        self._intake = Intake(context.site, subscriptions, outbox, context.clock, metrics, link)
        self._streams = Streams(context.site, subscriptions, outbox, self._intake)
        self._unverified: dict[int, Position] = {}
        self._senders: dict[str, Sender] = {}

    async def run(self) -> None:
        """Work until `context.stop`, and then read to the end of the log."""
        deliverers = self._open_senders()
        edge = await self._serve()
        reading = asyncio.create_task(self._read(), name="read")
        tasks = [reading, *map(asyncio.create_task, self._parts(deliverers))]
        try:
            while not reading.done():
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                tasks = [task for task in tasks if task not in done]
            await self._settle()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if edge is not None:
                await edge.close()
            self._outbox.commit()
            self._say()

    def _open_senders(self) -> dict[str, Deliverer]:
        """The channels, with what an earlier process left for them."""
        context, outbox, channels = self._context, self._outbox, self._subscriptions.channels
        # names are looked up, and files written, in these threads: enough that nobody waits for who hangs there
        threads = min(THREADS_MAX, THREADS_SPARE + sum(one.parallel for one in channels.values()))
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, "alerts"))
        site, clock = context.site.name, context.clock
        deliverers = open_channels(self._subscriptions, site, context.settings.run_dir, clock)
        for name, channel in channels.items():
            self._senders[name] = Sender(
                channel, deliverers[name], outbox, self, clock, site, context.metrics
            )
        if orphans := outbox.drop_orphans(self._senders):
            context.metrics["orphaned"] += orphans
            log.warning("%d notifications were for channels that are gone, and are dropped", orphans)
        for seq, lane, at in outbox.pending():
            self._senders[at].add(seq, lane)
        return deliverers

    def _parts(self, deliverers: Mapping[str, Deliverer]) -> Iterator[Coroutine[Any, Any, None]]:
        """All that works beside the reading of the log, until it is cancelled."""
        context = self._context
        yield self._go_by_the_clock()
        for sender in self._senders.values():
            yield sender.run()
        if always := [one for one in self._subscriptions.subscriptions.values() if one.always_ns]:
            workers = Workers(context)
            yield workers.listen()
            for one in always:
                yield fire_always(context, one, deliverers, workers)
        if receivers := alertmanagers(deliverers):
            yield renew_leases(self._subscriptions, receivers, self._intake)
        if points := own_points(context, "alerts", "DeadChannels"):
            yield tell_count(context, points, self._dead)

    async def _settle(self) -> None:
        """What was read last may still go out; what does not in time is there for the next process."""
        give_up_at = asyncio.get_running_loop().time() + SETTLE_S
        while any(one.is_at_work for one in self._senders.values()):
            if asyncio.get_running_loop().time() > give_up_at:
                return
            await asyncio.sleep(CLOCK_S)

    # what senders ask for

    def dispatch(self, sent: list[Sent]) -> None:
        """What is in the outbox, to the senders of its channels."""
        for one in sent:
            self._senders[one.channel].add(one.seq, one.lane)
        for name in dict.fromkeys(one.channel for one in sent):
            self._senders[name].hand_on()

    def announce(self, notification: Notification, channel: str) -> None:
        """A word of our own to a channel."""
        self.dispatch(self._intake.put(notification, [channel]))

    def _dead(self) -> int:
        return sum(bool(one.dead_since_ns) for one in self._senders.values())

    async def _serve(self) -> HttpEdge | None:
        where = self._subscriptions.edge
        if where is None:
            return None
        edge = HttpEdge(
            where,
            self._subscriptions,
            self._outbox,
            self._intake,
            self._streams,
            self._key,
            Acknowledger(self._context, self._subscriptions).acknowledge,
            self._context,
        )
        self._context.metrics["serves"] = address = await edge.start()
        log.info("streams and links are at %s", address)
        return edge

    async def _read(self) -> None:
        """The log to the outbox; the first time up to its end, then as it comes."""
        context, bus = self._context, self._context.bus
        reader = await self._reader(self._outbox.positions())
        until: Mapping[TopicPartition, int] | None = await bus.ends(ALARMS.name)
        give_up_at = 0.0
        try:
            while True:
                records = await reader.read(READ_S, READ_MAX)
                if self._is_other_log(records):
                    log.warning(
                        "'%s' is not the log of which the outbox knows: it is read from its start",
                        ALARMS.name,
                    )
                    await reader.close()
                    reader = await self._reader({})
                    continue
                if records:
                    self.dispatch(self._intake.take(records))
                    self._streams.wake()
                    positions = reader.positions()
                    context.metrics["positions"] = {str(at.partition): end for at, end in positions.items()}
                if until is not None and not _left(until, reader):
                    until = None
                    self.dispatch(self._intake.end_of_history())
                    context.ready()
                if context.stop.is_set() and not give_up_at:
                    give_up_at = asyncio.get_running_loop().time() + DRAIN_S
                    until = await self._ends()
                if give_up_at and (until is None or asyncio.get_running_loop().time() > give_up_at):
                    return
        finally:
            await reader.close()

    async def _reader(self, known: Mapping[int, Position]) -> Reader:
        """Where the outbox ends; the record before is read once more, to see whether this is still that log."""
        self._unverified = {partition: one for partition, one in known.items() if one.next}
        start: Start | dict[TopicPartition, int] = "earliest"
        if self._unverified:
            start = {
                TopicPartition(ALARMS.name, partition): self._unverified[partition].next - 1
                if partition in self._unverified
                else 0
                for partition in range(await self._context.bus.partitions(ALARMS.name))
            }
        return await self._context.bus.reader([ALARMS.name], start)

    def _is_other_log(self, records: Sequence[Record]) -> bool:
        for record in records:
            known = self._unverified.pop(record.partition, None) if self._unverified else None
            if known is not None and (record.offset, digest(record.value or b"")) != (
                known.next - 1,
                known.last,
            ):
                return True
        return False

    async def _ends(self) -> Mapping[TopicPartition, int] | None:
        try:
            return await self._context.bus.ends(ALARMS.name)
        except UnreachableError:
            return None

    async def _go_by_the_clock(self) -> None:
        loop = asyncio.get_running_loop()
        forget_at = said_at = loop.time()
        while True:
            self.dispatch(self._intake.due())
            for sender in self._senders.values():
                sender.look()
            self._outbox.commit()
            if loop.time() >= said_at:
                said_at = loop.time() + 0.5
                self._say()
            if loop.time() >= forget_at:
                forget_at = loop.time() + FORGET_S
                self._outbox.forget(self._context.clock())
            await asyncio.sleep(CLOCK_S)

    def _say(self) -> None:
        oldest_ns, now_ns = self._outbox.oldest_ns(), self._context.clock()
        channels: dict[str, Any] = {
            name: {
                "state": "dead" if one.dead_since_ns else "alive",
                "backlog": one.backlog,
                "last_error": one.last_error,
            }
            for name, one in self._senders.items()
        }
        self._context.metrics.update(
            backlog=sum(one.backlog for one in self._senders.values()),
            oldest_s=0.0 if oldest_ns is None else round(max(0, now_ns - oldest_ns) / 1e9, 3),
            held=self._intake.held,
            dead_channels=self._dead(),
            stream_clients=self._streams.clients,
            channels=channels,
        )


def _left(ends: Mapping[TopicPartition, int], reader: Reader) -> bool:
    positions = reader.positions()
    return any(positions.get(place, 0) < end for place, end in ends.items())
