"""The broker of docs/kafka.md, "Your first Kafka", with the page's own properties: it starts, and takes the topics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import ModuleType

import pytest

from gateways.cli.main import run_app
from streams.topics import TOPICS

pytestmark = [pytest.mark.kafka, pytest.mark.system]

PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"


def properties() -> str:
    page = PAGE.read_text()
    block = page[page.index("    process.roles=") :].partition("\n\n")[0]
    return "".join(f"{line.strip()}\n" for line in block.splitlines())


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
    try:
        capfd.readouterr()
        code = await asyncio.to_thread(
            run_app, ["topics", "apply", "--bootstrap", broker.bootstrap, "--json"]
        )
        said = json.loads(capfd.readouterr().out)
    finally:
        broker.kill()
    assert (code, said["left"]) == (0, [])
    assert {one["topic"] for one in said["done"]} == {topic.name for topic in TOPICS}
