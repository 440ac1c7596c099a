"""A comparison in words: what a person reads first, and the forms of numbers and times on the page and the terminal."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, get_args

from streams.compare.changes import CommandChange, EpisodeChange, Kind
from streams.compare.comparison import Comparison
from streams.compare.scoring import Score
from streams.times import iso_utc

_UNITS: Final = (
    ("d", 86_400e9, 172_800e9),
    ("h", 3600e9, 5400e9),
    ("min", 60e9, 90e9),
    ("s", 1e9, 1e9),
    ("ms", 1e6, 1e6),
)
"""Unit, its ns, and from how many ns on it is used."""

_SAID: Final = {
    "severity": "with another severity",
    "message": "with another message",
    "value": "with another value",
}


def duration(ns: int) -> str:
    """`4.2 s`, `12 min`, `2.5 h`: to three digits, without a sign."""
    for unit, size, at_least in _UNITS:
        if abs(ns) >= at_least:
            number = abs(ns / size)
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{abs(ns) / 1e3:.3g} µs" if ns else "0 s"


def moment(ns: int) -> str:
    """`2026-01-01 10:00:00.123`."""
    return iso_utc(ns)[:23].replace("T", " ")


def counted(number: int, what: str) -> str:
    """`1 alarm`, `1,200 alarms`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def kind_words(kinds: Counter[Kind], raised_by_ns: Sequence[int], lasted_by_ns: Sequence[int]) -> list[str]:
    """`3 earlier by 4.2 s`: how many of each kind, with the median of by how much."""
    by = {
        "earlier": [ns for ns in raised_by_ns if ns < 0],
        "later": [ns for ns in raised_by_ns if ns > 0],
        "longer": [ns for ns in lasted_by_ns if ns > 0],
        "shorter": [ns for ns in lasted_by_ns if ns < 0],
    }
    said = []
    for kind in get_args(Kind):
        if kinds[kind]:
            some = by.get(kind)
            of = f" by {duration(round(statistics.median(some)))}" if some else ""
            said.append(f"{kinds[kind]:,} {_SAID.get(kind, kind)}{of}")
    return said


def names(found: Comparison) -> tuple[str, str]:
    """What the sides are called: the last part of their paths, where that tells them apart."""
    before, after = (side.name for side in (found.before, found.after))
    short = Path(before).name, Path(after).name
    return short if short[0] != short[1] else (before, after)


def verdict(found: Comparison) -> Iterator[str]:
    """Sentences that say what came out, the most important first."""
    before, after = names(found)
    ours, theirs = len(found.before.said.episodes), len(found.after.said.episodes)
    kinds = found.total().kinds
    one_sided = [f"{kinds[kind]:,} {kind}" for kind in ("gone", "added") if kinds[kind]]
    if one_sided:
        yield f"{after}: {counted(theirs, 'alarm')} in place of {ours:,}, {' and '.join(one_sided)}."
    elif kinds:
        yield f"{after}: the same {counted(ours, 'alarm')} as {before}, and not all at the same time."
    elif found.differs:
        yield f"{after}: the same {counted(ours, 'alarm')} as {before}, and other commands."
    else:
        yield (
            f"{after} says the same as {before}: {counted(ours, 'alarm')} and "
            f"{counted(len(found.before.said.commands), 'command')}, each at the same moment."
        )
        return
    yield _paired(found)
    yield _commands(found)


def _paired(found: Comparison) -> str:
    """Of the alarms that both sides raise."""
    both = [change for change in found.episodes if change.before and change.after]
    if not both:
        return "No alarm of one side is one of the other."
    total = found.total()
    kinds = Counter({kind: count for kind, count in total.kinds.items() if kind not in ("added", "gone")})
    said = kind_words(kinds, total.raised_by_ns, total.lasted_by_ns)
    return f"Of {counted(len(both), 'alarm')} that both raise: {_and_same(said, both)}."


def _commands(found: Comparison) -> str:
    if not found.commands:
        return "Neither side gives a command."
    kinds = Counter(kind for change in found.commands for kind in change.kinds)
    said = kind_words(kinds, [change.given_by_ns for change in found.commands], [])
    return f"Of {counted(len(found.commands), 'command')}: {_and_same(said, found.commands)}."


def _and_same(said: list[str], changes: Sequence[EpisodeChange | CommandChange]) -> str:
    """How many changed, and in what; one can be earlier and longer, so these need not add up, but those do."""
    changed = sum(bool(change.kinds) for change in changes)
    same = len(changes) - changed
    words = [f"{changed:,} changed ({', '.join(said)})"] if changed else []
    return ", ".join([*words, *([f"{same:,} the same"] if same else [])])


def detected(found: Comparison) -> Iterator[str]:
    """What both sides are worth against known incidents, where there are any."""
    if found.scores is not None:
        yield _detected(*names(found), found.scores)


def _detected(before: str, after: str, scores: tuple[Score, Score]) -> str:
    ours, theirs = scores
    without = ours.incidents - ours.always_true
    if not ours.always_true:
        return (
            f"Nothing was recorded in the spans of the known incidents ({ours.incidents}): nobody knows what would "
            "have detected them."
        )
    have_samples = f" that have samples, of {ours.incidents} in all" if without else ""
    return (
        f"Of {counted(ours.always_true, 'known incident')}{have_samples}: {ours.detected} detected by {before}, "
        f"{theirs.detected} by {after}, {ours.always_true} by a rule that is always true."
    )
