"""What alarms are worth against known incidents: detected, with what lead, and how often they cry wolf.

Rules: only recorded time counts: what lies in gaps is left out of every share. The engine's own alarms, `source-gap`
and `source-clock`, are no detection. An incident without a recorded moment in its span can't be found by anybody and
is counted apart. An alarm that always stands finds all others: a score says nothing without `always_true`, which is
what that alarm would have. False alarms are those raised outside of all spans; where less than a day of recorded time
lies outside, their rate isn't known, and says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rules.language.program import OWN_RULES
from streams.compare.episodes import Episode
from streams.compare.incidents import KnownIncident
from streams.compare.spans import Span, cut, length_ns, merged

HOUR_NS: Final = 3600 * 1_000_000_000
DAY_NS: Final = 24 * HOUR_NS
EARLY_NS: Final = 9 * HOUR_NS
LATE_NS: Final = 3 * HOUR_NS
EVER: Final[Span] = (-(1 << 63), (1 << 63) - 1)


@dataclass(frozen=True, slots=True)
class IncidentScore:
    """Of one incident that has samples.

    `new`: alarms raised in its span; `stood_before`: one stood when it began. `first_ns`: since when one stands in it,
    `new_ns`: when the first was raised in it; None where there is none. Shares are of its recorded time, spent in
    alarm; `late` is the last 3 h before a fault and `early` the 6 h before them (the first 3 h are in neither: where a
    recording begins with the run-up, functions of a window are unknown in them); None where nothing is recorded.
    """

    incident: KnownIncident
    new: int
    stood_before: bool
    first_ns: int | None
    new_ns: int | None
    share: float
    early_share: float | None
    late_share: float | None

    @property
    def is_detected(self) -> bool:
        """Whether an alarm stood in its span or was raised in it."""
        return self.first_ns is not None

    @property
    def lead_ns(self) -> int | None:
        """From the first alarm that was raised in it to its end; of a fault that is the warning time."""
        return None if self.new_ns is None else self.incident.end_ns - self.new_ns


@dataclass(frozen=True, slots=True)
class Score:
    """Of one side. `incidents`: how many are known; `found` has those with samples.

    `false_ns`: when the alarms outside of all spans were raised; `outside_ns`: recorded time there, and
    `outside_in_alarm_ns` of it in alarm; `recorded_ns`, `in_alarm_ns` in all.
    """

    incidents: int
    found: tuple[IncidentScore, ...]
    alarms: int
    false_ns: tuple[int, ...]
    recorded_ns: int
    in_alarm_ns: int
    outside_ns: int
    outside_in_alarm_ns: int

    @property
    def detected(self) -> int:
        """Incidents in whose span an alarm stood or was raised."""
        return sum(one.is_detected for one in self.found)

    @property
    def raised(self) -> int:
        """Incidents in whose span an alarm was raised."""
        return sum(one.new > 0 for one in self.found)

    @property
    def always_true(self) -> int:
        """How many a rule that is always true detects: all that have samples."""
        return len(self.found)

    @property
    def lead_ns(self) -> int | None:
        """The median of the incidents in whose span an alarm was raised."""
        leads = [one.lead_ns for one in self.found if one.lead_ns is not None]
        return int(statistics.median(leads)) if leads else None

    @property
    def false_alarms_per_day(self) -> float | None:
        """None where less than a day of recorded time lies outside of all spans: nobody can know."""
        return len(self.false_ns) / self.outside_ns * DAY_NS if self.outside_ns >= DAY_NS else None

    @property
    def outside_share(self) -> float | None:
        """Of the recorded time outside of all spans, what was spent in alarm; None where there is none."""
        return self.outside_in_alarm_ns / self.outside_ns if self.outside_ns else None

    @property
    def caveats(self) -> list[str]:
        """In words, what this score can't tell."""
        said = []
        if self.outside_ns < DAY_NS:
            said.append(
                f"How many alarms a day are false: of {self.recorded_ns / HOUR_NS:,.1f} recorded hours only "
                f"{self.outside_ns / HOUR_NS:,.1f} lie outside of the known incidents' spans, and less than 24 h of "
                "them say nothing about it."
            )
        without = self.incidents - len(self.found)
        if without:
            said.append(
                f"Anything of {without} of {self.incidents} incidents: nothing was recorded in their span, and they "
                "are left out of what is detected."
            )
        if self.found:
            said.append(
                f"Whether {self.detected} of {self.always_true} is much, by itself: a rule that is always true detects "
                "all of them."
            )
        return said


def score(
    episodes: Iterable[Episode],
    recorded: Sequence[Span],
    incidents: Collection[KnownIncident],
    within: Span = EVER,
) -> Score:
    """How well alarms fit incidents. `recorded`: the spans in which there were samples, without overlaps.

    `within`: only this time is scored. A fault belongs to it by its own time, and may follow the last sample; a span
    by its middle.
    """
    end_ns = recorded[-1][1] if recorded else 0
    raised = [one.span(end_ns) for one in episodes if one.rule not in OWN_RULES]
    scored = cut(recorded, [within])
    in_alarm = cut(merged(raised), scored)
    ours = [one for one in sorted(incidents) if within[0] <= _place_ns(one) < within[1]]
    found = [_of(one, raised, in_alarm, scored, within) for one in ours]
    known = merged(one.span for one in incidents)
    new = sorted(begin for begin, _ in raised if within[0] <= begin < within[1])
    return Score(
        len(ours),
        tuple(one for one in found if one is not None),
        len(new),
        tuple(begin for begin in new if not any(low <= begin <= high for low, high in known)),
        length_ns(scored),
        length_ns(in_alarm),
        length_ns(scored) - length_ns(cut(scored, known)),
        length_ns(in_alarm) - length_ns(cut(in_alarm, known)),
    )


def _place_ns(one: KnownIncident) -> int:
    return one.end_ns if one.is_fault else (one.begin_ns + one.end_ns) // 2


def _of(
    one: KnownIncident, raised: Sequence[Span], in_alarm: list[Span], recorded: list[Span], within: Span
) -> IncidentScore | None:
    low, high = max(one.begin_ns, within[0]), min(one.end_ns, within[1])
    share = _share(in_alarm, recorded, low, high)
    if share is None:
        return None
    new = [begin for begin, _ in raised if low <= begin < high]
    stood = any(begin < low < end for begin, end in raised)
    middle_ns = one.end_ns - LATE_NS
    return IncidentScore(
        one,
        len(new),
        stood,
        low if stood else min(new, default=None),
        min(new, default=None),
        share,
        _share(in_alarm, recorded, max(low, one.end_ns - EARLY_NS), max(low, middle_ns)),
        _share(in_alarm, recorded, max(low, middle_ns), high),
    )


def _share(in_alarm: list[Span], recorded: list[Span], low_ns: int, high_ns: int) -> float | None:
    """Of what is recorded between two times, what was spent in alarm, where anything is."""
    if low_ns >= high_ns:
        return None
    covered = length_ns(cut(recorded, [(low_ns, high_ns)]))
    return length_ns(cut(in_alarm, [(low_ns, high_ns)])) / covered if covered else None
