"""Headrace on three brokers of Apache Kafka that let in who says who they are, and allow what the printed list says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from gateways.asyncapi import asyncapi
from gateways.cli.main import run_app
from gateways.nvml.state import ENVIRONMENT, NvmlState
from rules.engine.inputs import Frame, Identity
from rules.errors import UnreachableError
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.site.model import Site
from streams.bus.bus import Producer
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_topics import KafkaTopics
from streams.record import Message, header
from streams.rights import RIGHTS
from streams.schemas import record_kinds
from streams.settings import BrokerSettings
from streams.site_folder import load_site
from streams.topics import ALARMS, COMMANDS, DEAD_LETTERS, EVENTS, TOPICS, partition_of
from streams.wire import encode_input
from tests.support.broker import Broker
from tests.support.kafka.apache_kafka import NoKafkaError
from tests.support.kafka.secured import SecuredCluster, unsecured_token
from tests.support.published import Published

pytestmark = [pytest.mark.kafka, pytest.mark.system]
NARVIK = Path(__file__).parents[2] / "examples" / "narvik"
SITE = str(NARVIK)
SECRET = "correct-horse-"
PARTITIONS = 2
USERS = ("root", "headrace-nobody", *(f"headrace-{role}" for role in RIGHTS))
PATIENCE_S = "30"
SCRAM_SINCE = (2, 6, 1)
"""librdkafka before it says its nonce twice, which Kafka 4 refuses (docs/kafka.md)."""
PLACE = ("topic", "partition", "offset")
NOT_IN_THIS_RUN = {"readings", "fact", "gap", "access", "head", "replay-mark"}
"""No plant, users, key for the journal or replay, no rule that spans units: `test_asyncapi.py` has them."""
LIMIT_S = 150


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredCluster]:
    """With the rights that `headrace topics acl` prints, given to it by Kafka's own tool."""
    cluster = SecuredCluster(tmp_path_factory.mktemp("kafka"), {user: SECRET + user for user in USERS})
    try:
        cluster.start()
    except NoKafkaError as error:
        pytest.skip(f"no Apache Kafka: {error}")
    yield cluster
    cluster.kill()


@pytest.fixture(scope="module")
def allowed(kafka: SecuredCluster) -> SecuredCluster:
    """With the rights that `headrace topics acl` prints, given to the brokers by Kafka's own tool."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run_app(["topics", "acl", "--format", "kafka-acls"]) == 0
    bootstrap = f"--bootstrap-server {kafka.brokers[0].bootstrap}"
    kafka.allow(f"{bootstrap} {line}" for line in printed.getvalue().splitlines())
    return kafka


def scram(kafka: SecuredCluster, user: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
    """The environment of a process that logs in by a password in a file."""
    file = kafka.folder / f"{user}.password"
    file.write_text(SECRET + user + "\n")
    return {
        "HEADRACE_BROKER__BOOTSTRAP": kafka.addresses("SASL_SSL"),
        "HEADRACE_BROKER__SECURITY_PROTOCOL": "SASL_SSL",
        "HEADRACE_BROKER__CA_FILE": str(kafka.authority.file),
        "HEADRACE_BROKER__SASL_MECHANISM": mechanism,
        "HEADRACE_BROKER__USERNAME": user,
        "HEADRACE_BROKER__PASSWORD_FILE": str(file),
        "HEADRACE_BROKER__REQUEST_TIMEOUT_S": PATIENCE_S,
        "HEADRACE_BROKER__PARTITIONS": str(PARTITIONS),
        "HEADRACE_WORKER__WATCHDOG_S": str(LIMIT_S),  # the group's own topic comes late on a busy machine
    }


def token(kafka: SecuredCluster, user: str) -> dict[str, str]:
    """The same by a token in a file."""
    file = kafka.folder / f"{user}.token"
    file.write_text(unsecured_token(user))
    environment = scram(kafka, user, "OAUTHBEARER")
    del environment["HEADRACE_BROKER__USERNAME"], environment["HEADRACE_BROKER__PASSWORD_FILE"]
    return {**environment, "HEADRACE_BROKER__TOKEN_FILE": str(file)}


def certificate(kafka: SecuredCluster, user: str) -> dict[str, str]:
    """The same by a certificate of the client."""
    return {
        "HEADRACE_BROKER__BOOTSTRAP": kafka.addresses("SSL"),
        "HEADRACE_BROKER__SECURITY_PROTOCOL": "SSL",
        "HEADRACE_BROKER__CA_FILE": str(kafka.authority.file),
        "HEADRACE_BROKER__CERTIFICATE_FILE": str(kafka.authority.certificate(user)),
        "HEADRACE_BROKER__REQUEST_TIMEOUT_S": PATIENCE_S,
        "HEADRACE_BROKER__PARTITIONS": str(PARTITIONS),
    }


def headrace(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    *words: str,
) -> tuple[int, Any, str]:
    """Exit code, JSON and words of a command in this environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    capfd.readouterr()
    code = run_app([*words, "--json"])
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    return code, json.loads(out), err


def altered(kafka: SecuredCluster, topic: str, config: dict[str, str]) -> None:
    """Somebody else's hand."""

    async def alter() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])
        await admin.close()

    asyncio.run(alter())


def test_topics_are_applied_once_and_a_change_is_found_and_healed(
    allowed: SecuredCluster, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = scram(allowed, "headrace-topics")
    names = [topic.name for topic in TOPICS]

    def said(*words: str) -> tuple[int, Any]:
        return headrace(capfd, monkeypatch, keeper, "topics", *words, SITE)[:2]

    code, found = said("apply", "--dry-run")
    assert (code, [one["topic"] for one in found["done"]]) == (0, names)
    assert (found["brokers"], found["replication"], found["min_insync"], found["lacks"]) == (3, 3, 2, [])
    assert said("check")[0] == 1, "a dry run does nothing"
    for done in (names, []):
        code, found = said("apply")
        assert (code, [one["topic"] for one in found["done"]], found["left"]) == (0, done, [])
    assert said("check")[0] == 0

    altered(allowed, "journal", {"retention.ms": "1000", "segment.ms": "3600000"})
    until_s = time.monotonic() + LIMIT_S
    while (answer := said("check"))[0] == 0 and time.monotonic() < until_s:
        pass  # each of the brokers hears of it in its own time
    code, found = answer
    assert code == 1
    assert {(one["topic"], one["setting"], one["found"], one["wanted"]) for one in found["differences"]} == {
        ("journal", "retention.ms", "1000", str(400 * 24 * 3600 * 1000)),
        ("journal", "min.insync.replicas", "1", "2"),
        ("journal", "max.message.bytes", "1048588", "1048576"),
    }, "this request takes away what it does not name"
    code, found = said("apply")
    assert (code, len(found["done"]), found["left"]) == (0, 3, [])
    state = asyncio.run(_state(allowed, "journal"))
    assert state["segment.ms"] == "3600000", "what somebody else has set at the topic stays"


async def _state(kafka: SecuredCluster, topic: str) -> dict[str, str]:
    bus = KafkaBus(BrokerSettings(bootstrap=kafka.bootstrap, request_timeout_s=float(PATIENCE_S)))
    try:
        found = await KafkaTopics(bus).found([one for one in TOPICS if one.name == topic])
        return dict(found[topic].own)
    finally:
        await bus.close()


@pytest.mark.parametrize("way", ["nobody", "ticker"])
def test_who_has_no_right_is_refused_in_words(
    allowed: SecuredCluster, way: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ticker may write `events`, and read nothing: not even whether there is a mark of a replay."""
    code, said, _ = headrace(capfd, monkeypatch, scram(allowed, f"headrace-{way}"), "alarms", SITE)
    assert code == 3
    assert f"does not allow headrace-{way} to know of topic" in said["error"]
    code, said, _ = headrace(capfd, monkeypatch, scram(allowed, f"headrace-{way}"), "topics", "apply", SITE)
    assert code == 3
    assert f"does not allow headrace-{way}" in said["error"]


async def test_to_write_what_is_not_allowed_is_refused(allowed: SecuredCluster) -> None:
    async with bus_of(scram(allowed, "headrace-ticker")) as bus:
        with pytest.raises(UnreachableError, match="does not allow headrace-ticker"):
            await (await (await bus.producer("test")).send(Message(COMMANDS.name, 0, b"k", b"v")))


@asynccontextmanager
async def bus_of(environment: dict[str, str]) -> AsyncIterator[KafkaBus]:
    """A bus with the settings of an environment."""
    prefix = "HEADRACE_BROKER__"
    given = {
        name.removeprefix(prefix).lower(): value
        for name, value in environment.items()
        if name.startswith(prefix)
    }
    bus = KafkaBus(BrokerSettings.model_validate(given))
    try:
        yield bus
    finally:
        await bus.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"HEADRACE_BROKER__USERNAME": "headrace-stranger"}, "it refuses this user or secret"),
        ({"HEADRACE_BROKER__PASSWORD_FILE": "{wrong}"}, "it refuses this user or secret"),
        ({"HEADRACE_BROKER__CA_FILE": "{stranger}"}, "its certificate is not trusted"),
        (
            {"HEADRACE_BROKER__SECURITY_PROTOCOL": "SASL_PLAINTEXT", "HEADRACE_BROKER__CA_FILE": ""},
            "does it speak another broker.security_protocol",
        ),
    ],
)
def test_who_is_not_let_in_is_told_why_without_a_secret(
    allowed: SecuredCluster,
    change: dict[str, str],
    words: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = allowed.folder / "wrong"
    wrong.write_text(SECRET + "wrong")
    given = {
        name: value.format(wrong=wrong, stranger=allowed.other_authority.file)
        for name, value in change.items()
    }
    environment = {**scram(allowed, "headrace-operator"), **given}
    environment = {name: value for name, value in environment.items() if value}
    code, said, err = headrace(capfd, monkeypatch, environment, "alarms", SITE)
    assert code == 3
    assert words in said["error"]
    assert words in err


RULE = """
rules:
  gpu-hot:
    for: GPU
    when: temperature > 85 degC
    severity: high
    message: "{asset}: {value:.0f} degC"
    then:
      - command: limit each GPU.power_limit to 500 W
"""


def hot(site: Site, number: int) -> list[Message]:
    """A sample of now of every GPU of a unit, too hot: frames as the NVML gateway sends them."""
    name = next(name for name, unit in site.units.items() if unit.gpus)
    racks = [asset.id for asset in site.units[name].assets if asset.type == "Rack"]
    messages = []
    for index, rack in enumerate(racks):
        low, high = site.units[name].gpu_range[rack]
        now_ns = time.time_ns()
        data = np.full((1, high - low, FIELD_COUNT), 50.0, np.float32)
        data[0, :, FIELD_INDEX["temperature"]] = 95.0
        flags, energy = np.zeros((1, high - low), np.uint8), np.full((1, high - low), number, np.int64)
        identity = Identity("nvml", 1, number * len(racks) + index + 1)
        gpus = np.arange(high - low, dtype=np.uint16)
        frame = Frame(name, identity, now_ns, rack, np.array([now_ns]), gpus, data, flags, energy)
        messages.append(encode_input(frame, PARTITIONS))
    return messages


async def until_answered(bus: KafkaBus, source: KafkaBus, site: Site) -> None:
    """Send what nobody can read, and samples until the actuators have answered a command."""
    producer = await source.producer("nvml")
    unit = next(iter(site.units))
    place = partition_of(unit, PARTITIONS)
    await producer.send(Message(EVENTS.name, place, unit.encode(), b"\0", (("schema", b"tick/1"),)))
    reader = await bus.reader([EVENTS.name], await bus.ends(EVENTS.name))
    try:
        async with asyncio.timeout(LIMIT_S):
            for number in itertools.count():
                for message in hot(site, number):
                    await producer.send(message)
                await producer.flush()
                if any(header(one.headers, "schema") == b"receipt/1" for one in await reader.read(0.5)):
                    return
    finally:
        await reader.close()
        await producer.close()


async def test_roles_work_with_exactly_the_rights_that_are_printed(
    allowed: SecuredCluster, tmp_path: Path
) -> None:
    """The worker by SCRAM-SHA-256 and then by a token, the ticker by a certificate, the others by SCRAM-SHA-512."""
    site_dir = tmp_path / "site"
    (site_dir / "rules").mkdir(parents=True)
    (site_dir / "site.yaml").write_text((NARVIK / "site.yaml").read_text())
    (site_dir / "rules" / "rules.yaml").write_text(RULE)
    site = load_site(site_dir)
    NvmlState.create(tmp_path / "nvml.state", [gpu for unit in site.units.values() for gpu in unit.gpus])
    bus = KafkaBus(BrokerSettings(bootstrap=allowed.bootstrap, request_timeout_s=float(PATIENCE_S)))
    broker = Broker(tmp_path, allowed.bootstrap, bus)

    def run(role: str, environment: dict[str, str], *options: str) -> Any:
        return broker.process("run", role, str(site_dir), *options, **environment)

    def has_snapshots(said: dict[str, dict[str, Any]]) -> bool:
        return bool(said.get("worker", {}).get("metrics", {}).get("snapshots", {}).get("written"))

    async with AsyncExitStack() as running:
        running.push_async_callback(bus.close)
        for started in (
            run("ticker", certificate(allowed, "headrace-ticker")),
            run(
                "recorder", scram(allowed, "headrace-recorder"), "--option", f"folder={tmp_path / 'recorded'}"
            ),
            run(
                "actuators",
                {**scram(allowed, "headrace-actuators"), ENVIRONMENT: str(tmp_path / "nvml.state")},
            ),
        ):
            await running.enter_async_context(started)
        async with run("worker", scram(allowed, "headrace-worker", "SCRAM-SHA-256")):
            said = await broker.until("the worker has snapshots", has_snapshots, LIMIT_S)
            async with bus_of(scram(allowed, "headrace-nvml")) as source:
                await until_answered(bus, source, site)
        first = said["worker"]["pid"]
        async with run("worker", token(allowed, "headrace-worker")):
            said = await broker.until(
                "the worker is back, by a token",
                lambda said: has_snapshots(said) and said["worker"]["pid"] != first,
                LIMIT_S,
            )
            unit = next(unit for unit in site.units.values() if unit.gpus)
            alarm = f"{unit.id}:gpu-hot:{unit.gpus[0]}"
            for command in (("activate", str(site_dir)), ("ack", alarm, "--site", str(site_dir))):
                async with broker.process(*command, **scram(allowed, "headrace-operator")) as people:
                    assert await asyncio.wait_for(people.wait(), LIMIT_S) == 0, broker.last_words()
        assert {said[role]["state"] for role in ("ticker", "actuators", "recorder", "worker")} == {"ready"}
        assert not any(status["metrics"]["broker_lacks"] for status in said.values())
        for topic in TOPICS:
            assert sum((await bus.ends(topic.name)).values()) > 0, topic.name
    words = (tmp_path / "words.log").read_text()
    assert "does not allow" not in words
    assert SECRET not in words


async def test_people_act_with_the_rights_of_the_operator(
    allowed: SecuredCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the roles have worked: what stands is listed."""
    bus = KafkaBus(BrokerSettings(bootstrap=allowed.bootstrap, request_timeout_s=float(PATIENCE_S)))
    broker = Broker(tmp_path, allowed.bootstrap, bus)
    async with broker.process("alarms", SITE, "--json", **scram(allowed, "headrace-operator")) as process:
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 0, broker.last_words()
    assert "gpu-hot" in output.decode()
    await bus.close()


async def test_the_operator_may_look_at_all_that_doctor_and_migrate_look_at(
    allowed: SecuredCluster, tmp_path: Path
) -> None:
    """After the roles have worked."""
    operator = scram(allowed, "headrace-operator")
    bus = KafkaBus(BrokerSettings(bootstrap=allowed.bootstrap, request_timeout_s=float(PATIENCE_S)))
    broker = Broker(tmp_path, allowed.bootstrap, bus)
    for command in (("doctor",), ("migrate", "--check")):
        async with broker.process(*command, SITE, "--json", **operator) as process:
            output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
        assert "does not allow" not in output.decode() + broker.last_words()
        checks = {one["name"]: one for one in json.loads(output)["checks"]}
        if command == ("doctor",):
            assert checks["broker"]["word"] == "ok"
            assert "nobody knows how they are" not in output.decode()
        else:
            assert {topic.name for topic in TOPICS} <= checks.keys()
            assert any(name.startswith("state of ") for name in checks)
    await bus.close()


def kcat(kafka: SecuredCluster, way: Mapping[str, object], *words: str) -> bytes:
    """What a client says which nobody here wrote."""
    listener = str(way["security.protocol"])
    config = {"ssl.ca.location": kafka.authority.file, **way}
    given = [word for name, value in config.items() for word in ("-X", f"{name}={value}")]
    command = ["kcat", "-q", "-m", "60", "-b", kafka.addresses(listener), *given, *words]
    done = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ways_of_kcat(kafka: SecuredCluster) -> Iterator[dict[str, object]]:
    """How it logs in: by a certificate, and by SCRAM where its library can (docs/kafka.md says which)."""
    root = kafka.authority.certificate("root")
    yield {"security.protocol": "SSL", "ssl.certificate.location": root, "ssl.key.location": root}
    said = subprocess.run(["kcat", "-V"], capture_output=True, check=True, text=True).stdout
    library = re.search(r"librdkafka (\d+)\.(\d+)\.(\d+)", said)
    assert library is not None, said
    if tuple(map(int, library.groups())) >= SCRAM_SINCE:
        login = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "root", "sasl.password": SECRET + "root"}
        yield {"security.protocol": "SASL_SSL", **login}


class Printed(NamedTuple):
    partition: int
    offset: int
    key: str
    headers: dict[str, str]
    value: bytes


def printed(output: bytes) -> Iterator[Printed]:
    """What kcat has printed in `FORMAT`: a value may be anything, so its length stands before it."""
    at = 0
    while at < len(output):
        *texts, length = (text.decode() for text in output[at:].split(b"\t", 5)[:5])
        at += sum(len(text.encode()) + 1 for text in texts) + len(length) + 1
        # a comma may stand in a header's value as well
        headers = dict(one.split("=", 1) for one in re.split(",(?=[a-z-]+=)", texts[3]) if one)
        yield Printed(int(texts[0]), int(texts[1]), texts[2], headers, output[at : at + int(length)])
        at += int(length) + 1


FORMAT = "%p\t%o\t%k\t%h\t%S\t%s\n"


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_another_client_lists_and_reads_every_topic_as_it_is_published(allowed: SecuredCluster) -> None:
    """After the roles have worked: what kcat prints is as the document says that anybody can have."""
    reader = Published(asyncapi(load_site(NARVIK), "1.0"))
    for way in ways_of_kcat(allowed):
        listed = json.loads(kcat(allowed, way, "-L", "-J"))
        found = {topic["topic"]: len(topic["partitions"]) for topic in listed["topics"]}
        seen = set[str]()
        unread = set[tuple[str, str, str]]()
        for topic in (DEAD_LETTERS, *TOPICS):
            assert found[topic.name] == (topic.partitions or PARTITIONS)
            output = kcat(allowed, way, "-C", "-t", topic.name, "-o", "beginning", "-e", "-f", FORMAT)
            for one in printed(output):
                assert one.key, topic.name
                if topic is DEAD_LETTERS:
                    unread.add(tuple(one.headers[f"dead-letter-{word}"] for word in PLACE))  # type: ignore[arg-type]
                if (topic.name, str(one.partition), str(one.offset)) not in unread:
                    seen.add(reader.check(topic.name, one.headers, one.value))
                if topic is ALARMS:
                    said = json.loads(one.value)
                    assert one.key == f"{said['unit']}:{said['body']['rule']}:{said['body']['asset']}"
        expected = {kind.name for kind in record_kinds() if kind.name not in NOT_IN_THIS_RUN}
        assert expected - seen == set(), "kinds of which there is none"


async def test_a_record_counts_when_two_brokers_have_it(allowed: SecuredCluster) -> None:
    """Idempotent, acks=all, compressed; with two of three brokers away nothing is acknowledged. The last test here."""
    environment = {**scram(allowed, "headrace-worker"), "HEADRACE_BROKER__REQUEST_TIMEOUT_S": "10"}
    async with bus_of(environment) as bus:
        producer = await bus.producer("test")
        assert bus.idempotent
        assert list(await bus.lacks()) == []
        await (await producer.send(Message(ALARMS.name, 0, b"k", b"v" * 500_000)))
        logs = (one.folder / "data" / f"{ALARMS.name}-0" / f"{0:020}.log" for one in allowed.brokers)
        assert all(log.stat().st_size < 50_000 for log in logs), "compressed, on three brokers"
        for one in allowed.brokers[1:]:
            one.kill()
        with pytest.raises(UnreachableError):
            await _send_some(producer)
        await producer.close()


async def _send_some(producer: Producer) -> None:
    """More than one: what was on its way may still be acknowledged."""
    for _ in range(6):
        await (await producer.send(Message(ALARMS.name, 0, b"k", b"v")))
