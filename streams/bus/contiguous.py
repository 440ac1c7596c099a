"""What readers of the embedded broker (Tansu) have to see to themselves.

It may show a record before the one in front of it: when several producers append at once, a reader at the end of the
log is handed offset 936 while 935 is still on its way in, and would never see it. What lies behind a hole is left
out, and read again from the hole (`before_hole`), for a few seconds: a hole that stays is one for ever, because two
producers that write a partition's first records at once can leave one behind, and the one that was refused has sent
its records again (`Holes`). Not for a compacted or transactional log, where holes are no mistake.

And it looks a position up only as long as a fetch may wait: on a log of 66,000 batches a fetch that waits 10 ms never
brings anything, one that waits 200 ms brings thousands of records; at the end of a log that is still, it answers after
half of the wait. So the wait is short, and grows where input waits that does not come (`FetchWait`). Decision 0030.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Protocol, TypeVar

logger = logging.getLogger(__name__)


class HasOffset(Protocol):
    """A record of a client."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...


R = TypeVar("R", bound=HasOffset)


def before_hole(records: Sequence[R], position: int) -> Sequence[R]:
    """The first of `records` (ascending) that follow `position` without a hole; all, when there is none."""
    if not records or (
        records[0].offset <= position and records[-1].offset - records[0].offset == len(records) - 1
    ):
        return records
    for count, record in enumerate(records):
        if record.offset > position:
            return records[:count]
        position = record.offset + 1
    return records


HOLE_S: Final = 3.0
"""A record that is on its way in shows within some 10 ms; what has not come after this never will."""


class Holes:
    """Where each partition waits for what is missing, and since when."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._waiting: dict[Hashable, tuple[int, float]] = {}

    def follow(self, place: Hashable, records: Sequence[R], position: int) -> Sequence[R]:
        """Those of `records` that may be taken now; the rest has to be read again from behind the last of them."""
        kept = list(before_hole(records, position))
        if len(kept) == len(records):
            if records:
                self._waiting.pop(place, None)
            return kept
        missing_at = kept[-1].offset + 1 if kept else position
        at, since_s = self._waiting.get(place, (-1, 0.0))
        if at != missing_at:
            self._waiting[place] = (missing_at, self._clock_s())
        elif self._clock_s() - since_s >= HOLE_S:
            behind = records[len(kept) :]
            logger.warning(
                "%s: offsets %d to %d never came; going on", place, missing_at, behind[0].offset - 1
            )
            del self._waiting[place]
            return [*kept, *before_hole(behind, behind[0].offset)]
        return kept


WIDEST_MS: Final = 1000
PATIENCE_S: Final = 0.3


class FetchWait:
    """How long a fetch may wait: `ms`. It widens fourfold where a partition stays behind, and narrows slowly."""

    def __init__(self, narrow_ms: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._narrow_ms = narrow_ms
        self._clock_s = clock_s
        self._ms = float(narrow_ms)
        self._behind_s: dict[Hashable, float] = {}

    @property
    def ms(self) -> int:
        """For the next fetch."""
        return round(self._ms)

    def note(self, place: Hashable, is_behind: bool) -> None:
        """After a fetch: whether `place` has input in the log of which this fetch brought nothing."""
        if not is_behind:
            self._behind_s.pop(place, None)
            self._ms = max(self._narrow_ms, self._ms * 0.995)
            return
        since_s = self._behind_s.setdefault(place, self._clock_s())
        if self._clock_s() - since_s >= PATIENCE_S:
            self._behind_s.clear()
            self._ms = min(WIDEST_MS, self._ms * 4)
