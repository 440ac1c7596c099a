"""`headrace activate` on a broker where another site is running: refused, and nothing is sent."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import orjson

from gateways.broker import EmbeddedBroker
from streams.bus import Producer
from streams.bus_kafka import KafkaBus
from streams.record import Message
from streams.rule_sets.rule_set import RuleSet, published_rule_sets, rule_set_message, rule_set_of
from streams.settings import BrokerSettings
from streams.site_folder import load_site
from streams.topics import STATUS

ROOT = Path(__file__).parents[3]
RUNNING = ROOT / "examples" / "narvik-small"


async def be_a_worker(producer: Producer, rule_set: RuleSet) -> None:
    """Say what the worker of that site says, until cancelled."""
    while True:
        metrics = {"rules": {"row-a": rule_set.digest}, "rule_sets": {"ready": [rule_set.digest]}}
        said = {"role": "worker", "at_ns": time.time_ns(), "metrics": metrics}
        await (await producer.send(Message(STATUS.name, 0, b"worker", orjson.dumps(said))))
        await asyncio.sleep(0.2)


async def test_rules_of_another_site_are_refused_at_once(embedded_broker: EmbeddedBroker) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("test")
    rule_set = rule_set_of(RUNNING, load_site(RUNNING))
    await (await producer.send(rule_set_message(rule_set)))
    worker = asyncio.create_task(be_a_worker(producer, rule_set))
    words = ["activate", "examples/narvik", "--bootstrap", embedded_broker.bootstrap, "--json"]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateways.cli.main", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(
        child.communicate(), 50
    )  # it would wait a minute for workers to get ready
    worker.cancel()
    (finding,) = orjson.loads(said)["findings"]
    assert child.returncode == 2
    assert finding["message"] == (
        "these rules are for site 'narvik', and site 'narvik-small' is running there"
    )
    assert list(await published_rule_sets(bus)) == [rule_set.digest]
    await producer.close()
    await bus.close()
