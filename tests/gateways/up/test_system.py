"""The order in which `headrace up` starts what brings samples, however slowly each gets ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from gateways.up.command import UpRequest, _show_until
from gateways.up.processes import Child
from gateways.up.system import OWN_SOURCES, SOURCE_ROLES, System
from rules.engine.inputs import Activation, Gap, Identity, Tick
from streams.bus.memory import MemoryBus
from streams.record import Message, Record
from streams.rule_sets.rule_set import rule_set_of
from streams.settings import Settings
from streams.site_folder import load_site
from streams.topics import EVENTS, STATUS, TOPICS
from streams.wire import decode_input, encode_input

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"


def status(role: str, state: str, pid: int = 0) -> Message:
    body = {"role": role, "kind": role, "state": state, "at_ns": 1, "pid": pid, "metrics": {}}
    return Message(STATUS.name, 0, role.encode(), orjson.dumps(body), ())


def see(system: System, message: Message) -> None:
    record = Record(message.topic, message.partition, 0, 0, message.key, message.value, message.headers)
    system.observer.see(record)


async def test_ticks_come_before_the_plant_and_the_plant_before_the_gateways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = load_site(NARVIK)
    system = System(UpRequest(NARVIK, free_ports=True), site, Settings(), tmp_path, 0.0)
    started: list[str] = []

    async def start(role: str, _: Path, options: Mapping[str, str], **_given: object) -> None:
        started.append(role)

    async def rest() -> None:
        """Longer than it takes to look again."""
        await asyncio.wait({starting}, timeout=0.2)

    monkeypatch.setattr(system.processes, "start", start)
    starting = asyncio.create_task(system._start_sources())
    *units, last = site.units
    for unit in units:
        see(system, encode_input(Tick(unit, Identity("ticker", 0, 1), site.tick_ns), 3))
    await rest()
    assert started == []
    see(system, encode_input(Tick(last, Identity("ticker", 0, 1), site.tick_ns), 3))
    see(system, status("plant", "starting"))
    async with asyncio.timeout(60):
        while not started:
            await asyncio.sleep(0.01)
    await rest()
    assert started == ["plant"]
    see(system, status("plant", "ready"))
    await asyncio.wait_for(starting, 60)
    assert started == ["plant", "opcua", "nvml", "scada"]


async def test_nothing_is_started_once_the_end_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = load_site(NARVIK)
    system = System(UpRequest(NARVIK, free_ports=True), site, Settings(), tmp_path, 0.0)
    started: list[str] = []
    monkeypatch.setattr(system.processes, "start", started.append)
    monkeypatch.setattr(system, "_end_in_order", asyncio.Event().wait)
    ending = asyncio.create_task(system.end())
    for unit in site.units:
        see(system, encode_input(Tick(unit, Identity("ticker", 0, 1), site.tick_ns), 3))
    see(system, status("plant", "ready"))
    starting = asyncio.create_task(system._start_sources())
    await asyncio.wait({starting}, timeout=0.2)
    ending.cancel()
    await asyncio.wait_for(starting, 60)
    assert started == []


@dataclass
class Rolling:
    """A system that has started one role, and whom a roll has held."""

    system: System
    role: str
    pid: int
    held: list[str]

    async def roll(self) -> set[str]:
        await self.system.roll()
        return set(self.held)

    def says(self, state: str, pid: int | None = None) -> None:
        see(self.system, status(self.role, state, pid or self.pid))


@pytest.fixture
async def rolling(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rolling]:
    """The parameter is the role. The roll ends where the log would have to be drained."""
    system = System(UpRequest(NARVIK, free_ports=True), load_site(NARVIK), Settings(), tmp_path, 0.0)
    held: list[str] = []
    monkeypatch.setattr(system.processes, "signal", lambda role, _: held.append(role))

    async def not_drained(_: float) -> bool:
        return False

    monkeypatch.setattr(system.progress, "drained", not_drained)
    process = await asyncio.create_subprocess_exec("sleep", "60")
    name = request.param
    system.processes.children[name] = Child(
        name, name, NARVIK, {}, tmp_path / f"{name}.log", {}, process=process
    )
    yield Rolling(system, name, process.pid, held)
    process.kill()
    await process.wait()


@pytest.mark.parametrize("rolling", ["ticker"], indirect=True)
async def test_a_roll_holds_nobody_who_is_still_starting(rolling: Rolling) -> None:
    """The signal to hold would end it: its handler comes with the loop that says the status."""
    assert await rolling.roll() == set()
    rolling.says("ready", rolling.pid - 1)  # its predecessor's last word
    assert await rolling.roll() == set()
    rolling.says("starting")
    assert await rolling.roll() == {*SOURCE_ROLES, *OWN_SOURCES}
    assert rolling.held[0] == "opcua"


@pytest.mark.parametrize("rolling", ["scada"], indirect=True)
async def test_a_roll_waits_for_scada_which_a_log_that_goes_away_would_end(rolling: Rolling) -> None:
    assert await rolling.roll() == set()
    rolling.says("starting")
    assert await rolling.roll() == set()
    rolling.says("ready")
    assert await rolling.roll() == {*SOURCE_ROLES, *OWN_SOURCES}


async def test_who_wants_to_be_told_of_alarms_is_started_where_the_site_says_who(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, more in ((NARVIK, []), (NARVIK.parent / "narvik-small", ["alerts"])):
        system = System(UpRequest(folder, free_ports=True), load_site(folder), Settings(), tmp_path, 0.0)
        started: list[str] = []

        async def start(
            role: str, _: Path, options: Mapping[str, str], started: list[str] = started, **_given: object
        ) -> None:
            started.append(role)
            assert (role == "alerts") == ("listen" in options)

        monkeypatch.setattr(system.processes, "start", start)
        await system._start_consumers()
        assert started == ["worker", "actuators", *more]


async def on_a_log(run_dir: Path, root_key: str = "") -> tuple[System, MemoryBus]:
    """A system whose log is in memory, and empty."""
    site, bus = replace(load_site(NARVIK), root_key=root_key), MemoryBus()
    system = System(UpRequest(NARVIK, free_ports=True), site, Settings(), run_dir, 0.0)
    await bus.create_topics(TOPICS, system.settings.broker.partitions)
    system.bus = bus  # type: ignore[assignment]
    return system, bus


async def test_the_folders_rules_are_said_once_on_a_log_without_any(tmp_path: Path) -> None:
    system, bus = await on_a_log(tmp_path)
    for _ in range(2):
        await system._activate()
        said = [decode_input(one.key, one.headers, one.value) for one in bus.records(EVENTS.name)]
        digests = [value.rules_digest for value in said if isinstance(value, Activation)]
        assert digests == [rule_set_of(NARVIK, system.site).digest] * len(system.site.units)
    system, bus = await on_a_log(tmp_path, root_key="5f" * 32)
    await system._activate()
    assert not bus.records(EVENTS.name), "nobody has signed it"


@pytest.mark.parametrize("is_fresh", [True, False])
async def test_a_run_is_what_was_logged_since_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_fresh: bool
) -> None:
    """Of which nothing is missed: not its very first record, on a fresh log or on another's."""
    system, bus = await on_a_log(tmp_path)
    producer = await bus.producer("roles")

    async def say(number: int, *messages: Message) -> None:
        for unit in system.site.units:
            gap = Gap(unit, Identity("plant", number, 1), "restart", 0, number, 0)
            await producer.send(encode_input(gap, system.settings.broker.partitions))
        for message in messages:
            await producer.send(message)

    async def first_words() -> None:
        await say(2, status("worker", "ready"))

    async def nothing(*_: object) -> None:
        pass

    if not is_fresh:
        await say(1, status("plant", "ready"))
    monkeypatch.setattr(system.broker, "start", nothing)
    monkeypatch.setattr(system, "_activate", first_words)
    monkeypatch.setattr(system, "_start", nothing)
    await system.start()
    reading = asyncio.create_task(system._read())
    observer = system.observer
    async with asyncio.timeout(60):
        while len(observer.gaps) < len(system.site.units) or not observer.came_up:
            await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.wait({reading})
    assert [gap.identity.epoch for gap in observer.gaps] == [2] * len(system.site.units)
    assert (observer.came_up, list(observer.status)) == ({"worker"}, ["worker"])


async def test_the_last_look_of_a_run_says_no_rate_of_too_short_a_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "headrace.up")
    system = System(UpRequest(NARVIK, free_ports=True), load_site(NARVIK), Settings(), tmp_path, 0.0)
    stop, watch = asyncio.Event(), asyncio.create_task(asyncio.Event().wait())
    stop.set()
    await _show_until(stop, system, watch, live=False)  # type: ignore[arg-type]
    watch.cancel()
    assert "readings/s" not in caplog.text


async def test_a_fresh_log_begins_with_the_last_ticks_again(tmp_path: Path) -> None:
    """Which are repeats: units go on with the rules of their snapshots, and nobody has to sign anything."""
    system, bus = await on_a_log(tmp_path)
    last = [Tick(unit, Identity("ticker", 0, 2), 2 * system.site.tick_ns) for unit in system.site.units]
    for tick in (*(replace(one, identity=Identity("ticker", 0, 1)) for one in last), *last):
        see(system, encode_input(tick, 3))
    await system._begin_events()
    said = [decode_input(one.key, one.headers, one.value) for one in bus.records(EVENTS.name)]
    assert sorted(said, key=lambda one: one.unit) == sorted(last, key=lambda one: one.unit)
