"""Actuators of a silent Headrace go to their fallback: the whole role above its ports, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from gateways.actuators import actuators, dead_man, role
from gateways.actuators.actuators import Actuators
from gateways.actuators.dead_man import DeadMan
from gateways.actuators.fallback_store import FILE, FallbackStore
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.outcome import Outcome, Task
from gateways.whole.loop import VirtualLoop
from rules.engine.inputs import Readings, Receipt
from rules.engine.outputs import Command
from rules.site.parse import parse_site
from streams.bus.memory import MemoryBus
from streams.command_signatures import TrustedKeys
from streams.publisher.publisher import Publisher
from streams.record import Message
from streams.replay_mark import Mark, mark_log
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
        self.context: Any = None
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
        self.context.clock = self.now_ns
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._speak())]

    async def end(self) -> None:
        assert not self._tasks[0].done(), "it has ended by itself"
        self.context.stop.set()
        await self._tasks[0]
        self._tasks[1].cancel()

    async def _work(self) -> None:
        context = self.context
        ledger, store = CommandLedger(self.folder / "ledger.sqlite"), FallbackStore(self.folder / FILE)
        publisher = await Publisher.open(context, role.SOURCE)
        dead_man = DeadMan(context, publisher, store, {"plc": self.plc})
        targets, trusted = {"plc": self.plc, "nvml": self.host}, TrustedKeys((), context.site.name)
        worker = Actuators(context, publisher, ledger, targets, dead_man, trusted)
        try:
            await worker.run()
        finally:
            await publisher.close()
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

    def say(self, name: str, **metrics: Any) -> None:
        if not self.bus._away:
            value = orjson.dumps({"role": name, "state": "ready", "metrics": metrics})
            self.bus.append(Message(STATUS.name, 0, name.encode(), value, ()))

    def command(self, actuator: str, value: float, cause_ns: int | None = None) -> Command:
        """One that is decided now, put onto the log."""
        cause_ns = self.now_ns() if cause_ns is None else cause_ns
        unit = "W" if actuator.endswith("limit") else "percent"
        name = f"row-a:test:1:{next(self._numbers)}:0"
        made = Command(
            name, "row-a", "rule", "P1", actuator, value, unit, cause_ns, cause_ns + 60 * SECOND, "test"
        )
        self.bus.append(encode_output(made, 3))
        return made

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


@contextmanager
def _loop() -> Iterator[asyncio.Runner]:
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

        with _loop() as runner:
            runner.run(whole())

    run.__name__ = test.__name__
    return run


@simulated
async def test_while_everything_speaks_nothing_is_written_and_the_watchdog_counts(plant: Plant) -> None:
    await asyncio.sleep(120.0)
    assert plant.plc.written == plant.host.written == plant.receipts == []
    numbers = [number for _, number in plant.plc.numbers]
    assert len(numbers) > 100
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert plant.context.state == "ready"
    assert plant.fallback["actuators"] == 0


@simulated
async def test_a_dead_worker_sends_each_actuator_to_its_fallback_after_its_own_time(plant: Plant) -> None:
    await asyncio.sleep(30.0)
    plant.speaks -= {"worker"}
    await asyncio.sleep(8.0)
    assert plant.plc.written == []
    await asyncio.sleep(4.0)
    assert [(name, value) for _, name, value in plant.plc.written] == [
        ("P1.PumpSpeed", 90.0),
        ("P3.PumpSpeed", 90.0),
    ]
    assert plant.host.written == []
    await asyncio.sleep(5.0)
    assert [(name, value) for _, name, value in plant.host.written] == [("R1-G1.power_limit", 500.0)]
    await asyncio.sleep(120.0)
    assert len(plant.plc.written) + len(plant.host.written) == 3, "once for each silence"
    assert {status for _, status in plant.told} == {"done"}
    first = plant.receipts[0]
    assert first.command.startswith("fallback:P1.PumpSpeed:")
    assert (first.value, first.read_back) == (90.0, 90.0)
    assert first.detail.endswith("worker")
    assert plant.context.state == "fallback"
    assert plant.fallback["actuators"] == 3
    assert plant.fallback["names"] == ["P1.PumpSpeed", "P3.PumpSpeed", "R1-G1.power_limit"]
    assert plant.fallback["silent"].keys() == {"row-a", "row-b"}
    assert 0 <= plant.fallback["since_ns"] - (START_NS + 29 * SECOND) <= 2 * SECOND


@simulated
async def test_only_the_unit_that_nobody_works_on_falls_back(plant: Plant) -> None:
    await asyncio.sleep(30.0)
    plant.speaks -= {"row-b"}
    await asyncio.sleep(60.0)
    assert [name for _, name, _ in plant.plc.written] == ["P3.PumpSpeed"]
    assert plant.plc.numbers[-1][0] > plant.now_s() - 2, "a unit of the server lives, and nothing is owed"


@pytest.mark.parametrize(
    ("gone", "part"),
    [({"ticker", "row-a", "row-b"}, "ticker"), ({"worker"}, "worker")],
    ids=["ticker", "worker"],
)
def test_the_part_that_is_silent_is_named(tmp_path: Path, gone: set[str], part: str) -> None:
    async def test(plant: Plant) -> None:
        await asyncio.sleep(20.0)
        plant.speaks -= gone
        await asyncio.sleep(20.0)
        assert plant.fallback["part"] == part

    simulated(test)(tmp_path)


@simulated
async def test_a_log_that_is_away_is_silent_and_is_told_when_it_is_back(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.bus.go_away()
    await asyncio.sleep(30.0)
    assert len(plant.plc.written) + len(plant.host.written) == 3
    assert plant.fallback["part"] == "log"
    plant.bus.come_back()
    await asyncio.sleep(30.0)
    assert sorted(plant.told) == [
        (name, "done") for name in ("P1.PumpSpeed", "P3.PumpSpeed", "R1-G1.power_limit")
    ]
    assert plant.context.state == "ready"
    assert plant.fallback["actuators"] == 3, "nothing is restored by itself"
    assert inputs(plant.bus, Readings)[-1].values[0] == 3.0


@simulated
async def test_where_nothing_is_heard_from_the_start_they_fall_back_too_and_the_watchdog_never_counts(
    plant: Plant,
) -> None:
    plant.speaks.clear()
    await asyncio.sleep(9.0)
    assert plant.plc.written == []
    await asyncio.sleep(3.0)
    assert len(plant.plc.written) == 2
    await asyncio.sleep(60.0)
    assert plant.plc.numbers == []


def test_a_unit_on_which_headrace_has_never_worked_is_left_to_others_until_it_has(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path, is_new=True)
        plant.speaks -= {"row-a", "row-b"}
        await plant.begin()
        await asyncio.sleep(60.0)
        assert plant.plc.written == plant.plc.numbers == plant.receipts == []
        assert plant.context.state == "ready"
        plant.speaks |= {"row-b"}
        await asyncio.sleep(5.0)
        plant.speaks -= {"row-b"}
        await asyncio.sleep(8.0)
        assert plant.plc.written == []
        await asyncio.sleep(4.0)
        assert [name for _, name, _ in plant.plc.written] == ["P3.PumpSpeed"]
        await plant.end()

    with _loop() as runner:
        runner.run(whole())


def test_a_process_that_is_started_in_a_silence_on_an_empty_log_remembers_that_headrace_had_worked(
    tmp_path: Path,
) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path, is_new=True)
        await plant.begin()
        await asyncio.sleep(5.0)
        await plant.end()
        plant.speaks.clear()
        plant.bus = MemoryBus(plant.now_ns)
        await plant.begin()
        await asyncio.sleep(12.0)
        assert len(plant.plc.written) == 2
        await plant.end()

    with _loop() as runner:
        runner.run(whole())


@simulated
async def test_a_log_that_is_away_from_the_start(plant: Plant) -> None:
    plant.bus.go_away()
    await asyncio.sleep(12.0)
    assert len(plant.plc.written) == 2


def test_a_log_that_is_away_is_said_seldom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Though it is asked for twice a second."""
    for module in (actuators, dead_man):
        for limit in module.log_again.filters:
            limit._seen.clear()  # type: ignore[union-attr]

    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        plant.bus.go_away()  # before the role had its first turn
        await asyncio.sleep(12.0)
        await plant.end()

    with _loop() as runner:
        runner.run(whole())
    said = [line for line in caplog.messages if "can't be read" in line]
    assert said == [
        "commands can't be read: the broker is away",
        "the words of roles can't be read: the broker is away",
    ]


@simulated
async def test_on_a_replays_log_never(plant: Plant) -> None:
    await mark_log(plant.bus, Mark("run.mcap", has_facts=True))
    await asyncio.sleep(7.0)
    plant.speaks.clear()
    await asyncio.sleep(100.0)
    plant.bus.go_away()
    await asyncio.sleep(100.0)
    assert plant.plc.written == plant.host.written == plant.plc.numbers == []
    plant.bus.come_back()
    await asyncio.sleep(20.0)
    assert inputs(plant.bus, Readings) == plant.receipts == []
    assert plant.fallback["actuators"] == 0


@simulated
async def test_what_fails_is_tried_again_and_said_once(plant: Plant) -> None:
    plant.speaks -= {"worker"}
    plant.plc.answers = [Outcome("failed", None, "BadTimeout"), *[Outcome("done", 90.0)], Outcome("unknown")]
    await asyncio.sleep(11.0)
    assert plant.told_of("P1.PumpSpeed") == ["failed"]
    assert plant.told_of("P3.PumpSpeed") == ["done"]
    assert plant.fallback["owed"] == 1
    await asyncio.sleep(2.5)
    assert plant.told_of("P1.PumpSpeed") == ["failed", "unknown"]
    await asyncio.sleep(60.0)
    assert plant.told_of("P1.PumpSpeed") == ["failed", "unknown", "done"]
    assert [name for _, name, _ in plant.plc.written].count("P1.PumpSpeed") == 3
    assert plant.fallback["owed"] == 0


@simulated
async def test_the_watchdog_stands_still_while_a_fallback_is_owed(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.plc.answers = [Outcome("failed")] * 1000
    plant.speaks -= {"row-b"}
    await asyncio.sleep(60.0)
    assert plant.fallback["watchdogs"] == {"plc": "stands still"}
    assert plant.plc.numbers[-1][0] < plant.now_s() - 40


@simulated
async def test_what_was_never_written_is_not_written_after_life_has_returned(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.plc.answers = [Outcome("failed")] * 1000
    plant.speaks -= {"row-b"}
    await asyncio.sleep(30.0)
    plant.speaks |= {"row-b"}
    await asyncio.sleep(5.0)
    tries = len(plant.plc.written)
    assert plant.fallback["actuators"] == plant.fallback["owed"] == 0
    await asyncio.sleep(60.0)
    assert len(plant.plc.written) == tries


@simulated
async def test_a_second_silence_is_another_one(plant: Plant) -> None:
    for _ in range(2):
        await asyncio.sleep(20.0)
        plant.speaks -= {"row-b"}
        await asyncio.sleep(20.0)
        plant.speaks |= {"row-b"}
    assert [name for _, name, _ in plant.plc.written] == ["P3.PumpSpeed"] * 2
    assert len({one.command for one in plant.receipts}) == 2


@simulated
async def test_a_command_that_was_decided_before_does_not_undo_it_and_a_later_one_ends_it(
    plant: Plant,
) -> None:
    await asyncio.sleep(20.0)
    decided_ns = plant.now_ns()
    plant.speaks -= {"worker"}
    await asyncio.sleep(12.0)
    old = plant.command("P1.PumpSpeed", 40.0, decided_ns)
    await asyncio.sleep(1.0)
    refused = [one for one in plant.receipts if one.command == old.id]
    assert [one.status for one in refused] == ["refused"]
    assert "decided before the fallback" in refused[0].detail
    plant.speaks |= {"worker"}
    await asyncio.sleep(5.0)
    assert plant.fallback["actuators"] == 2
    new = plant.command("P1.PumpSpeed", 50.0)
    await asyncio.sleep(1.0)
    assert [one.status for one in plant.receipts if one.command == new.id] == ["done"]
    assert plant.fallback["names"] == ["P3.PumpSpeed"]
    late = plant.command("P1.PumpSpeed", 40.0, decided_ns)
    await asyncio.sleep(1.0)
    assert [one.status for one in plant.receipts if one.command == late.id] == ["refused"]


@simulated
async def test_a_command_that_hung_at_the_device_does_not_end_it(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.plc.hangs.clear()
    plant.command("P1.PumpSpeed", 40.0)
    await asyncio.sleep(1.0)
    plant.speaks -= {"worker"}
    await asyncio.sleep(15.0)
    plant.plc.hangs.set()
    await asyncio.sleep(15.0)
    assert [value for _, name, value in plant.plc.written if name == "P1.PumpSpeed"] == [40.0, 90.0]
    assert "P1.PumpSpeed" in plant.fallback["names"]


def test_a_process_that_is_started_again_knows_what_is_in_its_fallback(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        await asyncio.sleep(20.0)
        decided_ns = plant.now_ns()
        plant.speaks -= {"row-b"}
        await asyncio.sleep(12.0)
        await plant.end()
        plant.speaks |= {"row-b"}
        await plant.begin()
        await asyncio.sleep(5.0)
        assert plant.fallback["names"] == ["P3.PumpSpeed"]
        old = plant.command("P3.PumpSpeed", 40.0, decided_ns)
        await asyncio.sleep(2.0)
        assert [one.status for one in plant.receipts if one.command == old.id] == ["refused"]
        plant.command("P3.PumpSpeed", 40.0)
        await asyncio.sleep(2.0)
        await plant.end()
        await plant.begin()
        await asyncio.sleep(2.0)
        assert plant.fallback["actuators"] == 0
        await plant.end()

    with _loop() as runner:
        runner.run(whole())


def test_a_disk_that_takes_nothing_keeps_no_actuator_from_its_safe_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(plant: Plant) -> None:
        await asyncio.sleep(12.0)
        assert len(plant.plc.written) == 2, "whether Headrace has ever worked there, nobody knows"
        assert plant.fallback["disk_failures"] > 0

    async def whole() -> None:
        (tmp_path / FILE).write_bytes(b"this is no database" * 100)
        plant = Plant(tmp_path)
        await plant.begin()
        plant.speaks.clear()
        await test(plant)
        await plant.end()

    with _loop() as runner:
        runner.run(whole())
    assert "not kept on disk" in caplog.text
