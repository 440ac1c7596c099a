"""The plant as its neighbours meet it: a process of its own, seen over OPC UA, the NVML state and frames."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from gateways.cli.run_role import with_endpoints
from gateways.listen import free_port
from gateways.nvml.state import NvmlState
from gateways.sim import role
from rules.engine.inputs import Frame, Gap
from rules.errors import ConfigurationError, UnreachableError
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.site.model import Site
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import load_settings
from streams.topics import EVENTS, TOPICS
from streams.wire import decode_input

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]


def endpoint(port: int) -> str:
    return f"opc.tcp://127.0.0.1:{port}/headrace/plant"


async def context(site: Site, run_dir: Path, port: int, **options: str) -> RoleContext:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 3)
    moved = with_endpoints(site, {"endpoint.plant-opcua": endpoint(port)})
    settings = load_settings(run_dir=run_dir)
    return RoleContext("plant", moved, run_dir, settings, bus, asyncio.Event(), options)


@dataclass
class Running:
    url: str
    run_dir: Path
    index: int = 0

    def node(self, client: Client, name: str) -> Any:
        return client.get_node(f"ns={self.index};s={name}")


@asynccontextmanager
async def plant_process(run_dir: Path, *options: str) -> AsyncIterator[Running]:
    """The role in a process of its own; ready when its first line says so, ended by closing its standard input."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(REPOSITORY / "tests" / "gateways" / "sim" / "plant_process.py"),
        str(port),
        str(run_dir),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 120) == b"ready\n"
        yield Running(endpoint(port), run_dir)
    finally:
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 60) == 0


async def until(read: Any, accept: Any, patience_s: float = 120.0) -> Any:
    """The first value of `read` that `accept` takes."""
    async with asyncio.timeout(patience_s):
        while True:
            value = await read()
            if accept(value):
                return value
            await asyncio.sleep(0.05)


async def test_a_client_browses_reads_and_writes(tmp_path: Path) -> None:
    log = tmp_path / "writes.jsonl"
    async with plant_process(tmp_path, f"write_log={log}") as plant, Client(plant.url, timeout=60) as client:
        plant.index = await client.get_namespace_index("urn:headrace:plant")
        names = []
        node = plant.node(client, "narvik")
        for step in ("row-a", "CDU-A", "CDU-A-P1", "PumpSpeed"):
            node = await node.get_child(f"{plant.index}:{step}")
            names.append((await node.read_browse_name()).Name)
        assert names == ["row-a", "CDU-A", "CDU-A-P1", "PumpSpeed"]
        assert node == plant.node(client, "CDU-A-P1.PumpSpeed")
        flow = plant.node(client, "R01.RackLiquidFlow")
        value = await flow.read_data_value()
        assert value.Value.VariantType == ua.VariantType.Double
        assert 140 < value.Value.Value < 175
        assert abs(value.SourceTimestamp - datetime.now(UTC)) < timedelta(seconds=10)
        span = await (await flow.get_child("0:EURange")).read_value()
        assert (span.Low, span.High) == (0.0, 300.0)
        unit = await (await flow.get_child("0:EngineeringUnits")).read_value()
        assert (unit.UnitId, unit.DisplayName.Text) == (int.from_bytes(b"L2", "big"), "L/min")
        await node.write_value(60.0)
        assert await node.read_value() == 60.0
        slow = await until(plant.node(client, "CDU-A.LiquidFlow").read_value, lambda shown: shown < 560)
        assert slow > 300
        for name, wrong, status in (
            ("CDU-A-P1.PumpSpeed", ua.Variant(120.0), ua.uaerrors.BadOutOfRange),
            ("CDU-A-P1.PumpSpeed", ua.Variant(float("nan")), ua.uaerrors.BadOutOfRange),
            ("CDU-A-P1.PumpSpeed", ua.Variant("fast"), ua.uaerrors.BadTypeMismatch),
            ("R01.RackPower", ua.Variant(1.0), ua.uaerrors.BadNotWritable),
        ):
            with pytest.raises(status):
                await plant.node(client, name).write_value(wrong)
    (line,) = [orjson.loads(text) for text in log.read_bytes().splitlines()]
    assert (line["actuator"], line["old"], line["new"], line["via"]) == (
        "CDU-A-P1.PumpSpeed",
        80.0,
        60.0,
        "opcua",
    )


async def test_sign_and_encrypt(tmp_path: Path) -> None:
    async with plant_process(tmp_path) as plant:
        client = Client(plant.url, timeout=60)
        client.application_uri = "urn:test"
        certificate, key = await client.setup_self_signed_certificate(
            tmp_path / "key.pem", tmp_path / "cert.der"
        )
        await client.set_security(
            SecurityPolicyBasic256Sha256, certificate, key, mode=ua.MessageSecurityMode.SignAndEncrypt
        )
        async with client:
            plant.index = await client.get_namespace_index("urn:headrace:plant")
            assert 45 < await plant.node(client, "HU-1.Frequency").read_value() < 55


async def test_faults_of_data_reach_the_client(tmp_path: Path) -> None:
    options = "faults=clock_skew@0s,stale:R02.RackPower@0s"
    async with plant_process(tmp_path, options) as plant, Client(plant.url, timeout=60) as client:
        plant.index = await client.get_namespace_index("urn:headrace:plant")
        power, stale = plant.node(client, "R01.RackPower"), plant.node(client, "R02.RackPower")

        def ahead(value: ua.DataValue) -> bool:
            return bool(value.SourceTimestamp - datetime.now(UTC) > timedelta(minutes=59))

        first = await until(power.read_data_value, ahead)
        held = await stale.read_data_value()
        await until(power.read_data_value, lambda value: value.SourceTimestamp > first.SourceTimestamp)
        assert (await stale.read_data_value()).SourceTimestamp == held.SourceTimestamp


async def test_frames_and_nvml_limits(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "writes.jsonl"
    plant = await context(site, tmp_path, free_port(), write_log=str(log), faults="xid_storm:R01@0s")
    running = asyncio.create_task(role.run(plant))
    reader = await plant.bus.reader([EVENTS.name])
    frames: list[Frame] = []

    async def collect(until_ok: Any) -> None:
        async with asyncio.timeout(120):
            while not until_ok():
                for record in await reader.read(0.2):
                    value = decode_input(record.key, record.headers, record.value)
                    if isinstance(value, Frame):
                        frames.append(value)

    try:
        await collect(lambda: len(frames) >= 16)
        assert {frame.asset for frame in frames} == {f"R0{rack}" for rack in range(1, 9)}
        by_rack = {frame.asset: frame for frame in frames}
        assert list(by_rack["R01"].gpu) == list(range(4, 72))  # the first tray has an NVML gateway of its own
        assert list(by_rack["R02"].gpu) == list(range(72))
        newest = by_rack["R03"]
        assert abs(int(newest.time_ns[0]) - time.time_ns()) < 10e9
        assert 1100 < newest.values[0, :, FIELD_INDEX["power_instant"]].mean() < 1400
        assert (newest.energy_mj > 0).all()

        state = NvmlState.open(tmp_path / "nvml.state")
        assert len(state) == 576
        lane = site.units["row-a"].gpu_lane["R01-T02-G1"]
        state.field("power_limit_mw")[[0, lane]] = 600_000
        seen = len(frames)
        await collect(
            lambda: any(
                frame.asset == "R01" and frame.values[0, lane - 4, FIELD_INDEX["power_instant"]] < 620
                for frame in frames[seen:]
            )
        )
        assert state.field("power_mw")[0] < 620_000
        assert state.field("power_mw")[1] > 1_000_000
        assert state.field("xid_count")[:5].tolist() == [1, 1, 1, 1, 0]
    finally:
        plant.stop.set()
        await running
    lines = [orjson.loads(text) for text in log.read_bytes().splitlines()]
    assert {(line["actuator"], line["old"], line["new"], line["via"]) for line in lines} == {
        ("R01-T01-G1.power_limit", 1400.0, 600.0, "nvml"),
        ("R01-T02-G1.power_limit", 1400.0, 600.0, "nvml"),
    }
    assert plant.metrics["writes"] == 2


@asynccontextmanager
async def live_plant(plant: RoleContext) -> AsyncIterator[role.LivePlant]:
    """The plant in this process, from its third step on."""
    live = role.LivePlant(plant)
    await live.start()
    running = asyncio.create_task(live.run(plant.stop))
    try:
        await steps(live, 3)
        yield live
    finally:
        plant.stop.set()
        await running
        await live.close()


async def steps(live: role.LivePlant, count: int) -> None:
    """Wait until it has made so many."""
    async with asyncio.timeout(120):
        while live.metrics["steps"] < count:
            await asyncio.sleep(0.01)


async def test_what_a_pause_has_held_up_is_made_up_for_but_not_shown_with_times_long_past(
    site: Site, tmp_path: Path
) -> None:
    plant = await context(site, tmp_path, free_port())
    async with live_plant(plant) as live:
        live._base_ns -= 1_200_000_000  # as after 1.2 s in which the machine did something else
        await steps(live, 30)
    records = plant.bus.records(EVENTS.name)
    found = [decode_input(record.key, record.headers, record.value) for record in records]
    frames = [value for value in found if isinstance(value, Frame) and value.asset == "R03"]
    assert live.metrics["unshown_steps"] >= 5
    assert live.metrics["steps"] == len(frames) + live.metrics["unshown_steps"]
    # what was made up for is at least so old
    assert all(frame.ingest_ns - int(frame.time_ns[0]) < 1_100_000_000 for frame in frames)


async def test_a_suspended_plant_says_from_when_to_when_it_sampled_nothing(
    site: Site, tmp_path: Path
) -> None:
    plant = await context(site, tmp_path, free_port())
    suspended_ns = 0
    plant.clock = lambda: time.time_ns() + suspended_ns
    async with live_plant(plant) as live:
        suspended_ns = 8_000_000_000
        await steps(live, 30)
    found = [decode_input(one.key, one.headers, one.value) for one in plant.bus.records(EVENTS.name)]
    times = [int(one.time_ns[0]) for one in found if isinstance(one, Frame) and one.asset == "R03"]
    (hole,) = [(before, after) for before, after in pairwise(times) if after - before > 7e9]
    gaps = [one for one in found if isinstance(one, Gap)]
    assert {(gap.unit, gap.identity.source, gap.reason) for gap in gaps} == {
        (unit, "plant-frames", "disconnected") for unit in ("row-a", "row-b")
    }
    assert {(gap.from_ns, gap.to_ns) for gap in gaps} == {hole}
    missed = (hole[1] - hole[0]) // 100_000_000 - 1
    assert sum(gap.readings for gap in gaps) == missed * 572 * FIELD_COUNT  # four are of an NVML gateway


async def test_the_plant_runs_on_the_roles_clock(site: Site, tmp_path: Path) -> None:
    hour_ns = 3_600_000_000_000
    before_ns = time.time_ns() + hour_ns
    plant = await context(site, tmp_path, free_port(), write_log=str(tmp_path / "writes.jsonl"))
    plant.clock = lambda: time.time_ns() + hour_ns
    async with live_plant(plant) as live:
        live.log.add("opcua", "a", "b", 1.0, 2.0)
    (write,) = map(orjson.loads, (tmp_path / "writes.jsonl").read_text().splitlines())
    found = [decode_input(one.key, one.headers, one.value) for one in plant.bus.records(EVENTS.name)]
    times = [int(value.time_ns[0]) for value in found if isinstance(value, Frame)]
    assert times
    assert all(before_ns < ns < time.time_ns() + hour_ns for ns in (write["at_ns"], *times))


async def test_a_taken_port_is_named(site: Site, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnreachableError, match=str(port)):
            await role.run(await context(site, tmp_path, port))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sed": "1"}, "no option 'sed'.*seed"),
        ({"seed": "one"}, "seed 'one'"),
        ({"plc": "maybe"}, "plc 'maybe'"),
        ({"faults": "pump@1s"}, "unknown fault 'pump'"),
        ({"faults": "pump_trip:CDU-C@1s"}, "can't act on 'CDU-C'"),
    ],
)
async def test_wrong_options_are_named(
    site: Site, tmp_path: Path, options: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await role.run(await context(site, tmp_path, free_port(), **options))
