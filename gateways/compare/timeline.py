"""A time line of both sides: where on it a moment lies, and how many alarms stood there, as paths of an SVG.

Rules: everything lies between 0 and `WIDTH`, whatever the width of the screen; where most of the time has no samples,
gaps are drawn narrow, so that what is recorded can be seen; a row has a few hundred points, however many episodes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Final, NamedTuple

from streams.compare.spans import Span, length_ns
from streams.times import iso_utc

WIDTH: Final = 1000
BINS: Final = 500
HEIGHT: Final = 14
"""Of one side; the first one's goes up from the middle, the other's down."""

_NARROW_BELOW: Final = 0.8
"""Gaps are narrow where less than this share of the time is recorded."""
_GAP_WIDTH: Final = 6.0
_GAPS_WIDTH: Final = 150.0
_LABELS: Final = 6
_STEPS_NS: Final = tuple(
    int(seconds * 1e9)
    for seconds in (
        0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
        172800, 432000, 864000, 2592000, 7776000,
    )
)  # fmt: skip


class Label(NamedTuple):
    """A moment that is named below the rows; `at` in percent of the width."""

    at: float
    text: str


class Axis:
    """Event time in ns to a place from 0 to `WIDTH`. `gaps`: spans of time without samples."""

    def __init__(self, recorded: Sequence[Span]) -> None:
        spans = list(recorded) or [(0, 1)]
        self.begin_ns, self.end_ns = spans[0][0], spans[-1][1]
        between = [(one[1], other[0]) for one, other in pairwise(spans)]
        whole_ns = max(self.end_ns - self.begin_ns, 1)
        self.is_narrowed = length_ns(spans) < _NARROW_BELOW * whole_ns and bool(between)
        self._edges = [edge for span in spans for edge in span]
        if self.is_narrowed:
            gap = min(_GAP_WIDTH, _GAPS_WIDTH / len(between))
            scale = (WIDTH - gap * len(between)) / max(length_ns(spans), 1)
            widths = [
                (end - begin) * scale if place % 2 == 0 else gap
                for place, (begin, end) in enumerate(pairwise(self._edges))
            ]
        else:
            widths = [(end - begin) * WIDTH / whole_ns for begin, end in pairwise(self._edges)]
        self._places = list(accumulate(widths, initial=0.0))
        self.gaps = between
        self._spans = spans

    def at(self, ns: int) -> float:
        """The place of a moment; one before or behind all samples lies on the edge."""
        if ns <= self.begin_ns:
            return 0.0
        if ns >= self.end_ns:
            return float(WIDTH)
        place = min(bisect_right(self._edges, ns) - 1, len(self._edges) - 2)
        begin, end = self._edges[place], self._edges[place + 1]
        left, right = self._places[place], self._places[place + 1]
        return left + (right - left) * (ns - begin) / max(end - begin, 1)

    def labels(self) -> list[Label]:
        """Round moments, or where gaps are narrow the beginnings of what was recorded."""
        whole_ns = self.end_ns - self.begin_ns
        if self.is_narrowed:
            moments = [begin for begin, _ in self._spans]
        else:
            step_ns = next((step for step in _STEPS_NS if whole_ns / step <= _LABELS), _STEPS_NS[-1])
            moments = list(range(-(-self.begin_ns // step_ns) * step_ns, self.end_ns, step_ns))
        found: list[Label] = []
        for ns in moments:
            at = self.at(ns) / WIDTH * 100
            if not found or at - found[-1].at >= 100 / (_LABELS + 2):
                found.append(Label(round(at, 2), _named(ns, whole_ns)))
        return [label for label in found if label.at <= 100 - 100 / (_LABELS + 2)]


def _named(ns: int, whole_ns: int) -> str:
    text = iso_utc(ns)
    if whole_ns < 30e9:
        return text[14:21]
    if whole_ns < 7200e9:
        return text[11:19]
    return (
        text[11:16]
        if whole_ns < 86400e9
        else text[5:16].replace("T", " ")
        if whole_ns < 864000e9
        else text[:10]
    )


def standing(axis: Axis, spans: Iterable[Span], most: int, is_up: bool) -> str:
    """The path of an SVG: how many of `most` alarms stood, bin by bin, up or down from the middle; '' for none."""
    parts = []
    for left, width, count in _runs(axis, spans):
        high = max(2.0, HEIGHT * min(count, most) / most)
        top = HEIGHT - high if is_up else HEIGHT
        parts.append(f"M{left} {top:.4g}h{width}v{high:.4g}h-{width}z")
    return "".join(parts)


def shaded(axis: Axis, spans: Sequence[Span]) -> str:
    """The path of an SVG: spans of time, as high as a row; '' for none. More than there are bins are drawn as bins."""
    places: Iterable[tuple[float, float]] = ((axis.at(begin), axis.at(end)) for begin, end in spans)
    if len(spans) > BINS:
        places = ((left, left + width) for left, width, _ in _runs(axis, spans))
    return "".join(
        f"M{left:.1f} 0h{max(right - left, 1):.1f}v{2 * HEIGHT}h-{max(right - left, 1):.1f}z"
        for left, right in places
    )


def _runs(axis: Axis, spans: Iterable[Span]) -> Iterator[tuple[int, int, int]]:
    """Place and width of bins that equally many spans touch, and how many."""
    changes = [0] * (BINS + 1)
    for begin, end in spans:
        changes[_bin(axis, begin)] += 1
        changes[_bin(axis, end) + 1] -= 1
    counts = list(accumulate(changes[:-1]))
    for count, group in groupby(range(BINS), key=counts.__getitem__):
        if count:
            places = list(group)
            yield places[0] * WIDTH // BINS, len(places) * WIDTH // BINS, count


def _bin(axis: Axis, ns: int) -> int:
    return min(int(axis.at(ns) / WIDTH * BINS), BINS - 1)
