"""The role `scada` on a bus in memory, with a small worker and ticker: what its tests share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.ua.ua_binary import uatcp_to_binary
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateways.access.passwords import hashed
from gateways.scada import role
from rules.engine.engine import Engine
from rules.engine.inputs import Input
from rules.engine.outputs import Alarm, Entry, Output
from rules.errors import UnreachableError
from rules.site.model import Site
from rules.site.parse import parse_site
from streams.bus.bus import Bus
from streams.bus.memory import MemoryBus
from streams.role import RoleContext, status_message
from streams.settings import AccessSettings, ScadaSettings, Settings
from streams.topics import EVENTS, TOPICS
from streams.wire import decode_input, encode_input, encode_output
from tests.rules.access.people import key_of, listing, user
from tests.rules.engine.plant import MS, SITE, UNIT, flow, tick
from tests.support.noted_bus import NotedBus, check_rights, nothing_used

ROLES: Mapping[str, str] = {"vic": "viewer", "eva": "operator", "eng": "engineer", "ada": "admin"}
PASSWORD = "correct horse battery"
RULES = """
rules:
  rack-low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    latch: false
    message: "{asset}: {value:.0f} L/min"
  rack-off:
    for: Rack
    when: RackLiquidFlow < 10 L/min
    severity: urgent
    latch: true
    message: "{asset}: no flow"
"""
LOW_R1, LOW_R2 = f"{UNIT}:rack-low:R1", f"{UNIT}:rack-low:R2"


async def until(condition: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    """Wait for a condition; the time-out only ends a test that has failed."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(0.01)
    return found


def site_folder(folder: Path, with_users: bool = True) -> Path:
    """A site's folder, with four users of one password, whose certificates are none."""
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "rules.yaml").write_text(RULES)
    (folder / "site.yaml").write_text(SITE.replace("tick: 100 ms", "tick: 100 ms\nrules: [rules]"))
    if with_users:
        lines = [
            f"  {name}: {{role: {role}, password: '{hashed(PASSWORD)}'}}" for name, role in ROLES.items()
        ]
        (folder / "users.yaml").write_text("users:\n" + "\n".join(lines) + "\n")
        key = key_of("scada").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "scada.pem").write_bytes(key)
        (folder / "scada.pem").chmod(0o600)
    return folder


class Live:
    """`send` puts readings and the like on the log; the engine of `row` says what it makes of them."""

    def __init__(self, folder: Path, port: int, bus: Bus | None = None, **settings: Any) -> None:
        site, findings = parse_site((folder / "site.yaml").read_text(), "site.yaml")
        assert site is not None, findings
        self.site: Site = site
        self.bus: Bus = bus or MemoryBus()
        self.endpoint = f"opc.tcp://127.0.0.1:{port}/headrace"
        has_users = (folder / "users.yaml").exists()
        given = Settings(
            run_dir=folder / "run",
            scada=ScadaSettings(**{"endpoint": self.endpoint, "allow_none": True, **settings}),
            access=AccessSettings(keys={"scada": folder / "scada.pem"} if has_users else {}),
        )
        self.used = nothing_used()
        noted = NotedBus(self.bus, self.used, lambda: "scada")
        self.context = RoleContext("scada", site, folder, given, noted, asyncio.Event())
        self.has_users = has_users
        self.said: list[Alarm] = []
        self.refused: list[Entry] = []
        self.ticks = True
        self._sequences: dict[str, int] = {}

    async def start(self) -> list[asyncio.Task[None]]:
        """Worker, ticker and role; returns when clients are let in."""
        tasks = await self.start_worker()
        tasks.append(asyncio.create_task(role.run(self.context)))
        while self.context.state != "ready":
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)
        return tasks

    async def start_worker(self) -> list[asyncio.Task[None]]:
        """Worker and ticker."""
        await self.bus.create_topics(TOPICS, 3)
        self.producer = await self.bus.producer("test")
        from rules.language.load import load_rules

        program, findings = load_rules({"rules.yaml": RULES}, self.site)
        assert program is not None, findings
        self.engines = {unit: Engine(program, self.site, unit) for unit in self.site.units}
        reader = await self.bus.reader([EVENTS.name])
        tasks = [asyncio.create_task(self._work(reader)), asyncio.create_task(self._tick())]
        await self.send(tick(time.time_ns() // (100 * MS) * 100 * MS))
        if self.has_users:
            people = {name: user(name, role) for name, role in ROLES.items()}
            people["scada"] = user("scada", "engineer", "*")
            now_ns = time.time_ns()
            await self.send(listing(now_ns, people, at_ns=now_ns))
        return tasks

    async def send(self, value: Input) -> None:
        """Onto `events`."""
        await (await self.producer.send(encode_input(value, 3)))

    async def flow(self, value: float, rack: str = "R1") -> None:
        """A reading of a rack's flow."""
        point = f"{rack}.RackLiquidFlow"
        self._sequences[point] = self._sequences.get(point, 0) + 1
        reading = flow(1, time.time_ns(), value, point=point)
        self._sequences["plant"] = self._sequences.get("plant", 0) + 1
        identity = reading.identity._replace(sequence=self._sequences["plant"])
        await self.send(replace(reading, identity=identity))

    async def say(self, output: Output) -> None:
        """As if the worker had said it."""
        await (await self.producer.send(encode_output(output, 3)))

    async def _work(self, reader: Any) -> None:
        try:
            while True:
                for record in await reader.read(0.1):
                    value = decode_input(record.key, record.headers, record.value)
                    for output in self.engines[value.unit].step([value]):
                        if isinstance(output, Alarm):
                            self.said.append(output)
                        elif isinstance(output, Entry) and output.kind == "action-refused":
                            self.refused.append(output)
                        await self.say(output)
        finally:
            await reader.close()

    async def _tick(self) -> None:
        worker = RoleContext("worker", self.site, Path(), self.context.settings, self.bus, asyncio.Event())
        worker.ready()
        while True:
            with contextlib.suppress(UnreachableError):
                for unit in self.site.units if self.ticks else ():
                    await self.send(tick(time.time_ns() // (100 * MS) * 100 * MS, unit))
                if self.ticks:
                    await (await self.producer.send(status_message(worker)))
            await asyncio.sleep(0.1)

    def state(self, key: str = LOW_R1) -> str:
        """The engine's last word on an alarm."""
        return next((one.state for one in reversed(self.said) if one.key == key), "")


@asynccontextmanager
async def live(folder: Path, port: int, **settings: Any) -> AsyncIterator[Live]:
    """All of it, until the end of the block."""
    made = Live(folder, port, **settings)
    tasks = await made.start()
    try:
        yield made
    finally:
        made.context.stop.set()
        await asyncio.gather(tasks[2], return_exceptions=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        check_rights("scada", made.used)


@asynccontextmanager
async def client(endpoint: str, name: str = "", password: str = PASSWORD) -> AsyncIterator[Any]:
    """A client of asyncua's over a channel without security."""
    made = Client(endpoint, timeout=60)
    if name:
        made.set_user(name)
        made.set_password(password)
    async with made:
        yield made


class Events:
    """Keeps the events that a client is told, as dictionaries by path."""

    PATHS = (
        "EventId", "EventType", "SourceName", "SourceNode", "Time", "Message", "Severity", "ConditionName", "BranchId",
        "Retain", "ActiveState/Id", "AckedState/Id", "ConfirmedState/Id", "SuppressedState/Id", "OutOfServiceState/Id",
        "ShelvingState/CurrentState/Id", "ShelvingState/UnshelveTime", "SuppressedOrShelved", "Comment", "ClientUserId",
        "Quality", "LimitState/CurrentState/Id", "LowLimit", "LowLowLimit", "LatchedState/Id", "InputNode",
    )  # fmt: skip

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def filter(self, where: list[Any] | None = None) -> Any:
        """An event filter that selects all paths, and the ConditionId."""
        clauses = [
            ua.SimpleAttributeOperand(
                TypeDefinitionId=ua.NodeId(ua.ObjectIds.BaseEventType),
                BrowsePath=[ua.QualifiedName(part) for part in path.split("/")],
                AttributeId=ua.AttributeIds.Value,
            )
            for path in self.PATHS
        ]
        clauses.append(
            ua.SimpleAttributeOperand(
                TypeDefinitionId=ua.NodeId(ua.ObjectIds.ConditionType), AttributeId=ua.AttributeIds.NodeId
            )
        )
        return ua.EventFilter(SelectClauses=clauses, WhereClause=ua.ContentFilter(Elements=where or []))

    async def subscribe(
        self, session: Any, node: Any = None, where: list[Any] | None = None, queue: int = 0
    ) -> Any:
        """A subscription of this client on the events of a node; (subscription id, item id)."""
        params = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=50, RequestedLifetimeCount=600, RequestedMaxKeepAliveCount=20,
            PublishingEnabled=True,
        )  # fmt: skip
        made = await session.uaclient.create_subscription(params, self._told)
        item = ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(
                node or ua.NodeId(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier
            ),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=1, Filter=self.filter(where), QueueSize=queue, DiscardOldest=True
            ),
        )
        created = await session.uaclient.create_monitored_items(
            ua.CreateMonitoredItemsParameters(SubscriptionId=made.SubscriptionId, ItemsToCreate=[item])
        )
        created[0].StatusCode.check()
        return made.SubscriptionId, created[0].MonitoredItemId

    def _told(self, result: Any) -> None:
        for notification in result.NotificationMessage.NotificationData or []:
            for event in getattr(notification, "Events", []):
                values = [one.Value for one in event.EventFields]
                self.all.append(dict(zip((*self.PATHS, "@NodeId"), values, strict=True)))

    def of(self, key: str) -> list[dict[str, Any]]:
        """Those of a condition, in order."""
        return [one for one in self.all if one["@NodeId"] is not None and one["@NodeId"].Identifier == key]


async def call(session: Any, condition: Any, method: str, *arguments: Any) -> str:
    """The name of the status code with which a method of a condition is answered."""
    request = ua.CallMethodRequest(
        ObjectId=condition,
        MethodId=ua.NodeId(getattr(ua.ObjectIds, method)),
        InputArguments=[one if isinstance(one, ua.Variant) else ua.Variant(one) for one in arguments],
    )
    (result,) = await session.uaclient.call([request])
    return str(result.StatusCode.name)


def hello(receive: int = 65535, send: int = 65535) -> bytes:
    """The first message of a client, with the sizes of its buffers in bytes."""
    said = ua.Hello()
    said.EndpointUrl, said.ReceiveBufferSize, said.SendBufferSize = "opc.tcp://127.0.0.1:1/", receive, send
    return bytes(uatcp_to_binary(ua.MessageType.Hello, said))
