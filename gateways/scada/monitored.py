"""The monitored items of one subscription, and the MonitoredItem services on them (OPC 10000-4, 5.13)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.ua_binary import variant_to_binary

from gateways.opcua.convert import time_ns
from gateways.scada.encoding import is_left_out
from gateways.scada.event import CLAUSES_MAX, Select
from gateways.scada.hub import Hub
from gateways.scada.items import DataItem, EventItem, Item, Sample
from gateways.scada.names import INDEX
from gateways.scada.where import Where

ITEMS_MAX: Final = 10_000
EVENT_ITEMS_MAX: Final = 1_000
"""Among them: each looks at every event."""
EVENTS_MAX: Final = 10_000
"""Of a queue of events; what a client gets that leaves it to the server."""
EVENTS_MIN: Final = 10
VALUES_MAX: Final = 1_000
VALUE_BYTES_MAX: Final = 64 << 10
"""Of a value that is watched, as each item keeps it: two of the standard's are longer, and never change."""
SAMPLING_MIN_MS: Final = 100.0
_CODES: Final = ua.StatusCodes


class MonitoredItems:
    """`address_space`: for nodes of the standard, whose values asyncua keeps."""

    def __init__(self, hub: Hub, address_space: Any) -> None:
        self.address_space = address_space
        self._hub = hub
        self._items: dict[int, EventItem | DataItem] = {}
        self._handles: dict[int, int] = {}
        """asyncua's handle of each item on a node of the standard."""
        self._waiting: dict[Item, None] = {}
        self._count = 0
        self._event_count = 0

    @property
    def waits(self) -> bool:
        """Whether an item has something to send."""
        return bool(self._waiting)

    @property
    def lost(self) -> int:
        """Notifications that were dropped, as their client reads too slowly."""
        return sum(item.lost for item in self._items.values())

    def events(self, number: int | None = None) -> list[EventItem]:
        """Items on events, or the one of that number."""
        chosen = self._items.values() if number is None else filter(None, [self._items.get(number)])
        return [item for item in chosen if isinstance(item, EventItem)]

    def wake(self, item: Item) -> None:
        """Something waits there."""
        if item.waits:
            self._waiting[item] = None

    def take(self, room: int) -> tuple[list[bytes], list[bytes]]:
        """Notifications of values and of events, `room` together at most; those who have more go to the end."""
        values: list[bytes] = []
        events: list[bytes] = []
        for item in list(self._waiting):
            taken = item.take(room)
            room -= len(taken)
            (values if isinstance(item, DataItem) else events).extend(taken)
            del self._waiting[item]
            self.wake(item)
            if room <= 0:
                break
        return values, events

    async def create_monitored_items(self, params: Any) -> list[Any]:
        """A result for each, in order."""
        return [await self._create(item) for item in params.ItemsToCreate]

    async def _create(self, request: Any) -> Any:
        try:
            if len(self._items) >= ITEMS_MAX:
                raise ServiceError(_CODES.BadTooManyMonitoredItems)
            self._count += 1
            if request.ItemToMonitor.AttributeId == ua.AttributeIds.EventNotifier:
                return self._create_event_item(self._count, request)
            return self._create_data_item(self._count, request)
        except ServiceError as error:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(error.code))

    def _create_event_item(self, number: int, request: Any) -> Any:
        if self._event_count >= EVENT_ITEMS_MAX:
            raise ServiceError(_CODES.BadTooManyMonitoredItems)
        node = request.ItemToMonitor.NodeId
        notifier = self.address_space.read_attribute_value(node, ua.AttributeIds.EventNotifier)
        if notifier.Value is None:
            is_known = node in self.address_space
            raise ServiceError(_CODES.BadAttributeIdInvalid if is_known else _CODES.BadNodeIdUnknown)
        if not notifier.Value.Value & 1:
            raise ServiceError(_CODES.BadNotSupported)
        select, where = self._filter(request.RequestedParameters.Filter)
        limit = _events_limit(request.RequestedParameters.QueueSize)
        item = EventItem(number, node, request, limit, select, where)
        self._items[number] = item
        self._event_count += 1
        self._hub.listen(item, self.wake)
        return _created(item, 0.0, _filter_result(select))

    def _filter(self, given: Any) -> tuple[Select, Where | None]:
        if not isinstance(given, ua.EventFilter) or not 0 < len(given.SelectClauses or []) <= CLAUSES_MAX:
            raise ServiceError(_CODES.BadEventFilterInvalid)
        return Select.of(given.SelectClauses), Where.of(given.WhereClause, self._hub.types)

    def _create_data_item(self, number: int, request: Any) -> Any:
        node, attribute = request.ItemToMonitor.NodeId, request.ItemToMonitor.AttributeId
        given = request.RequestedParameters
        if not isinstance(given.Filter, ua.DataChangeFilter) and not is_left_out(given.Filter):
            raise ServiceError(_CODES.BadMonitoredItemFilterUnsupported)
        now = self.address_space.read_attribute_value(node, attribute)
        if now.Value is None and node not in self.address_space:
            raise ServiceError(_CODES.BadNodeIdUnknown)
        if now.StatusCode is not None and now.StatusCode.value == _CODES.BadAttributeIdInvalid:
            raise ServiceError(_CODES.BadAttributeIdInvalid)
        first = _sample(now)
        if len(first.variant) > VALUE_BYTES_MAX:
            raise ServiceError(_CODES.BadNotSupported)
        item = DataItem(number, node, request, _values_limit(given.QueueSize), self._hub.values.span(node))
        self._items[number] = item
        if attribute == ua.AttributeIds.Value and self._hub.values.sample(node) is not None:
            self._hub.watch(item, self.wake)
        else:
            self._watch_standard(item, attribute, first)
        return _created(item, max(given.SamplingInterval, SAMPLING_MIN_MS))

    def _watch_standard(self, item: DataItem, attribute: Any, first: Sample) -> None:
        """A node of the standard, or what never changes of one of ours."""
        if item.node.NamespaceIndex != INDEX:
            changed = partial(self._changed, item)
            status, handle = self.address_space.add_datachange_callback(item.node, attribute, changed)
            if status.is_good():
                self._handles[item.number] = handle
        if item.offer(first):
            self.wake(item)

    async def _changed(self, item: DataItem, _handle: int, value: Any, error: Any = None) -> None:
        """The stack says that a node of the standard has another value."""
        if error is None and item.offer(_sample(value)):
            self.wake(item)

    def modify_monitored_items(self, params: Any) -> list[Any]:
        """A result for each, in order."""
        return [self._modify(one) for one in params.ItemsToModify]

    def _modify(self, request: Any) -> Any:
        item, given = self._items.get(request.MonitoredItemId), request.RequestedParameters
        try:
            if item is None:
                raise ServiceError(_CODES.BadMonitoredItemIdInvalid)
            if isinstance(item, EventItem):
                if not is_left_out(given.Filter):
                    item.select, item.where = self._filter(given.Filter)
                item.modify(given, _events_limit(given.QueueSize))
            else:
                item.modify(given, _values_limit(given.QueueSize))
        except ServiceError as error:
            return ua.MonitoredItemModifyResult(StatusCode=ua.StatusCode(error.code))
        interval = 0.0 if isinstance(item, EventItem) else max(given.SamplingInterval, SAMPLING_MIN_MS)
        return ua.MonitoredItemModifyResult(
            StatusCode=ua.StatusCode(), RevisedSamplingInterval=interval, RevisedQueueSize=item.limit
        )

    async def set_monitoring_mode(self, mode: Any, numbers: list[int]) -> list[Any]:
        """A status code for each, in order."""
        return [ua.StatusCode(self._set_mode(mode, number)) for number in numbers]

    def _set_mode(self, mode: Any, number: int) -> int:
        item = self._items.get(number)
        if item is None:
            return int(_CODES.BadMonitoredItemIdInvalid)
        was_on, item.mode = item.is_on, mode
        self._waiting.pop(item, None)
        if not item.is_on:
            item.drop()
        elif not was_on and isinstance(item, DataItem):
            item.offer(self._now(item))
        self.wake(item)
        return int(_CODES.Good)

    def delete_monitored_items(self, numbers: list[int]) -> list[Any]:
        """A status code for each, in order."""
        return [ua.StatusCode(self._delete(number)) for number in numbers]

    def _delete(self, number: int) -> int:
        item = self._items.pop(number, None)
        if item is None:
            return int(_CODES.BadMonitoredItemIdInvalid)
        self._event_count -= isinstance(item, EventItem)
        self._waiting.pop(item, None)
        self._hub.forget(item)
        handle = self._handles.pop(number, None)
        if handle is not None:
            self.address_space.delete_datachange_callback(handle)
        return int(_CODES.Good)

    def delete_all_monitored_items(self) -> None:
        """The subscription has ended."""
        self.delete_monitored_items(list(self._items))

    def send_values(self) -> None:
        """Say every value again: the subscription has another session."""
        for item in self._items.values():
            if isinstance(item, DataItem):
                item.drop()
                item.offer(self._now(item))
                self.wake(item)

    def _now(self, item: DataItem) -> Sample:
        """What the attribute is now, whoever keeps it."""
        sample = self._hub.values.sample(item.node) if item.attribute == ua.AttributeIds.Value else None
        if sample is None:
            return _sample(self.address_space.read_attribute_value(item.node, item.attribute))
        return sample

    async def trigger_statuschange(self, _code: Any) -> None:
        """The stack calls it where a subscription has expired: nobody is left to be told."""


def _events_limit(requested: int) -> int:
    """0 and 1 leave the queue to the server (OPC 10000-4, 7.21)."""
    return EVENTS_MAX if requested <= 1 else max(EVENTS_MIN, min(requested, EVENTS_MAX))


def _values_limit(requested: int) -> int:
    """One place at least."""
    return max(1, min(requested, VALUES_MAX))


def _created(item: Item, interval_ms: float, filter_result: Any = None) -> Any:
    result = ua.MonitoredItemCreateResult(
        StatusCode=ua.StatusCode(),
        MonitoredItemId=item.number,
        RevisedSamplingInterval=interval_ms,
        RevisedQueueSize=item.limit,
    )
    if filter_result is not None:
        result.FilterResult = filter_result
    return result


def _filter_result(select: Select) -> Any:
    result = ua.EventFilterResult()
    result.SelectClauseResults = [ua.StatusCode() for _ in select.paths]
    return result


def _sample(value: Any) -> Sample:
    """A DataValue of asyncua's."""
    variant = value.Value if value.Value is not None else ua.Variant()
    plain = variant.Value
    is_number = isinstance(plain, int | float) and not isinstance(plain, bool)
    code = 0 if value.StatusCode is None else int(value.StatusCode.value)
    return Sample(
        variant_to_binary(variant),
        float(plain) if is_number else None,
        code,
        time_ns(value.SourceTimestamp),
        time_ns(value.ServerTimestamp),
    )
