"""A site is backed up, its machine is lost, and it goes on from the copy (docs/operations.md).

It is copied and restored by the commands of that page: the broker's data, the run folders and the recordings, while
everything is stopped. Run folders of worker and ticker are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
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
from tests.support.operations import commands, run_on

pytestmark = [pytest.mark.night, pytest.mark.system]
LIMIT_S = 240  # roles beside a broker, on two cores that may be busy
SITE = str(ROOT / "examples" / "narvik-small")
ROLES = ("ticker", "worker", "recorder", "plant", "opcua")
OTHERS = ("actuators", "alerts", "scada")
"""Of which the page speaks as well, and this site has none."""
SAID = ("alarms", "journal", "commands")


class Site:
    """Roles on a broker, with their state where the machine has it; what they say is in `folder`."""

    def __init__(self, machine: Path, folder: Path, bootstrap: str) -> None:
        folder.mkdir(exist_ok=True)
        self.broker = Broker(
            folder, bootstrap, KafkaBus(BrokerSettings(bootstrap=bootstrap, request_timeout_s=30))
        )
        self.state = machine / "var" / "lib" / "headrace"
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
                    self.broker.process(*words, HEADRACE_RUN_DIR=str(self.state / role))
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
    machine, words = tmp_path / "machine", tmp_path / "words"
    (machine / "var" / "lib").mkdir(parents=True)
    kafka = apache_kafka_module.ApacheKafka(machine / "var" / "lib" / "kafka")
    try:
        await asyncio.to_thread(kafka.start)
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    try:
        site = Site(machine, words, kafka.bootstrap)
        assert (await site.broker.headrace("topics", "apply", SITE))[0] == 0
        async with site.running("faults=pump_trip@1s"):
            await site.alarm("flow-low")
        before = await site.said()
        await site.broker.bus.close()

        await asyncio.to_thread(kafka.stop)
        (machine / "etc" / "headrace").mkdir(parents=True)
        for role in OTHERS:
            (site.state / role).mkdir()
        do(machine, commands("## Back up", "tar -C", "mkdir ") + commands("### The log", "tar -C"))
        shutil.rmtree(machine)
        machine.mkdir()
        do(machine, commands("## Restore on an empty machine", "tar -C", "mkdir "))
        assert not (site.state / "worker").exists()
        await asyncio.to_thread(kafka.start)

        site = Site(machine, words, kafka.bootstrap)
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
        code, recorded = await site.broker.headrace(
            "recording", "info", str(site.state / "recorder" / "recordings")
        )
        assert code == 0, recorded
    finally:
        kafka.stop()


def do(machine: Path, backup: list[str]) -> None:
    """What the page says, one after the other."""
    assert backup
    for command in backup:
        done = run_on(machine, command, machine.parent)
        assert done.returncode == 0, f"{command}: {done.stderr}"


async def status(site: Site, role: str) -> dict[str, Any]:
    """The metrics of a role's last word."""
    records = [one for one in await site.broker.read("status") if one.key == role.encode()]
    metrics: dict[str, Any] = orjson.loads(records[-1].value or b"{}")["metrics"]
    return metrics
