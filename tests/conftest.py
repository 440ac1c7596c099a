"""Brokers for tests: `embedded_broker` needs nothing but wheels, `apache_kafka` Java and Maven (marker kafka)."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from gateways.broker import EmbeddedBroker
from gateways.listen import free_port

# Who starts the tests in the background of a shell, or under nohup, has them and all that they start ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes, or its drawing, says something of the machine alone.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def unused_port() -> int:
    """A port of the loopback that is free now."""
    return free_port()


@pytest.fixture
async def embedded_broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    """A started embedded broker with every topic (3 partitions where a topic leaves it open), and an empty log."""
    broker = EmbeddedBroker(free_port(), tmp_path / "broker", partitions=3)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


@pytest.fixture(scope="session")
def apache_kafka_module() -> ModuleType:
    """tests/support/kafka/apache_kafka.py: tests are no packages, so it is loaded by its path."""
    path = Path(__file__).parent / "support" / "kafka" / "apache_kafka.py"
    spec = importlib.util.spec_from_file_location("apache_kafka", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory, apache_kafka_module: ModuleType) -> Iterator[str]:
    """The bootstrap address of one Apache Kafka for the whole session; topics must have names of their own."""
    broker = apache_kafka_module.ApacheKafka(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
    except apache_kafka_module.NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    try:
        yield broker.bootstrap
    finally:
        broker.stop()
