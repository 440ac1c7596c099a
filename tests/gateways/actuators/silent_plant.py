"""The role `actuators` above its ports, on virtual time, with what of Headrace still speaks to it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateways.actuators import role
from gateways.actuators.actuators import Actuators
from gateways.actuators.dead_man import DeadMan
from gateways.actuators.fallback_store import FILE, FallbackStore
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.outcome import Outcome, Task
from gateways.actuators.receipts import Receipts
from gateways.whole.loop import VirtualLoop
from rules.engine.inputs import Receipt
from rules.engine.outputs import Command
from rules.site.parse import parse_site
from streams.bus.memory import MemoryBus
from streams.command_signatures import TrustedKeys
from streams.record import Message
from streams.role import RoleContext
from streams.settings import Settings
from streams.topics import STATUS, TOPICS
from streams.wire import encode_output
from tests.gateways.nvml.hosts import inputs

SECOND: Final = 1_000_000_000
START_NS: Final = 1_800_000_000 * SECOND
SITE, _FINDINGS = parse_site(
    """
name: dead-man
sources:
  plc:
    kind: opcua
    endpoint: opc.tcp://127.0.0.1:4840
    address: ns=2;s={point}
    watchdog: {node: ns=2;s=Watchdog}
  host: {kind: nvml, assets: R1}
  fallbacks: {kind: actuators, period: 10 s}
templates:
  pump:
    type: Pump
    points: {PumpSpeed: 0..100 %}
    actuators: {PumpSpeed: {default: 80 %, fallback: {value: 90 %, after: 10 s}}}
units:
  row-a:
    assets:
      P1: pump
      P2: {type: Pump, points: {PumpSpeed: 0..100 %}, actuators: {PumpSpeed: {default: 80 %}}}
      R1:
        type: Rack
        contains:
          -G1:
            type: GPU
            actuators:
              power_limit: {range: 500..1600 W, default: 1.4 kW, fallback: {value: 0.5 kW, after: 15 s}}
      ACT:
        type: System
        points: {ActuatorsInFallback: {range: 0..100, source: fallbacks}}
  row-b:
    assets:
      P3: pump
""",
    "site.yaml",
)
assert SITE is not None, _FINDINGS


class Device:
    """Remembers what was written, and answers as it is told to. `numbers`: what its watchdog was told, and when."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.refusal = ""
        self.answers: list[Outcome] = []
        self.written: list[tuple[float, str, float]] = []
        self.numbers: list[tuple[float, int]] = []
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def write(self, tasks: Sequence[Task]) -> list[Outcome]:
        await self.hangs.wait()
        outcomes = []
        for task in tasks:
            self.written.append((self._plant.now_s(), task.actuator.id, task.command.value))
            outcomes.append(self.answers.pop(0) if self.answers else Outcome("done", task.command.value))
        return outcomes

    async def count(self, node: str, number: int) -> str:
        assert node == "ns=2;s=Watchdog"
        self.numbers.append((self._plant.now_s(), number))
        return ""

    async def close(self) -> None:
        pass


class Plant:
    """A role, its devices, and what of Headrace still speaks: `speaks` has 'ticker', 'worker' and units.

    `is_new`: no worker has ever worked here.
    """

    def __init__(self, folder: Path, is_new: bool = False) -> None:
        self.folder = folder
        self._is_new = is_new
        self.bus = MemoryBus(self.now_ns)
        self.speaks = {"ticker", "worker", "row-a", "row-b"}
        self.plc, self.host = Device(self), Device(self)
        self.keys: Sequence[Ed25519PublicKey] = ()
        self.ahead_ns = 0
        """How far the clock of the role's host is ahead."""

        self.context: Any = None
        self.ledger: Any = None
        self.store: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = iter(range(1, 1000))

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def now_ns(self) -> int:
        return START_NS + round(self.now_s() * SECOND)

    async def begin(self) -> None:
        if not self.bus.places(STATUS.name):
            await self.bus.create_topics(TOPICS, 3)
            worked_ns = 0 if self._is_new else START_NS - 3600 * SECOND
            self.say("worker", now_ns={"row-a": worked_ns, "row-b": worked_ns})
        assert SITE is not None
        self.context = RoleContext(
            "actuators", SITE, self.folder, Settings(run_dir=self.folder), self.bus, asyncio.Event()
        )
        self.context.clock = lambda: self.now_ns() + self.ahead_ns
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._speak())]

    async def end(self) -> None:
        assert not self._tasks[0].done(), "it has ended by itself"
        self.context.stop.set()
        await self._tasks[0]
        self._tasks[1].cancel()

    def has_ended(self) -> bool:
        return self._tasks[0].done()

    async def kill(self) -> None:
        """As kill -9 does: what is on the disk at this moment is all that the next process has."""
        folder = self.folder.with_name(f"{self.folder.name}-again")
        shutil.copytree(self.folder, folder)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.folder = folder

    async def _work(self) -> None:
        context = self.context
        ledger, store = CommandLedger(self.folder / "ledger.sqlite"), FallbackStore(self.folder / FILE)
        self.ledger, self.store = ledger, store
        receipts = Receipts()
        dead_man = DeadMan(context, receipts, store, {"plc": self.plc})
        targets, trusted = {"plc": self.plc, "nvml": self.host}, TrustedKeys(self.keys, context.site.name)
        worker = Actuators(context, receipts, ledger, targets, dead_man, trusted)
        carrying = asyncio.create_task(role.carry(context, receipts))
        try:
            await worker.run()
        finally:
            carrying.cancel()
            if receipts.publisher is not None:
                await receipts.publisher.close()
                await worker.tell(everything=True)
            ledger.close()
            store.close()

    async def _speak(self) -> None:
        now_ns: dict[str, int] = {}
        while True:
            now_ns |= {unit: self.now_ns() for unit in self.speaks & {"row-a", "row-b"}}
            if "ticker" in self.speaks:
                self.say("ticker", last_tick_ns=self.now_ns())
            if "worker" in self.speaks:
                self.say("worker", now_ns=now_ns)
            self.say("actuators")
            await asyncio.sleep(1.0)

    def say(self, name: str, kind: str = "", **metrics: Any) -> None:
        if not self.bus._away:
            status = {"role": name, "kind": kind or name, "state": "ready", "metrics": metrics}
            value = orjson.dumps(status | {"at_ns": self.now_ns()})
            self.bus.append(Message(STATUS.name, 0, name.encode(), value, ()))

    def command(self, actuator: str, value: float, cause_ns: int | None = None) -> Command:
        """One that is decided now, put onto the log."""
        made = self.decided(actuator, value, cause_ns)
        self.bus.append(encode_output(made, 3))
        return made

    def decided(self, actuator: str, value: float, cause_ns: int | None = None) -> Command:
        """One that is decided now."""
        cause_ns = self.now_ns() if cause_ns is None else cause_ns
        unit = "W" if actuator.endswith("limit") else "percent"
        name = f"row-a:test:1:{next(self._numbers)}:0"
        return Command(
            name, "row-a", "rule", "P1", actuator, value, unit, cause_ns, cause_ns + 60 * SECOND, "test"
        )

    @property
    def receipts(self) -> list[Receipt]:
        return inputs(self.bus, Receipt)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(one.actuator, one.status) for one in self.receipts]

    def told_of(self, actuator: str) -> list[str]:
        return [status for name, status in self.told if name == actuator]

    @property
    def fallback(self) -> dict[str, Any]:
        found: dict[str, Any] = self.context.metrics["fallback"]
        return found


Test = Callable[[Plant], Coroutine[Any, Any, None]]


def takes_nothing(database: Any, is_so: bool = True) -> None:
    """A disk that takes nothing, or takes all again, as a connection of SQLite sees it."""
    assert isinstance(database, sqlite3.Connection)
    database.execute(f"pragma query_only = {int(is_so)}")


@contextmanager
def virtual() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


def simulated(test: Test) -> Callable[[Path], None]:
    """The test, on virtual time, with a plant whose role has begun."""

    def run(tmp_path: Path) -> None:
        async def whole() -> None:
            plant = Plant(tmp_path)
            await plant.begin()
            await test(plant)
            await plant.end()

        with virtual() as runner:
            runner.run(whole())

    run.__name__ = test.__name__
    return run
