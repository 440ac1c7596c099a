"""`headrace doctor`: what it says of broker and worker; beside a running site it looks where the roles are."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateways.broker import EmbeddedBroker
from gateways.cli import doctor
from gateways.cli.doctor import Check, checks_of, examine
from gateways.printable import printable
from rules.errors import UnreachableError
from streams.bus.kafka import KafkaBus
from streams.role import RoleContext, status_message
from streams.rule_sets.rule_set import rule_set_message, rule_set_of
from streams.settings import BrokerSettings, load_settings
from streams.site_folder import load_site
from streams.topics import EVENTS, STATUS, Topic
from streams.worker.counts import Counts

SITE = Path(__file__).parents[3] / "examples" / "narvik-small"


@pytest.fixture
async def port() -> Any:
    """Where something listens."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def found(site: Path = SITE) -> dict[str, Check]:
    return {one.name: one for one in checks_of(site)}


@pytest.mark.parametrize("age_s", [0, 60])
async def test_it_looks_at_the_ports_that_roles_say(
    embedded_broker: EmbeddedBroker, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, age_s: int
) -> None:
    """Those of `headrace up --free-ports`, as long as they run."""
    endpoint = f"opc.tcp://127.0.0.1:{port}/headrace"
    pki = tmp_path / "pki"
    (pki / "rejected").mkdir(parents=True)
    (pki / "rejected" / "one.der").touch()
    said: dict[str, Mapping[str, Any]] = {
        "opcua": {"sources": {"plant-opcua": {"endpoint": endpoint}}},
        "opcua-2": {"sources": {"another": {}}},
        "scada": {"endpoint": endpoint, "pki": str(pki)},
    }
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("status")
    for role, metrics in said.items():
        context = RoleContext(
            f"headrace-{role}", load_site(SITE), SITE, load_settings(None), bus, asyncio.Event(),
            kind=role.partition("-")[0],
        )  # fmt: skip
        context.clock = lambda: time.time_ns() - age_s * 1_000_000_000
        context.metrics.update(metrics)
        await (await producer.send(status_message(context)))
    await producer.close()
    await bus.close()
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", embedded_broker.bootstrap)
    monkeypatch.setenv("HEADRACE_RUN_DIR", str(tmp_path / "run"))
    by_name = await asyncio.to_thread(found)
    scada = "headrace-scada" if age_s == 0 else "scada"  # the one that runs, or that of the settings
    is_said = {name: endpoint in by_name[name].found for name in ("plant-opcua", scada)}
    assert is_said == dict.fromkeys(is_said, age_s == 0)
    assert ("scada clients" in by_name) == (age_s == 0)
    if age_s == 0:
        assert (by_name["plant-opcua"].word, by_name[scada].word) == ("ok", "ok")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A copy, so that it can have settings."""
    return shutil.copytree(SITE, tmp_path / "site")


def test_a_broker_that_is_configured_and_dead_is_wrong(
    site: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = f"127.0.0.1:{unused_port}"
    monkeypatch.delenv("HEADRACE_BROKER__BOOTSTRAP", raising=False)
    assert examine(site, dead, as_json=False) == 1
    out = capsys.readouterr().out
    assert f"none at {dead}" in out
    assert "the log can't be read" in out
    assert "fine before they are started" not in out
    (site / "headrace.yaml").write_text(f"broker: {{bootstrap: '{dead}'}}\n")
    assert found(site)["broker"].word == "wrong"
    (site / "headrace.yaml").unlink()
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", dead)
    assert found(site)["broker"].word == "wrong"


def test_a_broker_that_nobody_has_named_may_come_with_up(
    site: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_BROKER__BOOTSTRAP", raising=False)
    settings = load_settings(site / "headrace.yaml")
    settings.broker = BrokerSettings.model_construct(set(), bootstrap=f"127.0.0.1:{unused_port}")
    monkeypatch.setattr(doctor, "load_settings", lambda *_, **__: settings)
    said = found(site)
    assert (said["broker"].word, said["roles"].word) == ("warning", "warning")
    assert "headrace up" in said["broker"].advice
    assert "the log can't be read" in said["roles"].found


@pytest.mark.parametrize(("topics", "word"), [((), "warning"), ((EVENTS, STATUS), "wrong")])
async def test_a_topic_that_a_used_log_lacks_is_wrong(
    unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topics: tuple[Topic, ...], word: str
) -> None:
    broker = EmbeddedBroker(unused_port, tmp_path, partitions=3)
    await broker.start(topics)
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", broker.bootstrap)
    try:
        said = (await asyncio.to_thread(found))["broker"]
    finally:
        await broker.stop()
    assert said.word == word
    assert "lacks topics" in said.found
    assert "headrace topics apply" in said.advice


@pytest.mark.parametrize("other", [False, True])
async def test_a_log_of_another_site_file_is_wrong(
    embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    """The next worker that starts would say so; one may be working all the while."""
    folder = SITE.parent / "narvik" if other else SITE
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("rules")
    await (await producer.send(rule_set_message(rule_set_of(folder, load_site(folder)))))
    await producer.close()
    await bus.close()
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", embedded_broker.bootstrap)
    said = (await asyncio.to_thread(found)).get("site on the log")
    assert (said is not None) == other
    if said is not None:
        assert (said.word, "this log is of site 'narvik'" in said.found) == ("wrong", True)
        assert "log of its own" in said.advice


@pytest.mark.parametrize(
    ("why", "is_said"),
    [
        ("the broker at b:1 does not allow me to know of topic 'snapshots'", True),
        ("no broker answers", False),
    ],
)
async def test_a_log_that_can_t_be_looked_at_is_said_where_there_is_a_broker(
    embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, why: str, is_said: bool
) -> None:
    async def partitions(*_: object) -> int:
        raise UnreachableError(why)

    monkeypatch.setattr(KafkaBus, "partitions", partitions)
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", embedded_broker.bootstrap)
    said = (await asyncio.to_thread(found)).get("site on the log")
    assert said == (
        Check("site on the log", "warning", f"can't be looked at: {why}", "first the broker, above")
        if is_said
        else None
    )


@pytest.mark.parametrize("word", ["[/]", "[bold]bar", "\x1b[2J\nok       disk"])
def test_what_a_server_says_is_text(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    checks = [
        Check("plant", "warning", f"it says {word}", f"look at {word}"),
        Check(word, "ok", "this is said too"),
    ]
    assert doctor.show(checks, as_json=False) == 0
    said, advice, after = capsys.readouterr().out.splitlines()
    assert said == printable(f"warning  {'plant':18} it says {word}")
    assert advice.strip() == printable(f"→ look at {word}")
    assert after == printable(f"ok       {word:18} this is said too")


def test_it_says_whether_commands_have_to_be_signed() -> None:
    def said(**signed: object) -> list[tuple[str, str]]:
        words = {name: {"kind": "actuators", "metrics": {"signed": one}} for name, one in signed.items()}
        return [(one.word, one.found.split(":")[0]) for one in doctor._commands(words)]

    assert said() == []
    assert [word for word, _ in said(a=True, b=True)] == ["ok"]
    assert said(a=True, b=False, c=False) == [("warning", "b, c")]


def test_what_a_role_counts_that_should_be_0() -> None:
    metrics = {"skipped_offsets": 7, "restores_refused": 0, "snapshots": {"rejected": {"torn": 2, "old": 1}}}
    said = list(doctor._counted({"worker-2": {"kind": "worker", "metrics": metrics}}))
    assert {(one.name, one.word) for one in said} == {("role worker-2", "warning")}
    assert [one.found.split()[0] for one in said] == ["7", "3"]
    assert "that input is lost" in said[0].found
    nothing = [{}, {"skipped_offsets": "7", "snapshots": {"rejected": "x"}}, {"snapshots": 3}]
    for metrics in nothing:  # anyone can write to the topic
        assert not list(doctor._counted({"worker": {"kind": "worker", "metrics": metrics}}))
    assert not list(doctor._counted({"other": {"kind": "ticker", "metrics": {"skipped_offsets": 7}}}))
    (forged,) = doctor._counted({"actuators": {"kind": "actuators", "metrics": {"forged": 2}}})
    assert (forged.word, forged.found.split()[0]) == ("warning", "2")


def test_every_count_that_is_looked_at_is_in_the_status_of_a_worker() -> None:
    said = Counts().metrics(0.0, 0)
    assert doctor._COUNTED["worker"].keys() - {"snapshots_rejected"} <= said.keys()
    assert "rejected" in said["snapshots"]
