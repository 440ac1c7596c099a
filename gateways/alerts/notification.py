"""A notification: one form for all channels (JSON), and the words that people read.

Rules: its id is the subscription's name and the id of its first transition, so that it is the same whenever and over
whichever channel it comes; each transition in it has an id of its own, made alike; an alarm is the record of the topic
`alarms`, unchanged (its schema: `schema`).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from gateways.alerts.filters import needs_acknowledgement
from gateways.alerts.grouping import Batch
from gateways.alerts.model import Subscription
from gateways.alerts.store import alarm_bytes
from rules.alarms.life_cycle import NEEDS_ACKNOWLEDGEMENT
from rules.engine.outputs import Alarm

SCHEMA: Final = "notification/1"
SHOWN_MAX: Final = 50
"""Transitions that are shown whole; the others are counted, and named by their ids."""
WORST: Final = 5
LANES: Final = 8
"""Of a subscription on a channel."""
_ORDER: Final = ("urgent", "high", "medium", "low")
_LINES_MAX: Final = 20

Link = Callable[[Alarm, str], str]
"""Of an alarm and a subscription the address at which it is acknowledged; '' where there is none."""


@dataclass(frozen=True, slots=True)
class Notification:
    """As it lies in the outbox. `body`: the JSON that goes out; `instead_of`: the dead channel that it was for.

    `lane`: what is in one goes in order; that of the subscription where it is left out.
    """

    id: str
    subscription: str
    body: bytes
    instead_of: str = ""
    lane: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The body as plain data."""
        data: dict[str, Any] = orjson.loads(self.body)
        return data

    def sent_body(self) -> bytes:
        """The JSON for a receiver."""
        if not self.instead_of:
            return self.body
        return orjson.dumps({**self.data, "instead_of": self.instead_of})


def delivery_id(subscription: str, transition: str, step: int = 0) -> str:
    """By which a receiver recognises a transition that comes again; `step` of an escalation from 1."""
    return f"{subscription}/{transition}" + (f"/step-{step}" if step else "")


def of_batch(
    subscription: Subscription, batch: Batch, site: str, at_ns: int, link: Link, step: int = 0
) -> Notification:
    """The notification of a batch; with `step`, of an escalation."""
    alarms = [item.alarm for item in batch.items]
    shown = alarms
    if batch.is_folded or len(alarms) > SHOWN_MAX:
        shown = _worst(alarms, subscription.digest.worst if subscription.digest else WORST)
    ids = {alarm.id: delivery_id(subscription.name, alarm.id, step) for alarm in alarms}
    own_id = ids[alarms[0].id]
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "id": own_id,
        "kind": "escalation" if step else "alarms" if len(shown) == len(alarms) else "digest",
        "subscription": subscription.name,
        "site": site,
        "at_ns": at_ns,
        "alarms": [_shown(alarm, ids[alarm.id], link, subscription.name) for alarm in shown],
    }
    if step:
        body["step"] = step
    if len(shown) < len(alarms):
        body["folded"] = {
            "transitions": len(alarms),
            "by_severity": _counts(alarm.severity for alarm in alarms),
            "by_state": _counts(alarm.state for alarm in alarms),
            "by_rule": _counts(alarm.rule for alarm in alarms),
            "deliveries": list(ids.values()),
        }
    lane = "" if subscription.is_held else _lane(subscription.name, alarms[0].key)
    return Notification(own_id, subscription.name, orjson.dumps(body), "", lane)


def _lane(subscription: str, alarm: str) -> str:
    """One of a few, by the alarm: where each notification is of one alarm, those of others need not wait for it."""
    return f"{subscription}/{zlib.crc32(alarm.encode()) % LANES}"


def of_itself(kind: str, name: str, site: str, at_ns: int, message: str, **more: Any) -> Notification:
    """What Headrace says of itself, in the name of a subscription or its own: a trial, that a channel is dead."""
    own_id = f"{name}/{kind}/{at_ns}"
    body = {
        "schema": SCHEMA,
        "id": own_id,
        "kind": kind,
        "subscription": name,
        "site": site,
        "at_ns": at_ns,
        "alarms": [],
        "message": message,
        **more,
    }
    return Notification(own_id, name, orjson.dumps(body))


def folded(body: Mapping[str, Any]) -> int:
    """Transitions that are only counted in a notification."""
    return int(body["folded"]["transitions"]) - len(body["alarms"]) if "folded" in body else 0


def _shown(alarm: Alarm, own_id: str, link: Link, subscription: str) -> dict[str, Any]:
    one: dict[str, Any] = {"delivery": own_id, "alarm": orjson.Fragment(alarm_bytes(alarm))}
    if needs_acknowledgement(alarm) and (address := link(alarm, subscription)):
        one["acknowledge"] = address
    return one


def _worst(alarms: Sequence[Alarm], count: int) -> list[Alarm]:
    """The most severe of the last words on each alarm, what still needs somebody first, then the older ones."""
    last = {alarm.key: alarm for alarm in alarms}.values()
    ranked = sorted(
        last, key=lambda one: (_ORDER.index(one.severity), not needs_acknowledgement(one), one.at_ns)
    )
    return ranked[:count]


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common(20))


def title(data: Mapping[str, Any]) -> str:
    """One line for people."""
    site, alarms = data["site"], data["alarms"]
    if data["kind"] == "digest":
        worst = next((name for name in _ORDER if name in data["folded"]["by_severity"]), "")
        return f"{site}: {data['folded']['transitions']} alarm transitions, the worst {worst}"
    if not alarms:
        return f"{site}: {data['message'].splitlines()[0]}"
    first = alarms[0]["alarm"]["body"]
    more = f" and {len(alarms) - 1} more" if len(alarms) > 1 else ""
    again = "not acknowledged: " if data["kind"] == "escalation" else ""
    state = "" if first["state"] == "unacknowledged" else f" is {first['state']}"
    return f"{site}: {again}{first['severity'].upper()} {first['rule']} {first['asset']}{state}{more}"


def text(data: Mapping[str, Any], zone: ZoneInfo) -> str:
    """The whole for people, times in their zone."""
    lines = [str(data["message"])] if "message" in data else []
    if "folded" in data:
        lines += [
            f"{key.removeprefix('by_')}: " + ", ".join(f"{name} {count}" for name, count in counts.items())
            for key, counts in data["folded"].items()
            if key.startswith("by_")
        ]
        lines.append("the worst of them:")
    for one in data["alarms"][:_LINES_MAX]:
        lines += _lines(one, zone)
    if len(data["alarms"]) > _LINES_MAX:
        lines.append(f"and {len(data['alarms']) - _LINES_MAX} more")
    if "instead_of" in data:
        lines.append(f"This was for {data['instead_of']}, which takes nothing now.")
    lines.append(f"[{data['id']}]")
    return "\n".join(lines)


def _lines(one: Mapping[str, Any], zone: ZoneInfo) -> list[str]:
    alarm = one["alarm"]
    body = alarm["body"]
    at = datetime.fromtimestamp(body["at_ns"] / 1e9, UTC).astimezone(zone)
    by = f" by {body['by']}" if body["by"] and body["state"] not in NEEDS_ACKNOWLEDGEMENT else ""
    lines = [
        f"{at:%Y-%m-%d %H:%M:%S %Z} {body['severity']} {body['state']}{by}: "
        f"{body['message']} ({body['rule']} {body['asset']}, {alarm['unit']})"
    ]
    if "acknowledge" in one:
        lines.append(f"acknowledge: {one['acknowledge']}")
    return lines
