"""Headrace as processes, part by part killed for good: the simulated plant is at the safe side afterwards."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from asyncua import Client

from gateways.broker import EmbeddedBroker
from gateways.listen import free_port
from gateways.nvml.state import ENVIRONMENT, FILE_NAME, NvmlState
from rules.engine.inputs import Receipt
from rules.errors import UndecodableError
from rules.site.model import Site
from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from streams.site_folder import load_site
from streams.topics import ALARMS, EVENTS, JOURNAL, TOPICS
from streams.wire import decode_input
from tests.support.broker import Broker

pytestmark = pytest.mark.system
EXAMPLES = Path(__file__).parents[2] / "examples"
PARTITIONS = 3
PATIENCE_S = 180.0
PUMP = "CDU-A-P1.PumpSpeed"
By = Callable[[dict[str, Any]], Any]


@dataclass
class World(Broker):
    """`after` is 8 s in this copy of the small site."""

    site_dir: Path
    site: Site
    endpoint: str
    began_ns: int = 0

    @property
    def gpus(self) -> NvmlState:
        return NvmlState.open(self.folder / FILE_NAME)

    async def start(self, stack: AsyncExitStack, role: str) -> asyncio.subprocess.Process:
        words = ["run", role, str(self.site_dir)]
        if role in ("plant", "actuators"):
            words += ["--option", f"endpoint.plant-opcua={self.endpoint}"]
        gpus = {ENVIRONMENT: str(self.folder / FILE_NAME)}
        return await stack.enter_async_context(self.process(*words, **gpus))

    async def role(self, name: str, is_so: By) -> dict[str, Any]:
        """The first status of a role, from now on, that is as it should be."""
        begun_ns = time.time_ns()

        def found(newest: dict[str, dict[str, Any]]) -> bool:
            said = newest.get(name)
            return said is not None and said["at_ns"] > begun_ns and bool(is_so(said))

        return (await self.until(name, found, PATIENCE_S))[name]

    async def receipts(self) -> list[Receipt]:
        found = []
        for record in await self.read(EVENTS.name):
            try:
                value = decode_input(record.key, record.headers, record.value)
            except UndecodableError:
                continue
            found += [value] if isinstance(value, Receipt) else []
        return found


@pytest.fixture
async def world(unused_port: int, tmp_path: Path) -> AsyncIterator[World]:
    for name in ("narvik", "narvik-small"):
        shutil.copytree(EXAMPLES / name, tmp_path / name)
    site_file = tmp_path / "narvik-small" / "site.yaml"
    site_file.write_text(
        site_file.read_text().replace("after: 20 s", "after: 8 s").replace("period: 10 s", "period: 1 s")
    )
    embedded = EmbeddedBroker(unused_port, tmp_path)
    await embedded.start()
    settings = BrokerSettings(bootstrap=embedded.bootstrap, partitions=PARTITIONS, request_timeout_s=30)
    bus = KafkaBus(settings)
    try:
        await bus.create_topics(TOPICS, PARTITIONS)
        endpoint = f"opc.tcp://127.0.0.1:{free_port()}/headrace/plant"
        folder = site_file.parent
        yield World(tmp_path, embedded.bootstrap, bus, folder, load_site(folder), endpoint)
    finally:
        await bus.close()
        await embedded.stop()


async def shown(client: Client, name: str, wanted: object) -> None:
    """Wait until a node has a value."""
    index = await client.get_namespace_index("urn:headrace:plant")
    node = client.get_node(f"ns={index};s={name}")
    async with asyncio.timeout(PATIENCE_S):
        while await node.read_value() != wanted:
            await asyncio.sleep(0.2)


async def set_pump(client: Client) -> None:
    """What rules or people might have set."""
    index = await client.get_namespace_index("urn:headrace:plant")
    await client.get_node(f"ns={index};s={PUMP}").write_value(60.0)
    await shown(client, PUMP, 60.0)


async def test_whatever_is_killed_the_plant_goes_to_the_safe_side(world: World) -> None:
    named = [one for one in world.site.actuators.values() if one.fallback is not None]
    async with AsyncExitStack() as stack:
        ticker = await world.start(stack, "ticker")
        worker = await world.start(stack, "worker")
        await world.role("worker", lambda said: said["metrics"].get("now_ns"))
        await world.start(stack, "plant")
        await world.role("plant", lambda said: said["state"] == "ready")
        actuators = await world.start(stack, "actuators")
        await world.role("actuators", _counts)
        client = await stack.enter_async_context(Client(world.endpoint, timeout=60))
        await set_pump(client)

        # ticker and worker: the role writes every fallback, to both kinds of target
        ticker.kill()
        worker.kill()
        said = await world.role(
            "actuators", lambda said: said["metrics"]["fallback"]["actuators"] == len(named)
        )
        await world.role("actuators", lambda said: said["metrics"]["fallback"]["owed"] == 0)
        assert said["metrics"]["fallback"]["silent"].keys() == set(world.site.units)
        await shown(client, PUMP, 80.0)
        assert set(world.gpus.field("power_limit_mw").tolist()) == {500_000}
        told = {
            one.actuator: one.status for one in await world.receipts() if one.command.startswith("fallback:")
        }
        assert told == {one.id: "done" for one in named}

        # life returns: the engine hears of it, and an ordinary rule makes an alarm of it
        await world.start(stack, "ticker")
        await world.start(stack, "worker")
        await world.role("actuators", lambda said: said["state"] == "ready" and _counts(said))
        await said_on(world, ALARMS.name, lambda said: said["rule"] == "actuators-in-fallback")
        await said_on(world, JOURNAL.name, lambda said: "fallback:" in str(said["detail"]))

        # the role itself: the plant's watchdog
        await set_pump(client)
        actuators.kill()
        await shown(client, "Watchdog.Tripped", True)
        await shown(client, PUMP, 80.0)


def _counts(said: dict[str, Any]) -> bool:
    fallback = said["metrics"].get("fallback", {})
    return fallback.get("watchdogs") == {"plant-opcua": "counts"} and not fallback["silent"]


async def said_on(world: World, topic: str, is_so: By) -> None:
    """Wait until the engine has said such a thing on a topic."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if any(is_so(orjson.loads(one.value)["body"]) for one in await world.read(topic) if one.value):
                return
            await asyncio.sleep(0.5)
