"""What the role `alerts` sends, as schemas: JSON Schema of a notification, and its part of the AsyncAPI document."""

from __future__ import annotations

from typing import Any, Final

from gateways.alerts.notification import SCHEMA

_KINDS: Final = ("alarms", "digest", "escalation", "always", "channel-dead", "channel-alive", "test")


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


def channels() -> dict[str, Any]:
    """Webhooks, and both streams."""
    return {
        "webhook": {
            "address": None,
            "description": "HTTP POST to a subscriber's own address (channel kind `webhook`).",
            "messages": {"notification": {"$ref": "#/components/messages/notification"}},
        },
        "alarm-stream": {
            "address": "/alarms/events",
            "description": "Server-Sent Events: event `alarm`, id to resume from in the header Last-Event-ID; "
            "event `gap` where it can't be.",
            "messages": {"alarm": {"$ref": "#/components/messages/alarm"}},
            "bindings": {"http": {}},
        },
        "alarm-socket": {
            "address": "/alarms/socket",
            "description": "WebSocket: the same; resumes with the query `last_event_id`.",
            "messages": {"event": {"$ref": "#/components/messages/event"}},
            "bindings": {"ws": {"method": "GET"}},
        },
    }


def messages() -> dict[str, Any]:
    """What goes over them, besides records of the topic `alarms`."""
    return {
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
    }
