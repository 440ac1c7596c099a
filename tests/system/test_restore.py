"""A site is backed up, its machine is lost, and it goes on from the copy (docs/operations.md).

The copy is what the page says: the broker's data, the run folders and the recordings, while everything is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from gateways.listen import free_port
from streams.bus.kafka import KafkaBus
from streams.record import Record
from streams.settings import BrokerSettings
from tests.support.broker import ROOT, Broker

pytestmark = [pytest.mark.night, pytest.mark.system]
LIMIT_S = 240  # roles beside a broker, on two cores that may be busy
SITE = str(ROOT / "examples" / "narvik-small")
ROLES = ("ticker", "worker", "recorder", "plant", "opcua")
SAID = ("alarms", "journal", "commands")


class Site:
    """Roles with their run folder and recordings in `folder`, on a broker."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        run = folder / "run"
        run.mkdir(exist_ok=True)
        self.broker = Broker(run, bootstrap, KafkaBus(BrokerSettings(bootstrap=bootstrap)))
        self.recordings = folder / "recordings"
        self._plant = f"endpoint.plant-opcua=opc.tcp://127.0.0.1:{free_port()}/headrace/plant"

    @contextlib.asynccontextmanager
    async def running(self, *plant: str) -> AsyncIterator[None]:
        """All roles, ready, until the block ends; then they are told to stop, and do. `plant`: options of that role."""
        async with contextlib.AsyncExitStack() as stack:
            processes = []
            for role in ROLES:
                words = ["run", role, SITE]
                for option in (self._plant, *(plant if role == "plant" else ())):
                    words += ["--option", option]
                process = await stack.enter_async_context(
                    self.broker.process(*words, HEADRACE_RECORDER__FOLDER=str(self.recordings))
                )
                processes.append(process)
                await self._ready(role, process.pid)
            yield
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0, self.broker.last_words()

    async def _ready(self, role: str, pid: int) -> None:
        await self.broker.until(
            f"{role} ready",
            lambda newest: (
                (newest.get(role, {}).get("pid"), newest.get(role, {}).get("state")) == (pid, "ready")
            ),
            LIMIT_S,
        )

    async def alarm(self, rule: str) -> None:
        """Return when an alarm of the rule is active."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                records = await self.broker.read("alarms")
                if any(rule in (one.key or b"").decode() and one.value for one in records):
                    return
                await asyncio.sleep(0.2)

    async def said(self) -> dict[tuple[str, int, int], Record]:
        """All that the worker has said, by its place in the log."""
        return {(one.topic, one.partition, one.offset): one for one in await self.broker.read(*SAID)}


async def test_a_site_goes_on_from_the_copy_of_a_lost_machine(
    tmp_path: Path, apache_kafka_module: ModuleType
) -> None:
    machine, backup = tmp_path / "machine", tmp_path / "backup.tar"
    machine.mkdir()
    kafka = apache_kafka_module.ApacheKafka(machine / "kafka")
    try:
        await asyncio.to_thread(kafka.start)
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    try:
        site = Site(machine, kafka.bootstrap)
        assert (await site.broker.headrace("topics", "apply", SITE))[0] == 0
        async with site.running("faults=pump_trip@1s"):
            await site.alarm("flow-low")
        before = await site.said()
        await site.broker.bus.close()

        await asyncio.to_thread(kafka.stop)
        with tarfile.open(backup, "w") as archive:
            archive.add(machine, machine.name)
        shutil.rmtree(machine)
        with tarfile.open(backup) as archive:
            archive.extractall(tmp_path, filter="tar")
        await asyncio.to_thread(kafka.start)

        site = Site(machine, kafka.bootstrap)
        assert await site.said() == before
        assert (await site.broker.headrace("topics", "check", SITE))[0] == 0
        async with site.running():
            after = await site.said()
        assert {place: after[place] for place in before} == before
        worker = await status(site, "worker")
        assert worker["restores"]
        for wrong in ("restores_refused", "restores_on_other_log", "skipped_offsets"):
            assert not worker[wrong], wrong
        code, journal = await site.broker.headrace("journal", "verify", SITE)
        assert code == 0, journal
        code, recorded = await site.broker.headrace("recording", "info", str(site.recordings))
        assert code == 0, recorded
    finally:
        kafka.stop()


async def status(site: Site, role: str) -> dict[str, Any]:
    """The metrics of a role's last word."""
    records = [one for one in await site.broker.read("status") if one.key == role.encode()]
    metrics: dict[str, Any] = orjson.loads(records[-1].value or b"{}")["metrics"]
    return metrics
