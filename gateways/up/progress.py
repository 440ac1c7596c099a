"""How far the roles of this machine are: whether they are up, ready, and have read what there is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from gateways.up.observer import Observer
from gateways.up.processes import Processes
from rules.errors import UnreachableError
from streams.bus.kafka import KafkaBus
from streams.topics import COMMANDS, EVENTS

log = logging.getLogger("headrace.up")


class Progress:
    """What the roles' own words say, held against the processes that there are."""

    def __init__(self, processes: Processes, observer: Observer, bus: KafkaBus) -> None:
        self._processes = processes
        self._observer = observer
        self._bus = bus

    async def drained(self, patience_s: float) -> bool:
        """Whether worker and actuators have read everything within `patience_s`; a receipt is new input."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            events = await self._unread("worker", EVENTS.name)
            commands = await self._unread("actuators", COMMANDS.name)
            if events == 0 and commands == 0:
                return True
            await asyncio.sleep(0.1)
        log.warning("worker or actuators have not read everything after %.0f s", patience_s)
        return False

    async def _unread(self, role: str, topic: str) -> int:
        """Records of `topic` that `role` has not read, by its last word; 0 for a role that was not started."""
        child = self._processes.children.get(role)
        if child is None:
            return 0
        if not self.is_up(role):
            return 1  # it is starting again: what its predecessor had read says nothing
        status = self._observer.status[role]
        positions: Mapping[str, Any] = status.get("metrics", {}).get("positions", {})
        try:
            ends = await self._bus.ends(topic)
        except UnreachableError:
            return 1  # nobody knows: it is asked again
        return sum(max(0, end - int(positions.get(str(tp.partition), 0))) for tp, end in ends.items())

    def is_up(self, role: str) -> bool:
        """Whether a role that was started has said its status: before that, a signal to hold would end it."""
        child = self._processes.children.get(role)
        if child is None:
            return True
        status = self._observer.status.get(role)
        return child.pid is not None and status is not None and status.get("pid") == child.pid

    def is_ready(self, role: str) -> bool:
        """Whether a role that was started does its work."""
        is_started = self._processes.children.get(role) is not None
        return not is_started or (self.is_up(role) and self._observer.status[role]["state"] == "ready")
