"""The target of an OPC UA source, against a server that says what it likes."""

import asyncio
import contextlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from asyncua import ua

from gateways.actuators import opcua_target
from gateways.actuators.opcua_target import NAMESPACE_URI, PRODUCT_URI, OpcuaTarget
from gateways.actuators.outcome import Task
from tests.gateways.actuators.plant import command, make_site
from tests.gateways.nvml.hosts import until

SITE = make_site(1)
PUMPS = [f"P{number}.PumpSpeed" for number in range(1, 6)]
KINDS = ua.VariantType


class Server:
    """In the place of a client: what it has by node, and what is done to its answers. `calls`: sizes of its Writes."""

    def __init__(self, values, *, at_most=100, answers=None, lost=False):
        self.values, self.at_most, self.answers, self.lost = values, at_most, answers, lost
        self.calls = []
        self.uaclient = self

    async def read_attributes(self, nodes, _attribute):
        self._refuse(nodes)
        return [ua.DataValue(self.values[node.Identifier]) for node in nodes]

    async def write_attributes(self, nodes, values, _attribute):
        self._refuse(nodes)
        self.calls.append(len(nodes))
        for node, value in zip(nodes, values, strict=True):
            self.values[node.Identifier] = value.Value
        return [ua.StatusCode()] * len(nodes) if self.answers is None else self.answers(self)

    def _refuse(self, nodes):
        if self.lost:
            raise ConnectionError("gone")
        if len(nodes) > self.at_most:
            raise ua.uaerrors.BadTooManyOperations


def pumps():
    return {name: ua.Variant(50.0) for name in PUMPS}


def target_at(server):
    target = OpcuaTarget(SITE.sources["plant"], Path(), time.time_ns)
    target._namespaces = ["", NAMESPACE_URI]
    target._client = server
    return target


def tasks(*wanted, **given):
    commands = [command(name, value, **given) for name, value in wanted]
    return [Task(one, SITE.actuators[one.actuator]) for one in commands]


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        (KINDS.Int16, 3),
        (KINDS.Byte, 3),
        (KINDS.String, "50"),
        (KINDS.DateTime, ua.uatypes.datetime(2026, 1, 1)),
        (KINDS.LocalizedText, ua.LocalizedText("50")),
        (KINDS.Null, None),
    ],
)
async def test_what_a_node_can_not_hold_is_failed_for_it_alone(kind, has):
    server = Server({**pumps(), "V1.Whole": ua.Variant(has, kind)})
    batch = tasks((PUMPS[0], 60.0), ("V1.Whole", 40_000.0), (PUMPS[1], 70.0))
    for _ in range(2):
        outcomes = await target_at(server).write(batch)
        assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
        assert f"is no {kind.name}" in outcomes[1].detail or "has no value" in outcomes[1].detail
    assert server.calls == [2, 2]


async def test_a_batch_that_is_too_large_for_the_server_goes_in_parts():
    server = Server(pumps(), at_most=2)
    outcomes = await target_at(server).write(tasks(*((name, 60.0) for name in PUMPS)))
    assert [(outcome.status, outcome.read_back) for outcome in outcomes] == [("done", 60.0)] * 5
    assert sorted(server.calls) == [1, 2, 2]


async def test_what_the_server_refuses_alone_is_failed():
    outcomes = await target_at(Server(pumps(), at_most=0)).write(tasks((PUMPS[0], 60.0), (PUMPS[1], 60.0)))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert "BadTooManyOperations" in outcomes[0].detail


@pytest.mark.parametrize(
    "back",
    [ua.Variant("x\udcff" * 1000), ua.Variant(None, KINDS.String), ua.Variant([1.0, 2.0]), ua.Variant()],
)
async def test_a_read_back_that_is_no_number_is_unknown_for_it_alone(back):
    server = Server(pumps())
    target = target_at(server)
    await target.write(tasks((PUMPS[0], 60.0), (PUMPS[1], 60.0)))

    def say(server):
        server.values[PUMPS[0]] = back
        return [ua.StatusCode()] * 2

    server.answers = say
    outcomes = await target.write(tasks((PUMPS[0], 60.0), (PUMPS[1], 70.0)))
    assert [outcome.status for outcome in outcomes] == ["unknown", "done"]
    assert outcomes[0].detail.encode()
    assert len(outcomes[0].detail) < 200
    assert target._client is server


@pytest.mark.parametrize("answer", [[], None, [None, None], [ua.StatusCode()]], ids=str)
async def test_an_answer_that_is_none_costs_the_connection_and_no_more(answer):
    target = target_at(Server(pumps(), answers=lambda _: answer))
    outcomes = await target.write(tasks((PUMPS[0], 60.0), (PUMPS[1], 60.0)))
    assert [outcome.status for outcome in outcomes] == ["unknown", "unknown"]
    assert target._client is None


async def test_each_command_has_its_own_time():
    server, now_ns = Server(pumps(), lost=True), time.time_ns()
    target = target_at(server)
    target._clock = lambda: now_ns
    (late,), (later,) = tasks((PUMPS[0], 60.0), expires_s=-1.0), tasks((PUMPS[1], 70.0), expires_s=60.0)
    writing = asyncio.create_task(target.write([late, later]))
    await until(lambda: target._client is None)
    target._client = Server(pumps())
    target._announce()
    outcomes = await writing
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert target._client.calls == [1]


class Client(Server):
    """Connects at once; what it says of itself is of the class, first to last, and the last stays."""

    said = ()
    left = 0

    def __init__(self, *_given, **_options):
        super().__init__(pumps())
        self._namespaces, self._product = Client.said[0]
        Client.said = Client.said[1:] or Client.said
        self.nodes = SimpleNamespace(server_state=self)

    async def connect(self):
        pass

    async def get_namespace_array(self):
        return self._namespaces

    def get_node(self, _node):
        return self

    async def read_value(self):
        return self._product

    async def leave(self, _within_s):
        Client.left += 1


@contextlib.asynccontextmanager
async def running(monkeypatch, *said):
    """A target at work at servers that say this of themselves, one after the other."""
    monkeypatch.setattr(opcua_target, "Client", Client)
    monkeypatch.setattr(opcua_target, "BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(opcua_target, "PROBE_EVERY_S", 0.0)
    Client.said, Client.left = said, 0
    target = OpcuaTarget(SITE.sources["plant"], Path(), time.time_ns)
    task = asyncio.create_task(target.run())
    try:
        yield target, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_a_server_says_of_itself_ends_at_most_its_connection(monkeypatch, caplog):
    nonsense = [(None, PRODUCT_URI), (1.0, PRODUCT_URI)]
    async with running(monkeypatch, *nonsense, (["", NAMESPACE_URI], PRODUCT_URI)) as (target, task):
        await until(lambda: target._client is not None or task.done())
        assert not task.done()
        assert target.connections == 1
        assert Client.left == len(nonsense)
    assert [record.exc_info is None for record in caplog.records] == [False, False]


async def test_what_a_receipt_says_of_a_foreign_server_can_be_written_down(monkeypatch):
    async with running(monkeypatch, (["", NAMESPACE_URI], "x\udcff\n" * 100_000)) as (target, _):
        await until(lambda: target.refusal)
        (outcome,) = await target.write(tasks((PUMPS[0], 60.0)))
    assert outcome.status == "refused"
    assert r"product is 'x\udcff\nx" in outcome.detail
    assert len(outcome.detail.encode()) < 300


@pytest.mark.parametrize("answer", [[], None, [None]], ids=str)
async def test_a_watchdog_s_counter_hears_why_it_is_not_written(answer):
    target = target_at(Server(pumps(), answers=lambda _: answer))
    assert await target.count(f"nsu={NAMESPACE_URI};s=P1.PumpSpeed", 7)
