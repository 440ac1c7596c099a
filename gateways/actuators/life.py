"""Whether Headrace works on a unit, as roles themselves say it on the topic `status`.

Rules: a unit lives while the `now` of its engine rises and is not far behind the clock: that takes a ticker, a worker
that works on the unit, and a log that carries both. Silence counts from the start where nothing has ever come, and runs
by the loop's clock, which nobody sets back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

PART_S: Final = 5.0
"""A part that has said nothing for so long is named as the silent one: each says something once a second."""


class Life:
    """`clock`: the wall clock in ns; `time_s`: the loop's."""

    def __init__(self, units: Iterable[str], clock: Callable[[], int], time_s: Callable[[], float]) -> None:
        self._clock = clock
        self._time_s = time_s
        begun_s = time_s()
        self._now_ns = dict.fromkeys(units, clock())
        self._alive_s = dict.fromkeys(self._now_ns, begun_s)
        """When a unit's `now` was the present, in time of the loop."""
        self._heard: set[str] = set()
        self._tick_ns = 0
        self._ticked_s = self._said_s = begun_s

    def hear(self, metrics: Mapping[str, Any]) -> None:
        """What a role says of itself. Anyone can write to the topic: what is no number is passed over."""
        self._said_s = self._time_s()
        tick_ns, now_ns = metrics.get("last_tick_ns"), metrics.get("now_ns")
        if isinstance(tick_ns, int) and tick_ns > self._tick_ns:
            self._tick_ns, self._ticked_s = tick_ns, self._said_s
        for unit, unit_ns in now_ns.items() if isinstance(now_ns, dict) else ():
            if isinstance(unit_ns, int) and unit_ns > self._now_ns.get(unit, unit_ns):
                self._now_ns[unit] = unit_ns
                self._heard.add(unit)
                behind_s = max(0.0, (self._clock() - unit_ns) / 1e9)
                self._alive_s[unit] = max(self._alive_s[unit], self._said_s - behind_s)

    def was_heard(self, unit: str) -> bool:
        """Whether a word of life has come since the start."""
        return unit in self._heard

    def silence_s(self, unit: str) -> float:
        """How long the unit has been without Headrace."""
        return self._time_s() - self._alive_s[unit]

    def silent_part(self) -> str:
        """Where to look: the log where nobody is heard, the ticker where its ticks stand still, else the worker."""
        now_s = self._time_s()
        if now_s - self._said_s > PART_S:
            return "log"
        return "ticker" if now_s - self._ticked_s > PART_S else "worker"
