"""The role as a whole: what it needs, what it outlives, and whose rules it goes by."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from pathlib import Path

import orjson
import pytest
from asyncua import Client, ua

from gateways.actions import ActionSender, Answer, Wanted
from gateways.scada import role
from gateways.scada.names import node
from rules.engine.inputs import Activation, Identity
from rules.errors import ConfigurationError, UnreachableError
from streams.bus.memory import MemoryBus
from streams.record import Message, Record
from streams.replay_mark import Mark, mark_log
from streams.role import RoleContext, status_message
from streams.rule_sets.rule_set import RuleSet, rule_set_message
from streams.settings import Settings
from streams.topics import STATUS, TOPICS
from streams.wire import encode_output
from tests.gateways.scada.live import LOW_R1, Events, Live, call, client, live, site_folder, until

TIMED = "AlarmConditionType_ShelvingState_TimedShelve"


async def test_an_option_that_it_has_not_is_refused(tmp_path: Path, unused_port: int) -> None:
    made = Live(site_folder(tmp_path / "site", with_users=False), unused_port)
    made.context.options["endpint"] = "opc.tcp://127.0.0.1:1/"
    with pytest.raises(ConfigurationError, match="endpint"):
        await role.run(made.context)


async def test_a_site_with_users_needs_a_key_to_sign_with(tmp_path: Path, unused_port: int) -> None:
    made = Live(site_folder(tmp_path / "site"), unused_port)
    made.context.settings.access.keys.clear()
    with pytest.raises(ConfigurationError, match="scada"):
        await role.run(made.context)


async def test_a_port_that_is_taken_is_named(tmp_path: Path, unused_port: int) -> None:
    other = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", unused_port)
    try:
        with pytest.raises(UnreachableError, match=str(unused_port)):
            async with live(site_folder(tmp_path / "site", with_users=False), unused_port):
                pass
    finally:
        other.close()


async def test_a_newcomer_has_the_whole_picture_before_anybody_is_let_in(
    tmp_path: Path, unused_port: int
) -> None:
    """A second server on the same log, or one that was started again: the same alarms under the same EventIds."""
    folder = site_folder(tmp_path / "site", with_users=False)
    async with live(folder, unused_port) as plant:
        await plant.flow(60)
        await until(lambda: plant.state() == "unacknowledged")
        await until(lambda: plant.context.metrics["alarms"] == 1)
        assert plant.context.metrics["endpoint"] == plant.endpoint
        assert plant.context.metrics["pki"].endswith("scada-pki")
        first = await _refreshed(plant.endpoint)
        plant.context.stop.set()
        await until(lambda: plant.context.state == "ready" and _is_free(unused_port))
        again = Live(folder, unused_port, plant.bus)
        running = asyncio.create_task(role.run(again.context))
        await until(lambda: again.context.state == "ready")
        assert await _refreshed(again.endpoint) == first
        again.context.stop.set()
        await running


def _is_free(port: int) -> bool:
    from gateways.listen import port_is_free

    return port_is_free(port)


async def _refreshed(endpoint: str) -> list[bytes]:
    """The EventIds of what stands, as a client that comes is told."""
    async with client(endpoint) as one:
        events = Events()
        subscription, _ = await events.subscribe(one)
        number = ua.Variant(subscription, ua.VariantType.UInt32)
        assert (
            await call(one, ua.NodeId(ua.ObjectIds.ConditionType), "ConditionType_ConditionRefresh", number)
            == "Good"
        )
        end = ua.NodeId(ua.ObjectIds.RefreshEndEventType)
        await until(lambda: events.all and events.all[-1]["EventType"] == end)
        return [one["EventId"] for one in events.all[1:-1]]


async def test_on_a_replay_s_log_nobody_acts(tmp_path: Path, unused_port: int) -> None:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 3)
    await mark_log(bus, Mark("hour.mcap", has_facts=True))
    folder = site_folder(tmp_path / "site")
    async with live(folder, unused_port, bus=bus) as plant, client(plant.endpoint, "eva") as eva:
        assert await call(eva, node(LOW_R1), TIMED, 1000.0) == "BadNotSupported"
        assert await call(eva, node(LOW_R1), "ConditionType_Enable") == "BadNotSupported"


async def test_without_an_engine_an_action_is_not_answered(
    tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateways.scada.methods.ANSWER_S", 0.2)
    async with live(site_folder(tmp_path / "site"), unused_port) as plant:
        plant.engines.clear()  # the test's worker ends with the next record
        async with client(plant.endpoint, "eva") as eva:
            assert plant.context.metrics["actions_unanswered"] == 0
            assert await call(eva, node(LOW_R1), TIMED, 1000.0) == "BadTimeout"
            assert plant.context.metrics["actions_unanswered"] == 1


OTHER = """
rules:
  rack-low:
    for: Rack
    when: RackLiquidFlow < 50 L/min
    severity: urgent
    message: "{asset}"
"""


async def test_limits_are_those_of_the_rules_that_rule(tmp_path: Path, unused_port: int) -> None:
    folder = site_folder(tmp_path / "site", with_users=False)
    async with live(folder, unused_port) as plant, client(plant.endpoint) as one:
        events = Events()
        await events.subscribe(one)
        await plant.flow(60)
        assert (await until(lambda: events.of(LOW_R1)))[0]["LowLimit"] == 70.0
        files = {"site.yaml": (folder / "site.yaml").read_text(), "rules/rules.yaml": OTHER}
        made = RuleSet(files)
        await (await plant.producer.send(rule_set_message(made)))
        identity = Identity("activation", time.time_ns(), 1)
        await plant.send(Activation("hall", identity, plant.site.digest, made.digest, time.time_ns()))
        await asyncio.sleep(0)
        for value in range(2000):  # words that come before the rules were taken up have the old limit
            await plant.flow(100.0 + value % 100)
            await plant.flow(60)
            if events.of(LOW_R1)[-1]["LowLowLimit"] == 50.0:
                break
            await asyncio.sleep(0.05)
        assert events.of(LOW_R1)[-1]["LowLowLimit"] == 50.0


async def test_limits_behind_a_start_are_those_that_a_worker_names(tmp_path: Path, unused_port: int) -> None:
    """What was only published may be anybody's: a guess at the start, until a worker says which rules rule."""
    folder = site_folder(tmp_path / "site", with_users=False)
    async with live(folder, unused_port) as plant, client(plant.endpoint) as one:
        events = Events()
        await events.subscribe(one)
        made = RuleSet({"site.yaml": (folder / "site.yaml").read_text(), "rules/rules.yaml": OTHER})
        await (await plant.producer.send(rule_set_message(made)))
        for metrics in (None, {"rules": []}, {"rules": {"hall": made.digest}}):
            status = {"role": "eva", "kind": "worker", "at_ns": 1, "state": "ready", "metrics": metrics}
            await (await plant.producer.send(Message(STATUS.name, 0, b"eva", orjson.dumps(status))))
        for value in range(2000):
            await plant.flow(100.0 + value % 100)
            await plant.flow(60)
            if events.of(LOW_R1) and events.of(LOW_R1)[-1]["LowLowLimit"] == 50.0:
                break
            await asyncio.sleep(0.05)
        assert events.of(LOW_R1)[-1]["LowLowLimit"] == 50.0


async def test_a_client_whose_action_waits_is_served_meanwhile(
    tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        live(site_folder(tmp_path / "site"), unused_port) as plant,
        client(plant.endpoint, "eva") as eva,
    ):
        answers, waiting = asyncio.Event(), asyncio.Event()

        async def act(_sender: ActionSender, wanted: Wanted, within_s: float) -> Answer:
            waiting.set()
            await answers.wait()
            return Answer(wanted.alarm, "alarm-shelved", "")

        monkeypatch.setattr(ActionSender, "act", act)
        calling = asyncio.create_task(call(eva, node(LOW_R1), TIMED, 1000.0))
        await waiting.wait()
        assert await eva.get_node(ua.ObjectIds.Server_ServiceLevel).read_value() in (1, 255)
        assert not calling.done()
        answers.set()
        assert await calling == "Good"


async def test_a_client_that_asks_and_does_not_read_is_let_go(
    tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateways.scada.channel.UNREAD_BYTES_MAX", 1_000_000)
    folder = site_folder(tmp_path / "site", with_users=False)
    async with live(folder, unused_port) as plant, client(plant.endpoint) as other:
        greedy = Client(plant.endpoint, timeout=60)
        await greedy.connect()
        await until(lambda: plant.context.metrics["sessions"] == 2)
        protocol = greedy.uaclient.protocol
        protocol.transport.pause_reading()
        status = ua.ReadValueId(ua.NodeId(ua.ObjectIds.Server_ServerStatus), ua.AttributeIds.Value)
        waiting: list[asyncio.Future[bytes]] = []

        async def ask() -> None:
            for _ in range(1_000):
                request = ua.ReadRequest(Parameters=ua.ReadParameters(NodesToRead=[status] * 500))
                waiting.append(protocol._send_request(request))
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await ask()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert "reads nothing" in caplog.text
        await until(lambda: plant.context.metrics["sessions"] == 1)
        assert await other.get_node(ua.ObjectIds.Server_ServiceLevel).read_value() in (1, 255)
        with contextlib.suppress(Exception):
            await greedy.disconnect()


async def test_what_is_no_status_is_counted_and_ends_nothing(tmp_path: Path, unused_port: int) -> None:
    """Anyone can write to the topic."""
    async with live(site_folder(tmp_path / "site", with_users=False), unused_port) as plant:
        for value in (b"[]", b"{"):
            await (await plant.producer.send(Message(STATUS.name, 0, b"worker", value)))
        await until(lambda: plant.context.metrics["unreadable"] == 2)
        await plant.flow(91.5)
        await until(lambda: plant.context.metrics["readings"] == 1)


@pytest.mark.parametrize(("name", "kind"), [("headrace-worker-0", "worker"), ("worker-7", "nvml")])
async def test_a_worker_is_known_by_its_kind(tmp_path: Path, unused_port: int, name: str, kind: str) -> None:
    """Its name is a pod's, or any other."""
    made = Live(site_folder(tmp_path / "site", with_users=False), unused_port)
    scada = role.Scada(made.context)
    context = RoleContext(name, made.site, tmp_path, Settings(), made.bus, asyncio.Event(), kind=kind)
    context.ready()
    said = status_message(context)
    await scada.see_inputs([Record(said.topic, 0, 0, 0, said.key, said.value, said.headers)])
    scada.heartbeat.beat()
    assert ("worker" in scada.heartbeat.silent) == (kind != "worker")
    assert scada.metrics["unreadable"] == 0


async def test_without_a_log_it_says_so(tmp_path: Path, unused_port: int) -> None:
    made = Live(site_folder(tmp_path / "site", with_users=False), unused_port)
    with pytest.raises(UnreachableError, match="alarms"):
        await role.run(made.context)


async def test_a_log_that_goes_away_ends_no_session(
    tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role, "AGAIN_S", 0.05)
    bus, folder = MemoryBus(), site_folder(tmp_path / "site")
    async with live(folder, unused_port, bus=bus) as plant, client(plant.endpoint, "eva") as eva:
        events = Events()
        await events.subscribe(eva)
        bus.go_away()
        assert await call(eva, node(LOW_R1), TIMED, 1000.0) == "BadTimeout"
        bus.come_back()
        await plant.flow(60)
        await until(lambda: events.of(LOW_R1))
        assert await call(eva, node(LOW_R1), TIMED, 1000.0) == "Good"


async def test_a_log_that_is_away_when_it_starts_is_waited_for(
    tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when `headrace up` changes its broker's log under a role that is just starting."""
    monkeypatch.setattr(role, "AGAIN_S", 0.05)
    bus = MemoryBus()
    folder = site_folder(tmp_path / "site", with_users=False)
    prepare = role.Scada.prepare

    async def prepared(scada: role.Scada) -> None:
        await prepare(scada)
        bus.go_away()
        asyncio.get_running_loop().call_later(0.3, bus.come_back)

    monkeypatch.setattr(role.Scada, "prepare", prepared)
    async with live(folder, unused_port, bus=bus) as plant, client(plant.endpoint) as one:
        assert await one.get_node(ua.ObjectIds.Server_ServiceLevel).read_value() in (1, 255)


async def test_a_word_of_a_worker_that_has_lost_the_unit_is_none(tmp_path: Path, unused_port: int) -> None:
    async with (
        live(site_folder(tmp_path / "site"), unused_port) as plant,
        client(plant.endpoint, "eva") as eva,
    ):
        events = Events()
        await events.subscribe(eva)
        await plant.flow(60)
        await until(lambda: plant.state() == "unacknowledged")
        word = next(one for one in plant.said if one.key == LOW_R1)
        other = dataclasses.replace(word, id="another", state="acknowledged", at_ns=word.at_ns + 2)
        stale = dataclasses.replace(
            word, id="stale", state="normal", cleared_ns=word.at_ns, at_ns=word.at_ns + 1
        )
        for one, epoch in ((other, 8), (stale, 7)):
            await (await plant.producer.send(encode_output(one, 3, epoch)))
        await until(lambda: plant.context.metrics["stale_words"] == 1)
        assert plant.context.metrics["alarms"] == 1
