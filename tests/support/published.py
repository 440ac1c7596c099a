"""A reader of the log that knows nothing but the AsyncAPI document which `headrace docs asyncapi` prints."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pyarrow as pa


class UnpublishedError(Exception):
    """A record is not as the document says; the text says how."""


class Published:
    """`check` says what a record is, or raises UnpublishedError."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.channels = {one["address"]: one for one in document["channels"].values() if one["address"]}
        self.messages: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._validators: dict[str, tuple[Any, Any]] = {}
        for topic, channel in self.channels.items():
            if "kafka" not in channel["bindings"]:
                continue
            for reference in channel["messages"].values():
                message = self._at(reference)
                schema = message["headers"]["properties"]["schema"].get("const", "")
                self.messages[topic, schema] = message
                payload = closed(self._at(message["payload"])) if is_json(message) else {}
                self._validators[message["name"]] = (
                    jsonschema.Draft7Validator({**message["headers"], "additionalProperties": False}),
                    jsonschema.Draft7Validator(payload),
                )

    def _at(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in node:
            return node
        found: Any = self.document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)

    def check(self, topic: str, headers: Mapping[str, str], value: bytes) -> str:
        """The kind of a record."""
        message = self.messages.get((topic, headers.get("schema", ""))) or self.messages.get((topic, ""))
        if message is None:
            raise UnpublishedError(f"{topic} has no kind {headers.get('schema')!r}")
        name: str = message["name"]
        of_headers, of_value = self._validators[name]
        try:
            of_headers.validate(dict(headers))
            if is_json(message):
                of_value.validate(json.loads(value))
        except jsonschema.ValidationError as error:
            raise UnpublishedError(f"{name}: {error.json_path}: {error.message}") from None
        if arrow := message.get("x-arrow-schema"):
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(arrow["ipc"])))
            assert [(one["name"], one["type"]) for one in arrow["columns"]] == [
                (one.name, str(one.type)) for one in schema
            ]
            assert pa.ipc.read_record_batch(pa.py_buffer(value), schema).num_rows == 1
        return name


def is_json(message: Mapping[str, Any]) -> bool:
    return bool(message["contentType"] == "application/json")


def closed(schema: Any) -> Any:
    """The same schema, by which a field that it does not have is wrong: nothing is written that is not published."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(one) for name, one in schema.items()}
    return {**found, "additionalProperties": False} if isinstance(schema.get("properties"), dict) else found
