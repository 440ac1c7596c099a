"""The three brokers of docs/kafka.md, with the page's own properties: users, rights, topics; then one goes away."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import pytest

from gateways.cli.main import run_app
from gateways.listen import free_port
from rules.errors import ConfigurationError
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_security import client_options
from streams.bus.kafka_topics import KafkaTopics
from streams.settings import BrokerSettings
from streams.topics import CONSUMER_OFFSETS, EVENTS, TOPICS, Topic
from tests.support.kafka import apache_kafka
from tests.support.kafka.apache_kafka import HERE, ApacheCluster, ApacheKafka, NoKafkaError, java
from tests.support.kafka.certificates import Authority

pytestmark = [pytest.mark.kafka, pytest.mark.system]

PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"
SITE = str(PAGE.parents[1] / "examples" / "narvik")
PASSWORD = "three-brokers"
LIMIT_S = 240


def block(begin: str, text: str) -> str:
    """The lines of the page from `begin` to the next empty one, of what follows a heading."""
    found = text[text.index(f"    {begin}") :].partition("\n\n")[0]
    return "".join(f"{line.strip()}\n" for line in found.splitlines())


class OfThePage:
    """The cluster as the page has it, with ports, folders and certificates of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "certificates", "authority")
        page = PAGE.read_text()
        self._text = page[page.index("## Three brokers") : page.index("## Topics")]
        scram = ("--add-scram", f"SCRAM-SHA-512=[name=admin,password={PASSWORD}]")
        assert f'{scram[0]} "SCRAM-SHA-512=[name=admin,password=$ADMIN_PASSWORD]"' in self._text
        self.cluster = ApacheCluster(folder, format_options=scram)
        self.admin = folder / "admin.properties"
        admin = block("security.protocol=", self._text).replace("/etc/kafka/ca.pem", str(self.authority.file))
        self.admin.write_text(admin.replace("…", PASSWORD))

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for number, one in enumerate(self.cluster.brokers, start=1):
            monkeypatch.setattr(apache_kafka, "CONFIGURATION", self._properties(number, one))
            one.launch()
        for one in self.cluster.brokers:
            one.wait()

    def _properties(self, number: int, one: ApacheKafka) -> str:
        text = block("process.roles=", self._text)
        for was, is_here in (
            ("1@kafka1:9093,2@kafka2:9093,3@kafka3:9093", one.voters),
            ("node.id=1", f"node.id={number}"),
            ("/etc/kafka/kafka1.pem", str(self.authority.certificate(f"kafka{number}"))),
            ("/etc/kafka/ca.pem", str(self.authority.file)),
            ("/var/lib/kafka/data", str(one.folder / "data")),
            *((f"kafka1:{port}", f":{port}") for port in (9092, 9094)),
            (":9092", f"127.0.0.1:{one.port}"),
            (":9093", f"127.0.0.1:{one.controller}"),
            (":9094", f"127.0.0.1:{free_port()}"),
        ):
            assert was in text, was
            text = text.replace(was, is_here)
        return text

    def run(self, *words: str) -> None:
        """A tool of Kafka's."""
        done = subprocess.run(java(*words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def as_admin(self) -> tuple[str, ...]:
        return "--bootstrap-server", self.cluster.brokers[0].bootstrap, "--command-config", str(self.admin)

    def add_user(self, name: str) -> None:
        words = "--alter", "--entity-type", "users", "--entity-name", name
        assert f"{' '.join(words[1:4])} headrace-worker --add-config" in self._text
        config = f"SCRAM-SHA-512=[password={PASSWORD}]"
        self.run("kafka.admin.ConfigCommand", *self.as_admin(), *words, "--add-config", config)

    def settings(self, user: str, **more: Any) -> BrokerSettings:
        return BrokerSettings.model_validate(
            {
                "bootstrap": self.cluster.bootstrap,
                "security_protocol": "SASL_SSL",
                "ca_file": self.authority.file,
                "username": user,
                "password": PASSWORD,
                "request_timeout_s": 30,
                **more,
            }
        )


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfThePage]:
    made = OfThePage(tmp_path_factory.mktemp("kafka"))
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            made.start(monkeypatch)
            yield made
    except NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    finally:
        made.cluster.kill()


@pytest.fixture
def said(kafka: OfThePage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Exit code and JSON of a command of a user."""

    def run(user: str, *words: str) -> tuple[int, Any]:
        given = kafka.settings(user).model_dump(exclude_unset=True, exclude={"password"})
        for name, value in {**given, "password": PASSWORD}.items():
            monkeypatch.setenv(f"HEADRACE_BROKER__{name.upper()}", str(value))
        capfd.readouterr()
        code = run_app([*words, SITE, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


def test_users_rights_and_topics_as_the_page_says(
    kafka: OfThePage, said: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("topics", "operator"):
        kafka.add_user(f"headrace-{role}")
    capfd.readouterr()
    assert run_app(["topics", "acl", "--format", "kafka-acls"]) == 0
    file = kafka.folder / "acls.txt"
    lines = capfd.readouterr().out.splitlines()
    file.write_text("\n".join(f"{' '.join(kafka.as_admin())} {line}" for line in lines))
    kafka.run(str(HERE / "RunAcls.java"), str(file))

    monkeypatch.setenv("HEADRACE_BROKER__REPLICATION", "3")
    code, found = said("headrace-topics", "topics", "apply")
    assert (code, len(found["done"]), found["left"]) == (0, len(TOPICS), [])
    assert (found["brokers"], found["replication"], found["min_insync"], found["lacks"]) == (3, 3, 2, [])
    asyncio.run(_a_group(kafka.settings("admin")))
    assert CONSUMER_OFFSETS in asyncio.run(_seen(kafka.settings("headrace-operator")))
    for user in ("headrace-topics", "headrace-operator"):
        assert said(user, "topics", "check")[0] == 0


async def _a_group(settings: BrokerSettings) -> None:
    """Kafka makes the topic of their positions for the first one."""
    consumer = aiokafka.AIOKafkaConsumer(EVENTS.name, group_id="first", **client_options(settings))
    async with asyncio.timeout(LIMIT_S):
        await consumer.start()
    await consumer.stop()


async def _seen(settings: BrokerSettings) -> set[str]:
    bus = KafkaBus(settings)
    try:
        return set(await bus.described())
    finally:
        await bus.close()


def test_a_broker_that_is_away_is_found_and_weakens_nothing(kafka: OfThePage, said: Any) -> None:
    """After the topics are there. No setting says how many copies: those alive do not either."""
    kafka.cluster.brokers[2].kill()
    until, answer = time.monotonic() + LIMIT_S, None
    differences: list[dict[str, str]] = []
    while not {EVENTS.name, CONSUMER_OFFSETS} <= {one["topic"] for one in differences}:
        assert time.monotonic() < until, answer
        code, answer = said("headrace-operator", "topics", "check")
        differences = answer.get("differences", []) if code == 1 else []
    assert {one["setting"] for one in differences} == {"in-sync replicas"}
    code, found = said("headrace-topics", "topics", "apply")
    assert (code, found["done"], found["left"]) == (0, [], [])
    asyncio.run(_refuse_new(kafka.settings("headrace-topics")))
    doctor = {one["name"]: one for one in said("headrace-operator", "doctor")[1]["checks"]}
    assert "copies that are missing or behind" in doctor["broker"]["found"]


async def _refuse_new(settings: BrokerSettings) -> None:
    bus = KafkaBus(settings)
    try:
        with pytest.raises(ConfigurationError, match="too few brokers are alive for 3 copies"):
            await KafkaTopics(bus).create([Topic("one-more", "", "")], 3)
    finally:
        await bus.close()
