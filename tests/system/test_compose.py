"""Every `command:` of docker-compose.yml as a plain process, with the environment that it has in its container.

Apache Kafka is in Kafka's place, free ports and folders of the test in those of the containers. What stands in a
profile for a real plant has the command of the one that works on the simulated plant, and is not started twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateways.listen import free_port
from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from tests.support.broker import ROOT, Broker

pytestmark = [pytest.mark.night, pytest.mark.system]
LIMIT_S = 240  # nine roles beside a broker, on two cores that may be busy
SITE = ROOT / "examples" / "narvik-small"
SERVICES: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
OURS = {name: one for name, one in SERVICES.items() if "command" in one}
STARTED = {name: one for name, one in OURS.items() if one.get("profiles", [""])[0] not in ("field", "gpu")}
IMAGE = dict(re.findall(r"(HEADRACE_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))


class Containers:
    """The services as processes; `ports` of the host are free ones, by those of the file."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.broker = Broker(
            folder, bootstrap, KafkaBus(BrokerSettings(bootstrap=bootstrap, request_timeout_s=30))
        )
        self._token = folder / "http-token"
        self._token.write_text("of-the-test\n")
        self._ports: dict[tuple[str, str], int] = {}

    def environment(self, name: str) -> dict[str, str]:
        """That of the image and of the service, with this machine's places in those of the container's."""
        volume = next((v for v in OURS[name]["volumes"] if v.endswith(":/var/lib/headrace")), name).split(
            ":"
        )[0]
        (self.broker.folder / volume).mkdir(exist_ok=True)
        places = {
            "kafka:9092": self.broker.bootstrap,
            "/run/secrets/http-token": str(self._token),
            "/var/lib/headrace": str(self.broker.folder / volume),
        }
        found = {}
        for key, value in {**IMAGE, **OURS[name]["environment"]}.items():
            text = str(value)
            for place, here in places.items():
                text = text.replace(place, here)
            found[key] = re.sub(r"0\.0\.0\.0:(\d+)", lambda match: self._address(name, match[1]), text)
        return found

    def words(self, name: str) -> list[str]:
        """The command, with the site's folder of this machine and a free port of the simulated plant."""
        words = [str(SITE) if word == "/site" else word for word in OURS[name]["command"]]
        if words[0] == "run":
            plant = f"opc.tcp://{self._address('plant', '4840')}/headrace/plant"
            words += (
                ["--option", f"endpoint.plant-opcua={plant}"]
                if "plant" in OURS[name].get("profiles", [])
                else []
            )
        return words

    def _address(self, name: str, port: str) -> str:
        return f"127.0.0.1:{self._ports.setdefault((name, port), free_port())}"

    async def run(self, name: str) -> int:
        """A service that ends: its exit code."""
        async with self.broker.process(*self.words(name), **self.environment(name)) as process:
            return await asyncio.wait_for(process.wait(), LIMIT_S)

    async def until_ready(self, name: str) -> None:
        """By the status of its role."""
        role = OURS[name]["command"][1]
        await self.broker.until(
            f"{name} ready", lambda newest: newest.get(role, {}).get("state") == "ready", LIMIT_S
        )

    async def until_healthy(self, name: str) -> None:
        """By the image's health check, which the engine repeats as well."""
        environment = {
            **self.environment(name),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        async with asyncio.timeout(LIMIT_S):
            while True:
                check = await asyncio.create_subprocess_exec(
                    *("sh", ROOT / "tools" / "container_start.sh", "--healthy"), env=environment,
                    stderr=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
                if await check.wait() == 0:
                    return


@pytest.fixture
async def containers(tmp_path: Path, apache_kafka_module: ModuleType) -> AsyncIterator[Containers]:
    kafka = apache_kafka_module.ApacheKafka(tmp_path / "kafka")
    try:
        await asyncio.to_thread(kafka.start)
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    try:
        found = Containers(tmp_path, kafka.bootstrap)
        yield found
        await found.broker.bus.close()
    finally:
        kafka.stop()


def test_what_works_on_a_real_plant_has_the_command_of_what_works_on_the_simulated_one() -> None:
    for name, one in OURS.items():
        if name not in STARTED:
            assert one["command"] == OURS[f"plant-{name}"]["command"]


async def test_every_command_does_its_work(containers: Containers) -> None:
    assert await containers.run("topics") == 0
    # one after the other, the plant before what works on it: all at once would be a test of this machine
    order = sorted(STARTED.keys() - {"topics"}, key=lambda name: (name.startswith("plant-"), name))
    async with contextlib.AsyncExitStack() as stack:
        processes = {}
        for name in order:
            process = containers.broker.process(*containers.words(name), **containers.environment(name))
            processes[name] = await stack.enter_async_context(process)
            await containers.until_ready(name)
        for name in processes:
            await containers.until_healthy(name)
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        ended = {name: await asyncio.wait_for(one.wait(), LIMIT_S) for name, one in processes.items()}
    assert ended == dict.fromkeys(processes, 0), containers.broker.last_words()
