"""`headrace replay --to-kafka` into real brokers: what consumers see of it, and worker processes that work on it.

On Apache Kafka one worker on one partition and three on six, one of them killed, say what was recorded, in bytes;
actuators beside them act on nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from gateways.broker import EmbeddedBroker
from gateways.nvml.state import ENVIRONMENT, NvmlState
from rules.engine.outputs import Command
from streams.bus.kafka import KafkaBus
from streams.record import Record
from streams.recording.recording import Recording
from streams.replay.start import WHOLE
from streams.replay.to_bus import feed, open_log
from streams.settings import BrokerSettings
from streams.site_folder import load_site
from streams.topics import COMMANDS, DEAD_LETTERS, EVENTS, RULE_SETS, TOPICS
from streams.wire import encode_output
from tests.streams.replay.many_units import GARBAGE, OUTPUTS, RULES, SITE, T0, S, in_order, said, write
from tests.streams.replay.many_workers import live
from tests.support.broker import LIMIT_S, Broker

pytestmark = pytest.mark.system


@dataclass
class Recorded:
    """`whole`: all that was recorded; `bare`: only what a worker works on. `site_dir` has the same site and rules."""

    folder: Path
    records: list[Record]
    whole: Path = field(init=False)
    bare: Path = field(init=False)
    site_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        self.whole, self.bare = self.folder / "whole.mcap", self.folder / "bare.mcap"
        self.site_dir = self.folder / "site"
        write(self.whole, self.records)
        write(self.bare, [one for one in self.records if one.topic in (EVENTS.name, RULE_SETS.name)])
        (self.site_dir / "rules").mkdir(parents=True)
        (self.site_dir / "site.yaml").write_text(SITE)
        (self.site_dir / "rules" / "many.yaml").write_text(RULES)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    return Recorded(folder, asyncio.run(live(folder)))


@pytest.fixture
async def embedded(tmp_path: Path, unused_port: int) -> AsyncIterator[Broker]:
    broker = EmbeddedBroker(unused_port, tmp_path, partitions=3)
    await broker.start()
    bus = KafkaBus(BrokerSettings(bootstrap=broker.bootstrap))
    yield Broker(tmp_path, broker.bootstrap, bus)
    await bus.close()
    await broker.stop()


@pytest.fixture
async def apache(apache_kafka_module: ModuleType, tmp_path: Path) -> AsyncIterator[Broker]:
    kafka = apache_kafka_module.ApacheKafka(tmp_path / "kafka")
    try:
        await asyncio.to_thread(kafka.start)
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    bus = KafkaBus(BrokerSettings(bootstrap=kafka.bootstrap, request_timeout_s=30))
    yield Broker(tmp_path, kafka.bootstrap, bus)
    await bus.close()
    await asyncio.to_thread(kafka.stop)


async def test_consumers_see_what_was_recorded(recorded: Recorded, embedded: Broker) -> None:
    code, fed = await embedded.headrace(
        "replay", str(recorded.whole), "--to-kafka", embedded.bootstrap, "--to", "30s"
    )
    assert code == 0
    assert (fed["replay"], fed["partitions"], fed["partial"]) == ("whole.mcap", 3, False)
    assert (fed["from"], fed["to"]) == ("2026-01-01T00:00:00.000000000Z", "2026-01-01T00:00:30.000000000Z")
    found, wanted = said(await embedded.read(*OUTPUTS)), said(recorded.records)
    for place, outputs in in_order(found).items():
        assert outputs == [one for one in wanted[place].items() if one[0] in found[place]], place
    assert {
        topic: sum(len(ids) for place, ids in found.items() if place[0] == topic) for topic in OUTPUTS
    } == {topic: fed["records"][topic] for topic in OUTPUTS}
    async with embedded.process("alarms", str(recorded.site_dir)) as alarms:
        assert await alarms.wait() == 0
    words = (embedded.folder / "words.log").read_text()
    assert "a replay of whole.mcap, not a plant" in words
    assert re.search(r"unacknowledged +flow-low +row-g +R-g +R-g 57\.5", words)

    log = await embedded.ends()
    code, said_of = await embedded.headrace(
        "replay", str(recorded.bare), "--to-kafka", embedded.bootstrap, "--rules", "x"
    )
    assert code == 2
    assert said_of["findings"][0]["file"] == "--rules"
    assert await embedded.ends() == log


async def test_a_log_in_use_is_refused_and_no_broker_is_said(recorded: Recorded, embedded: Broker) -> None:
    producer = await embedded.bus.producer("a site")
    await (await producer.send(encode_output(a_command(recorded), 3)))
    await producer.close()
    code, answer = await embedded.headrace("replay", str(recorded.bare), "--to-kafka", embedded.bootstrap)
    assert code == 2
    assert "the log is in use, and no replay's: 'commands' has had 1 records" in answer["error"]
    assert set((await embedded.ends()).values()) == {0}
    code, answer = await embedded.headrace("replay", str(recorded.bare), "--to-kafka", "127.0.0.1:9")
    assert (code, answer["exit_code"]) == (3, 3)


async def test_ctrl_c_ends_it_with_what_was_sent(recorded: Recorded, embedded: Broker) -> None:
    words = ("replay", str(recorded.bare), "--to-kafka", embedded.bootstrap, "--speed", "1", "--json")
    async with embedded.process(*words) as process:
        async with asyncio.timeout(LIMIT_S):
            while sum((await embedded.ends()).values()) < 100:
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 130
    fed = json.loads(output)
    assert fed["partial"]
    assert fed["records"]["events"] == len(await embedded.read(EVENTS.name)) < 5000


def a_command(recorded: Recorded) -> Command:
    """A sound one that no recording holds, and that has an hour."""
    now_ns = time.time_ns()
    return Command(
        "row-a:by:1:1:0",
        "row-a",
        "by",
        "R-a-G1",
        "R-a-G1.power_limit",
        700.0,
        "W",
        now_ns,
        now_ns + 3600 * S,
        "test",
    )


def gpus(broker: Broker, recorded: Recorded) -> tuple[NvmlState, dict[str, str]]:
    """The GPUs of the site with the log of what was written to them, and how a process finds them."""
    path = broker.folder / "nvml.state"
    names = [gpu for unit in load_site(recorded.site_dir).units.values() for gpu in unit.gpus]
    return NvmlState.create(path, names), {ENVIRONMENT: str(path)}


@pytest.mark.kafka
@pytest.mark.parametrize(("partitions", "workers"), [(1, 1), (6, 3)])
async def test_workers_say_what_was_recorded_and_actuators_do_nothing(
    recorded: Recorded, apache: Broker, partitions: int, workers: int
) -> None:
    await apache.bus.create_topics(TOPICS, partitions)
    site = str(recorded.site_dir)
    names = [f"worker-{number}" for number in range(1, workers + 1)]

    def is_snapshotted(roles: dict[str, dict[str, Any]]) -> bool:
        return all(
            roles.get(name, {}).get("metrics", {}).get("snapshots", {}).get("written") for name in names
        )

    recordings = [Recording(recorded.bare)]
    mark = await open_log(apache.bus, recordings, "bare.mcap", partitions)
    half_is_in, go_on = asyncio.Event(), asyncio.Event()

    async def watch(event_ns: int) -> bool:
        if event_ns >= T0 + 60 * S:
            half_is_in.set()
            await go_on.wait()
        return True

    async with AsyncExitStack() as running:
        feeding = asyncio.create_task(feed(recordings, apache.bus, mark, WHOLE, watch))
        await half_is_in.wait()
        state, found_by = gpus(apache, recorded)
        environment = {"HEADRACE_BROKER__PARTITIONS": str(partitions)}
        await running.enter_async_context(apache.process("run", "actuators", site, **environment, **found_by))

        def worker(name: str) -> Any:
            return apache.process("run", "worker", site, "--name", name, **environment)

        working = {name: await running.enter_async_context(worker(name)) for name in names}
        await apache.until("all workers have written snapshots", is_snapshotted)
        working[names[-1]].kill()
        go_on.set()
        await working[names[-1]].wait()
        working[names[-1]] = await running.enter_async_context(worker(names[-1]))
        fed = await asyncio.wait_for(feeding, LIMIT_S)
        assert (fed.partitions, fed.is_partial) == (partitions, False)
        producer = await apache.bus.producer("somebody")
        await (await producer.send(encode_output(a_command(recorded), partitions)))
        await producer.close()

        ends = await apache.ends()

        def have_worked_off(roles: dict[str, dict[str, Any]]) -> bool:
            newest = [roles.get(name, {}) for name in names]
            owned = [one.get("metrics", {}).get("positions", {}) for one in newest]
            return (
                [one.get("pid") for one in newest] == [working[name].pid for name in names]
                and [len(one) for one in owned] == [partitions // workers] * workers
                and {number: end for one in owned for number, end in one.items()} == ends
            )

        await apache.until("each worker has its share, and is at the end of it", have_worked_off)
        for process in working.values():
            process.terminate()
            assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0

        commands = await apache.read(COMMANDS.name)
        roles = await apache.until(
            "the actuators have read all commands",
            lambda roles: roles.get("actuators", {}).get("metrics", {}).get("replayed") == len(commands),
        )
    assert (roles["actuators"]["state"], roles["actuators"]["metrics"]["replay"]) == ("replay", "bare.mcap")
    assert roles["actuators"]["metrics"]["seen"] == 0
    assert state.field("limit_writes").sum() == 0

    found = said(await apache.read(*OUTPUTS))
    assert found[COMMANDS.name, "row-a"].pop(a_command(recorded).id)
    assert in_order(found) == in_order(said(recorded.records))
    assert {record.value for record in await apache.read(DEAD_LETTERS.name)} == {GARBAGE}
    assert await apache.ends() == ends, (
        "no fact, no receipt and no activation came to those that were recorded"
    )
    expired = [orjson.loads(record.value or b"")["body"]["expires_ns"] for record in commands]
    assert min(expired) < T0 + 200 * S
