"""The role from server to log: identities without holes, a gap, a status, a clean stop."""

import asyncio
import dataclasses
import time
from contextlib import asynccontextmanager

import orjson
import pytest

from gateways.opcua import role
from rules.engine.inputs import Gap, Readings
from rules.errors import ConfigurationError
from rules.quality import BAD_NO_COMMUNICATION, Quality
from streams.bus.memory import MemoryBus
from streams.role import RoleContext, status_message
from streams.settings import load_settings
from streams.topics import TOPICS
from streams.wire import decode_input
from tests.gateways.opcua.harness import ServerProcess, make_site, point, until

HOUR_NS = 3_600_000_000_000


async def context_of(site, tmp_path):
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 3)
    settings = load_settings(run_dir=tmp_path)
    return RoleContext("opcua", site, tmp_path, settings, bus, asyncio.Event())


async def inputs_of(context):
    """Everything in the log so far, by unit."""
    reader = await context.bus.reader(["events"])
    found = {}
    while records := await reader.read(0.05):
        for record in records:
            value = decode_input(record.key, record.headers, record.value)
            found.setdefault(value.unit, []).append(value)
    await reader.close()
    return found


@asynccontextmanager
async def running(context, server):
    """The role, once it has every point; at the end both it and the server are ended."""
    task = asyncio.create_task(role.run(context))
    try:
        await until(lambda: context.state == "ready" and context.metrics["points_bad"] == 0)
        yield
    finally:
        context.stop.set()
        await task
        server.kill()


async def away_for_a_while(context, server):
    """The server is killed, and is there again; every point notices both."""
    server.kill()
    await until(lambda: context.metrics["points_bad"] == context.metrics["points"])
    server.start()
    await until(lambda: context.metrics["points_bad"] == 0)


async def test_readings_and_gaps_reach_the_log_in_one_sequence_per_unit(tmp_path):
    server = ServerProcess.asyncua("live")
    points = [point("live"), point("live", asset="B1")]
    context = await context_of(make_site(points, server.port), tmp_path)
    async with running(context, server):
        assert context.metrics["points"] == 2
        await away_for_a_while(context, server)
    units = await inputs_of(context)
    assert sorted(units) == ["row-a", "row-b"]
    for values in units.values():
        assert [value.identity.sequence for value in values] == list(range(1, len(values) + 1))
        assert {(value.identity.source, value.identity.epoch) for value in values} == {
            ("plant", values[0].identity.epoch)
        }
        readings = [value for value in values if isinstance(value, Readings)]
        assert [value.reason for value in values if isinstance(value, Gap)] == ["disconnected"]
        assert any(BAD_NO_COMMUNICATION in value.status for value in readings)
        assert readings[-1].quality[-1] == Quality.GOOD
    assert context.metrics["reconnects"] == 1
    body = orjson.loads(status_message(context).value)
    assert body["metrics"]["sources"]["plant"]["state"] == "connected"
    assert body["metrics"]["publishers"]["plant"]["unsent"] == 0


async def test_every_wrong_source_and_address_is_a_finding_before_anything_is_tried(tmp_path):
    site = make_site([point("t", address="nonsense")], 4840)
    plant = site.sources["plant"]
    other = dataclasses.replace(plant, id="other", endpoint="opc.tcp://10.1.1.1:4840/")
    context = await context_of(dataclasses.replace(site, sources={"plant": plant, "other": other}), tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        await role.run(context)
    assert len(caught.value.findings) == 2


async def test_without_an_opcua_source_the_role_has_nothing_to_do_and_says_so(tmp_path):
    site = make_site([point("t")], 4840)
    context = await context_of(dataclasses.replace(site, sources={}), tmp_path)
    task = asyncio.create_task(role.run(context))
    await until(lambda: context.state == "ready")
    assert context.metrics["points"] == 0
    context.stop.set()
    await task


async def test_what_the_role_says_is_of_its_clock(tmp_path):
    server = ServerProcess.asyncua("live")
    context = await context_of(make_site([point("live")], server.port), tmp_path)
    context.clock = lambda: time.time_ns() + HOUR_NS
    before_ns = time.time_ns() + HOUR_NS
    async with running(context, server):
        await until(lambda: (context.metrics["sources"]["plant"]["clock_skew_ms"] or 0) < -3_000_000)
        await away_for_a_while(context, server)
    values = (await inputs_of(context))["row-a"]
    (gap,) = [value for value in values if isinstance(value, Gap)]
    assert before_ns < gap.from_ns < gap.to_ns < time.time_ns() + HOUR_NS
