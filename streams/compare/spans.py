"""Spans of event time: pairs of ns, begin before end. None of them has a clock of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time, sorted and without overlaps."""
    out: list[Span] = []
    for begin, end in sorted(spans):
        if out and begin <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((begin, end))
    return out


def cut(spans: Sequence[Span], by: Sequence[Span]) -> list[Span]:
    """What both have; neither may have spans that overlap one another."""
    out: list[Span] = []
    ours, theirs = sorted(spans), sorted(by)
    one = other = 0
    while one < len(ours) and other < len(theirs):
        begin = max(ours[one][0], theirs[other][0])
        end = min(ours[one][1], theirs[other][1])
        if begin < end:
            out.append((begin, end))
        if ours[one][1] < theirs[other][1]:
            one += 1
        else:
            other += 1
    return out


def length_ns(spans: Iterable[Span]) -> int:
    """Of spans that do not overlap one another."""
    return sum(end - begin for begin, end in spans)


def measure(spans: Sequence[Span]) -> Callable[[int, int], int]:
    """How much of the time between two moments lies in spans, in ns; they are sorted, without overlaps."""
    edges = [edge for span in spans for edge in span]
    before = list(accumulate((end - begin for begin, end in spans), initial=0))

    def up_to(ns: int) -> int:
        place = bisect_right(edges, ns)
        inside = ns - edges[place - 1] if place % 2 else 0
        return before[place // 2] + inside

    return lambda begin, end: up_to(end) - up_to(begin)


def recorded_spans(first_ns: int | None, last_ns: int | None, gaps: Iterable[Span]) -> list[Span]:
    """From the first to the last sample, without the gaps that the sources themselves said."""
    if first_ns is None or last_ns is None:
        return []
    spans, begin = [], first_ns
    for low, high in merged(gap for gap in gaps if gap[0] < gap[1]):
        spans.append((begin, min(low, last_ns)))
        begin = max(begin, high)
    spans.append((begin, last_ns))
    return [(low, high) for low, high in spans if low < high]
