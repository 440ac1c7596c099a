"""What the simulated plant does when nobody counts any more: a server's actuators go to their fallback by themselves.

Rules: a watchdog is armed by its first count, and counts by the plant's own time; each actuator falls back once its
`after` has passed without another number, and not again before the counter has moved.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from rules.site.model import Actuator, Site

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watchdog:
    number: int | None = None
    counted_ns: int = 0
    fallen: set[str] = field(default_factory=set)


class Watchdogs:
    """One for each OPC UA source that names a watchdog. Times are the plant's."""

    def __init__(self, site: Site) -> None:
        self._watchdogs = {
            source.id: _Watchdog() for source in site.sources.values() if source.watchdog is not None
        }
        self._actuators = {
            name: [one for one in site.actuators.values() if one.source == name and one.fallback is not None]
            for name in self._watchdogs
        }
        self.trips = 0

    def count(self, source: str, number: int, time_ns: int) -> None:
        """A number was written to the node."""
        watchdog = self._watchdogs[source]
        if number != watchdog.number:
            if watchdog.fallen:
                log.warning("the watchdog of %s counts again", source)
            watchdog.number, watchdog.counted_ns = number, time_ns
            watchdog.fallen.clear()

    @property
    def tripped(self) -> list[str]:
        """The sources of which an actuator has fallen back."""
        return [source for source, watchdog in self._watchdogs.items() if watchdog.fallen]

    def due(self, time_ns: int) -> list[Actuator]:
        """Those that fall back now."""
        found: list[Actuator] = []
        for source, watchdog in self._watchdogs.items():
            still_ns = time_ns - watchdog.counted_ns
            due = [
                one
                for one in (() if watchdog.number is None else self._actuators[source])
                if one.fallback is not None
                and still_ns > one.fallback.after_ns
                and one.id not in watchdog.fallen
            ]
            if due:
                self.trips += not watchdog.fallen
                watchdog.fallen.update(one.id for one in due)
                log.error(
                    "nobody counts at the watchdog of %s for %.1f s: %d actuators fall back",
                    source, still_ns / 1e9, len(due),
                )  # fmt: skip
            found += due
        return found

    def state(self) -> dict[str, object]:
        """For the status of the role."""
        return {"trips": self.trips, "tripped": self.tripped}
