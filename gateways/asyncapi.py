"""What others may read of Headrace, as an AsyncAPI 3 document with JSON schemas: every topic, webhooks, and streams.

Rule: what a record is stands in `streams/schemas.py`, and what `alerts` sends in `gateways/alerts/schema.py`; here they
become a document.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from gateways.alerts import schema as alerts
from rules.site.model import Site
from streams.schemas import HEADERS, JSON, TEXT, RecordKind, record_kinds
from streams.topics import REPLAY_MARK, TOPICS, Topic

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
ARROW: Final = "x-arrow-schema"
"""Of a message whose value is an Arrow record batch: its columns, and its schema as an Arrow IPC message (Base64)."""


def json_schema(name: str) -> dict[str, Any]:
    """A schema of the document by itself, with what it refers to."""
    schemas = _schemas(record_kinds())
    return {"$schema": DIALECT, **schemas[name], "components": {"schemas": schemas}}


def asyncapi(site: Site, version: str) -> dict[str, Any]:
    """The document."""
    kinds = record_kinds()
    topics = {topic.name: _topic_channel(topic, kinds) for topic in (*TOPICS, REPLAY_MARK)}
    verbs = {**dict.fromkeys(topics, "publish"), "webhook": "post"}
    channels = {**topics, **alerts.channels()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Records and alarms of {site.name}",
            "version": version,
            "description": "All that is on the log, and what subscribers are told of alarms. At least once, each with "
            "an identity or id that does not change, in order per unit. A reader passes by fields and headers that it "
            "does not know.",
        },
        "defaultContentType": JSON,
        "channels": channels,
        "operations": {
            verbs.get(name, "stream") + name.title().replace("-", ""): {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
            }
            for name in channels
        },
        "components": {
            "messages": {**{kind.name: _message(kind) for kind in kinds}, **alerts.messages()},
            "schemas": _schemas(kinds),
        },
    }


def _schemas(kinds: tuple[RecordKind, ...]) -> dict[str, Any]:
    own = {kind.name: {**kind.value, "description": kind.says} for kind in kinds if kind.value}
    return {**own, "notification": alerts.notification_schema()}


def _topic_channel(topic: Topic, kinds: tuple[RecordKind, ...]) -> dict[str, Any]:
    configuration = {"cleanup.policy": [topic.cleanup], "max.message.bytes": topic.max_message_bytes}
    if topic.cleanup == "delete":
        configuration["retention.ms"] = topic.retention_ms
    kafka: dict[str, Any] = {"topic": topic.name, "topicConfiguration": configuration}
    if topic.partitions is not None:
        kafka["partitions"] = topic.partitions
    named = [kind.name for kind in kinds if kind.topic == topic]
    return {
        "address": topic.name,
        "description": f"Kafka: {topic.holds}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in named},
        "bindings": {"kafka": kafka},
    }


def _message(kind: RecordKind) -> dict[str, Any]:
    properties: dict[str, Any] = {
        name: {"type": "string", "description": HEADERS[name]} for name in (*kind.headers, *kind.may_have)
    }
    if kind.schema:
        properties["schema"] = {"const": kind.schema}
    message: dict[str, Any] = {
        "name": kind.name,
        "summary": kind.says,
        "contentType": kind.content_type,
        "headers": {"type": "object", "required": list(kind.headers), "properties": properties},
        "bindings": {"kafka": {"key": {"type": "string", "description": kind.key}}},
    }
    if kind.value:
        return {**message, "payload": {"$ref": f"#/components/schemas/{kind.name}"}}
    payload = {"type": "string"} if kind.content_type == TEXT else {"type": "string", "format": "binary"}
    if kind.arrow is not None:
        columns = [{"name": column.name, "type": str(column.type)} for column in kind.arrow]
        ipc = base64.b64encode(kind.arrow.serialize().to_pybytes()).decode()
        message[ARROW] = {"columns": columns, "ipc": ipc}
    return {**message, "payload": payload}
