"""The simulated plant goes to its fallback by itself where nobody counts any more."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import orjson
import pytest
from asyncua import Client, ua

from gateways.listen import free_port
from gateways.sim import role
from gateways.sim.watchdog import Watchdogs
from rules.site.model import Fallback, Site
from streams.site_folder import load_site
from tests.gateways.sim.test_sim_role import context, endpoint, until

SECOND = 1_000_000_000
SOURCE = "plant-opcua"


@pytest.fixture(scope="module")
def small() -> Site:
    """A small plant of which only a pump falls back at its server, after five seconds; no command may be so quick."""
    site = load_site(Path(__file__).parents[3] / "examples" / "narvik-small")
    pump = "CDU-A-P1.PumpSpeed"
    actuators = {
        name: one._replace(fallback=Fallback(80.0, 5 * SECOND) if name == pump else None)
        for name, one in site.actuators.items()
    }
    return dataclasses.replace(site, actuators=actuators)


def due(watchdogs: Watchdogs, at_s: float) -> list[str]:
    return [actuator.id for actuator in watchdogs.due(round(at_s * SECOND))]


def test_it_is_armed_by_the_first_count_and_fires_once_until_it_is_counted_again(small: Site) -> None:
    watchdogs = Watchdogs(small)
    assert due(watchdogs, 100.0) == []
    for number, at_s in ((7, 100.0), (8, 101.0), (8, 102.0)):  # the same number again is no count
        watchdogs.count(SOURCE, number, round(at_s * SECOND))
    assert due(watchdogs, 106.0) == []
    assert due(watchdogs, 106.1) == ["CDU-A-P1.PumpSpeed"]
    assert watchdogs.state() == {"trips": 1, "tripped": [SOURCE]}
    assert due(watchdogs, 200.0) == []
    watchdogs.count(SOURCE, 9, 200 * SECOND)
    assert watchdogs.tripped == []
    assert due(watchdogs, 204.9) == []
    assert due(watchdogs, 205.1) == ["CDU-A-P1.PumpSpeed"]
    assert watchdogs.trips == 2


async def test_a_client_counts_and_then_does_not(small: Site, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "writes.jsonl"
    plant = await context(small, tmp_path, port, write_log=str(log))
    running = asyncio.create_task(role.run(plant))
    while plant.state != "ready" and not running.done():  # it has to build its address space
        await asyncio.sleep(0.05)
    async with Client(endpoint(port), timeout=60) as client:
        index = await client.get_namespace_index("urn:headrace:plant")
        counter, tripped, speed = (
            client.get_node(f"ns={index};s={name}")
            for name in ("Watchdog", "Watchdog.Tripped", "CDU-A-P1.PumpSpeed")
        )
        await speed.write_value(60.0)
        for number in range(1, 4):
            await counter.write_value(ua.Variant(number, ua.VariantType.UInt32))
        assert await counter.read_value() == 3
        assert await tripped.read_value() is False
        assert await until(tripped.read_value, bool)
        assert await until(speed.read_value, lambda shown: shown == 80.0)
        with pytest.raises(ua.uaerrors.BadTypeMismatch):
            await counter.write_value(ua.Variant(4.0, ua.VariantType.Double))
        with pytest.raises(ua.uaerrors.BadNotWritable):
            await tripped.write_value(ua.Variant(False, ua.VariantType.Boolean))
        await counter.write_value(ua.Variant(4, ua.VariantType.UInt32))
        await until(tripped.read_value, lambda shown: not shown)
    plant.stop.set()
    await running
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert ("watchdog", "CDU-A-P1.PumpSpeed", 80.0) in [
        (line["via"], line.get("actuator"), line.get("new")) for line in lines
    ]
    assert plant.metrics["watchdog"]["trips"] >= 1
