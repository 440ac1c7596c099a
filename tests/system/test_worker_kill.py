"""The worker as a process on each broker: killed with -9, ended from inside at the worst moments, stopped.

What every life of it says together must be what the engines say when nobody disturbs them, in ids and bytes.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest

from gateways.broker import EmbeddedBroker
from streams.record import Message
from streams.topics import DEAD_LETTERS, EVENTS, partition_of
from tests.support.broker import LIMIT_S
from tests.support.worker_world import GARBAGE, PARTITIONS, World, world_on

pytestmark = pytest.mark.system


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
async def bootstrap(
    request: pytest.FixtureRequest, apache_kafka_module: ModuleType, unused_port: int, tmp_path: Path
) -> AsyncIterator[str]:
    """A broker of the test's own: the site's topics have the same names everywhere."""
    if request.param == "embedded":
        embedded = EmbeddedBroker(unused_port, tmp_path)
        await embedded.start()
        yield embedded.bootstrap
        await embedded.stop()
        return
    apache = apache_kafka_module.ApacheKafka(tmp_path / "kafka")
    try:
        await asyncio.to_thread(apache.start)
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    yield apache.bootstrap
    await asyncio.to_thread(apache.stop)


@pytest.fixture
async def world(bootstrap: str, tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(bootstrap, tmp_path) as made:
        yield made


async def test_killed_crashed_and_stopped_it_says_what_an_undisturbed_one_says(world: World) -> None:
    garbage = Message(
        EVENTS.name, partition_of("row-a", PARTITIONS), b"row-a", GARBAGE, (("schema", b"tick/1"),)
    )
    await world.send(0, 25)
    async with world.worker() as worker:
        await world.status(lambda said: said["metrics"].get("snapshots", {}).get("written", 0) > 0)
        await world.send(25, 40)
        await world.producer.send(garbage)
        await world.send(40, 50)
        worker.send_signal(signal.SIGKILL)
        assert await worker.wait() == -signal.SIGKILL

    # Each of the three moments once; the switch remembers what it has done, so that the fourth life goes on.
    crashes = "crash_at=publish:3,snapshot:2,ack:1"
    for part in range(3):
        async with world.worker(crashes) as worker:
            await world.send(50 + part * 15, 65 + part * 15)
            assert await asyncio.wait_for(worker.wait(), LIMIT_S) == 137, f"no crash in life {part}"

    async with world.worker(crashes) as worker:
        said = await world.worked_off(worker.pid)
        assert said["metrics"]["restores"] > 0  # how many units had their turn is a matter of time
        worker.terminate()
        assert await asyncio.wait_for(worker.wait(), LIMIT_S) == 0
    final = await world.status(lambda said: said["pid"] == worker.pid and said["state"] == "stopping")
    assert final["metrics"]["acknowledged"] == final["metrics"]["positions"]

    wanted, facts = await world.undisturbed(final["metrics"]["positions"])
    assert len(wanted) > 100
    assert await world.said() == wanted
    assert len(facts) > 10
    assert await world.facts() == facts
    assert any(b"hot-behind-feed" in said for said in wanted.values())
    assert {record.value for record in await world.read(DEAD_LETTERS.name)} == {GARBAGE}
