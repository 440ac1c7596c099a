"""Whether a role that always has work still does it: the part of being alive that the loop's turning does not say.

Rules: the worker is not asked: it has a watchdog of its own, which knows whether input waits, and ends the process.
A failure counts as work: nobody is helped by a restart while the broker is away.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

PATIENCE_S: Final = 30.0
MOVES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ticker": ("ticks", "failed", "clock_back"),
        "plant": ("steps",),
        "nvml": ("frames",),
    }
)
"""By role counters of which one moves every few seconds, whatever happens."""


class Progress:
    """`look` once a second."""

    def __init__(self, role: str) -> None:
        self._names = MOVES.get(role, ())
        self._before: tuple[Any, ...] = ()
        self._moved_s: float | None = None

    def look(self, metrics: Mapping[str, Any], now_s: float) -> None:
        """See whether anything has moved. While the role holds, nothing has to."""
        seen = tuple(metrics.get(name) for name in self._names)
        if seen != self._before or metrics.get("holding") or self._moved_s is None:
            self._before, self._moved_s = seen, now_s

    def stuck(self, now_s: float) -> str:
        """What has not moved for too long; '' while all is well."""
        if not self._names or self._moved_s is None or now_s - self._moved_s <= PATIENCE_S:
            return ""
        return f"{', '.join(self._names)}: nothing has moved for {now_s - self._moved_s:.0f} s"
