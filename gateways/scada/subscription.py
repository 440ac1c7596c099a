"""One subscription: its monitored items, and what it publishes.

Rules: a publish response carries at most what the client asked for, and 500 notifications (clients refuse messages
above 2 MB); where more waits it says so and goes on at once, as long as there are publish requests. Without them
everything stays in the bounded queues of its items, so that a client that stops reading costs others nothing. What was
sent and not acknowledged is kept for 50 responses.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.subscription_service import SubscriptionService

from gateways.scada.encoding import INT32
from gateways.scada.hub import Hub
from gateways.scada.monitored import MonitoredItems

NOTIFICATIONS_MAX: Final = 500
UNACKNOWLEDGED_MAX: Final = 50
INTERVAL_MS: Final = (50.0, 60_000.0)
ALIVE_MS_MAX: Final = 60_000.0
LIFETIME_MS_MAX: Final = 600_000.0
_DATA: Final = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
_EVENTS: Final = ua.NodeId(ua.ObjectIds.EventNotificationList_Encoding_DefaultBinary)
_NO_DIAGNOSTICS: Final = INT32.pack(-1)


class Subscription(InternalSubscription):  # type: ignore[misc]
    """`owner`: whose it is, for a transfer. The rest as asyncua's."""

    def __init__(self, data: Any, items: MonitoredItems, owner: str, limit: int, **given: Any) -> None:
        super().__init__(data, items.address_space, no_acks_limit=UNACKNOWLEDGED_MAX, **given)
        self.monitored_item_srv = self.items = items
        self.owner = owner
        self.limit_to(limit)

    def limit_to(self, notifications: int) -> None:
        """As many in a response at most; 0 leaves it to the server."""
        self.limit = min(notifications or NOTIFICATIONS_MAX, NOTIFICATIONS_MAX)

    def has_published_results(self) -> bool:
        """Whether there is something to send, if only a sign of life."""
        if self._startup or self._triggered_statuschanges or (self._publishing_enabled and self.items.waits):
            return True
        self._keep_alive_count += 1
        return bool(self._keep_alive_count >= self.data.RevisedMaxKeepAliveCount)

    async def publish_results(self, requestdata: Any = None) -> bool:
        """Publish; whether `requestdata` was used. Goes on while something waits and there are publish requests."""
        used: bool = await super().publish_results(requestdata)
        went = used
        while went and self._publishing_enabled and self.items.waits:
            await asyncio.sleep(0)  # others have their turn
            went = await super().publish_results(None)
        return used

    def _pop_publish_result(self) -> Any:
        result = super()._pop_publish_result()
        result.MoreNotifications = self._publishing_enabled and self.items.waits
        return result

    def _pop_triggered_datachanges(self, result: Any) -> None:
        """All notifications, values and events."""
        values, events = self.items.take(self.limit)
        said = result.NotificationMessage.NotificationData
        if values:
            body = INT32.pack(len(values)) + b"".join(values) + _NO_DIAGNOSTICS
            said.append(ua.ExtensionObject(TypeId=_DATA, Body=body))
        if events:
            said.append(ua.ExtensionObject(TypeId=_EVENTS, Body=INT32.pack(len(events)) + b"".join(events)))

    def _pop_triggered_events(self, result: Any) -> None:
        """Said with the values."""

    def republish(self, nb: int) -> Any:
        """A message that was not acknowledged yet. ServiceError: it is not kept."""
        kept = self._not_acknowledged_results.get(nb)
        if kept is None:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        return kept.NotificationMessage

    def unacknowledged(self) -> list[int]:
        """Sequence numbers of what is kept."""
        return sorted(self._not_acknowledged_results)


class Subscriptions(SubscriptionService):  # type: ignore[misc]
    """All subscriptions of the server."""

    def __init__(self, address_space: Any, server: Any, hub: Hub) -> None:
        super().__init__(address_space, iserver=server)
        self._hub = hub

    async def create_owned(self, params: Any, session: Any, callback: Any, request_callback: Any) -> Any:
        """For a session. ServiceError: there are too many."""
        if len(self.subscriptions) >= self.iserver.max_subscriptions:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        self._sub_id_counter += 1
        data = _revised(ua.CreateSubscriptionResult(), params)
        data.SubscriptionId = number = self._sub_id_counter
        made = Subscription(
            data,
            MonitoredItems(self._hub, self.aspace),
            session.owner,
            params.MaxNotificationsPerPublish,
            callback=callback,
            session_id=session.session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(number, None),
            publishing_enabled=params.PublishingEnabled,
        )
        self.subscriptions[number] = made
        await made.start()
        return data

    def modify(self, subscription: Subscription, params: Any) -> Any:
        """Other intervals and limits; the loop takes them up with its next turn."""
        _revised(subscription.data, params)
        subscription.limit_to(params.MaxNotificationsPerPublish)
        result = ua.ModifySubscriptionResult()
        result.RevisedPublishingInterval = subscription.data.RevisedPublishingInterval
        result.RevisedLifetimeCount = subscription.data.RevisedLifetimeCount
        result.RevisedMaxKeepAliveCount = subscription.data.RevisedMaxKeepAliveCount
        return result

    @property
    def lost(self) -> int:
        """Notifications that were dropped, of the subscriptions that there are."""
        return sum(one.items.lost for one in self.subscriptions.values())


def _revised(data: Any, params: Any) -> Any:
    """What the client asks for, within bounds; a lifetime is three signs of life at least (OPC 10000-4, 5.14.2)."""
    interval_ms = params.RequestedPublishingInterval
    # NaN compares with nothing
    data.RevisedPublishingInterval = (
        min(max(interval_ms, INTERVAL_MS[0]), INTERVAL_MS[1]) if interval_ms > 0 else INTERVAL_MS[0]
    )
    longest = max(1, int(ALIVE_MS_MAX / data.RevisedPublishingInterval))
    data.RevisedMaxKeepAliveCount = max(1, min(params.RequestedMaxKeepAliveCount or longest, longest))
    lifetime = max(1, int(LIFETIME_MS_MAX / data.RevisedPublishingInterval))
    least = 3 * data.RevisedMaxKeepAliveCount
    data.RevisedLifetimeCount = max(least, min(params.RequestedLifetimeCount or lifetime, lifetime))
    return data
