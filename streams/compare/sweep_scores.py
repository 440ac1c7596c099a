"""What candidates of one rule are worth: what they detect, with what lead, and how often they ring for nothing.

Rules: what is to be detected are incidents that a person knows (`scoring` says how they count), or the alarms of
another rule, the rule as it is among them; then an alarm detects one of the same place while both stand. What is
nuisance depends on what is known: false alarms a day; or, where too little time lies outside of the incidents to know
them, all alarms a day; or, of a recording of less than a day, how many there were. A candidate is on the front when
none detects as much with less nuisance, or more with as much; of equal ones, those with the longest lead.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from streams.compare.episodes import Episode, alarm_spans
from streams.compare.incidents import KnownIncident
from streams.compare.kpis import kpis
from streams.compare.scoring import DAY_NS, score
from streams.compare.spans import Span, cut, length_ns, merged

FALSE_A_DAY: Final = "false alarms a day"
NEW_A_DAY: Final = "alarms a day that the reference has not"
NEW: Final = "alarms that the reference has not"
A_DAY: Final = "alarms a day"
ALARMS: Final = "alarms"


class Score(NamedTuple):
    """Of one candidate. `a_day`, `false_a_day`: None where less than a day is known.

    `in_alarm`: the share of the recorded time in which one alarm at least stood; `chattering`: alarms that chatter
    (ISA-18.2); `detected` of `to_detect`, `lead_ns` their median; `false`: alarms outside of incidents, or which the
    reference has not.
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
    in_alarm_ns = length_ns(cut(merged(alarm_spans(episodes, end_ns)), recorded))
    if known.incidents is not None:
        found = score(episodes, recorded, known.incidents)
        said = (
            len(found.found),
            found.detected,
            found.lead_ns,
            len(found.false_ns),
            found.false_alarms_per_day,
        )
    else:
        leads, false = _held_against(episodes, known.reference, end_ns, known.by_unit)
        a_day = false * DAY_NS / recorded_ns if recorded_ns >= DAY_NS else None
        lead_ns = int(statistics.median(leads)) if leads else None
        said = (len(known.reference), len(leads), lead_ns, false, a_day)
    return Score(
        figures.alarms,
        figures.rates["day"].average,
        in_alarm_ns / recorded_ns if recorded_ns else 0.0,
        len(figures.chattering),
        *said,
    )


def nuisance_of(scores: Iterable[Score], known: Known) -> tuple[str, Callable[[Score], float]]:
    """What the scores can be compared by: in words, and the number itself."""
    rows = list(scores)
    if all(one.false_a_day is not None for one in rows):
        return FALSE_A_DAY if known.incidents is not None else NEW_A_DAY, lambda one: one.false_a_day or 0.0
    if known.incidents is None:
        return NEW, lambda one: one.false
    if all(one.a_day is not None for one in rows):
        return A_DAY, lambda one: one.a_day or 0.0
    return ALARMS, lambda one: one.alarms


def front(scores: Sequence[Score], nuisance: Callable[[Score], float]) -> set[int]:
    """The places of those that nothing beats. None where nothing was to be detected, or none detects anything."""
    found: set[int] = set()
    most, longest = 0, -math.inf
    least = math.nan
    for place in sorted(range(len(scores)), key=lambda n: _order(scores[n], nuisance)):
        one = scores[place]
        is_better = one.detected > most
        is_equal = one.detected == most > 0 and nuisance(one) == least and _lead(one) == longest
        if is_better or is_equal:
            most, least, longest = one.detected, nuisance(one), _lead(one)
            found.add(place)
    return found


def _order(one: Score, nuisance: Callable[[Score], float]) -> tuple[float, int, float]:
    return nuisance(one), -one.detected, -_lead(one)


def _lead(one: Score) -> float:
    return -math.inf if one.lead_ns is None else one.lead_ns


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
        end = end_ns if one.cleared_ns is None else one.cleared_ns
        found[one.unit if by_unit else one.asset].append((one.raised_ns, end))
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
