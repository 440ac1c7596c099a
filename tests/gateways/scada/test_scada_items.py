"""Queues of monitored items: what is dropped, and how the client is told."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from asyncua import ua

from gateways.opcua.convert import OVERFLOW
from gateways.scada import encoding
from gateways.scada.event import SERVER, Event, Select, server_event
from gateways.scada.items import LOOKED_AT, DataItem, EventItem, Sample
from gateways.scada.where import Where

SELECT = Select.of([ua.SimpleAttributeOperand(BrowsePath=[ua.QualifiedName("Severity")], AttributeId=13)])
ALARM = ua.NodeId(ua.ObjectIds.AlarmConditionType)
LOST = 700
"""The severity of an overflow event."""


def event(number: int) -> Event:
    return Event(ALARM, {"Severity": encoding.uint16(number)}, frozenset({SERVER}))


def request(mode: Any = ua.MonitoringMode.Reporting, oldest: bool = True, given: Any = None) -> Any:
    parameters = ua.MonitoringParameters(ClientHandle=5, DiscardOldest=oldest, Filter=given)
    return ua.MonitoredItemCreateRequest(MonitoringMode=mode, RequestedParameters=parameters)


def event_item(limit: int = 10, **given: Any) -> EventItem:
    return EventItem(1, SERVER, request(**given), limit, SELECT, None)


def said(item: EventItem, room: int = 1000) -> list[int]:
    """The severities of what is sent now."""
    taken = item.take(room)
    assert all(one[:4] == b"\x05\x00\x00\x00" for one in taken), "the client's handle is before each"
    return [int.from_bytes(one[-2:], "little") for one in taken]


def now_ns() -> int:
    return 1


def test_events_come_in_order_and_no_more_than_there_is_room() -> None:
    item = event_item()
    for number in range(5):
        assert item.hear(event(number), now_ns)
    assert said(item, 2) == [0, 1]
    assert item.waits
    assert said(item) == [2, 3, 4]
    assert not item.waits


def test_the_oldest_are_dropped_and_the_client_is_told_first() -> None:
    item = event_item()
    for number in range(25):
        item.hear(event(number), now_ns)
    assert said(item) == [LOST, *range(16, 25)]
    assert item.lost == 16
    item.hear(event(25), now_ns)
    assert said(item) == [25], "what was told once is not told again"


def test_what_is_told_while_some_is_sent_is_told_of_what_follows() -> None:
    item = event_item()
    for number in range(12):
        item.hear(event(number), now_ns)
    assert said(item, 3) == [LOST, 3, 4]
    for number in range(12, 20):
        item.hear(event(number), now_ns)
    assert said(item) == [LOST, *range(11, 20)]
    assert item.lost == 3 + 6


def test_the_newest_are_dropped_and_the_client_is_told_last() -> None:
    item = event_item(oldest=False)
    for number in range(25):
        item.hear(event(number), now_ns)
    assert said(item) == [*range(9), LOST]
    item.hear(event(25), now_ns)
    assert said(item) == [25]


def test_a_refresh_comes_behind_what_waits_and_never_says_what_is_old() -> None:
    """Events that come during a refresh go before what it has still to say, which is what is true by then."""
    item, state = event_item(), {number: number for number in range(4)}
    end = server_event(ua.ObjectIds.RefreshEndEventType, "end", "end", 1, severity=999)

    def standing() -> Any:
        for number in list(state):
            yield event(state[number])

    item.hear(event(50), now_ns)
    item.refresh(chain(standing(), [end]))
    assert item.is_refreshing
    assert said(item, 2) == [50, 0]
    state[2] = 60
    item.hear(event(60), now_ns)
    assert said(item, 2) == [60, 1]
    assert said(item) == [60, 3, 999]
    assert not item.is_refreshing
    assert not item.waits


def test_a_refresh_of_many_lets_others_have_their_turn() -> None:
    item = event_item()
    item.refresh(iter([event(number % 1000) for number in range(2 * LOOKED_AT)]))
    assert len(item.take(10 * LOOKED_AT)) == LOOKED_AT
    assert item.waits


def test_an_item_that_is_off_hears_nothing_and_one_that_samples_keeps_it() -> None:
    off = event_item(mode=ua.MonitoringMode.Disabled)
    assert not off.hear(event(1), now_ns)
    samples = event_item(mode=ua.MonitoringMode.Sampling)
    assert samples.hear(event(1), now_ns)
    assert not samples.waits
    samples.mode = ua.MonitoringMode.Reporting
    assert said(samples) == [1]


class Fails(Where):
    """A filter that nobody has thought of."""

    def __init__(self) -> None:
        """Without elements."""

    def passes(self, event: Event) -> bool:
        raise RuntimeError("what a client's literal may say")


def test_a_filter_that_fails_loses_its_client_the_event_and_ends_nothing() -> None:
    item = EventItem(1, SERVER, request(), 10, SELECT, Fails())
    assert not item.hear(event(1), now_ns)
    end = server_event(ua.ObjectIds.RefreshEndEventType, "end", "end", 1, severity=999)
    item.refresh(iter([event(2), end]))
    assert said(item) == [999]
    assert item.lost == 2


def sample(value: float, status: int = 0, at_ns: int = 1) -> Sample:
    return Sample(encoding.double_variant(value), value, status, at_ns, at_ns)


def data_item(limit: int = 10, given: Any = None, oldest: bool = True) -> DataItem:
    return DataItem(1, ua.NodeId("R01.Flow", 2), request(given=given, oldest=oldest), limit, 200.0)


def values(item: DataItem) -> list[tuple[float | None, int]]:
    found = []
    for one in item.take(1000):
        read = ua.ua_binary.struct_from_binary(ua.DataValue, ua.utils.Buffer(one[4:]))
        code = 0 if read.StatusCode is None else read.StatusCode.value
        found.append((None if read.Value is None else read.Value.Value, code))
    return found


def test_a_value_is_sent_when_it_or_its_status_changes() -> None:
    item = data_item()
    for value, status in ((1.0, 0), (1.0, 0), (2.0, 0), (2.0, 0x40900000), (2.0, 0x80320000)):
        item.offer(sample(value, status))
    assert values(item) == [(1.0, 0), (2.0, 0), (2.0, 0x40900000), (None, 0x80320000)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((ua.DataChangeTrigger.Status, ua.DeadbandType.None_, 0.0), [0.0]),
        ((ua.DataChangeTrigger.StatusValue, ua.DeadbandType.Absolute, 1.0), [0.0, 2.0, 4.0]),
        ((ua.DataChangeTrigger.StatusValue, ua.DeadbandType.Percent, 1.0), [0.0, 3.0]),
        (
            (ua.DataChangeTrigger.StatusValueTimestamp, ua.DeadbandType.None_, 0.0),
            [0.0, 1.0, 2.0, 3.0, 4.0, 4.0],
        ),
    ],
)
def test_filters_of_values(given: tuple[Any, Any, float], expected: list[float]) -> None:
    trigger, kind, size = given
    item = data_item(given=ua.DataChangeFilter(Trigger=trigger, DeadbandType=kind, DeadbandValue=size))
    for at_ns, value in enumerate([0.0, 1.0, 2.0, 3.0, 4.0, 4.0], start=1):
        item.offer(sample(value, at_ns=at_ns))
    assert [value for value, _ in values(item)] == expected


def test_a_queue_of_values_that_is_full_marks_the_gap() -> None:
    oldest, newest, single = data_item(3), data_item(3, oldest=False), data_item(1)
    for number in range(5):
        for item in (oldest, newest, single):
            item.offer(sample(float(number)))
    assert values(oldest) == [(2.0, OVERFLOW), (3.0, 0), (4.0, 0)]
    assert values(newest) == [(0.0, 0), (1.0, 0), (4.0, OVERFLOW)]
    assert values(single) == [(4.0, 0)], "of a queue of one place, the last value is all that was wanted"
    assert (oldest.lost, newest.lost, single.lost) == (2, 2, 4)
