"""Monitored items: what one subscription watches, and what waits there to be sent.

Rules: a queue has an end. What does not fit is dropped where the client said (the oldest, or the newest), and the
client is told: with an EventQueueOverflowEvent among events, with the overflow bit of a value's status (OPC 10000-4,
5.13.1.5 and 7.39.1). What a refresh says is not queued: each condition is looked at when its turn has come, behind all
that waits, so that a refresh of any length takes no memory and never sends an older state after a newer one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from asyncua import ua

from gateways.opcua.convert import OVERFLOW
from gateways.scada.encoding import UINT32, data_value
from gateways.scada.event import Event, Select, server_event
from gateways.scada.where import Where
from streams.log_limit import limited

log_again = limited("headrace.scada")

LOOKED_AT: Final = 500
"""Conditions that a refresh looks at before others have their turn."""

_MODES: Final = ua.MonitoringMode
_TRIGGERS: Final = ua.DataChangeTrigger


class Sample(NamedTuple):
    """A value of a node: `variant` encoded, `number` for dead-bands (None for what is no number). Times in ns."""

    variant: bytes
    number: float | None
    status: int
    source_ns: int
    server_ns: int


class Item(ABC):
    """`handle`: the client's name for it. `limit`: of its queue."""

    def __init__(self, number: int, node: Any, request: Any, limit: int) -> None:
        self.number = number
        self.node = node
        self.mode = request.MonitoringMode
        self.lost = 0
        self.modify(request.RequestedParameters, limit)

    def modify(self, parameters: Any, limit: int) -> None:
        """Other parameters; what waits stays as far as there is room."""
        self.handle = UINT32.pack(parameters.ClientHandle)
        self.limit = limit
        self.discards_oldest = parameters.DiscardOldest

    @property
    def is_on(self) -> bool:
        """Whether it takes anything at all."""
        return bool(self.mode != _MODES.Disabled)

    @property
    @abstractmethod
    def waits(self) -> bool:
        """Whether there is something to send."""

    @abstractmethod
    def take(self, room: int) -> list[bytes]:
        """What is sent now, `room` notifications at most."""

    @abstractmethod
    def drop(self) -> None:
        """Forget what waits."""


class EventItem(Item):
    """Watches the events of a node."""

    def __init__(
        self, number: int, node: Any, request: Any, limit: int, select: Select, where: Where | None
    ) -> None:
        self.select, self.where = select, where
        self._queue: deque[bytes] = deque()
        self._refresh: Iterator[Event] | None = None
        self._says_lost = False
        super().__init__(number, node, request, limit)

    @property
    def waits(self) -> bool:
        """Whether there is something to send."""
        return self.mode == _MODES.Reporting and (bool(self._queue) or self._refresh is not None)

    @property
    def is_refreshing(self) -> bool:
        """Whether a refresh has not come to its end."""
        return self._refresh is not None

    def hear(self, event: Event, now_ns: Callable[[], int]) -> bool:
        """Queue an event that passes the filter; whether it does."""
        if not self.is_on or not self._passes(event):
            return False
        if len(self._queue) >= self.limit:
            self._overflow(now_ns())
        if len(self._queue) < self.limit:
            self._queue.append(event.joined(self.select))
        return True

    def _passes(self, event: Event) -> bool:
        """Whether the filter lets it pass. One that fails loses its own client the event, and ends nothing else."""
        try:
            return event.passes(self.where)
        except Exception:
            log_again.exception("a filter of events failed, and its client loses the event")
            self.lost += 1
            return False

    def _overflow(self, now_ns: int) -> None:
        """Make room, or leave none. The event that says so stands at the end that has lost something."""
        told = _overflow_event(now_ns).joined(self.select)
        if not self.discards_oldest:
            self.lost += 1
            self._queue[-1] = told
            return
        if self._says_lost:
            self._queue.popleft()
        while len(self._queue) > self.limit - 2:
            self._queue.popleft()
            self.lost += 1
        self._queue.appendleft(told)
        self._says_lost = True

    def refresh(self, events: Iterator[Event]) -> None:
        """Say the state of each of `events` that passes the filter, as room comes."""
        self._refresh = events

    def say(self, event: Event) -> None:
        """Queue what no filter holds back: the start and the end of a refresh."""
        self._queue.append(event.joined(self.select))

    def take(self, room: int) -> list[bytes]:
        """EventFieldLists."""
        taken = [self.handle + self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        self._says_lost = self._says_lost and not taken
        looked_at = 0
        while self._refresh is not None and len(taken) < room and looked_at < LOOKED_AT:
            event = next(self._refresh, None)
            looked_at += 1
            if event is None:
                self._refresh = None
            elif event.kind == REFRESH_END or (self.node in event.notifiers and self._passes(event)):
                taken.append(self.handle + event.joined(self.select))
        return taken

    def drop(self) -> None:
        """Forget what waits."""
        self._queue.clear()
        self._refresh = None
        self._says_lost = False


REFRESH_END: Final = ua.NodeId(ua.ObjectIds.RefreshEndEventType)


def _overflow_event(now_ns: int) -> Event:
    kind = ua.ObjectIds.EventQueueOverflowEventType
    return server_event(
        kind, f"overflow:{now_ns}", "events were lost: this client reads too slowly", now_ns, 700
    )


class DataItem(Item):
    """Watches an attribute of a node. `range_span`: of the node's EURange, for dead-bands in percent."""

    def __init__(self, number: int, node: Any, request: Any, limit: int, range_span: float) -> None:
        self.attribute = request.ItemToMonitor.AttributeId
        self._queue: deque[Sample] = deque()
        self._last: Sample | None = None
        self._range_span = range_span
        super().__init__(number, node, request, limit)

    def modify(self, parameters: Any, limit: int) -> None:
        """Other parameters, its filter among them."""
        super().modify(parameters, limit)
        given = parameters.Filter
        is_filter = isinstance(given, ua.DataChangeFilter)
        self._trigger = given.Trigger if is_filter else _TRIGGERS.StatusValue
        self._deadband = 0.0
        if is_filter and given.DeadbandType == ua.DeadbandType.Absolute:
            self._deadband = given.DeadbandValue
        elif is_filter and given.DeadbandType == ua.DeadbandType.Percent:
            self._deadband = given.DeadbandValue / 100 * self._range_span

    @property
    def waits(self) -> bool:
        """Whether there is something to send."""
        return self.mode == _MODES.Reporting and bool(self._queue)

    def offer(self, sample: Sample) -> bool:
        """Queue a sample that the filter lets pass; whether it does."""
        if not self.is_on or not self._is_news(sample):
            return False
        self._last = sample
        if len(self._queue) >= self.limit:
            self.lost += 1
            if self.discards_oldest:
                self._queue.popleft()
            else:
                self._queue.pop()
            if self.limit > 1:
                if self.discards_oldest:
                    self._queue[0] = _marked(self._queue[0])
                else:
                    sample = _marked(sample)
        self._queue.append(sample)
        return True

    def _is_news(self, sample: Sample) -> bool:
        last = self._last
        if last is None or sample.status != last.status:
            return True
        if self._trigger == _TRIGGERS.Status:
            return False
        if self._trigger == _TRIGGERS.StatusValueTimestamp and sample.source_ns != last.source_ns:
            return True
        if self._deadband and sample.number is not None and last.number is not None:
            return abs(sample.number - last.number) > self._deadband
        return sample.variant != last.variant

    def take(self, room: int) -> list[bytes]:
        """MonitoredItemNotifications."""
        taken = []
        for _ in range(min(room, len(self._queue))):
            sample = self._queue.popleft()
            value = data_value(sample.variant, sample.status, sample.source_ns, sample.server_ns)
            taken.append(self.handle + value)
        return taken

    def drop(self) -> None:
        """Forget what waits, and what was sent: the next value is news again."""
        self._queue.clear()
        self._last = None


def _marked(sample: Sample) -> Sample:
    return sample._replace(status=sample.status | OVERFLOW)
