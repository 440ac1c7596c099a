"""What goes out, as schemas: JSON Schema of alarm and notification, and the AsyncAPI 3 document of all edges.

Rules: the schema of an alarm is made from the class that the engine fills, and the names of states from the table, so
that neither can say something else than the code; a field more is no new version for a reader, so that none is
forbidden.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from gateways.alerts.notification import SCHEMA
from rules.engine.outputs import Alarm
from rules.site.model import Site
from streams.topics import ALARMS

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
_KINDS: Final = ("alarms", "digest", "escalation", "always", "channel-dead", "channel-alive", "test")
_JSON: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_TOLD: Final = {
    "raised_id": "names the occurrence: the id of the transition that raised it, '' where it never went off",
    "raised_ns": "when it went off, in ns since 1970 (event time)",
    "cleared_ns": "when its condition returned; null while it holds",
    "value": "what its message shows",
    "unknown_ns": "since when nobody knows whether its condition holds",
    "suppressed_by": "the keys of the alarms that explain it",
    "by": "who acted on it last",
    "at_ns": "when this transition happened, in ns since 1970 (event time)",
}


def alarm_schema() -> dict[str, Any]:
    """A record of the topic `alarms`."""
    hints = get_type_hints(Alarm)
    names = [field.name for field in dataclasses.fields(Alarm) if field.name not in ("id", "unit")]
    body = {name: _typed(hints[name]) for name in names}
    for name, words in _TOLD.items():
        body[name]["description"] = words
    return {
        "type": "object",
        "description": "the last word on an alarm; key of the record: unit:rule:asset",
        "required": ["schema", "id", "unit", "body"],
        "properties": {
            "schema": {"const": "alarm/1"},
            "id": {"type": "string", "description": "of this transition; the same when it comes again"},
            "unit": {"type": "string"},
            "body": {"type": "object", "required": names, "properties": body},
        },
    }


def _typed(hint: Any) -> dict[str, Any]:
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    types = [_JSON[one] for one in (get_args(hint) or (hint,))]
    return {"type": types if len(types) > 1 else types[0]}


def notification_schema() -> dict[str, Any]:
    """What a webhook is sent."""
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    return {
        "type": "object",
        "required": ["schema", "id", "kind", "subscription", "site", "at_ns", "alarms"],
        "properties": {
            "schema": {"const": SCHEMA},
            "id": {"type": "string", "description": "the same when it comes again"},
            "kind": {"enum": list(_KINDS)},
            "subscription": {"type": "string"},
            "site": {"type": "string"},
            "at_ns": {"type": "integer", "description": "when it was made, in ns since 1970"},
            "alarms": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["delivery", "alarm"],
                    "properties": {
                        "delivery": {"type": "string", "description": "subscription/transition"},
                        "alarm": {"$ref": "#/components/schemas/alarm"},
                        "acknowledge": {"type": "string", "format": "uri"},
                    },
                },
            },
            "folded": {
                "type": "object",
                "description": "of a digest: all transitions that it stands for; `alarms` has the worst",
                "required": ["transitions", "by_severity", "by_state", "by_rule", "deliveries"],
                "properties": {
                    "transitions": {"type": "integer"},
                    "by_severity": counts,
                    "by_state": counts,
                    "by_rule": counts,
                    "deliveries": {"type": "array", "items": {"type": "string"}},
                },
            },
            "step": {"type": "integer", "description": "of an escalation"},
            "instead_of": {"type": "string", "description": "the dead channel that it was for"},
            "message": {"type": "string", "description": "where it is about no alarm"},
        },
    }


def json_schema(name: str) -> dict[str, Any]:
    """One of them by itself, with what it refers to."""
    schemas = {"alarm": alarm_schema(), "notification": notification_schema()}
    return {"$schema": DIALECT, **schemas[name], "components": {"schemas": {"alarm": schemas["alarm"]}}}


def asyncapi(site: Site, version: str) -> dict[str, Any]:
    """The document: the topic `alarms`, webhooks, and both streams."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Alarms of {site.name}",
            "version": version,
            "description": "Transitions of alarms as Headrace says them. At least once, each with an id that does not "
            "change, in order per alarm.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "alarms": {
                "address": ALARMS.name,
                "description": "Kafka: one record per transition; compacted, so that all of it is the alarm list.",
                "messages": {"alarm": {"$ref": "#/components/messages/alarm"}},
                "bindings": {
                    "kafka": {"topic": ALARMS.name, "topicConfiguration": {"cleanup.policy": ["compact"]}}
                },
            },
            "webhook": {
                "address": None,
                "description": "HTTP POST to a subscriber's own address (channel kind `webhook`).",
                "messages": {"notification": {"$ref": "#/components/messages/notification"}},
            },
            "events": {
                "address": "/alarms/events",
                "description": "Server-Sent Events: event `alarm`, id to resume from in the header Last-Event-ID; "
                "event `gap` where it can't be.",
                "messages": {"alarm": {"$ref": "#/components/messages/alarm"}},
                "bindings": {"http": {}},
            },
            "socket": {
                "address": "/alarms/socket",
                "description": "WebSocket: the same; resumes with the query `last_event_id`.",
                "messages": {"event": {"$ref": "#/components/messages/event"}},
                "bindings": {"ws": {"method": "GET"}},
            },
        },
        "operations": {
            f"{verb}{name.capitalize()}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
            for verb, name in (
                ("publish", "alarms"),
                ("post", "webhook"),
                ("stream", "events"),
                ("stream", "socket"),
            )
        },
        "components": {
            "messages": {
                "alarm": {
                    "name": "alarm",
                    "title": "A transition of an alarm",
                    "headers": {
                        "type": "object",
                        "properties": {"schema": {"const": "alarm/1"}},
                    },
                    "payload": {"$ref": "#/components/schemas/alarm"},
                    "bindings": {"kafka": {"key": {"type": "string", "description": "unit:rule:asset"}}},
                },
                "notification": {
                    "name": "notification",
                    "title": "What a subscription is told",
                    "headers": {
                        "type": "object",
                        "required": ["webhook-id", "webhook-timestamp"],
                        "properties": {
                            "webhook-id": {"type": "string", "description": "the id in the body"},
                            "webhook-timestamp": {
                                "type": "string",
                                "description": "of this attempt, s since 1970",
                            },
                            "webhook-signature": {
                                "type": "string",
                                "description": "v1, and HMAC-SHA256 of id.timestamp.body in Base64 (Standard Webhooks)",
                            },
                        },
                    },
                    "payload": {"$ref": "#/components/schemas/notification"},
                },
                "event": {
                    "name": "event",
                    "title": "An event of a stream",
                    "payload": {
                        "type": "object",
                        "required": ["id", "event", "data"],
                        "properties": {
                            "id": {"type": "string"},
                            "event": {"enum": ["alarm", "gap"]},
                            "data": {"type": "object"},
                        },
                    },
                },
            },
            "schemas": {"alarm": alarm_schema(), "notification": notification_schema()},
        },
    }
