"""What candidates of one rule are worth: what they detect, with what lead, and how often they ring for nothing.

Rules: what is to be detected are incidents that a person knows (`scoring` says how they count), or the alarms of
another rule, the rule as it is among them; then an alarm detects one of the same place while both stand. Nuisance are
false alarms a day, or how many there were where less than a day is recorded; where too little time lies outside of the
incidents to know which are false, the share of the time in alarm. Few alarms alone are no merit, as one that always
stands is raised once: what stands for nothing counts, too. A candidate is on the front when no other is at least as
good in all three (detected, nuisance, needless) and better in one; of equal ones, that with the longest lead.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from streams.compare.changes import NEAR_NS
from streams.compare.episodes import Episode
from streams.compare.incidents import KnownIncident
from streams.compare.kpis import kpis
from streams.compare.scoring import DAY_NS, score
from streams.compare.spans import Span, cut, length_ns, merged

FALSE_A_DAY: Final = "false alarms a day"
NEW_A_DAY: Final = "alarms a day beyond the reference"
NEW: Final = "alarms beyond the reference"
SHARE: Final = "% of the time in alarm"
_NEVER_NS: Final = -(1 << 63)


class Score(NamedTuple):
    """Of one candidate. `a_day`, `false_a_day`: None where less than a day is known.

    `in_alarm`: the share of the recorded time in which one alarm at least stood; `chattering`: alarms that chatter
    (ISA-18.2); `detected` of `to_detect`, `lead_ns` their median; `false`: alarms outside of incidents, or which meet
    none of the reference. `needless`: the share of the recorded time outside of incidents that was spent in alarm, of
    all recorded time where too little lies outside; or that in which an alarm stood, and none of the reference within
    ten minutes, as an early warning is not needless.
    """

    alarms: int
    a_day: float | None
    in_alarm: float
    chattering: int
    to_detect: int
    detected: int
    lead_ns: int | None
    false: int
    false_a_day: float | None
    needless: float


class Known(NamedTuple):
    """What is to be detected: incidents, or the episodes of a reference, by asset or (`by_unit`) by unit."""

    incidents: Sequence[KnownIncident] | None = None
    reference: Sequence[Episode] = ()
    by_unit: bool = False


def score_candidate(episodes: Sequence[Episode], recorded: Sequence[Span], known: Known) -> Score:
    """`recorded`: spans with samples, sorted, without overlaps."""
    end_ns = recorded[-1][1] if recorded else 0
    recorded_ns = length_ns(recorded)
    figures = kpis(episodes, recorded)
    in_alarm = cut(merged(one.span(end_ns) for one in episodes), recorded)
    share = length_ns(in_alarm) / recorded_ns if recorded_ns else 0.0
    if known.incidents is not None:
        found = score(episodes, recorded, known.incidents)
        false_a_day, outside = found.false_alarms_per_day, found.outside_share
        needless = share if false_a_day is None or outside is None else outside
        said = (len(found.found), found.detected, found.lead_ns, len(found.false_ns), false_a_day, needless)
    else:
        leads, false = _held_against(episodes, known.reference, end_ns, known.by_unit)
        false_a_day = false * DAY_NS / recorded_ns if recorded_ns >= DAY_NS else None
        lead_ns = int(statistics.median(leads)) if leads else None
        spans = (one.span(end_ns) for one in known.reference)
        near = merged((low - NEAR_NS, high + NEAR_NS) for low, high in spans)
        needless = share - length_ns(cut(in_alarm, near)) / recorded_ns if recorded_ns else 0.0
        said = (len(known.reference), len(leads), lead_ns, false, false_a_day, needless)
    return Score(figures.alarms, figures.rates["day"].average, share, len(figures.chattering), *said)


def nuisance_of(scores: Iterable[Score], known: Known) -> tuple[str, Callable[[Score], float]]:
    """What the scores can be compared by: in words, and the number itself."""
    rows = list(scores)
    if all(one.false_a_day is not None for one in rows):
        return FALSE_A_DAY if known.incidents is not None else NEW_A_DAY, lambda one: one.false_a_day or 0.0
    if known.incidents is None:
        return NEW, lambda one: float(one.false)
    return SHARE, lambda one: 100 * one.needless


def front(scores: Sequence[Score], nuisance: Callable[[Score], float]) -> set[int]:
    """The places of those that nothing beats. None where nothing was to be detected, or none detects anything."""
    keys = [
        ((one.detected, -nuisance(one), -one.needless), _NEVER_NS if one.lead_ns is None else one.lead_ns)
        for one in scores
    ]
    return {
        place
        for place, one in enumerate(scores)
        if one.detected and not any(_beats(other, keys[place]) for other in keys)
    }


_Key = tuple[tuple[float, ...], int]


def _beats(one: _Key, other: _Key) -> bool:
    """Whether it is better, and in nothing worse; the lead decides between equal ones."""
    if one[0] == other[0]:
        return one[1] > other[1]
    return all(ours >= theirs for ours, theirs in zip(one[0], other[0], strict=True))


def _held_against(
    episodes: Sequence[Episode], reference: Sequence[Episode], end_ns: int, by_unit: bool
) -> tuple[list[int], int]:
    """The leads of what is detected of the reference, and how many episodes meet none of it."""
    ours, theirs = _by_place(episodes, end_ns, by_unit), _by_place(reference, end_ns, by_unit)
    leads = []
    false = 0
    for place in {*ours, *theirs}:
        own, other = _Spans(ours[place]), _Spans(theirs[place])
        met = (own.first_that_meets(span) for span in other.spans)
        leads += [
            span[0] - first[0] for span, first in zip(other.spans, met, strict=True) if first is not None
        ]
        false += sum(other.first_that_meets(span) is None for span in own.spans)
    return leads, false


def _by_place(episodes: Iterable[Episode], end_ns: int, by_unit: bool) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    for one in episodes:
        found[one.unit if by_unit else one.asset].append(one.span(end_ns))
    return found


class _Spans:
    """Those of one place, by their beginning."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = sorted(spans)
        self._latest_ends = list(accumulate((end for _, end in self.spans), max))

    def first_that_meets(self, span: Span) -> Span | None:
        """The earliest that has a moment in common with `span`."""
        place = bisect_left(self._latest_ends, span[0])
        if place == len(self.spans) or self.spans[place][0] > span[1]:
            return None
        return self.spans[place]
