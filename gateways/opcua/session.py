"""One connection to one plant server, from the first browse to its loss. It is never repaired, but replaced.

How a loss is found, all within SILENCE_S: the socket closes; a keep-alive read of ServerStatus isn't answered
(a server that hangs); a subscription sends neither data nor keep-alive, or the server says that it has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from asyncua import ua

from gateways.opcua.convert import sample_of
from gateways.opcua.inventory import take_inventory
from gateways.opcua.points import SourcePoints
from gateways.opcua.stack import Client
from gateways.opcua.subscriptions import Subscription, chunks, monitor, open_subscription
from gateways.opcua.texts import explain

SILENCE_S = 2.4
"""Longest silence of a server that lives: what it leaves of 3 s is for saying that its points are bad."""
PROBE_EVERY_S = 0.5
LOOK_EVERY_S = 0.1
STALLED_S = 0.5
"""A look that comes this much late was our own process's stall: what the server sent meanwhile is still unread."""
CONFIRM_EVERY_S = 0.25
CONFIRM_CHUNK = 500
RETRY_LACKING_EVERY_S = 10.0
MISSED_AT_MOST = 100
"""More notification messages lost, and not asked for again yet, than any server keeps for republishing."""

_log = logging.getLogger(__name__)


class SessionLostError(Exception):
    """The connection is of no use any more; the text says how that showed."""


class ServerSession:
    """A connected client, its subscriptions, and the tasks that keep watch.

    `addresses` is by row. `lacking` holds the status code by row of the points that the server lacks. `heard_ns`:
    the last response with data or keep-alive. `skew_ms`: the newest server time less ours when it arrived.
    """

    def __init__(
        self,
        client: Client,
        table: SourcePoints,
        addresses: Mapping[int, ua.NodeId],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.lacking: dict[int, int] = {}
        self._differences: dict[int, list[str]] = {}
        self._clock_ns = clock_ns
        self.heard_ns = clock_ns()
        self.skew_ms: float | None = None
        self.server_state = ""
        self.subscriptions: dict[int, Subscription] = {}
        self._client = client
        self._table = table
        self._addresses = addresses
        self._nodes: dict[int, ua.NodeId] = {}
        self._answered_s = time.monotonic()
        self._missed: asyncio.Queue[tuple[Subscription, int, int]] = asyncio.Queue()
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        client.connection_lost_callback = self._transport_lost

    @property
    def differences(self) -> list[str]:
        """Between the server and the site file, as the last look at each point found them."""
        return [text for row in sorted(self._differences) for text in self._differences[row]]

    async def start(self) -> None:
        """Browse, compare and subscribe; what the server lacks is said to be bad. Raises on any failure."""
        await self._add(range(len(self._table)))
        self._answered_s = time.monotonic()

    async def watch(self) -> None:
        """Carry readings until the connection is lost: always ends with SessionLostError, or with cancellation."""
        loops: list[Coroutine[Any, Any, None]] = [
            self._look(),
            self._probe(),
            self._confirm(),
            self._retry_lacking(),
            self._fetch_missed(),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (OSError, ua.UaError) as error:
            raise SessionLostError(f"{type(error).__name__}: {explain(error)}") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _add(self, rows: range | list[int]) -> None:
        """Subscribe to those of `rows` that the server has; name the others."""
        points = {row: self._table.points[row] for row in rows}
        inventory = await take_inventory(self._client, points, self._addresses)
        for row in rows:
            self._differences.pop(row, None)
        self._differences.update(inventory.differences)
        self._lack(inventory.lacking)
        for chunk in chunks(list(inventory.nodes)):
            nodes = {row: inventory.nodes[row] for row in chunk}
            self._table.subscribing(nodes)
            subscription = await open_subscription(self._client, chunk, self._received, self._clock_ns)
            self.subscriptions[subscription.id] = subscription
            self._nodes.update(nodes)
            refused = await monitor(self._client, subscription.id, self._table, nodes)
            for row in chunk:
                self.lacking.pop(row, None)
            self._lack(refused)
            if len(refused) == len(chunk):  # it would stay, and the next try bring another
                del self.subscriptions[subscription.id]
                await self._client.uaclient.delete_subscriptions([subscription.id])

    def _lack(self, lacking: Mapping[int, int]) -> None:
        """These points are bad, by row with the status code that says why."""
        self.lacking.update(lacking)
        for row, status in lacking.items():
            self._nodes.pop(row, None)
            self._table.declare_bad([row], status)

    def _received(self, result: ua.PublishResult) -> None:
        """A publish response: data, or a keep-alive. asyncua swallows what a callback raises."""
        try:
            self._take(result)
        except Exception as error:
            _log.exception("a publish response could not be read")
            self._fail(f"unreadable publish response: {explain(error)}")

    def _take(self, result: ua.PublishResult) -> None:
        now_s = time.monotonic()
        self._answered_s = now_s
        subscription = self.subscriptions.get(result.SubscriptionId)
        if subscription is None:
            return
        message = result.NotificationMessage
        # A keep-alive carries the number of the next message, data its own (OPC 10000-4, 5.14.1.1).
        missed = range(subscription.next_sequence, message.SequenceNumber)
        if len(missed) + self._missed.qsize() > MISSED_AT_MOST:
            self._fail(f"subscription {subscription.id} jumped over {len(missed)} messages")
            return
        for sequence in missed:
            self._missed.put_nowait((subscription, sequence, subscription.heard_ns))
        subscription.heard_s = now_s
        subscription.heard_ns = self.heard_ns = self._clock_ns()
        subscription.next_sequence = message.SequenceNumber + (1 if message.NotificationData else 0)
        self._record(message)

    def _record(self, message: ua.NotificationMessage) -> None:
        for notification in message.NotificationData or ():
            if isinstance(notification, ua.DataChangeNotification):
                sample = None
                for item in notification.MonitoredItems:
                    sample = sample_of(item.Value)
                    self._table.reported(item.ClientHandle, sample)
                if sample is not None and sample.server_ns:
                    self.skew_ms = round((sample.server_ns - self._clock_ns()) / 1e6, 1)
            elif isinstance(notification, ua.StatusChangeNotification):
                self._fail(f"the server ended a subscription: {notification.Status.name}")

    async def _look(self) -> None:
        """Raise when the server has been silent for too long."""
        looked_s = time.monotonic()
        while True:
            await asyncio.wait([self._failure], timeout=LOOK_EVERY_S)
            if self._failure.done():
                raise SessionLostError(self._failure.result())
            now_s = time.monotonic()
            stalled = now_s - looked_s - LOOK_EVERY_S
            looked_s = now_s
            if stalled > STALLED_S:
                self._answered_s += stalled
                for subscription in self.subscriptions.values():
                    subscription.heard_s += stalled
                continue
            if now_s - self._answered_s > SILENCE_S:
                raise SessionLostError(f"no answer for {now_s - self._answered_s:.1f} s")
            for subscription in self.subscriptions.values():
                if now_s - subscription.heard_s > max(SILENCE_S, 2.5 * subscription.keep_alive_s):
                    raise SessionLostError(f"subscription {subscription.id} is silent")

    async def _probe(self) -> None:
        """Keep-alive: the server's time and state, twice a second. `_look` says when that has failed too long."""
        wanted = [
            ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime),
            ua.NodeId(ua.ObjectIds.Server_ServerStatus_State),
        ]
        while True:
            with contextlib.suppress(TimeoutError):
                _, state = await self._client.uaclient.read_attributes(wanted, ua.AttributeIds.Value)
                self._answered_s = time.monotonic()
                if state.Value is not None and state.Value.Value is not None:
                    self.server_state = ua.ServerState(state.Value.Value).name
            await asyncio.sleep(PROBE_EVERY_S)

    async def _confirm(self) -> None:
        """Read the points that said nothing for 1.5 periods: unchanged, or stale?"""
        while True:
            await asyncio.sleep(CONFIRM_EVERY_S)
            rows = [row for row in self._table.silent() if row in self._nodes]
            for start in range(0, len(rows), CONFIRM_CHUNK):
                asked = rows[start : start + CONFIRM_CHUNK]
                nodes = [self._nodes[row] for row in asked]
                with contextlib.suppress(TimeoutError):
                    answers = await self._client.uaclient.read_attributes(nodes, ua.AttributeIds.Value)
                    for row, answer in zip(asked, answers, strict=True):
                        self._table.confirmed(row, sample_of(answer))

    async def _retry_lacking(self) -> None:
        """Look again for what the server lacked: a PLC program may have been loaded since."""
        while True:
            await asyncio.sleep(RETRY_LACKING_EVERY_S)
            if self.lacking:
                # then they stay lacking: what the server carries goes on
                with contextlib.suppress(ua.uaerrors.BadTooManySubscriptions):
                    await self._add(list(self.lacking))

    async def _fetch_missed(self) -> None:
        """Ask again for notification messages that never came; what the server has dropped is a gap."""
        while True:
            subscription, sequence, heard_ns = await self._missed.get()
            try:
                message = await self._client.uaclient.session.republish(subscription.id, sequence)
            except ua.UaStatusCodeError:
                message = None
            if message is not None and message.NotificationData:
                self._table.counts["messages_republished"] += 1
                self._record(message)
                continue
            self._table.counts["messages_missed"] += 1
            items = Counter(self._table.units[row] for row in subscription.rows)
            self._table.report_gap("missed", heard_ns, subscription.heard_ns, items)

    async def _transport_lost(self, error: Exception) -> None:
        self._fail(f"connection closed ({error})")

    def _fail(self, reason: str) -> None:
        if not self._failure.done():
            self._failure.set_result(reason)
