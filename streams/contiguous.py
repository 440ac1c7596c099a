"""What readers of the embedded broker (Tansu) have to see to themselves.

It may show a record before the one in front of it: when several producers append at once, a reader at the end of the
log is handed offset 936 while 935 is still on its way in, and would never see it. What lies behind a hole is left
out, and read again from the hole (`before_hole`). Not for a compacted or transactional log, where holes are no mistake.

And it looks a position up only as long as a fetch may wait: on a log of 66,000 batches a fetch that waits 10 ms never
brings anything, one that waits 200 ms brings thousands of records; at the end of a log that is still, it answers after
half of the wait. So the wait is short, and grows where input waits that does not come (`FetchWait`). Decision 0030.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Protocol, TypeVar


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
