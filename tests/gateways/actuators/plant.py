"""A plant for the actuators: an OPC UA server (asyncua) with set points, and the site that names them."""

import asyncio
import contextlib
import dataclasses
import itertools
import time
from datetime import UTC, datetime

from asyncua import Server, ua

from gateways.actuators import role
from gateways.actuators.opcua_target import NAMESPACE_URI, PRODUCT_URI
from rules.engine.inputs import Receipt
from rules.engine.outputs import Command
from rules.site.model import Actuator, Source
from streams.wire import encode_output
from tests.gateways.nvml.hosts import inputs
from tests.gateways.nvml.hosts import make_site as nvml_site

SECOND = 1_000_000_000
SET_POINTS = {f"P{number}.PumpSpeed": (50.0, ua.VariantType.Double) for number in range(1, 21)} | {
    "V1.Float": (1.5, ua.VariantType.Float),
    "V1.Whole": (3, ua.VariantType.Int16),
    "V1.Open": (False, ua.VariantType.Boolean),
}
ABSENT = ("P1.NotAtTheServer", "P1.ReadOnly")


def make_site(port):
    """The NVML test site, and the set points of an OPC UA server."""
    site = nvml_site()
    opcua = {
        name: Actuator(
            name,
            "R1",
            name.partition(".")[2],
            "opcua",
            "plant",
            f"nsu={NAMESPACE_URI};s={name}",
            "percent",
            0,
            100,
            50,
        )
        for name in (*SET_POINTS, *ABSENT)
    }
    plant = Source("plant", "opcua", f"opc.tcp://127.0.0.1:{port}/plant")
    return dataclasses.replace(
        site, sources={**site.sources, "plant": plant}, actuators={**site.actuators, **opcua}
    )


class PlantServer:
    """`init` is slow (asyncua's own address space), `async with` is quick."""

    def __init__(self, port):
        self.port = port
        self.nodes = {}

    async def init(self):
        server = self._server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}/plant")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await self.say_product(PRODUCT_URI)
        index = await server.register_namespace(NAMESPACE_URI)
        for name, (value, kind) in {**SET_POINTS, "P1.ReadOnly": (50.0, ua.VariantType.Double)}.items():
            node = await server.nodes.objects.add_variable(
                ua.NodeId(name, index), name, ua.Variant(value, kind)
            )
            if name != "P1.ReadOnly":
                await node.set_writable()
            self.nodes[name] = node
        return self

    async def reset(self):
        for name, (value, kind) in SET_POINTS.items():
            await self.nodes[name].write_value(ua.Variant(value, kind))
        await self.say_product(PRODUCT_URI)

    async def say_product(self, uri):
        await self._server.set_build_info(uri, "test", "plant", "1", "1", datetime.now(UTC))

    async def __aenter__(self):
        await self._server.start()
        return self

    async def __aexit__(self, *exception):
        await self._server.stop()

    async def value(self, name):
        return await self.nodes[name].read_value()


_numbers = itertools.count(1)


def command(actuator, value, *, name=None, unit=None, expires_s=60.0):
    now = time.time_ns()
    kind = "W" if actuator.endswith("power_limit") else "percent"
    return Command(
        name or f"row-a:test:1:{next(_numbers)}:0",
        "row-a",
        "rule",
        "R1",
        actuator,
        value,
        unit or kind,
        now,
        now + round(expires_s * SECOND),
        "test",
    )


async def send(bus, *commands, epoch=None, signer=None):
    """As a worker of this epoch says them, with a key or without one."""
    producer = await bus.producer("worker")
    for value in commands:
        message = encode_output(value, 3, epoch)
        await producer.send(message if signer is None else signer.signed(message))
    await producer.flush()


def receipts(bus):
    return inputs(bus, Receipt)


def by_command(bus):
    """The receipts of each command: one each, unless a process ended in between."""
    found = {}
    for receipt in receipts(bus):
        found.setdefault(receipt.command, []).append(receipt)
    return found


@contextlib.asynccontextmanager
async def running(context):
    """The role, from its start to a clean stop."""
    context.stop.clear()
    task = asyncio.create_task(role.run(context))
    try:
        yield context
    finally:
        context.stop.set()
        await asyncio.wait_for(task, 60)
