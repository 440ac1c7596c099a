"""What says again and again that all is well, or what stands: the dead-man's switch, and the leases of Alertmanager.

Rules: an always-firing subscription (Prometheus users know it as Watchdog) fires only while alarms would get through:
the log can be read, and a worker has said `SILENT_S` ago at most that it works. It is not kept in the outbox: one that
comes late says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

from gateways.alerts.alertmanager import Alertmanager
from gateways.alerts.delivery import Deliverer, DeliveryError
from gateways.alerts.filters import Directory, is_firing
from gateways.alerts.intake import Intake
from gateways.alerts.model import Subscription, Subscriptions
from gateways.alerts.notification import of_itself
from gateways.observability.health import silence
from streams.role import RoleContext, Status, as_status
from streams.topics import STATUS

log = logging.getLogger(__name__)

SILENT_S: Final = 10.0
LEASE_EVERY_S: Final = 60.0


class Workers:
    """When a worker last said that it works, from the topic `status`."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._heard_at = 0.0

    @property
    def are_heard(self) -> bool:
        """Whether one works."""
        return bool(self._heard_at) and asyncio.get_running_loop().time() - self._heard_at < SILENT_S

    async def listen(self) -> None:
        """Until cancelled. UnreachableError at the start."""
        reader = await self._context.bus.reader([STATUS.name], "latest")
        try:
            while True:
                for record in await reader.read(1.0):
                    status = as_status(record.value)
                    if status is not None and _is_working(status, self._context.clock()):
                        self._heard_at = asyncio.get_running_loop().time()
        finally:
            await reader.close()


def _is_working(status: Status, now_ns: int) -> bool:
    """Whether it is a worker's that works now: a log that was away may bring words of long ago."""
    return status["kind"] == "worker" and status["state"] == "ready" and not silence(status, now_ns)


async def fire_always(
    context: RoleContext, subscription: Subscription, deliverers: Mapping[str, Deliverer], workers: Workers
) -> None:
    """Fire at its period, until cancelled; no channel waits for another one."""
    period_s, counts = subscription.always_ns / 1e9, context.metrics
    words = "alarms get through: this comes again and again, and what is wrong is that it does not"
    more = {"period_ns": subscription.always_ns, "lease_ns": 3 * subscription.always_ns}

    async def fire(name: str) -> None:
        one = of_itself("always", subscription.name, context.site.name, context.clock(), words, **more)
        try:
            async with asyncio.timeout(period_s):
                await deliverers[name].send(one)
            counts["always_sent"] += 1
        except (DeliveryError, TimeoutError) as error:
            counts["always_failed"] += 1
            log.warning("%s over %s: %s", subscription.name, name, error or "no answer")

    loop = asyncio.get_running_loop()
    next_at = loop.time()
    while True:
        if workers.are_heard:
            await asyncio.gather(*map(fire, subscription.to))
            next_at = max(next_at + period_s, loop.time())
        else:  # looked at again soon: it begins as soon as a worker works
            counts["always_withheld"] += 1
            next_at = loop.time() + min(1.0, period_s)
        await asyncio.sleep(next_at - loop.time())


async def renew_leases(
    subscriptions: Subscriptions, receivers: Mapping[str, Alertmanager], intake: Intake
) -> None:
    """Tell every Alertmanager again what fires, until cancelled."""
    directories = {
        name: Directory(
            [one for one in subscriptions.of_alarms if name in one.to], intake.type_of, subscriptions.group_of
        )
        for name in receivers
    }
    while True:
        await asyncio.sleep(LEASE_EVERY_S)
        for name, receiver in receivers.items():
            firing = [
                last.alarm
                for last in intake.last.values()
                if last.is_heard and is_firing(last.alarm) and directories[name].of(last.alarm)
            ]
            if firing:
                with contextlib.suppress(
                    DeliveryError
                ):  # what is new is in the outbox; this is only said again
                    await receiver.say(firing)
