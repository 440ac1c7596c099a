"""A test's way to end the worker at the moments that matter, from inside, as kill -9 would.

Points: `publish`, an output was handed to the producer and its acknowledgement is open; `snapshot`, the chunks are
written and the manifest isn't; `ack`, the snapshot is complete and the offset isn't committed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest

POINTS: Final = ("publish", "snapshot", "ack")
KILLED: Final = 137
"""The exit status that a shell shows for kill -9."""


class CrashSwitch:
    """`when`: `publish:120,snapshot:3`, counted from the start of the process; empty for never.

    Each happens once: a file in `run_dir` remembers it, so that the restarted worker does not crash for ever.
    """

    def __init__(self, when: str, run_dir: Path, end: Callable[[int], object] = os._exit) -> None:
        self._done_file = run_dir / "crashed-at"
        self._end = end
        self._seen: Counter[str] = Counter()
        done = self._done_file.read_text().split() if when and self._done_file.exists() else []
        self._when = {word for word in when.split(",") if word and word not in done}
        for word in self._when:
            point, _, count = word.partition(":")
            if point not in POINTS or not count.isdecimal():
                text = f"{word!r} is not POINT:N with POINT one of {', '.join(POINTS)}"
                raise ConfigurationError([Finding("crash_at", 0, 0, text, nearest(point, POINTS))])

    def at(self, point: str) -> None:
        """Says that the process has come to `point`; ends it there when that was asked for."""
        if not self._when:
            return
        self._seen[point] += 1
        word = f"{point}:{self._seen[point]}"
        if word in self._when:
            self._done_file.parent.mkdir(parents=True, exist_ok=True)
            with self._done_file.open("a") as done:
                done.write(f"{word}\n")
            self._end(KILLED)
