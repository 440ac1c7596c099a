"""The last hours of every point, in memory, for HistoryRead.

Rules: all points share one store of a fixed size (settings `scada.history_h` and `scada.history_mb`); where the hours
do not fit, every point keeps the same share of them. 20 bytes a value. What comes out of order is left out; what was
before this process began is not there.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rules.site.model import Point

VALUE_BYTES: Final = 20
END_NS: Final = (1 << 63) - 1
_HOUR_NS: Final = 3_600_000_000_000


class Kept(NamedTuple):
    """Values of one point, ascending in time (ns). All columns have one length."""

    times: NDArray[np.int64]
    values: NDArray[np.float64]
    status: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.times)

    def cut(self, what: slice) -> Kept:
        """A part of it."""
        return Kept(self.times[what], self.values[what], self.status[what])

    def between(self, start_ns: int, end_ns: int) -> Kept:
        """From `start_ns` on, and before `end_ns`."""
        low, high = np.searchsorted(self.times, (start_ns, end_ns)).tolist()
        return self.cut(slice(low, high))


class History:
    """A ring for each point, all in three columns. `points`: in the order of their places."""

    def __init__(self, points: list[Point], hours: float, megabytes: float) -> None:
        wanted = np.array([max(2, -(-hours * _HOUR_NS // point.period_ns)) for point in points])
        share = min(1.0, megabytes * 1e6 / VALUE_BYTES / max(1.0, float(wanted.sum())))
        self._sizes = np.maximum(2, (wanted * share).astype(np.int64))
        self._begins = (
            np.concatenate(([0], np.cumsum(self._sizes))).astype(np.int64)[:-1] if points else self._sizes
        )
        total = int(self._sizes.sum())
        self._times = np.empty(total, np.int64)
        self._values = np.empty(total, np.float64)
        self._status = np.empty(total, np.uint32)
        self._counts = np.zeros(len(points), np.int64)
        self._last = np.zeros(len(points), np.int64)
        self.left_out = 0

    def add(
        self,
        places: NDArray[np.intp],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        status: NDArray[np.uint32],
    ) -> None:
        """One value of each place; a place may come more than once, in order of time."""
        if len(places) > 1 and len(np.unique(places)) < len(places):
            first = np.zeros(len(places), np.bool_)
            first[np.unique(places, return_index=True)[1]] = True
            self.add(places[first], times[first], values[first], status[first])
            self.add(places[~first], times[~first], values[~first], status[~first])
            return
        newer = times > self._last[places]
        self.left_out += int(len(places) - newer.sum())
        at = places[newer]
        slots = self._begins[at] + self._counts[at] % self._sizes[at]
        self._times[slots] = self._last[at] = times[newer]
        self._values[slots] = values[newer]
        self._status[slots] = status[newer]
        self._counts[at] += 1

    def of(
        self,
        place: int,
        start_ns: int = 0,
        end_ns: int = END_NS,
        most: int | None = None,
        backwards: bool = False,
    ) -> Kept:
        """What is kept of a point from `start_ns` on and before `end_ns`, the first `most`: a copy of these alone.

        `backwards`: from the newest on.
        """
        begin, size, count = (int(one[place]) for one in (self._begins, self._sizes, self._counts))
        ring = Kept(self._times, self._values, self._status).cut(slice(begin, begin + size))
        turn = 0 if count <= size else count % size
        older, newer = ring.cut(slice(turn, min(count, size))), ring.cut(slice(0, turn))
        parts = [part.between(start_ns, end_ns) for part in (older, newer)]
        if backwards:
            parts = [part.cut(slice(None, None, -1)) for part in reversed(parts)]
        first = parts[0].cut(slice(most))
        second = parts[1].cut(slice(None if most is None else most - len(first)))
        return Kept(
            np.concatenate([first.times, second.times]),
            np.concatenate([first.values, second.values]),
            np.concatenate([first.status, second.status]),
        )

    @property
    def kept(self) -> int:
        """How many are kept."""
        return int(np.minimum(self._counts, self._sizes).sum())
