"""Set points of an OPC UA server: one persistent connection, one Write and one Read call for a whole batch.

Rules: until command safety is there, only the project's own simulated plant is written: a server whose namespaces
and product URI do not say that is refused, before anything else is asked of it. A set point is the same however
often it is written, so a batch that a lost connection interrupts is written again while there is time, each set point
until its own command expires; after that it is `unknown` if it was ever sent and `failed` if it was not. A call that
the server refuses as a whole is made again for each half: one of them may be what it refuses, or all of them too many.
Whatever a server says ends at most its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from asyncua import ua
from asyncua.ua.ua_binary import variant_to_binary

from gateways.actuators.outcome import Outcome, Task, agrees
from gateways.opcua.convert import number_of
from gateways.opcua.inventory import resolve
from gateways.opcua.security import secure
from gateways.opcua.stack import Client
from gateways.opcua.texts import clean, explain
from rules.engine.inputs import ReceiptStatus
from rules.site.model import Source

log = logging.getLogger(__name__)

NAMESPACE_URI: Final = "urn:headrace:plant"
PRODUCT_URI: Final = "urn:headrace:simulated-plant"
REQUEST_TIMEOUT_S: Final = 2.0
PROBE_EVERY_S: Final = 1.0
WAIT_FOR_SERVER_NS: Final = 10_000_000_000
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_LAST_S: Final = 5.0
LOST: Final = (
    OSError,
    asyncio.TimeoutError,
    ua.uaerrors.BadConnectionClosed,
    ua.uaerrors.BadSecureChannelClosed,
    ua.uaerrors.BadSessionClosed,
    ua.uaerrors.BadSessionIdInvalid,
)
_INTEGERS: Final = frozenset(
    {
        ua.VariantType.SByte,
        ua.VariantType.Byte,
        ua.VariantType.Int16,
        ua.VariantType.UInt16,
        ua.VariantType.Int32,
        ua.VariantType.UInt32,
        ua.VariantType.Int64,
        ua.VariantType.UInt64,
    }
)


class _ForeignServerError(Exception):
    """The server is not the simulated plant."""


class OpcuaTarget:
    """The server of one OPC UA source. `run` keeps the connection; `write` waits a little for it.

    `clock`: the role's, by which commands expire.
    """

    def __init__(self, source: Source, run_dir: Path, clock: Callable[[], int]) -> None:
        self.source = source
        self._log = logging.LoggerAdapter(log, {"source": source.id})
        self.connections = 0
        self._run_dir = run_dir
        self._clock = clock
        self._client: Any = None
        self.refusal = ""
        self._changed = asyncio.Event()
        self._why_away = "not connected yet"
        self._namespaces: list[str] = []
        self._nodes: dict[str, tuple[ua.NodeId, ua.VariantType]] = {}

    async def run(self) -> None:
        """Keep connected until cancelled."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            client = Client(self.source.endpoint, timeout=REQUEST_TIMEOUT_S, watchdog_intervall=3600)
            try:
                await self._connect(client)
                backoff_s = BACKOFF_FIRST_S
                while self._client is client:
                    await asyncio.sleep(PROBE_EVERY_S)
                    await client.nodes.server_state.read_value()
            except _ForeignServerError as error:
                self.refusal = str(error)
                self._log.error("%s: %s", self.source.id, error)
            except Exception as error:
                self._away(error)
            finally:
                self._client = None
                self._announce()
                await client.leave(2 * REQUEST_TIMEOUT_S)
            await asyncio.sleep(backoff_s * random.uniform(0.8, 1.2))
            backoff_s = min(2 * backoff_s, BACKOFF_LAST_S)

    async def _connect(self, client: Client) -> None:
        await secure(client, self.source, self._run_dir)
        await client.connect()
        self._namespaces = await client.get_namespace_array()
        product = await client.get_node(ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductUri).read_value()
        if NAMESPACE_URI not in self._namespaces or product != PRODUCT_URI:
            raise _ForeignServerError(
                f"{self.source.endpoint} is not Headrace's simulated plant (its product is '{clean(product)}'): "
                "actuators write to no other server yet"
            )
        self._nodes.clear()
        self.refusal = ""
        self.connections += 1
        self._client = client
        self._announce()
        self._log.info("%s: connected to %s", self.source.id, self.source.endpoint)

    def _away(self, error: Exception) -> None:
        is_foreseen = isinstance(error, OSError | ua.UaError)
        why = explain(error) if is_foreseen else f"{type(error).__name__}: {explain(error)}"
        if self._client is not None or why != self._why_away:
            said = (self.source.id, self.source.endpoint, why)
            self._log.warning("%s: %s can't be written: %s", *said, exc_info=None if is_foreseen else error)
        self._why_away = why

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """The connection ends with `run`."""

    async def write(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Write all set points in one call and read them back in another. No actuator twice in one batch."""
        batch = _Batch(tasks, self._clock())
        while positions := batch.in_time(self._why_away):
            client, changed = self._client, self._changed
            if client is None and self.refusal:
                batch.settle_all(positions, "refused", self.refusal)
            elif client is None:
                await _happens(changed, batch.next_end_s())
            else:
                try:
                    await self._attempt(client, batch, positions)
                except Exception as error:
                    self._away(error)
                    if self._client is client:
                        self._client = None
                    if not isinstance(error, LOST):  # a server's nonsense: it would say it again
                        batch.settle_rest(self._why_away)
        return batch.outcomes()

    async def count(self, node: str, number: int) -> str:
        """Write a watchdog's counter, once and at once; "" when the server has it, else why not."""
        client = self._client
        if client is None:
            return self.refusal or self._why_away
        try:
            known = resolve(ua.NodeId.from_string(node), self._namespaces)
            if known is None:
                return f"no node '{node}' at the server"
            value = ua.DataValue(ua.Variant(number, ua.VariantType.UInt32))
            (status,) = await client.uaclient.write_attributes([known], [value], ua.AttributeIds.Value)
            return status.name if status.is_bad() else ""
        except Exception as error:
            return explain(error)

    async def _attempt(self, client: Client, batch: _Batch, positions: list[int]) -> None:
        """Settle these, in halves where the server refuses all at once. Raises what ends the connection."""
        try:
            await self._learn_nodes(client, batch, positions)
            await self._write(client, batch, batch.in_time("no answer in time", positions))
        except LOST:
            raise
        except ua.UaError as error:
            if len(positions) == 1:
                batch.settle_rest(explain(error), positions)
                return
            middle = len(positions) // 2
            for half in (positions[:middle], positions[middle:]):
                if half := batch.in_time(explain(error), half):
                    await self._attempt(client, batch, half)

    async def _write(self, client: Client, batch: _Batch, positions: list[int]) -> None:
        """Write and read back what its node's type can hold; the rest has failed."""
        sent: list[tuple[int, ua.NodeId, ua.DataValue]] = []
        for position in positions:
            task = batch.tasks[position]
            node, kind = self._nodes[task.actuator.id]
            try:
                value = _data_value(task.command.value, kind)
                variant_to_binary(value.Value)
            except Exception:  # its encoder's, which may be of any type
                why = f"{task.command.value:g} is no {clean(kind.name)}, which the server has there"
                batch.settle(position, Outcome("failed", None, why))
            else:
                sent.append((position, node, value))
        if not sent:
            return
        nodes, values = [node for _, node, _ in sent], [value for _, _, value in sent]
        batch.sent.update(position for position, _, _ in sent)
        statuses = await client.uaclient.write_attributes(nodes, values, ua.AttributeIds.Value)
        read = await client.uaclient.read_attributes(nodes, ua.AttributeIds.Value)
        for (position, _, value), status, back in list(zip(sent, statuses, read, strict=True)):
            batch.settle(position, _outcome(status, value, back))

    async def _learn_nodes(self, client: Client, batch: _Batch, positions: Sequence[int]) -> None:
        """Node ids and types of actuators that were not written yet; what the server lacks has failed."""
        asked: list[tuple[int, ua.NodeId]] = []
        for position in positions:
            actuator = batch.tasks[position].actuator
            if actuator.id in self._nodes:
                continue
            try:
                node = resolve(ua.NodeId.from_string(actuator.address), self._namespaces)
            except (ua.UaError, ValueError):
                node = None
            if node is None:
                batch.settle(position, Outcome("failed", None, f"no node '{actuator.address}' at the server"))
            else:
                asked.append((position, node))
        if not asked:
            return
        values = await client.uaclient.read_attributes([node for _, node in asked], ua.AttributeIds.Value)
        for (position, node), value in zip(asked, values, strict=True):
            actuator = batch.tasks[position].actuator
            if _is_bad(value):
                batch.settle(
                    position, Outcome("failed", None, f"{actuator.address}: {value.StatusCode.name}")
                )
            elif value.Value.VariantType == ua.VariantType.Null:
                batch.settle(
                    position, Outcome("failed", None, f"{actuator.address} has no value, so no type")
                )
            else:
                self._nodes[actuator.id] = (node, value.Value.VariantType)


class _Batch:
    """Tasks and, one by one, their outcomes. `sent`: the positions of those that a Write has perhaps brought.

    Each has the time until its expiry, and no more than WAIT_FOR_SERVER_NS: by the loop's clock, which nobody sets.
    """

    def __init__(self, tasks: Sequence[Task], now_ns: int) -> None:
        self.tasks = tasks
        self.sent: set[int] = set()
        self._now_s = asyncio.get_running_loop().time
        times_ns = (min(WAIT_FOR_SERVER_NS, task.command.expires_ns - now_ns) for task in tasks)
        self._ends_s = [self._now_s() + max(time_ns, 0) / 1e9 for time_ns in times_ns]
        self._outcomes: dict[int, Outcome] = {}

    def in_time(self, why: str, among: Sequence[int] | None = None) -> list[int]:
        """Positions without an outcome; those whose time is over get one, with `why`."""
        positions, now_s = self._open(among), self._now_s()
        self.settle_rest(why, [position for position in positions if self._ends_s[position] < now_s])
        return self._open(positions)

    def next_end_s(self) -> float:
        """How long until the first of those that are open is too late."""
        return min(self._ends_s[position] for position in self._open(None)) - self._now_s() + 1e-3

    def settle(self, position: int, outcome: Outcome) -> None:
        self._outcomes[position] = outcome

    def settle_all(self, positions: Sequence[int], status: ReceiptStatus, why: str) -> None:
        for position in positions:
            self.settle(position, Outcome(status, None, why))

    def settle_rest(self, why: str, among: Sequence[int] | None = None) -> None:
        """What is left was perhaps written, if a Write of it ever left."""
        for position in self._open(among):
            self.settle(position, Outcome("unknown" if position in self.sent else "failed", None, why))

    def _open(self, among: Sequence[int] | None) -> list[int]:
        positions = range(len(self.tasks)) if among is None else among
        return [position for position in positions if position not in self._outcomes]

    def outcomes(self) -> list[Outcome]:
        return [self._outcomes[position] for position in range(len(self.tasks))]


def _data_value(value: float, kind: ua.VariantType) -> ua.DataValue:
    typed: Any = value
    if kind == ua.VariantType.Boolean:
        typed = bool(value)
    elif kind in _INTEGERS:
        typed = round(value)
    return ua.DataValue(ua.Variant(typed, kind))


def _outcome(status: ua.StatusCode, written: ua.DataValue, back: ua.DataValue) -> Outcome:
    if status.is_bad():
        return Outcome("failed", None, status.name)
    if _is_bad(back):
        return Outcome("unknown", None, f"written, but not read back: {back.StatusCode.name}")
    read_back, why_not = number_of(back.Value.Value)
    if why_not:
        return Outcome(
            "unknown", None, f"written, but the server has {clean(back.Value.Value)}, which is no number"
        )
    if not agrees(float(written.Value.Value), read_back):
        return Outcome("failed", read_back, f"the server has {read_back:g}")
    return Outcome("done", read_back)


def _is_bad(value: ua.DataValue) -> bool:
    return value.StatusCode is not None and bool(value.StatusCode.is_bad())


async def _happens(event: asyncio.Event, within_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
