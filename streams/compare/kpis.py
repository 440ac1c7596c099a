"""Figures of an alarm system: how many alarms reach a person, how they come, and which rules they are of.

Rules: an alarm counts when it is annunciated, and each time that it is (`rules.alarms.annunciation`): what was raised
and never heard does not; the engine's own count, too, as somebody has to read them. Rates are of recorded time, and
none is given for a period that is longer than all of it. Periods are of the clock (10 minutes from :00); those count in
which something was recorded, or an alarm annunciated.

Source: ANSI/ISA-18.2-2016 and IEC 62682:2014, clause 16 (monitoring and assessment), with the recommended targets for
one operator position; EEMUA publication 191 has the same rates. A flood begins with more than 10 alarms in 10 minutes
and ends with the first 10 minutes of fewer than 5; an alarm chatters that is annunciated three times in a minute;
one is stale that stands for more than 24 hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, get_args

from rules.engine.outputs import Severity
from streams.compare.episodes import Episode
from streams.compare.spans import Span, length_ns

MINUTE_NS: Final = 60_000_000_000
PERIODS_NS: Final = {"10 min": 10 * MINUTE_NS, "hour": 60 * MINUTE_NS, "day": 1440 * MINUTE_NS}
FLOOD_BEGINS: Final = 10
"""More than so many in 10 minutes."""
FLOOD_ENDS: Final = 5
"""Fewer than so many."""
CHATTER: Final = 3
STALE_NS: Final = 1440 * MINUTE_NS
TOP: Final = 10

Name = tuple[str, str, str]
"""Unit, rule and asset."""


class Flood(NamedTuple):
    """Whole periods of 10 minutes that follow each other, in ns, and how many alarms came in them."""

    begin_ns: int
    end_ns: int
    alarms: int


class Rate(NamedTuple):
    """Alarms in a period: the average over the recorded time (None where that is shorter), and the fullest one."""

    average: float | None
    peak: int


@dataclass(frozen=True, slots=True)
class Kpis:
    """Of one side. `rates` by period; `flood_share`: of the recorded 10 minutes, those in a flood.

    `flooded`: the floods; `names`: how many different alarms; `chattering`: those that chatter, each with how often it
    was raised in such minutes; `stale`: episodes; `top`: the most frequent alarms, `top_share` what they are of all;
    `priorities`: how many episodes of each severity.
    """

    alarms: int
    names: int
    rates: dict[str, Rate]
    flood_share: float | None
    flooded: tuple[Flood, ...]
    chattering: dict[Name, int]
    stale: int
    top: tuple[tuple[Name, int], ...]
    top_share: float | None
    priorities: dict[Severity, int]

    @property
    def floods(self) -> int:
        """How many."""
        return len(self.flooded)


def kpis(episodes: Sequence[Episode], recorded: Sequence[Span]) -> Kpis:
    """Episodes in any order; `recorded`: spans with samples, sorted, without overlaps."""
    episodes = list(_annunciated(episodes))
    raised = sorted(one.raised_ns for one in episodes)
    names = Counter((one.unit, one.rule, one.asset) for one in episodes)
    top = tuple(sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP])
    end_ns = recorded[-1][1] if recorded else 0
    flooded, flood_share = _floods(raised, recorded)
    severities = Counter(one.severity for one in episodes)
    return Kpis(
        len(raised),
        len(names),
        {name: _rate(raised, length_ns(recorded), period_ns) for name, period_ns in PERIODS_NS.items()},
        flood_share,
        flooded,
        dict(_chattering(episodes)),
        sum(is_stale(one, end_ns) for one in episodes),
        top,
        sum(count for _, count in top) / len(raised) if raised else None,
        {severity: severities[severity] for severity in get_args(Severity)},
    )


def _annunciated(episodes: Iterable[Episode]) -> Iterator[Episode]:
    """One for each time that it was, up to the next time."""
    for one in episodes:
        if one.annunciated_ns is None:
            yield one
            continue
        ends = [*one.annunciated_ns[1:], one.cleared_ns]
        for begin_ns, end_ns in zip(one.annunciated_ns, ends, strict=False):
            yield one._replace(raised_ns=begin_ns, cleared_ns=end_ns, annunciated_ns=None)


def _rate(raised: Sequence[int], recorded_ns: int, period_ns: int) -> Rate:
    peak = max(Counter(at_ns // period_ns for at_ns in raised).values(), default=0)
    return Rate(len(raised) * period_ns / recorded_ns if recorded_ns >= period_ns else None, peak)


def _floods(raised: Sequence[int], recorded: Sequence[Span]) -> tuple[tuple[Flood, ...], float | None]:
    """The floods, and their share of the periods of 10 minutes."""
    period_ns = PERIODS_NS["10 min"]
    counts = Counter(at_ns // period_ns for at_ns in raised)
    periods = sorted({*_periods(recorded), *counts})
    floods: list[Flood] = []
    for number in periods:
        begin_ns, count = number * period_ns, counts[number]
        if floods and floods[-1].end_ns == begin_ns and count >= FLOOD_ENDS:
            last = floods[-1]
            floods[-1] = Flood(last.begin_ns, begin_ns + period_ns, last.alarms + count)
        elif count > FLOOD_BEGINS:
            floods.append(Flood(begin_ns, begin_ns + period_ns, count))
    flooded = sum(one.end_ns - one.begin_ns for one in floods) // period_ns
    is_known = length_ns(recorded) >= period_ns
    return tuple(floods), flooded / len(periods) if is_known else None


def _periods(recorded: Iterable[Span]) -> Iterator[int]:
    """The 10 minutes in which something was recorded."""
    for begin, end in recorded:
        yield from range(begin // PERIODS_NS["10 min"], (end - 1) // PERIODS_NS["10 min"] + 1)


def _chattering(episodes: Sequence[Episode]) -> Iterator[tuple[Name, int]]:
    """Alarms that were raised `CHATTER` times in a minute, and how often in such minutes."""
    times: dict[Name, list[int]] = {}
    for one in episodes:
        times.setdefault((one.unit, one.rule, one.asset), []).append(one.raised_ns)
    for name, raised in times.items():
        chattered = chattering_places(sorted(raised))
        if chattered:
            yield name, len(chattered)


def chattering_places(raised: Sequence[int]) -> set[int]:
    """Which of the times of one alarm, in their order, lie with `CHATTER` of them in a minute."""
    bursts = (
        range(last - CHATTER + 1, last + 1)
        for last in range(CHATTER - 1, len(raised))
        if raised[last] - raised[last - CHATTER + 1] < MINUTE_NS
    )
    return {place for burst in bursts for place in burst}


def is_stale(episode: Episode, end_ns: int) -> bool:
    """Whether it stood for too long, up to `end_ns` where it still did."""
    return episode.lasted_ns(end_ns) > STALE_NS
