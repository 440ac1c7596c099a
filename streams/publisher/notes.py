"""What a publisher writes down of what the broker has: in order, and later where the disk takes nothing.

Rules that this module obeys:
- A disk that refuses a note will take the next one, or none: it ends nothing, and holds up no record.
- It is tried again `EVERY_S` later, not at each acknowledgement. What it refused is counted, and said now and then.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from streams.log_limit import limited

log_again = limited(__name__)

EVERY_S = 1.0


class Notes:
    """Of one source. `remember` is written behind all others; `steady_s`: a clock in s that nobody sets."""

    def __init__(
        self,
        source: str,
        remember: Callable[[], None],
        steady_s: Callable[[], float],
        metrics: dict[str, Any],
    ) -> None:
        self._source, self._remember, self._steady_s, self._metrics = source, remember, steady_s, metrics
        self._waiting: deque[Callable[[], None]] = deque()
        self._tried_s = steady_s() - EVERY_S
        self._is_refused = False

    def add(self, note: Callable[[], None]) -> None:
        """What is to be written next; it may raise sqlite3.Error."""
        self._waiting.append(note)

    def write_what_is_due(self) -> None:
        """What was added, at once; `remember` alone, and all that the disk has refused, after `EVERY_S`."""
        if self._steady_s() - self._tried_s >= EVERY_S or (self._waiting and not self._is_refused):
            self.write()

    def write(self) -> None:
        """All of it, now."""
        self._tried_s = self._steady_s()
        try:
            while self._waiting:
                self._waiting[0]()
                self._waiting.popleft()
            self._remember()
            self._is_refused = False
        except sqlite3.Error as error:
            self._is_refused = True
            self.failed("what was sent", error)

    def failed(self, what: str, error: sqlite3.Error | str) -> None:
        """Count and say that the disk took no note of `what`."""
        self._metrics["disk_failures"] += 1
        extra = {"source": self._source}
        log_again.warning("%s: the disk took no note of %s: %s", self._source, what, error, extra=extra)
