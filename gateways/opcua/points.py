"""The points of one OPC UA source: what was last said of each, and the readings on their way to the log.

- A row is a point's place in the site's order, and its client handle at the server.
- Time never goes back: a point's bad or uncertain word is stamped after its last reading, so that it counts.
- The first good word of a subscription is the value that stands; it is stamped as current (decision 0021).
- Readings leave in batches by unit, in the order in which they came.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gateways.opcua.convert import Sample, overflowed
from rules.quality import Quality
from rules.site.model import Point, Site, Source
from streams.publisher.publisher import Publisher

FLUSH_AFTER_S = 0.01
"""Responses of several subscriptions arrive in a burst: wait this long after the first, then send by unit."""
CONFIRM_AFTER_PERIODS = 1.5
"""A point that said nothing for this long is read; `no_data` comes at three periods."""
STALE_AFTER_PERIODS = 3.0


@dataclass(slots=True)
class _Columns:
    """Readings of one unit that wait for the next flush."""

    points: list[str] = field(default_factory=list)
    time_ns: list[int] = field(default_factory=list)
    server_ns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)


class _Gap(NamedTuple):
    """What `publish_gap` takes."""

    unit: str
    reason: str
    from_ns: int
    to_ns: int
    readings: int


class SourcePoints:
    """State of every point of a source. `counts` holds what the status record shows."""

    def __init__(
        self,
        site: Site,
        source: Source,
        publisher: Publisher,
        clock_ns: Callable[[], int] = time.time_ns,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        owned = [
            (point, unit.id)
            for unit in site.units.values()
            for point in unit.points
            if point.source == source.id
        ]
        self.points: tuple[Point, ...] = tuple(point for point, _ in owned)
        self.units: tuple[str, ...] = tuple(unit for _, unit in owned)
        self.counts: Counter[str] = Counter()
        # Lists where single rows are read and written: a notification asks for several of them.
        self.band = [0.0] * len(owned)
        """Dead-band that the gateway itself applies, in the point's unit; 0: the server does, or there is none."""
        self.period_s = np.array([point.period_ns / 1e9 for point in self.points])
        self.quality: list[int] = [Quality.MISSING] * len(owned)
        self.seen_s = np.full(len(owned), -math.inf)
        """Monotonic time of the last reading that was sent."""
        self._values = [math.nan] * len(owned)
        self._last_ns = [0] * len(owned)
        self._source_ns = [-1] * len(owned)
        """The last reading's time as it came, before it was stamped."""
        self._awaits_first = [False] * len(owned)
        self._believed_ns = min(source.clock_tolerance_ns, source.lateness_ns) // 2
        """How much older than its arrival a standing value may be: half of what the engine takes."""
        self._asked_s = np.full(len(owned), -math.inf)
        self._stamped_on_change = source.options.get("timestamps", "scan") == "change"
        self._publisher = publisher
        self._clock_ns = clock_ns
        self._clock_s = clock_s
        self._news = asyncio.Event()
        self._finishing = False
        self._gaps: list[_Gap] = []
        self._waiting: dict[str, _Columns] = {unit: _Columns() for unit in dict.fromkeys(self.units)}

    def __len__(self) -> int:
        return len(self.points)

    def subscribing(self, rows: Iterable[int]) -> None:
        """The server is asked for these points: the first good word on each is what it has, however old."""
        for row in rows:
            self._awaits_first[row] = True

    def reported(self, row: int, sample: Sample) -> None:
        """A notification of the server.

        Drops, and counts, what a read has said before and what lies inside a dead-band of the gateway's own.
        """
        if overflowed(sample.status):
            # At least one sample of this item was lost before or after this one.
            self.counts["overflows"] += 1
            since_ns = self._last_ns[row] or sample.time_ns
            self.report_gap("overflow", since_ns, sample.time_ns, {self.units[row]: 1})
        now_s = self._clock_s()
        if (
            sample.time_ns == self._source_ns[row]
            and sample.quality == self.quality[row]
            and sample.value == self._values[row]
        ):
            self.counts["repeated"] += 1
            return
        if (
            self.band[row] > 0
            and sample.quality == Quality.GOOD == self.quality[row]
            and abs(sample.value - self._values[row]) <= self.band[row]
            and now_s - self.seen_s[row] < CONFIRM_AFTER_PERIODS * self.period_s[row]
        ):
            self.counts["inside_deadband"] += 1
            return
        self._add(row, self._stamped(row, sample), now_s, sample.time_ns)

    def confirmed(self, row: int, sample: Sample) -> bool:
        """The answer to a read of a silent point. True when it is new: a later time or another quality.

        A sample with the old source time and the old quality is a stale sensor's: it isn't said again, so that
        `no_data` fires.
        """
        stamped = self._stamped(row, sample)
        if stamped.time_ns <= self._last_ns[row] and sample.quality == self.quality[row]:
            return False
        self.counts["confirmed"] += 1
        if sample.quality == Quality.GOOD:
            # It was read now, and may have been scanned a period ago: further back than a clock is believed.
            current_ns = self._current(row, stamped.time_ns, sample.server_ns)
            stamped = stamped._replace(time_ns=current_ns)
        self._add(row, stamped, self._clock_s(), sample.time_ns)
        return True

    def declare_bad(self, rows: Iterable[int], status: int) -> None:
        """Say that these points are bad as of now, whatever their server's clock was: after their last reading."""
        now_ns, now_s = self._clock_ns(), self._clock_s()
        for row in rows:
            self._add(row, Sample(now_ns, 0, math.nan, Quality.BAD, status), now_s, now_ns)

    def silent(self) -> list[int]:
        """Rows that said nothing for 1.5 periods and were not asked within the last one; now they are."""
        now_s = self._clock_s()
        quiet = (now_s - self.seen_s > CONFIRM_AFTER_PERIODS * self.period_s) & (
            now_s - self._asked_s > self.period_s
        )
        rows = np.flatnonzero(quiet)
        self._asked_s[rows] = now_s
        found: list[int] = rows.tolist()
        return found

    def stale(self) -> int:
        """How many points that are not bad have said nothing for three periods."""
        old = self._clock_s() - self.seen_s > STALE_AFTER_PERIODS * self.period_s
        return int(np.count_nonzero(old & (np.array(self.quality) < Quality.BAD)))

    def oldest_age_s(self) -> float:
        """Age of the reading that is oldest, infinite before the first of each point."""
        return float(np.max(self._clock_s() - self.seen_s, initial=0.0))

    def expected(self, from_ns: int, to_ns: int) -> dict[str, int]:
        """Readings that each unit would have had between the two times, one per point and whole period."""
        missed: Counter[str] = Counter()
        for point, unit in zip(self.points, self.units, strict=True):
            missed[unit] += max(to_ns - from_ns, 0) // point.period_ns
        return dict(missed)

    async def carry(self) -> None:
        """Send what comes until `finish`, then what is left. Never cancel it: a batch on its way would be lost."""
        while not self._finishing or self._news.is_set():
            await self._news.wait()
            if not self._finishing:
                await asyncio.sleep(FLUSH_AFTER_S)
            self._news.clear()
            self._flush()

    def finish(self) -> None:
        """Let `carry` send the rest and return."""
        self._finishing = True
        self._news.set()

    def _flush(self) -> None:
        """Hand what waits to the publisher: gaps, then one batch per unit."""
        gaps, self._gaps = self._gaps, []
        for gap in gaps:
            self._publisher.publish_gap(*gap)
        for unit, columns in self._waiting.items():
            if not columns.points:
                continue
            self._waiting[unit] = _Columns()
            self.counts["batches"] += 1
            self._publisher.publish_readings(
                unit,
                tuple(columns.points),
                np.array(columns.time_ns, dtype=np.int64),
                np.array(columns.server_ns, dtype=np.int64),
                np.array(columns.values, dtype=np.float64),
                np.array(columns.quality, dtype=np.uint8),
                np.array(columns.status, dtype=np.uint32),
            )

    def report_gap(self, reason: str, from_ns: int, to_ns: int, readings: Mapping[str, int]) -> None:
        """Say what is not coming: `readings` by unit, an estimate from the points' periods or items."""
        self.counts["gaps"] += 1
        self._gaps.extend(_Gap(unit, reason, from_ns, to_ns, lost) for unit, lost in readings.items())
        self._news.set()

    def _stamped(self, row: int, sample: Sample) -> Sample:
        """The sample with the time that the engine should go by (docs/opcua.md, 'Time')."""
        stamp = sample.time_ns
        if stamp == 0:
            self.counts["without_time"] += 1
            stamp = self._clock_ns()
        elif self._stamped_on_change and sample.server_ns - stamp > self.points[row].period_ns:
            stamp = sample.server_ns
        if self._awaits_first[row] and sample.quality == Quality.GOOD:
            self._awaits_first[row] = False
            stamp = self._current(row, stamp, sample.server_ns)
        return sample if stamp == sample.time_ns else sample._replace(time_ns=stamp)

    def _current(self, row: int, stamp: int, server_ns: int) -> int:
        """The time of a value that stands when it is subscribed to or read, unless nobody vouches for it."""
        now_ns = self._clock_ns()
        if now_ns - max(stamp, server_ns) > STALE_AFTER_PERIODS * self.points[row].period_ns:
            return stamp
        current = max(now_ns - self._believed_ns, self._last_ns[row] + 1)
        if current <= stamp:
            return stamp
        self.counts["standing"] += 1
        return current

    def _add(self, row: int, sample: Sample, now_s: float, source_ns: int) -> None:
        if sample.quality != Quality.GOOD and sample.time_ns <= self._last_ns[row]:
            # A status that turned bad at the old source time must not pass for an old sample.
            sample = sample._replace(time_ns=max(sample.server_ns, self._last_ns[row] + 1))
        columns = self._waiting[self.units[row]]
        columns.points.append(self.points[row].id)
        columns.time_ns.append(sample.time_ns)
        columns.server_ns.append(sample.server_ns)
        columns.values.append(sample.value)
        columns.quality.append(sample.quality)
        columns.status.append(sample.status)
        self.quality[row] = sample.quality
        self.seen_s[row] = now_s
        self._values[row] = sample.value
        self._source_ns[row] = source_ns or -1
        self._last_ns[row] = max(sample.time_ns, self._last_ns[row])
        self.counts["readings"] += 1
        self._news.set()
