"""Set points of an OPC UA server: one persistent connection, one Write and one Read call for a whole batch.

Rules: until command safety is there, only the project's own simulated plant is written: a server whose namespaces
and product URI do not say that is refused, before anything else is asked of it. A set point is the same however
often it is written, so a batch that a lost connection interrupts is written again while there is time; after that
it is `unknown` if it was ever sent and `failed` if it was not.
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

from gateways.actuators.outcome import Outcome, Task, agrees
from gateways.opcua.inventory import resolve
from gateways.opcua.security import secure
from gateways.opcua.stack import Client
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
        self._refusal = ""
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
                self._refusal = str(error)
                self._log.error("%s: %s", self.source.id, error)
            except (TimeoutError, OSError, ua.UaError) as error:
                self._away(error)
            finally:
                self._client = None
                self._announce()
                with contextlib.suppress(Exception):  # the connection may be gone; there is nothing to save
                    await asyncio.wait_for(client.disconnect(), 1.0)
            await asyncio.sleep(backoff_s * random.uniform(0.8, 1.2))
            backoff_s = min(2 * backoff_s, BACKOFF_LAST_S)

    async def _connect(self, client: Client) -> None:
        await secure(client, self.source, self._run_dir)
        await client.connect()
        self._namespaces = await client.get_namespace_array()
        product = await client.get_node(ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductUri).read_value()
        if NAMESPACE_URI not in self._namespaces or product != PRODUCT_URI:
            raise _ForeignServerError(
                f"{self.source.endpoint} is not Headrace's simulated plant (its product is '{product}'): "
                "actuators write to no other server yet"
            )
        self._nodes.clear()
        self._refusal = ""
        self.connections += 1
        self._client = client
        self._announce()
        self._log.info("%s: connected to %s", self.source.id, self.source.endpoint)

    def _away(self, error: BaseException) -> None:
        why = _explain(error)
        if self._client is not None or why != self._why_away:
            self._log.warning("%s: %s can't be written: %s", self.source.id, self.source.endpoint, why)
        self._why_away = why

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """The connection ends with `run`."""

    async def write(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Write all set points in one call and read them back in another. No actuator twice in one batch."""
        give_up_ns = min(self._clock() + WAIT_FOR_SERVER_NS, *(task.command.expires_ns for task in tasks))
        batch = _Batch(tasks)
        while True:
            client, changed = self._client, self._changed
            if client is None and self._refusal:
                return [Outcome("refused", None, self._refusal)] * len(tasks)
            if client is not None:
                try:
                    await self._attempt(client, batch)
                except LOST as error:
                    self._away(error)
                    if self._client is client:
                        self._client = None
                except ua.UaError as error:
                    batch.settle_rest(_explain(error))
                else:
                    return batch.outcomes()
            left_s = (give_up_ns - self._clock()) / 1e9
            if left_s <= 0 or batch.is_settled or not await _happens(changed, left_s):
                batch.settle_rest(self._why_away)
                return batch.outcomes()

    async def count(self, node: str, number: int) -> str:
        """Write a watchdog's counter, once and at once; "" when the server has it, else why not."""
        client = self._client
        if client is None:
            return self._refusal or self._why_away
        try:
            known = resolve(ua.NodeId.from_string(node), self._namespaces)
            if known is None:
                return f"no node '{node}' at the server"
            value = ua.DataValue(ua.Variant(number, ua.VariantType.UInt32))
            (status,) = await client.uaclient.write_attributes([known], [value], ua.AttributeIds.Value)
        except (*LOST, ua.UaError, ValueError) as error:
            return _explain(error)
        return status.name if status.is_bad() else ""

    async def _attempt(self, client: Client, batch: _Batch) -> None:
        await self._learn_nodes(client, batch)
        positions = batch.open()
        if not positions:
            return
        nodes = [self._nodes[batch.tasks[position].actuator.id] for position in positions]
        values = [
            _data_value(batch.tasks[position].command.value, kind)
            for position, (_, kind) in zip(positions, nodes, strict=True)
        ]
        ids = [node for node, _ in nodes]
        batch.sent = True
        statuses = await client.uaclient.write_attributes(ids, values, ua.AttributeIds.Value)
        read = await client.uaclient.read_attributes(ids, ua.AttributeIds.Value)
        for position, status, value, back in zip(positions, statuses, values, read, strict=True):
            batch.settle(position, _outcome(status, value, back))

    async def _learn_nodes(self, client: Client, batch: _Batch) -> None:
        """Node ids and types of actuators that were not written yet; what the server lacks has failed."""
        asked: list[tuple[int, ua.NodeId]] = []
        for position in batch.open():
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
            if value.StatusCode.is_bad() or value.Value is None:
                batch.settle(
                    position, Outcome("failed", None, f"{actuator.address}: {value.StatusCode.name}")
                )
            else:
                self._nodes[actuator.id] = (node, value.Value.VariantType)


class _Batch:
    """Tasks and, one by one, their outcomes."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.sent = False
        self._outcomes: dict[int, Outcome] = {}

    @property
    def is_settled(self) -> bool:
        return len(self._outcomes) == len(self.tasks)

    def open(self) -> list[int]:
        """Positions without an outcome."""
        return [position for position in range(len(self.tasks)) if position not in self._outcomes]

    def settle(self, position: int, outcome: Outcome) -> None:
        self._outcomes[position] = outcome

    def settle_rest(self, why: str) -> None:
        """What is left was perhaps written, if a Write ever left."""
        for position in self.open():
            self.settle(position, Outcome("unknown" if self.sent else "failed", None, why))

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
    if back.Value is None or back.StatusCode.is_bad():
        return Outcome("unknown", None, f"written, but not read back: {back.StatusCode.name}")
    read_back = float(back.Value.Value)
    if not agrees(float(written.Value.Value), read_back):
        return Outcome("failed", read_back, f"the server has {read_back:g}")
    return Outcome("done", read_back)


def _explain(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
