"""The published schemas: they say what is sent, and AsyncAPI's own parser reads the document."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jsonschema
import orjson
import pytest

from gateways.alerts.schema import asyncapi, json_schema
from rules.engine.outputs import AlarmState
from streams.wire import encode_output
from tests.gateways.alerts.words import raised, then
from tests.rules.engine.plant import site
from tests.support.node import node_environment

CHECK = Path(__file__).parents[2] / "support" / "asyncapi"
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("state", get_args(AlarmState))
def test_every_record_of_the_topic_is_as_its_schema_says(state: str) -> None:
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
    assert len(references) > 8
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
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert (found["version"], found["wrong"]) == ("3.0.0", [])
    assert found["channels"] == ["alarms", "webhook", "events", "socket"]
    assert len(found["operations"]) == 4
