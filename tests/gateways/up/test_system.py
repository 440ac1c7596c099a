"""The order in which `headrace up` starts what brings samples, however slowly each gets ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from gateways.up.command import UpRequest
from gateways.up.processes import Child
from gateways.up.system import OWN_SOURCES, SOURCE_ROLES, System
from rules.engine.inputs import Identity, Tick
from streams.record import Message, Record
from streams.settings import Settings
from streams.site_folder import load_site
from streams.topics import STATUS
from streams.wire import encode_input

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"


def status(role: str, state: str, pid: int = 0) -> Message:
    body = {"role": role, "state": state, "pid": pid, "metrics": {}}
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

    async def start(role: str, _: Path, options: Mapping[str, str], **_own: object) -> None:
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
    await rest()
    assert started == ["plant"]
    see(system, status("plant", "ready"))
    await asyncio.wait_for(starting, 10)
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
    await asyncio.wait_for(starting, 10)
    assert started == []


async def test_a_roll_holds_nobody_who_is_still_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal to hold would end it: its handler comes with the loop that says the status."""
    system = System(UpRequest(NARVIK, free_ports=True), load_site(NARVIK), Settings(), tmp_path, 0.0)
    held: list[str] = []
    monkeypatch.setattr(system.processes, "signal", lambda role, _: held.append(role))

    async def not_drained(_: float) -> bool:
        return False  # so that the roll ends there

    monkeypatch.setattr(system, "_drained", not_drained)
    process = await asyncio.create_subprocess_exec("sleep", "60")
    child = Child("ticker", "ticker", NARVIK, {}, tmp_path / "ticker.log", {}, process)
    system.processes.children["ticker"] = child
    try:
        await system.roll()
        see(system, status("ticker", "ready", process.pid - 1))  # its predecessor's last word
        await system.roll()
        assert held == []
        see(system, status("ticker", "starting", process.pid))
        await system.roll()
        assert held[0] == "opcua"
        assert set(held) == {*SOURCE_ROLES, *OWN_SOURCES}
    finally:
        process.kill()
        await process.wait()


async def test_a_roll_waits_for_scada_which_a_log_that_goes_away_would_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(UpRequest(NARVIK, free_ports=True), load_site(NARVIK), Settings(), tmp_path, 0.0)
    held: list[str] = []
    monkeypatch.setattr(system.processes, "signal", lambda role, _: held.append(role))

    async def not_drained(_: float) -> bool:
        return False  # so that the roll ends there

    monkeypatch.setattr(system, "_drained", not_drained)
    process = await asyncio.create_subprocess_exec("sleep", "60")
    child = Child("scada", "scada", NARVIK, {}, tmp_path / "scada.log", {}, process)
    system.processes.children["scada"] = child
    try:
        await system.roll()
        see(system, status("scada", "starting", process.pid))
        await system.roll()
        assert held == []
        see(system, status("scada", "ready", process.pid))
        await system.roll()
        assert set(held) == {*SOURCE_ROLES, *OWN_SOURCES}
    finally:
        process.kill()
        await process.wait()


async def test_who_wants_to_be_told_of_alarms_is_started_where_the_site_says_who(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, more in ((NARVIK, []), (NARVIK.parent / "narvik-small", ["alerts"])):
        system = System(UpRequest(folder, free_ports=True), load_site(folder), Settings(), tmp_path, 0.0)
        started: list[str] = []

        async def start(
            role: str, _: Path, options: Mapping[str, str], started: list[str] = started, **_own: object
        ) -> None:
            started.append(role)
            assert (role == "alerts") == ("listen" in options)

        monkeypatch.setattr(system.processes, "start", start)
        await system._start_consumers()
        assert started == ["worker", "actuators", *more]
