"""Independent OPC UA peers (node-opcua): our gateway against their server, their client against our plant."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateways.listen import free_port
from rules.quality import BAD_NO_COMMUNICATION, Quality
from tests.gateways.opcua.harness import ServerProcess, make_site, point, running, until
from tests.support.node import node_environment

pytestmark = pytest.mark.node

PEERS = Path(__file__).parents[2] / "support" / "node-opcua"
NAMES = [f"p{number}" for number in range(36)]


@pytest.fixture(scope="module")
def node_env(request):
    return node_environment(request, PEERS)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """node-opcua makes its keys once, in some seconds of a core."""
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(scope="module")
def their_server(node_env, pki):
    port = free_port()
    process = ServerProcess(port, "node", PEERS / "server.cjs", port, pki / "server", env=node_env).start()
    yield process
    process.kill()


def ask(node_env, pki, **request):
    """What node-opcua's client says of a server."""
    given = {"browse": False, "points": [], "security": "None"} | request
    command = ["node", PEERS / "client.cjs", json.dumps(given), pki]
    done = subprocess.run(command, env=node_env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("security", ["None", "Basic256Sha256"])
async def test_the_gateway_reads_their_server(their_server, tmp_path, security):
    points = [point(name, period_s=1.0, low=0.0, high=200.0, engineering_unit="degC") for name in NAMES]
    site = make_site(points, their_server.port, security=security)
    async with running(site, tmp_path / "run") as (gateway, publisher):
        await until(lambda: all(len(publisher.of(p.id)) > 2 for p in points[:-1]))
        metrics = gateway.metrics()
        assert (metrics["missing_nodes"], metrics["differences"], metrics["points_bad"]) == (0, [], 0)
        assert {reading.value for reading in publisher.of("A1.p20")} == {40.0}
        # p35 was never written: node-opcua gives such a value the greatest DateTime as its server time.
        written = [reading for reading in publisher.readings if reading.point != "A1.p35"]
        assert all(reading.time_ns > 0 for reading in written)
        # so does a value that was not written since their server's start: its server time is unknown, 0
        known = [reading for reading in written if reading.server_ns]
        assert all(reading.server_ns >= reading.time_ns for reading in known)
        assert {reading.point for reading in known} == {p.id for p in points} - {"A1.p35"}
        stamps = [reading.time_ns for reading in publisher.of("A1.p20")]
        assert stamps == sorted(set(stamps))


async def test_the_gateway_survives_kill_and_restart_of_their_server(their_server, tmp_path):
    points = [point(name, period_s=1.0) for name in NAMES[:-1]]
    async with running(make_site(points, their_server.port), tmp_path / "run") as (gateway, publisher):
        await until(lambda: all(publisher.last(p.id) for p in points))
        before_ns = max(reading.time_ns for reading in publisher.readings)
        their_server.kill()
        await until(lambda: all(publisher.last(p.id).status == BAD_NO_COMMUNICATION for p in points))
        their_server.start()
        await until(lambda: all(publisher.last(p.id).quality == Quality.GOOD for p in points))
        ((unit, reason, from_ns, to_ns, lost),) = publisher.gaps
        assert (unit, reason) == ("row-a", "disconnected")
        assert lost == len(points) * ((to_ns - from_ns) // 1_000_000_000)
        assert from_ns - before_ns < 2_000_000_000
        await until(lambda: all(publisher.last(p.id).time_ns > to_ns for p in points))
        assert gateway.metrics()["reconnects"] == 1


async def test_a_dead_band_and_an_overflow_at_their_server(their_server, tmp_path):
    points = [
        point("p35", period_s=60.0, queue_size=2, sampling_ns=20_000_000),
        point("p0", period_s=60.0, deadband_kind="absolute", deadband=50.0),
    ]
    async with running(make_site(points, their_server.port), tmp_path / "run") as (gateway, publisher):
        await until(lambda: publisher.last("A1.p35") and publisher.last("A1.p0"))
        their_server.tell("burst", "p35", list(range(100, 120)))
        await until(lambda: publisher.last("A1.p35").value == 119.0)
        assert len(publisher.of("A1.p0")) == 1
        assert gateway.metrics().get("filters_refused", 0) == 0


def seconds_old(stamp):
    return abs((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())


async def test_their_client_browses_and_reads_the_simulated_plant(simulated_plant, node_env, pki):
    (source,) = simulated_plant.sources.values()
    names = ["R01.RackLiquidFlow", "R08.RackLiquidSupplyTemperature", "FEED-A.ActivePower"]
    assert set(names) <= set(simulated_plant.points)
    common = {"endpoint": source.endpoint, "namespace": "urn:headrace:plant"}
    said = ask(node_env, pki / "client", **common, browse=True, points=names)
    prefix = "nsu=urn:headrace:plant;s="
    found = {variable.split(";s=", 1)[1] for variable in said["variables"]}
    configured = {p.address.removeprefix(prefix) for p in simulated_plant.points.values()}
    assert configured <= found
    for name in names:
        point, shown = simulated_plant.points[name], said["points"][name]
        assert shown["unit"] == {"degC": "°C", "percent": "%"}.get(
            point.engineering_unit, point.engineering_unit
        )
        assert shown["range"] == [point.low, point.high]
        assert (shown["status"], shown["type"]) == (0, "Double")
        assert point.low <= shown["value"] <= point.high
        assert seconds_old(shown["source"]) < 30
        assert seconds_old(shown["server"]) < 30


async def test_their_client_reads_and_writes_the_simulated_plant_signed_and_encrypted(
    simulated_plant, node_env, pki
):
    (source,) = simulated_plant.sources.values()
    actuator = simulated_plant.actuators["CDU-A-P1.PumpSpeed"]
    name = actuator.address.removeprefix("nsu=urn:headrace:plant;s=")
    value = (actuator.low + actuator.default) / 2
    said = ask(
        node_env,
        pki / "client",
        endpoint=source.endpoint,
        namespace="urn:headrace:plant",
        security="Basic256Sha256",
        points=["R01.RackLiquidFlow"],
        write={"name": name, "value": value, "type": "Double"},
    )
    assert said["channel"]["mode"] == "SignAndEncrypt"
    assert said["channel"]["policy"].endswith("#Basic256Sha256")
    assert said["points"]["R01.RackLiquidFlow"]["status"] == 0
    # read back either as it was written, or as the drive says it by then: a share of its full speed, times 100
    assert said["written"] == {"status": 0, "value": pytest.approx(value, rel=1e-12)}
