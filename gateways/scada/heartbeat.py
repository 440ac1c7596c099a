"""The dead-man signal of the whole of Headrace, for a SCADA to watch: it fails loudly when any part is silent.

Rules: `Counter` rises by one each second while ticks of every unit, words of the worker and words of this server's own
reader come; it stands still when one of them does not, and `Silent` says which. What was heard at a time ahead of the
clock counts for nothing: the clock was set back, and ticks may wait until it is there again. A client that raises an
alarm when the counter has not moved for 10 s knows of everything: a dead server, a dead broker, a dead worker, a dead
ticker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from gateways.observability.health import AHEAD_NS
from gateways.scada import encoding
from gateways.scada.items import Sample
from gateways.scada.names import HEARTBEAT

SILENT_NS: Final = 5_000_000_000
"""Ticks come every tick period, the worker's words every second."""


class Heartbeat:
    """`hear` whenever a part says something, `beat` once a second."""

    def __init__(self, units: Iterable[str], clock: Callable[[], int]) -> None:
        self._clock = clock
        self._heard: dict[str, int] = {**{f"ticks of {unit}": 0 for unit in units}, "worker": 0}
        self._counter = 0
        self._at_ns = clock()
        self.silent: tuple[str, ...] = tuple(self._heard)

    def hear_tick(self, unit: str) -> None:
        """A tick of a unit has come."""
        self._hear(f"ticks of {unit}")

    def hear_worker(self) -> None:
        """A worker says that it works."""
        self._hear("worker")

    def _hear(self, part: str) -> None:
        if part in self._heard:
            self._heard[part] = self._clock()

    def beat(self) -> bool:
        """Count a second, unless a part is silent; whether it counted."""
        now_ns = self._at_ns = self._clock()
        self.silent = tuple(
            part for part, at_ns in self._heard.items() if not -AHEAD_NS <= now_ns - at_ns <= SILENT_NS
        )
        if not self.silent:
            self._counter = (self._counter + 1) & 0xFFFFFFFF
        return not self.silent

    def sample(self, text: str) -> Sample | None:
        """The value of one of its nodes; None for what is none."""
        name = text.removeprefix(f"{HEARTBEAT}/")
        if name == "Counter":
            return self._sample(encoding.uint32_variant(self._counter), float(self._counter))
        if name == "Healthy":
            return self._sample(encoding.boolean(not self.silent).encoded, None)
        if name == "Silent":
            return self._sample(encoding.text(", ".join(self.silent)).encoded, None)
        return None

    def _sample(self, variant: bytes, number: float | None) -> Sample:
        return Sample(variant, number, 0, self._at_ns, self._at_ns)
