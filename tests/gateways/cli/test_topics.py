"""`headrace topics` on the embedded broker: what it can't do is found out and said; rights need no broker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateways.broker import EmbeddedBroker
from gateways.cli.main import run_app
from streams.bus.kafka_topics import KafkaTopics
from streams.rights import RIGHTS, acls, as_kafka_acls
from streams.topics import TOPICS

LACKS = ["idempotent-producers", "retention", "compaction", "altered-configuration"]


async def said(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Exit code and JSON of a command, beside the loop of the broker's process."""
    capfd.readouterr()
    code = await asyncio.to_thread(run_app, [*words, "--json"])
    return code, json.loads(capfd.readouterr().out)


async def test_what_the_embedded_broker_lacks_is_said_and_its_topics_are_in_order(
    embedded_broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ("--bootstrap", embedded_broker.bootstrap)
    code, found = await said(capfd, "topics", "check", *where)
    assert code == 0
    assert (found["differences"], found["lacks"]) == ([], LACKS)
    assert (found["brokers"], found["replication"], found["min_insync"]) == (1, 1, 1)
    code, found = await said(capfd, "topics", "apply", *where)
    assert (code, found["done"], found["left"]) == (0, [], [])


async def test_missing_topics_are_created_once(
    unused_port: int, tmp_path: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    broker = EmbeddedBroker(unused_port, tmp_path)
    await broker.start()
    try:
        where = ("--bootstrap", broker.bootstrap)
        code, found = await said(capfd, "topics", "check", *where)
        names = [topic.name for topic in TOPICS]
        assert code == 1
        assert [(one["topic"], one["found"]) for one in found["differences"]] == [
            (name, "missing") for name in names
        ]
        code, found = await said(capfd, "topics", "apply", "--dry-run", *where)
        assert (code, len(found["done"]), found["left"]) == (0, len(names), [])
        assert (await said(capfd, "topics", "check", *where))[0] == 1, "a dry run does nothing"
        for done in (names, []):
            code, found = await said(capfd, "topics", "apply", *where)
            assert (code, [one["topic"] for one in found["done"]], found["left"]) == (0, done, [])
    finally:
        await broker.stop()


@pytest.mark.parametrize("word", [(), ("--dry-run",)])
async def test_no_topic_is_made_while_brokers_are_away_and_nobody_says_how_many_copies(
    unused_port: int,
    tmp_path: Any,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    word: tuple[str, ...],
) -> None:
    async def hosts(_: KafkaTopics) -> list[str]:
        return ["kafka1"]

    monkeypatch.setattr(KafkaTopics, "hosts", hosts)
    broker = EmbeddedBroker(unused_port, tmp_path)
    await broker.start()
    try:
        code, found = await said(capfd, "topics", "apply", *word, "--bootstrap", broker.bootstrap)
        assert code == 2
        assert "too few brokers are alive for 3 copies of a new topic: kafka1" in str(found)
        code, found = await said(capfd, "topics", "check", "--bootstrap", broker.bootstrap)
        assert (code, len(found["differences"])) == (1, len(TOPICS))
        monkeypatch.setenv("HEADRACE_BROKER__REPLICATION", "1")
        code, found = await said(capfd, "topics", "apply", *word, "--bootstrap", broker.bootstrap)
        assert (code, len(found["done"]), found["replication"]) == (0, len(TOPICS), 1)
    finally:
        await broker.stop()


async def test_what_can_t_be_healed_is_left_and_said(
    embedded_broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--bootstrap", embedded_broker.bootstrap)
    monkeypatch.setenv("HEADRACE_BROKER__PARTITIONS", "6")
    code, found = await said(capfd, "topics", "apply", *where)
    assert (code, found["done"]) == (1, [])
    assert {(one["setting"], one["found"], one["wanted"]) for one in found["left"]} == {
        ("partitions", "3", "6")
    }
    monkeypatch.setenv("HEADRACE_BROKER__PARTITIONS", "3")
    monkeypatch.setitem(TOPICS[0].config, "segment.ms", "60000")
    code, found = await said(capfd, "topics", "apply", *where)
    assert (code, found["done"]) == (1, [])
    assert [(one["topic"], one["setting"]) for one in found["left"]] == [("events", "segment.ms")]


async def test_doctor_says_what_the_broker_lacks(
    embedded_broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", embedded_broker.bootstrap)
    _, found = await said(capfd, "doctor")
    [broker] = [one for one in found["checks"] if one["name"] == "broker"]
    assert broker["word"] == "warning"
    assert f"it lacks {', '.join(LACKS)}" in broker["found"]


def test_who_looks_may_look_at_everything_and_alter_nothing() -> None:
    """`doctor` and `migrate --check` read what stands in every topic, and how each is set."""
    operator = [acl for acl in acls() if acl.principal == "User:headrace-operator"]
    may = {(name, operation) for acl in operator for name in acl.names for operation in acl.operations}
    for topic in TOPICS:
        assert {(topic.name, "Read"), (topic.name, "DescribeConfigs")} <= may, topic.name
    assert ("__consumer_offsets", "Describe") in may
    assert not {operation for _, operation in may} & {"Create", "AlterConfigs", "Alter", "Delete"}


def test_rights_are_listed_for_each_role(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(["topics", "acl", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["acls"]
    assert {one["principal"] for one in found} == {f"User:headrace-{role}" for role in RIGHTS}
    assert run_app(["topics", "acl", "--prefix", "site-1-"]) == 0
    assert "User:site-1-worker" in capfd.readouterr().out
    assert run_app(["topics", "acl", "--format", "kafka-acls"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines == [as_kafka_acls(acl) for acl in acls()]
    assert (
        "--add --allow-principal User:headrace-actuators --operation Read --topic commands --topic status "
        "--topic replay-mark" in lines
    )


@pytest.mark.parametrize("role", [role for role in RIGHTS if role not in {"worker", "topics"}])
def test_only_the_worker_commands_and_only_the_topics_user_creates(role: str) -> None:
    assert not {"commands", "alarms", "journal"} & {topic.name for topic in RIGHTS[role].writes}
    assert not RIGHTS[role].keeps_topics
