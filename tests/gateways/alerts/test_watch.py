"""The dead-man's switch fires while alarms get through, and is silent when they do not; what fires is said again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from gateways.alerts import watch
from gateways.alerts.role import run
from gateways.own_count import own_points
from rules.engine.inputs import Readings
from rules.site.parse import parse_site
from streams.bus.memory import MemoryBus
from streams.record import Message
from streams.role import RoleContext
from streams.settings import Settings
from streams.topics import EVENTS, STATUS
from streams.wire import decode_input, encode_output
from tests.gateways.alerts.conftest import Start
from tests.gateways.alerts.sink import Sink, until
from tests.gateways.alerts.words import raised, then

ALWAYS = """
channels: {{here: {{kind: webhook, url: "{url}"}}}}
subscriptions: {{watchdog: {{to: here, always: 1 s}}}}
"""


async def worker_says(bus: MemoryBus, state: str = "ready", kind: str = "worker", age_s: float = 0.0) -> None:
    at_ns = time.time_ns() - round(age_s * 1e9)
    body = {"role": "headrace-0", "kind": kind, "state": state, "at_ns": at_ns, "metrics": {"engine": {}}}
    producer = await bus.producer("status")
    await (await producer.send(Message(STATUS.name, 0, b"headrace-0", orjson.dumps(body))))


async def test_it_fires_as_soon_as_a_worker_works(start: Start, sink: Sink, bus: MemoryBus) -> None:
    async with start(ALWAYS.format(url=sink.url)) as role:
        await until(lambda: role.context.metrics["always_withheld"] > 0)
        await worker_says(bus, "starting")
        await worker_says(bus, kind="nvml")
        await worker_says(bus, age_s=60.0)
        producer = await bus.producer("others")
        await (await producer.send(Message(STATUS.name, 0, b"x", b"no json")))
        await (await producer.send(Message(STATUS.name, 0, b"x", b"[]")))
        withheld = role.context.metrics["always_withheld"]
        await until(lambda: role.context.metrics["always_withheld"] >= withheld + 2)
        assert sink.got == []
        await worker_says(bus)
        await until(lambda: len(sink.got) == 2)
    first, second = sink.got
    assert (first["kind"], first["subscription"], first["period_ns"]) == ("always", "watchdog", 1_000_000_000)
    assert first["id"] != second["id"]


async def test_it_is_silent_when_no_worker_says_anything(
    start: Start, sink: Sink, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENT_S", 1.5)
    async with start(ALWAYS.format(url=sink.url)) as role:
        await worker_says(bus)
        await until(lambda: len(sink.got) > 0)
        before = role.context.metrics["always_withheld"]
        await until(lambda: role.context.metrics["always_withheld"] > before)
        fired = len(sink.got)
        await until(lambda: role.context.metrics["always_withheld"] >= before + 3)
        assert len(sink.got) == fired <= 2


async def test_an_alertmanager_hears_again_of_what_fires(
    start: Start, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LEASE_EVERY_S", 1.0)  # the words themselves come before
    text = f"""
channels: {{prometheus: {{kind: alertmanager, url: "{sink.url}"}}}}
subscriptions: {{duty: {{to: prometheus, severity: high}}}}
"""
    async with start(text) as role:
        over = raised(3, "R3")
        await role.say(raised(1), raised(2, "R2", severity="low"), over, then(over, "normal", 4))
        await until(lambda: len(sink.bodies) >= 5)
    said = [orjson.loads(body) for body in sink.bodies]
    assert [[one["labels"]["asset"] for one in alerts] for alerts in said[3:5]] == [["R1"], ["R1"]]


SITE = """
name: test
tick: 100 ms
sources:
  alerts: {kind: alerts, period: 100 ms}
units:
  site:
    assets:
      ALERTS:
        type: System
        points:
          DeadChannels: {range: 0..100, source: alerts}
"""
DEAD = """
channels:
  here: {{kind: webhook, url: "{url}", give_up: 1 s}}
subscriptions: {{duty: {{to: here}}}}
"""


async def test_a_dead_channel_is_a_reading_of_which_any_rule_makes_an_alarm(
    tmp_path: Path, sink: Sink, bus: MemoryBus
) -> None:
    site, findings = parse_site(SITE, "site.yaml")
    assert site is not None, findings
    (tmp_path / "subscriptions.yaml").write_text(DEAD.format(url=sink.url))
    context = RoleContext("alerts", site, tmp_path, Settings(run_dir=tmp_path / "run"), bus, asyncio.Event())
    assert [point.id for point in own_points(context, "alerts", "DeadChannels")] == ["ALERTS.DeadChannels"]
    sink.always = 500
    task = asyncio.create_task(run(context))
    await until(lambda: context.state == "ready")
    producer = await bus.producer("worker")
    await (await producer.send(encode_output(raised(1, unit="site"), 3)))

    def values() -> list[float]:
        inputs = [decode_input(one.key, one.headers, one.value) for one in bus.records(EVENTS.name)]
        return [float(one.values[0]) for one in inputs if isinstance(one, Readings)]

    await until(lambda: values()[-1:] == [1.0])
    assert values()[0] == 0.0
    sink.always = 200
    await until(lambda: values()[-1] == 0.0)
    context.stop.set()
    await task
