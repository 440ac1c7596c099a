"""The figures of alarm management of each operator position, out of the words that a recording holds.

Rules: a unit is an operator position; its figures are those of `streams.compare.kpis`, of what was annunciated in the
part; what can't be known is None, never 0. What was annunciated before the part and still stands in it can be stale and
unacknowledged, and counts nowhere else. The order of units is that of their names.

Source: ANSI/ISA-18.2-2016 and IEC 62682:2014, clause 16; EEMUA publication 191.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from streams.compare.episodes import Episode
from streams.compare.kpis import Kpis, Name, is_stale, kpis
from streams.compare.spans import Span, length_ns
from streams.reports.alarm_words import AlarmWords
from streams.reports.delays import Delays, delays
from streams.reports.histories import History, Quiet, history


@dataclass(frozen=True, slots=True)
class Silenced:
    """Of a kind: how often it began, and how long it lasted within the part, summed over alarms, in ns."""

    count: int
    lasted_ns: int


@dataclass(frozen=True, slots=True)
class Acknowledging:
    """How many annunciations of the part were acknowledged, and in what time; None where none was.

    `p95_ns`: 95 of 100 took no longer (nearest rank). `left`: alarms that wait for it at the end.
    """

    count: int
    mean_ns: int | None
    p95_ns: int | None
    left: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Chattering:
    """An alarm that chatters: how often it was annunciated in such minutes, and what delays would have cut."""

    name: Name
    count: int
    delays: Delays


@dataclass(frozen=True, slots=True)
class Position:
    """One operator position. `annunciated`, `unheard`: times, in order; `unheard` with the last reason.

    `raised`: occurrences that went off in the part, heard or not; `stale`: alarms with the time since when each stood.
    `refused`: actions, by their reason; None where the recording has no journal.
    """

    unit: str
    kpis: Kpis
    raised: int
    annunciated: tuple[int, ...]
    unheard: tuple[tuple[int, Quiet], ...]
    stale: tuple[tuple[Name, int], ...]
    chattering: tuple[Chattering, ...]
    acknowledging: Acknowledging
    silenced: dict[Quiet, Silenced]
    refused: Counter[str] | None
    unrecorded: int
    """Transitions that only the journal has: the compacted topic had lost them when it was recorded."""

    @property
    def unheard_by(self) -> Counter[Quiet]:
        """How many occurrences nobody heard, by reason."""
        return Counter(reason for _, reason in self.unheard)


def positions(found: AlarmWords, units: Iterable[str]) -> list[Position]:
    """Of `units`, and of any other that has a word."""
    histories: dict[str, dict[Name, History]] = {unit: {} for unit in units}
    for name, words in sorted(found.words.items()):
        histories.setdefault(name[0], {})[name] = history(words, found.end_ns)
    return [_position(unit, of, found) for unit, of in sorted(histories.items())]


def _position(unit: str, histories: dict[Name, History], found: AlarmWords) -> Position:
    begin_ns, end_ns = found.begin_ns, found.end_ns
    all_annunciated = [one for of in histories.values() for one in of.annunciated]
    annunciated = sorted(
        (one for one in all_annunciated if one.raised_ns >= begin_ns),
        key=lambda one: (one.raised_ns, one.rule, one.asset),
    )
    stale = sorted(
        (_name(one), one.raised_ns)
        for one in all_annunciated
        if (one.cleared_ns is None or one.cleared_ns >= begin_ns) and is_stale(one, end_ns)
    )
    figures = replace(kpis(annunciated, found.ran), stale=len(stale))
    unheard = [pair for of in histories.values() for pair in of.unheard if pair[0] >= begin_ns]
    return Position(
        unit,
        figures,
        sum(one.raised_ns >= begin_ns for of in histories.values() for one in of.raisings),
        tuple(one.raised_ns for one in annunciated),
        tuple(sorted(unheard)),
        tuple(stale),
        tuple(
            Chattering(name, count, delays([one for one in histories[name].raisings if one.raised_ns >= begin_ns]))
            for name, count in sorted(figures.chattering.items(), key=lambda pair: (-pair[1], pair[0]))
        ),
        _acknowledging(histories, begin_ns),
        _silenced(histories.values(), (begin_ns, end_ns)),
        Counter(str(one.detail.get("reason", "")) for one in found.refused if one.unit == unit)
        if found.has_journal
        else None,
        max(found.transitions[unit] - found.said(unit), 0),
    )  # fmt: skip


def _name(one: Episode) -> Name:
    return one.unit, one.rule, one.asset


def _acknowledging(histories: dict[Name, History], begin_ns: int) -> Acknowledging:
    taken = sorted(
        end - begin for of in histories.values() for begin, end in of.acknowledged if begin >= begin_ns
    )
    return Acknowledging(
        len(taken),
        sum(taken) // len(taken) if taken else None,
        percentile(taken, 95) if taken else None,
        tuple(name for name, of in histories.items() if of.is_unacknowledged),
    )


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Nearest rank, of at least one value."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def _silenced(histories: Iterable[History], part: Span) -> dict[Quiet, Silenced]:
    spans: dict[Quiet, list[Span]] = {"shelved": [], "suppressed": [], "out-of-service": []}
    for of in histories:
        for reason, (begin, end) in of.quiet:
            if reason in spans and end >= part[0]:
                spans[reason].append((begin, end))
    return {
        reason: Silenced(
            sum(begin >= part[0] for begin, _ in some),
            length_ns((max(begin, part[0]), min(end, part[1])) for begin, end in some),
        )
        for reason, some in spans.items()
    }
