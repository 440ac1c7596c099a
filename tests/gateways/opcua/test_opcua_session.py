"""Notification messages that never came: asked for again, or reported. What a server lets nobody monitor."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from asyncua import ua

from gateways.opcua import session
from gateways.opcua.inventory import parse_address
from gateways.opcua.points import SourcePoints
from gateways.opcua.session import MISSED_AT_MOST, ServerSession
from gateways.opcua.subscriptions import Subscription
from tests.gateways.opcua.harness import NAMESPACE, RecordingPublisher, make_site, point, until


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


async def test_messages_that_nobody_has_asked_for_yet_are_not_more_than_that():
    bench = Bench({})
    for sequence in range(1, 50 * MISSED_AT_MOST, MISSED_AT_MOST):
        bench.publish(message(sequence))
    assert bench.session._failure.done()
    assert bench.session._missed.qsize() <= MISSED_AT_MOST


async def test_a_data_change_without_data_is_none():
    bench = Bench({})
    bench.publish(ua.NotificationMessage(1, NotificationData=[ua.DataChangeNotification(MonitoredItems=[])]))
    assert not bench.session._failure.done()


class Plant:
    """A client's face of a server that has `a` and `b`, with units of its own, and lets nobody monitor `refused`."""

    def __init__(self, *refused):
        self.refused = set(refused)
        self.at_most = 100
        self.subscriptions = {}
        self.created = 0
        self.unit = "bar"
        self.uaclient = self
        self.connection_lost_callback = None

    async def get_namespace_array(self):
        return ["", NAMESPACE]

    async def browse(self, parameters):
        unit = SimpleNamespace(BrowseName=ua.QualifiedName("EngineeringUnits"), NodeId=ua.NodeId("unit", 1))
        return [ua.BrowseResult(References=[unit]) for _ in parameters.NodesToBrowse]

    async def read_attributes(self, nodes, _attribute):
        units = ua.EUInformation(DisplayName=ua.LocalizedText(self.unit))
        return [ua.DataValue(ua.Variant(units)) for _ in nodes]

    async def create_subscription(self, parameters, _callback):
        assert 0 < parameters.MaxNotificationsPerPublish <= 10_000
        if len(self.subscriptions) >= self.at_most:
            raise ua.uaerrors.BadTooManySubscriptions
        self.created += 1
        self.subscriptions[self.created] = 0
        return ua.CreateSubscriptionResult(self.created, 50.0, 1000, 20)

    async def create_monitored_items(self, parameters):
        codes = [
            0x801F0000 if item.ItemToMonitor.NodeId.Identifier in self.refused else 0
            for item in parameters.ItemsToCreate
        ]
        self.subscriptions[parameters.SubscriptionId] += codes.count(0)
        return [ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(code)) for code in codes]

    async def delete_subscriptions(self, ids):
        for one in ids:
            del self.subscriptions[one]
        return [ua.StatusCode()] * len(ids)

    def session(self):
        site = make_site([point("a"), point("b")], 4840)
        table = SourcePoints(site, site.sources["plant"], RecordingPublisher())
        return ServerSession(
            self, table, {row: parse_address(point) for row, point in enumerate(table.points)}
        )


async def retried(one, monkeypatch, times=5):
    """After this many more looks for what the server lacks."""
    monkeypatch.setattr(session, "RETRY_LACKING_EVERY_S", 0.0)
    looks = []
    add = one._add

    async def counted(rows):
        looks.append(rows)
        await add(rows)

    monkeypatch.setattr(one, "_add", counted)
    retrying = asyncio.create_task(one._retry_lacking())
    await until(lambda: len(looks) > times or retrying.done())
    retrying.cancel()
    await asyncio.gather(retrying, return_exceptions=True)
    assert len(looks) > times


async def test_what_can_not_be_monitored_leaves_no_subscriptions_behind(monkeypatch):
    plant = Plant("b")
    one = plant.session()
    await one.start()
    await retried(one, monkeypatch)
    assert list(one.lacking) == [1]
    assert plant.subscriptions == {1: 1}
    assert list(one.subscriptions) == [1]
    assert len(one.differences) == 2
    plant.refused.clear()
    await one._add([1])
    assert (one.lacking, sorted(one.subscriptions)) == ({}, sorted(plant.subscriptions))


async def test_a_server_that_has_no_subscription_left_keeps_what_it_carries(monkeypatch):
    plant = Plant("b")
    one = plant.session()
    await one.start()
    plant.at_most = 1
    await retried(one, monkeypatch)
    assert (list(one.lacking), plant.subscriptions) == ([1], {1: 1})


@pytest.mark.parametrize("unit", ["\udcff\n", "x" * 1_000_000])
async def test_a_text_of_the_server_is_cut_and_can_be_written_down(unit):
    plant = Plant()
    plant.unit = unit
    one = plant.session()
    await one.start()
    assert [text.isprintable() and len(text.encode()) < 200 for text in one.differences] == [True, True]


async def test_a_difference_that_has_gone_is_said_no_more():
    plant = Plant("b")
    one = plant.session()
    await one.start()
    plant.unit = "degC"
    await one._add([1])
    assert [text.partition(":")[0] for text in one.differences] == ["A1.a"]
