"""The broker of docs/kafka.md, "Your first Kafka", with the page's own properties: it starts, and takes the topics.

Roles find out there whether `events` has as many partitions as they were told.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import ModuleType

import pytest

from gateways.cli.main import run_app
from gateways.nvml.state import ENVIRONMENT, NvmlState
from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from streams.site_folder import load_site
from streams.topics import TOPICS
from tests.support.broker import LIMIT_S, Broker

pytestmark = [pytest.mark.kafka, pytest.mark.system]

SITE = str(Path(__file__).parents[2] / "examples" / "narvik-small")
PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"


def properties() -> str:
    page = PAGE.read_text()
    block = page[page.index("    process.roles=") :].partition("\n\n")[0]
    return "".join(f"{line.strip()}\n" for line in block.splitlines())


async def roles_of_other_partitions(folder: Path, bootstrap: str) -> None:
    """They end with exit code 2, and have sent nothing."""
    bus = KafkaBus(BrokerSettings(bootstrap=bootstrap, request_timeout_s=30))
    broker = Broker(folder, bootstrap, bus)
    units = load_site(Path(SITE)).units.values()
    NvmlState.create(folder / "nvml.state", [gpu for unit in units for gpu in unit.gpus])
    environment = {"HEADRACE_BROKER__PARTITIONS": "12", ENVIRONMENT: str(folder / "nvml.state")}
    for role in ("ticker", "worker", "actuators", "opcua"):
        async with broker.process("run", role, SITE, **environment) as process:
            assert await asyncio.wait_for(process.wait(), LIMIT_S) == 2, (role, broker.last_words())
        assert "broker.partitions is 12 here, and topic 'events' has 3 partitions" in broker.last_words()
        (folder / "words.log").unlink()
    for topic in TOPICS:
        assert not any((await bus.ends(topic.name)).values()), topic.name
    await bus.close()


async def test_it_starts_and_takes_the_topics(
    apache_kafka_module: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    text = properties()
    for port, name in (
        ("9092", "{port}"),
        ("9093", "{controller}"),
        ("/var/lib/kafka/data", "{folder}/data"),
    ):
        assert port in text
        text = text.replace(port, name)
    monkeypatch.setattr(apache_kafka_module, "CONFIGURATION", text)
    broker = apache_kafka_module.ApacheKafka(tmp_path)
    try:
        await asyncio.to_thread(broker.start)
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    # it has just started, on a machine that may be busy
    monkeypatch.setenv("HEADRACE_BROKER__REQUEST_TIMEOUT_S", "30")
    try:
        capfd.readouterr()
        code = await asyncio.to_thread(
            run_app, ["topics", "apply", "--bootstrap", broker.bootstrap, "--json"]
        )
        said = json.loads(capfd.readouterr().out)
        await roles_of_other_partitions(tmp_path, broker.bootstrap)
    finally:
        broker.kill()
    assert (code, said["left"]) == (0, [])
    assert {one["topic"] for one in said["done"]} == {topic.name for topic in TOPICS}
