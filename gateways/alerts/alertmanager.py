"""Prometheus' Alertmanager, API v2: alarms as alerts that fire and are resolved.

Rules: labels name the alarm and never change while it stands (`alertname` is the rule), so that all its transitions
are one alert; Alertmanager resolves what it hears nothing of, so each alert ends `LEASE_NS` from now, and what stands
is said again before (`watch`): when Headrace is down, its alerts end there by themselves, the always-firing one too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from gateways.alerts.filters import is_firing
from gateways.alerts.model import Channel
from gateways.alerts.notification import Notification
from gateways.alerts.store import alarm_of
from gateways.alerts.webhook import Webhook
from rules.engine.outputs import Alarm
from streams.times import iso_utc

LEASE_NS: Final = 300 * 1_000_000_000
ALWAYS: Final = "HeadraceAlwaysFiring"
_PATH: Final = "/api/v2/alerts"


class Alertmanager:
    """One Alertmanager."""

    def __init__(self, channel: Channel, clock: Callable[[], int], site: str) -> None:
        self._channel = channel
        self._clock = clock
        self._site = site
        self._http = Webhook(channel, clock)

    async def send(self, notification: Notification) -> None:
        """As `Deliverer`: what a notification shows, each alarm as the alert that it is now."""
        data = notification.data
        alarms = [alarm_of(orjson.dumps(one["alarm"])) for one in data["alarms"]]
        if alarms:
            await self.say(alarms)
        else:
            await self._post([self._of_itself(data)])

    async def say(self, alarms: Iterable[Alarm]) -> None:
        """Say of alarms that they fire, or are over. DeliveryError."""
        last = {alarm.key: alarm for alarm in alarms}
        await self._post([alert(alarm, self._site, self._clock()) for alarm in last.values()])

    async def close(self) -> None:
        """As `Deliverer`."""
        await self._http.close()

    async def _post(self, alerts: list[dict[str, Any]]) -> None:
        url = self._channel.url.text.rstrip("/").removesuffix(_PATH) + _PATH
        await self._http.post(url, orjson.dumps(alerts), {"content-type": "application/json"})

    def _of_itself(self, data: dict[str, Any]) -> dict[str, Any]:
        name = ALWAYS if data["kind"] == "always" else "Headrace"
        lease_ns = data.get("lease_ns", LEASE_NS)
        return {
            "labels": {
                "alertname": name,
                "site": data["site"],
                "subscription": data["subscription"],
                "severity": "none" if data["kind"] == "always" else "high",
                **({} if data["kind"] == "always" else {"about": data["kind"]}),
            },
            "annotations": {"summary": data["message"], "id": data["id"]},
            "startsAt": iso_utc(data["at_ns"]),
            "endsAt": iso_utc(data["at_ns"] + lease_ns),
        }


def alert(alarm: Alarm, site: str, now_ns: int) -> dict[str, Any]:
    """An alarm as `postableAlert` of API v2."""
    ends_ns = now_ns + LEASE_NS if is_firing(alarm) else max(alarm.cleared_ns or alarm.at_ns, alarm.raised_ns)
    return {
        "labels": {
            "alertname": alarm.rule,
            "site": site,
            "unit": alarm.unit,
            "asset": alarm.asset,
            "severity": alarm.severity,
        },
        "annotations": {
            "summary": alarm.message,
            "state": alarm.state,
            "id": alarm.id,
            **({"by": alarm.by} if alarm.by else {}),
        },
        "startsAt": iso_utc(alarm.raised_ns),
        "endsAt": iso_utc(ends_ns),
    }
