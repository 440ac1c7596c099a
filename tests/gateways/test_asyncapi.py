"""The published document: what is on the log is as it says, and AsyncAPI's own parser reads it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import orjson
import pytest

from gateways.asyncapi import asyncapi, json_schema
from rules.engine.inputs import Gap, Identity, Receipt
from rules.engine.outputs import AlarmState
from streams.journal.heads import read_signer
from streams.keys import make_key
from streams.record import Message, Record
from streams.recording.recording import Recording
from streams.replay_mark import Mark, mark_log
from streams.role import RoleContext, status_message
from streams.rule_sets.rule_set import rule_set_message, rule_set_of
from streams.schemas import record_kinds
from streams.settings import Settings
from streams.site_folder import load_site
from streams.snapshots import log_ids
from streams.topics import EVENTS, REPLAY_MARK, TOPICS
from streams.wire import encode_input, encode_output
from tests.gateways.alerts.words import raised, then
from tests.rules.access.people import action, listing
from tests.rules.engine.plant import UNIT, site
from tests.streams.worker.scenario import PARTITIONS, Plant, inputs
from tests.support.node import node_environment
from tests.support.published import Published, UnpublishedError

CHECK = Path(__file__).parents[1] / "support" / "asyncapi"
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
RECORDINGS = ("disorder", "pump_trip")
"""The production engine's, with facts, receipts, and activations of which some are of an older version."""
NARVIK = ROOT / "examples" / "narvik-small"


def said_by_people() -> Iterator[Message]:
    """What no recording of the golden set has."""
    yield encode_input(listing(), PARTITIONS)
    yield encode_input(action("acknowledge"), PARTITIONS)
    yield encode_input(Gap(UNIT, Identity("plant", 7, 1), "restart", 1, 2, 3), PARTITIONS)
    receipt = Receipt(UNIT, Identity("actuators", 7, 1), "c", "a", "failed", 1.5, None, 3, "no answer")
    yield encode_input(receipt, PARTITIONS)
    yield rule_set_message(rule_set_of(NARVIK, load_site(NARVIK)))


async def worked_off(folder: Path) -> list[Record]:
    """The log of a worker that signs its journal, with a status and a mark; without what nobody can read."""
    make_key(folder / "key.pem")
    plant = await Plant(folder / "run", signer=read_signer(folder / "key.pem")).ready()
    await log_ids(plant.bus, await plant.bus.producer("worker"))
    await plant.send(*inputs(20, bad_every=7))
    await plant.run()
    unread = {(int(partition or 0), int(offset or 0)) for _, partition, offset in plant.dead_letters()}
    await plant.send(*said_by_people())
    context = RoleContext(
        "worker-2", plant.site, folder, Settings(), plant.bus, asyncio.Event(), kind="worker"
    )
    context.metrics.update(plant.processors[-1].metrics())
    await plant.send(status_message(context))
    await mark_log(plant.bus, Mark("night.mcap", True))
    found = [one for topic in (*TOPICS, REPLAY_MARK) for one in plant.bus.records(topic.name)]
    return [one for one in found if one.topic != EVENTS.name or (one.partition, one.offset) not in unread]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Of a run with one of each kind."""
    found = asyncio.run(worked_off(tmp_path_factory.mktemp("run")))
    for name in RECORDINGS:
        found += Recording(GOLDEN / f"{name}.mcap").records()
    return found


def read(record: Record) -> tuple[str, dict[str, str], bytes]:
    """As another client has it."""
    headers = {name: value.decode() for name, value in record.headers}
    return record.topic, headers, record.value or b""


@pytest.fixture(scope="module")
def of_kind(records: list[Record]) -> dict[str, Record]:
    """The first one of each kind; all are looked at."""
    reader = Published(asyncapi(site(), "1.0"))
    return {reader.check(*read(record)): record for record in reversed(records)}


def test_every_record_of_a_run_is_as_published_and_every_kind_is_there(of_kind: dict[str, Record]) -> None:
    assert {kind.name for kind in record_kinds()} - of_kind.keys() == set(), "kinds of which there is none"


@pytest.mark.parametrize("name", [kind.name for kind in record_kinds() if kind.value])
def test_each_field_is_published_and_looked_at(of_kind: dict[str, Record], name: str) -> None:
    document, record = asyncapi(site(), "1.0"), of_kind[name]
    schema = document["components"]["schemas"][name]
    fields = schema.get("properties", {})
    tried = 0
    for properties in (fields, fields.get("body", {}).get("properties", {})):
        for field, right in list(properties.items()):
            properties[field] = {"const": "never"}
            with pytest.raises(UnpublishedError, match=field):
                Published(document).check(*read(record))
            del properties[field]
            with pytest.raises(UnpublishedError, match=field):
                Published(document).check(*read(record))
            properties[field] = right
            tried += 1
    assert tried >= 2 or name == "rule-set"
    Published(document).check(*read(record))


def test_headers_and_kinds_that_are_not_published_are_found_out(of_kind: dict[str, Record]) -> None:
    reader = Published(asyncapi(site(), "1.0"))
    topic, headers, value = read(of_kind["alarm"])
    for wrong in ({**headers, "more": "x"}, {}, {**headers, "schema": "alarm/2"}):
        with pytest.raises(UnpublishedError, match=r"'more'|no kind"):
            reader.check(topic, wrong, value)


def test_every_topic_is_a_channel_as_it_should_exist() -> None:
    channels = Published(asyncapi(site(), "1.0")).channels
    for topic in (*TOPICS, REPLAY_MARK):
        kafka = channels[topic.name]["bindings"]["kafka"]
        assert kafka["topicConfiguration"]["cleanup.policy"] == [topic.cleanup]
        assert kafka.get("partitions") == topic.partitions
        assert channels[topic.name]["messages"]


@pytest.mark.parametrize("state", get_args(AlarmState))
def test_an_alarm_in_every_state_is_as_its_schema_says(state: str) -> None:
    alarm = raised(1) if state == "unacknowledged" else then(raised(1), state, 2, by="eva", comment="seen")
    jsonschema.Draft7Validator(json_schema("alarm")).validate(
        orjson.loads(encode_output(alarm, 3).value or b"")
    )


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "alarm/2"},
        {"id": 7},
        {"body": {}},
        {"body": {"severity": "grave"}},
        {"body": {"at_ns": "now"}},
    ],
)
def test_what_is_no_record_is_none(change: dict[str, Any]) -> None:
    record = orjson.loads(encode_output(raised(1), 3).value or b"")
    body = change.get("body")
    changed = record | change if not body else record | {"body": record["body"] | body}
    assert not jsonschema.Draft7Validator(json_schema("alarm")).is_valid(changed)


def test_all_that_the_document_refers_to_is_in_it() -> None:
    document = asyncapi(site(), "1.0")
    references = _references(document)
    assert len(references) > 30
    for reference in references:
        at: Any = document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


@pytest.mark.node
def test_the_parser_of_asyncapi_reads_what_the_command_prints(request: pytest.FixtureRequest) -> None:
    environment = node_environment(request, CHECK)
    printed = subprocess.run(
        [sys.executable, "-m", "gateways.cli.main", "docs", "asyncapi", "examples/narvik-small"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    done = subprocess.run(
        ["node", CHECK / "check.cjs"],
        input=printed.stdout,
        capture_output=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert (found["version"], found["wrong"]) == ("3.0.0", [])
    names = [*(topic.name for topic in (*TOPICS, REPLAY_MARK)), "webhook", "alarm-stream", "alarm-socket"]
    assert found["channels"] == names
    assert len(found["operations"]) == len(names)
