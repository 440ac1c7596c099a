"""`headrace activate`: on a broker where another site is running; where a site has users, by whom it may be done."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateways.access.signing import Who
from gateways.broker import EmbeddedBroker
from gateways.cli.activate import activate_rules
from gateways.cli.alarm_actions import Asked, act_on
from rules.engine.engine import Engine
from rules.engine.inputs import Activation
from rules.errors import ConfigurationError
from streams.bus.bus import Producer
from streams.bus.kafka import KafkaBus
from streams.record import Message
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import RuleSet, published_rule_sets, rule_set_message, rule_set_of
from streams.settings import BrokerSettings
from streams.site_folder import load_site
from streams.topics import EVENTS, STATUS
from streams.wire import decode_input, encode_output
from tests.gateways.cli.test_alarm_actions import folder
from tests.gateways.observability.filled import status
from tests.rules.access.people import PEOPLE, key_of, listing, public_of
from tests.rules.engine.plant import MS, UNIT, S, tick

__all__ = ["folder"]

ROOT = Path(__file__).parents[3]
RUNNING = ROOT / "examples" / "narvik-small"


async def be_a_worker(producer: Producer, rule_set: RuleSet) -> None:
    """Say what the worker of that site says, until cancelled."""
    while True:
        metrics = {"rules": {"row-a": rule_set.digest}, "rule_sets": {"ready": [rule_set.digest]}}
        said = status("worker", metrics, at_ns=time.time_ns())
        await (await producer.send(Message(STATUS.name, 0, b"worker", orjson.dumps(said))))
        await asyncio.sleep(0.2)


async def test_rules_of_another_site_are_refused_at_once(embedded_broker: EmbeddedBroker) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("test")
    rule_set = rule_set_of(RUNNING, load_site(RUNNING))
    await (await producer.send(rule_set_message(rule_set)))
    worker = asyncio.create_task(be_a_worker(producer, rule_set))
    words = ["activate", "examples/narvik", "--bootstrap", embedded_broker.bootstrap, "--json"]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateways.cli.main", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(
        child.communicate(), 50
    )  # it would wait a minute for workers to get ready
    worker.cancel()
    (finding,) = orjson.loads(said)["findings"]
    assert child.returncode == 2
    assert finding["message"] == ("this is site 'narvik', and site 'narvik-small' is running there")
    assert list(await published_rule_sets(bus)) == [rule_set.digest]
    await producer.close()
    await bus.close()


class Plant:
    """A site of one unit with users, and a worker of it that says its status."""

    def __init__(self, site_dir: Path, broker: EmbeddedBroker) -> None:
        self.dir = site_dir
        text = (site_dir / "site.yaml").read_text()
        (site_dir / "site.yaml").write_text(text[: text.index("  hall:")])
        self.site = load_site(site_dir)
        self.engine = Engine(load_program(site_dir, self.site), self.site, UNIT, "begun")
        self.broker = broker.bootstrap
        self.rule_set = rule_set_of(site_dir, self.site)
        self.given: list[Activation] = []

    def users(self, **roles: str) -> None:
        said = {name: {"role": role, "keys": [public_of(name)]} for name, role in roles.items()}
        (self.dir / "users.yaml").write_text(json.dumps({"users": said}))

    def key(self, name: str) -> Path:
        file = self.dir / f"{name}.pem"
        made = key_of(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(made)
        file.chmod(0o600)
        return file

    async def work(self) -> None:
        bus = KafkaBus(BrokerSettings(bootstrap=self.broker))
        reader, producer = await bus.reader([EVENTS.name]), await bus.producer("worker")
        said_s = 0.0
        try:
            while True:
                if time.monotonic() > said_s + 0.2:
                    said_s = time.monotonic()
                    self.engine.step([tick(time.time_ns() // (100 * MS) * 100 * MS)])
                    metrics = {
                        "rules": {UNIT: "begun"},
                        "rule_sets": {"ready": [self.rule_set.digest]},
                        "access": {UNIT: self.engine.access_digest},
                    }
                    said = status("worker", metrics, at_ns=time.time_ns())
                    await (await producer.send(Message(STATUS.name, 0, b"worker", orjson.dumps(said))))
                for record in await reader.read(0.05):
                    value = decode_input(record.key, record.headers, record.value)
                    self.given += [value] if isinstance(value, Activation) else []
                    for output in self.engine.step([value]):
                        await (await producer.send(encode_output(output, 3)))
        finally:
            for one in (reader, producer, bus):
                await one.close()

    async def activate(self, name: str | None, key: str | None) -> int:
        who = Who(name, None if key is None else self.key(key))
        return await asyncio.to_thread(activate_rules, self.dir, None, who, "60s", self.broker, True)


@pytest.fixture
async def plant(
    folder: Path, tmp_path: Path, embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Plant]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEADRACE_KEY", raising=False)
    made = Plant(folder, embedded_broker)
    now_ns = time.time_ns()
    made.engine.step([tick(now_ns)])
    working = asyncio.create_task(made.work())
    yield made
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_site_that_is_open_takes_rules_from_anybody(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await plant.activate("eva", None) == 0
    [unit] = orjson.loads(capsys.readouterr().out)["units"].values()
    assert (unit["kind"], plant.given[0].signer) == ("activation", "")


async def test_where_a_site_has_users_who_may_activates_and_nobody_else(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    plant.users(ada="admin", eng="engineer", vic="viewer", otto="engineer")
    now_ns = time.time_ns()
    listed = {name: PEOPLE[name] for name in ("ada", "eng", "vic")}
    plant.engine.step([tick(now_ns), listing(now_ns, listed, at_ns=now_ns)])
    assert plant.engine.access_digest
    # before anything is sent
    with pytest.raises(ConfigurationError, match="'vic' may not do that: no activate-rules for role viewer"):
        await plant.activate(None, "vic")
    with pytest.raises(ConfigurationError, match="the key is that of 'eng'"):
        await plant.activate("ada", "eng")
    with pytest.raises(ConfigurationError, match="the site has users: rules are activated with the key"):
        await plant.activate("eng", None)
    assert plant.given == []
    # by the engine, whose list is not the file
    capsys.readouterr()
    for name, key, reason, word in (
        (None, "otto", "its signer is not on the access list", ""),
        ("eng", "mallory", "its signature is of no key of 'eng', or it was altered", public_of("mallory")),
    ):
        assert await plant.activate(name, key) == 1
        out, err = capsys.readouterr()
        [unit] = orjson.loads(out)["units"].values()
        assert (unit["kind"], unit["reason"]) == ("activation-refused", reason)
        assert (f"no user of this site has the key {word}" in err) == bool(word)
    assert await plant.activate(None, "eng") == 0
    [unit] = orjson.loads(capsys.readouterr().out)["units"].values()
    assert (unit["kind"], unit["signer"]) == ("activation", "eng")


async def test_an_action_on_the_log_of_another_site_is_refused_as_well(
    plant: Plant, embedded_broker: EmbeddedBroker
) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("test")
    rule_set = rule_set_of(RUNNING, load_site(RUNNING))
    await (await producer.send(rule_set_message(rule_set)))
    metrics = {"rules": {"row-a": rule_set.digest}, "rule_sets": {"ready": []}}
    said = status("worker", metrics, at_ns=time.time_ns() + 3600 * S) | {"role": "worker-2"}
    for word in (b"no JSON", orjson.dumps(said)):
        await (await producer.send(Message(STATUS.name, 0, b"worker-2", word)))
    asked = Asked(["row:rack-low:R1"], "acknowledge")
    with pytest.raises(ConfigurationError, match="this is site 'test', and site 'narvik-small' is running"):
        await asyncio.to_thread(act_on, plant.dir, asked, Who("eva", None), plant.broker, True)
    await producer.close()
    await bus.close()
