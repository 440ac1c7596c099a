"""The gateway against a server (asyncua) in a process of its own that dies, hangs, lacks nodes, sends nonsense."""

import signal
import time

import pytest
from asyncua import ua

from gateways.opcua.convert import BAD_TYPE_MISMATCH
from gateways.opcua.gateway import REQUEST_TIMEOUT_S
from gateways.opcua.points import FLUSH_AFTER_S
from gateways.opcua.session import LOOK_EVERY_S, SILENCE_S
from rules.quality import BAD_NO_COMMUNICATION, BAD_NODE_ID_UNKNOWN, Quality
from tests.gateways.opcua.harness import ServerProcess, make_site, point, running, until


@pytest.fixture(scope="module")
def server():
    """One server for all of them. Each test adds nodes of its own; after a restart `live` and `quiet` are there."""
    process = ServerProcess.asyncua("live", "quiet")
    yield process
    process.kill()


def furnish(server, **values):
    for name, value in values.items():
        kind = {bool: "Boolean", int: "Int32", str: "String"}.get(type(value), "Double")
        server.tell("add", name, value, kind)


def lost(publisher, points):
    return all(publisher.last(p.id) and publisher.last(p.id).status == BAD_NO_COMMUNICATION for p in points)


async def test_values_qualities_and_times_as_the_server_has_them(server, tmp_path):
    furnish(server, temperature=21.5, flag=True, mode=3, text="on", vector=[1.0, 2.0])
    names = ("temperature", "flag", "mode", "text", "vector")
    site = make_site([point(name, period_s=60) for name in names], server.port)
    async with running(site, tmp_path) as (gateway, publisher):
        await until(lambda: all(publisher.of(f"A1.{name}") for name in names))
        said = {name: publisher.last(f"A1.{name}") for name in names}
        assert [said[name].value for name in names[:3]] == [21.5, 1.0, 3.0]
        assert {said[name].quality for name in names[:3]} == {Quality.GOOD}
        assert {(said[name].quality, said[name].status) for name in names[3:]} == {
            (Quality.BAD, BAD_TYPE_MISMATCH)
        }
        assert abs(said["flag"].time_ns - time.time_ns()) < 60e9
        assert said["flag"].server_ns >= said["flag"].time_ns

        server.tell("write", "temperature", [22.0], ua.StatusCodes.UncertainLastUsableValue)
        await until(lambda: publisher.last("A1.temperature").quality == Quality.UNCERTAIN)
        server.tell("write", "temperature", [22.5], ua.StatusCodes.BadSensorFailure)
        await until(lambda: publisher.last("A1.temperature").status == ua.StatusCodes.BadSensorFailure)
        assert publisher.last("A1.temperature").quality == Quality.BAD
        assert gateway.metrics()["points_bad"] == 3


async def test_an_unchanged_value_is_reported_with_each_new_source_time_and_a_stale_one_goes_silent(
    server, tmp_path
):
    furnish(server, live_fresh=20.0, live_stuck=20.0)
    server.tell("freeze", "live_stuck")
    # A period of a minute: no read of a silent point helps the fresh one.
    points = [point("live_fresh", period_s=60.0), point("live_stuck")]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(lambda: len(publisher.of("A1.live_fresh")) > 15)
        stamps = [reading.time_ns for reading in publisher.of("A1.live_fresh")]
        assert stamps == sorted(set(stamps))
        assert len(publisher.of("A1.live_stuck")) == 1
        await until(lambda: gateway.metrics()["points_stale"] == 1)


async def test_dead_bands_absolute_on_the_server_and_percent_of_the_range(server, tmp_path):
    furnish(server, absolute=20.0, percent=20.0)
    points = [
        point("absolute", period_s=60, deadband_kind="absolute", deadband=1.0),
        point("percent", period_s=60, deadband_kind="percent", deadband=2.0, low=0.0, high=50.0),
    ]
    async with running(make_site(points, server.port), tmp_path) as (_, publisher):
        await until(lambda: len(publisher.readings) == 2)
        for name in ("absolute", "percent"):
            server.tell("write", name, [20.9, 30.0], 0)
        await until(lambda: len(publisher.readings) == 4)
        assert [r.value for r in publisher.of("A1.absolute")] == [20.0, 30.0]
        assert [r.value for r in publisher.of("A1.percent")] == [20.0, 30.0]


async def test_a_value_inside_its_dead_band_is_confirmed_by_reading(server, tmp_path):
    furnish(server, live_band=20.0)
    points = [point("live_band", deadband_kind="absolute", deadband=5.0)]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(lambda: len(publisher.of("A1.live_band")) >= 4)
        assert gateway.metrics()["confirmed"] >= 3
        assert all(reading.quality == Quality.GOOD for reading in publisher.readings)


async def test_nodes_that_the_server_lacks_are_named_and_the_rest_goes_on(
    server, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr("gateways.opcua.session.RETRY_LACKING_EVERY_S", 0.1)
    furnish(server, live_there=20.0)
    points = [
        point("live_there", engineering_unit="bar"),
        point("nowhere"),
        point("t", address="nsu=urn:none;s=t"),
    ]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(
            lambda: (
                publisher.last("A1.live_there") and publisher.last("A1.t") and publisher.last("A1.nowhere")
            )
        )
        for name in ("A1.nowhere", "A1.t"):
            said = publisher.of(name)[0]
            assert (said.quality, said.status) == (Quality.BAD, BAD_NODE_ID_UNKNOWN)
            assert f"the server lacks {name}" in caplog.text
        assert gateway.metrics()["missing_node_names"] == ["A1.nowhere", "A1.t"]
        assert gateway.metrics()["differences"] == [
            "A1.live_there: unit 'degC' at the server, 'bar' in the site file"
        ]

        furnish(server, nowhere=7.0)
        await until(lambda: publisher.last("A1.nowhere").quality == Quality.GOOD)
        assert gateway.metrics()["missing_node_names"] == ["A1.t"]


async def test_killed_and_restarted_all_is_bad_then_back_by_itself_and_the_gap_is_counted(server, tmp_path):
    points = [point("live"), point("quiet", period_s=1.0), point("live", asset="B1")]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(lambda: publisher.last("B1.live") and publisher.last("A1.live"))
        assert publisher.gaps == []
        killed_ns = time.time_ns()
        server.kill()
        await until(lambda: lost(publisher, points))
        assert gateway.metrics()["state"] == "disconnected"
        assert gateway.metrics()["points_bad"] == 3
        server.start()
        back = lambda: all(publisher.last(p.id).quality == Quality.GOOD for p in points)  # noqa: E731
        await until(back)
        assert {gap[:2] for gap in publisher.gaps} == {("row-a", "disconnected"), ("row-b", "disconnected")}
        for unit, _, from_ns, to_ns, readings in publisher.gaps:
            assert from_ns - 1e9 < killed_ns < to_ns
            periods = (to_ns - from_ns) // 200_000_000
            assert readings == periods + ((to_ns - from_ns) // 1_000_000_000 if unit == "row-a" else 0)
        metrics = gateway.metrics()
        assert (metrics["state"], metrics["reconnects"], metrics["gaps"]) == ("connected", 1, 1)


def test_the_longest_silence_leaves_time_to_say_so_within_three_seconds():
    assert SILENCE_S + LOOK_EVERY_S + FLUSH_AFTER_S < 3.0
    assert REQUEST_TIMEOUT_S < SILENCE_S


async def test_a_server_that_hangs_is_gone_too_and_comes_back(server, tmp_path, monkeypatch):
    # With so slow a keep-alive it is the unanswered read that shows the hang, and not the subscription.
    monkeypatch.setattr("gateways.opcua.subscriptions.KEEP_ALIVE_MS", 10_000.0)
    points = [point("live")]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(lambda: publisher.last("A1.live"))
        server.send_signal(signal.SIGSTOP)
        await until(lambda: lost(publisher, points))
        assert "no answer" in gateway.metrics()["reason"]
        server.send_signal(signal.SIGCONT)
        await until(lambda: publisher.last("A1.live").quality == Quality.GOOD)
        assert [gap[1] for gap in publisher.gaps] == ["disconnected"]
        assert publisher.gaps[0][4] >= 10


async def test_a_subscription_that_the_server_has_lost_is_noticed_while_it_answers_everything_else(
    server, tmp_path
):
    points = [point("live")]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(lambda: publisher.last("A1.live"))
        server.tell("drop_subscriptions")
        await until(lambda: gateway.metrics()["reconnects"] == 1)
        await until(lambda: publisher.last("A1.live").quality == Quality.GOOD)
        assert len(publisher.gaps) == 1


async def test_a_server_that_is_not_there_at_the_start_is_said_and_waited_for(server, tmp_path):
    server.kill()
    points = [point("live")]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(lambda: lost(publisher, points))
        assert "Connect call failed" in gateway.metrics()["reason"]
        server.start()
        await until(lambda: publisher.last("A1.live").quality == Quality.GOOD)
        assert [gap[1] for gap in publisher.gaps] == ["disconnected"]


async def test_many_points_are_spread_over_subscriptions(server, tmp_path, monkeypatch):
    monkeypatch.setattr("gateways.opcua.subscriptions.ITEMS_PER_SUBSCRIPTION", 3)
    values = {f"live{number}": 20.0 for number in range(8)}
    furnish(server, **values)
    points = [point(name) for name in values]
    async with running(make_site(points, server.port), tmp_path) as (gateway, publisher):
        await until(lambda: all(len(publisher.of(p.id)) > 3 for p in points))
        assert gateway.metrics()["subscriptions"] == 3
