"""What a folder of segments keeps, and what goes when the disk fills up.

Rules: the oldest segment goes first, by age, by total size, and while the disk has less than the reserve; one that
holds a part of an incident never goes, and neither does the last, which says where to go on. Where nothing may go and
the reserve is not there, nothing more is written.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from streams.recorder.incidents import SUFFIX, read_mark
from streams.recording.segments import begin_ns, segments_in
from streams.settings import RecorderSettings
from streams.times import iso_utc

log = logging.getLogger(__name__)


def free_bytes(folder: Path) -> int:
    """What the folder's disk can still take."""
    return shutil.disk_usage(folder).free


class Retention:
    """Of one folder. `deleted`: segments that went."""

    def __init__(
        self,
        folder: Path,
        settings: RecorderSettings,
        clock_ns: Callable[[], int] = time.time_ns,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock_ns = clock_ns
        self._free = free or free_bytes
        self._known: dict[tuple[str, int, int], tuple[int, int]] = {}
        """Spans of incidents by name, time of change and size of their marks."""

        self.deleted = 0

    def make_room(self) -> bool:
        """Delete what may go and must; whether the reserve is there, so that recording may go on."""
        too_old_ns = self._clock_ns() - round(self._settings.keep_h * 3.6e12)
        total = sum(file.stat().st_size for file in segments_in(self._folder))
        for file, end_ns in self._expendable():
            is_due = end_ns < too_old_ns or total > self._settings.keep_gb * 1e9 or self._lacks_bytes() > 0
            if not is_due:
                break
            size = file.stat().st_size
            file.unlink()
            total -= size
            self.deleted += 1
            log.info("%s is deleted: %.1f MB", file.name, size / 1e6)
        return self._lacks_bytes() <= 0

    def room_bytes(self) -> int:
        """What can still be recorded before it must stop: the disk's reserve left, and what may go gone."""
        expendable = sum(file.stat().st_size for file, _ in self._expendable())
        return max(0, expendable - self._lacks_bytes())

    def _lacks_bytes(self) -> int:
        return round(self._settings.reserve_mb * 1e6) - self._free(self._folder)

    def _expendable(self) -> Iterator[tuple[Path, int]]:
        """Segments that may go, the oldest first, with the time at which the next one begins."""
        marks = self._marked_spans()
        for file, following in pairwise(segments_in(self._folder)):
            start_ns, end_ns = begin_ns(file), begin_ns(following)
            if not any(from_ns <= end_ns and start_ns <= to_ns for from_ns, to_ns in marks):
                yield file, end_ns

    def _marked_spans(self) -> list[tuple[int, int]]:
        """Begin and end of every incident; a mark is read again only when it has changed."""
        known, self._known = self._known, {}
        for file in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # deleted in this moment
                state = file.stat()
                key = file.name, state.st_mtime_ns, state.st_size
                if key in known:
                    self._known[key] = known[key]
                elif (mark := read_mark(file)) is not None:
                    self._known[key] = mark.from_ns, mark.to_ns
                    if not mark.alarms:
                        span = iso_utc(mark.from_ns), iso_utc(mark.to_ns)
                        log.error("%s can't be read: by its name it keeps %s to %s", file.name, *span)
        return list(self._known.values())
