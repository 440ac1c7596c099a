"""Notification messages that never came: asked for again, or reported."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from asyncua import ua

from gateways.opcua.points import SourcePoints
from gateways.opcua.session import MISSED_AT_MOST, ServerSession
from gateways.opcua.subscriptions import Subscription
from tests.gateways.opcua.harness import RecordingPublisher, make_site, point, until


def message(sequence, *values):
    now = datetime.now(UTC)
    items = [
        ua.MonitoredItemNotification(
            0, ua.DataValue(ua.Variant(value), SourceTimestamp=now, ServerTimestamp=now)
        )
        for value in values
    ]
    data = [ua.DataChangeNotification(MonitoredItems=items)] if items else []
    return ua.NotificationMessage(SequenceNumber=sequence, NotificationData=data)


class Bench:
    """A session with one subscription at a server that keeps the messages `kept` for republishing."""

    def __init__(self, kept):
        self.publisher = RecordingPublisher()
        site = make_site([point("t")], 4840)
        self.table = SourcePoints(site, site.sources["plant"], self.publisher)
        self.kept = kept
        self.asked = []
        client = SimpleNamespace(uaclient=SimpleNamespace(session=self), connection_lost_callback=None)
        self.session = ServerSession(client, self.table, {})
        self.session.subscriptions[7] = Subscription(7, 1.0, 0.0, 0, (0,))

    async def republish(self, subscription_id, sequence):
        self.asked.append((subscription_id, sequence))
        if sequence not in self.kept:
            raise ua.UaStatusCodeError(ua.StatusCodes.BadMessageNotAvailable)
        return self.kept[sequence]

    def publish(self, *messages):
        for one in messages:
            self.session._received(ua.PublishResult(SubscriptionId=7, NotificationMessage=one))

    async def values_after(self, condition):
        fetching = asyncio.create_task(self.session._fetch_missed())
        await until(condition)
        fetching.cancel()
        self.table.finish()
        await self.table.carry()
        return [reading.value for reading in self.publisher.readings]


async def test_data_and_keep_alives_in_order_leave_nothing_to_ask_for():
    bench = Bench({})
    bench.publish(message(1, 1.0), message(2), message(2), message(2, 2.0), message(3))
    assert await bench.values_after(lambda: True) == [1.0, 2.0]
    assert bench.asked == []


async def test_a_message_that_never_came_is_asked_for_again():
    bench = Bench({2: message(2, 2.0)})
    bench.publish(message(1, 1.0), message(3, 3.0))
    values = await bench.values_after(lambda: bench.table.counts["messages_republished"])
    assert (values, bench.asked, bench.publisher.gaps) == ([1.0, 3.0, 2.0], [(7, 2)], [])


async def test_a_keep_alive_shows_it_too_and_what_the_server_has_dropped_is_a_gap():
    bench = Bench({})
    bench.publish(message(1, 1.0), message(3))
    await bench.values_after(lambda: bench.table.counts["messages_missed"])
    assert [gap[:2] + gap[4:] for gap in bench.publisher.gaps] == [("row-a", "missed", 1)]


@pytest.mark.parametrize(
    "bad",
    [
        message(MISSED_AT_MOST + 3, 1.0),
        ua.NotificationMessage(1, NotificationData=[ua.StatusChangeNotification(ua.StatusCode(0x800A0000))]),
        SimpleNamespace(SequenceNumber="nonsense", NotificationData=[]),
    ],
)
async def test_what_can_not_be_followed_ends_the_connection(bad):
    bench = Bench({})
    bench.publish(bad)
    assert bench.session._failure.done()
