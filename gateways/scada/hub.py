"""Who listens to what: events and values on their way to the monitored items of all subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gateways.scada.event import Event
from gateways.scada.event_types import EventTypes
from gateways.scada.items import DataItem, EventItem
from gateways.scada.values import PlantValues


class Hub:
    """`wake` of whoever registers is called when something waits there."""

    def __init__(
        self,
        types: EventTypes,
        values: PlantValues,
        standing: Callable[[], Iterator[Event]],
        now_ns: Callable[[], int],
    ) -> None:
        self.types = types
        self.values = values
        self.standing = standing
        self.now_ns = now_ns
        self.notifications = 0
        self._events: dict[Any, dict[EventItem, Callable[[EventItem], None]]] = {}
        self._values: dict[Any, dict[DataItem, Callable[[DataItem], None]]] = {}

    def listen(self, item: EventItem, wake: Callable[[EventItem], None]) -> None:
        """Hear the events of the item's node."""
        self._events.setdefault(item.node, {})[item] = wake

    def watch(self, item: DataItem, wake: Callable[[DataItem], None]) -> None:
        """Hear what the item's node has; and what it has now."""
        self._values.setdefault(item.node, {})[item] = wake
        sample = self.values.sample(item.node)
        if sample is not None and item.offer(sample):
            wake(item)

    def forget(self, item: EventItem | DataItem) -> None:
        """Hear nothing more."""
        listeners: dict[Any, dict[Any, Any]] = self._events if isinstance(item, EventItem) else self._values
        there = listeners.get(item.node, {})
        there.pop(item, None)
        if not there:
            listeners.pop(item.node, None)

    def watched(self) -> list[Any]:
        """The nodes whose values somebody watches."""
        return list(self._values)

    def say(self, event: Event) -> None:
        """An event, at each of its notifiers."""
        for node in event.notifiers:
            for item, wake in self._events.get(node, {}).items():
                if item.hear(event, self.now_ns):
                    self.notifications += 1
                    wake(item)

    def show(self, nodes: Iterable[Any]) -> None:
        """Values that have changed."""
        for node in nodes:
            listeners = self._values.get(node)
            sample = self.values.sample(node) if listeners else None
            if listeners and sample is not None:
                for item, wake in listeners.items():
                    if item.offer(sample):
                        self.notifications += 1
                        wake(item)
