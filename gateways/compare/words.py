"""A comparison in words: what a person reads first, and the forms of numbers and times on the page and the terminal."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from streams.compare.changes import Kind
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

_KINDS: Final[tuple[Kind, ...]] = (
    "added",
    "gone",
    "earlier",
    "later",
    "longer",
    "shorter",
    "severity",
    "message",
    "value",
)
_SAID: Final = {"severity": "of other severity", "message": "of other words", "value": "of other value"}


def duration(ns: int) -> str:
    """`4.2 s`, `12 min`, `2.5 h`: to three digits."""
    for unit, size, at_least in _UNITS:
        if abs(ns) >= at_least:
            return f"{ns / size:.3g} {unit}"
    return "0 s" if not ns else f"{ns / 1e3:.3g} µs"


def signed(ns: int) -> str:
    """`+4.2 s`, `−12 min`."""
    return f"{'+' if ns >= 0 else '−'}{duration(abs(ns))}"


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
    for kind in _KINDS:
        if kinds[kind]:
            some = by.get(kind)
            of = f" by {duration(abs(round(statistics.median(some))))}" if some else ""
            said.append(f"{kinds[kind]:,} {_SAID.get(kind, kind)}{of}")
    return said


def verdict(found: Comparison) -> Iterator[str]:
    """Sentences that say what came out, the most important first."""
    before, after = found.before, found.after
    ours, theirs = len(before.said.episodes), len(after.said.episodes)
    if not found.differs:
        yield (
            f"{after.name} says the same as {before.name}: {counted(ours, 'alarm')} and "
            f"{counted(len(before.said.commands), 'command')}, each at the same moment."
        )
    else:
        yield f"{after.name} raises {counted(theirs, 'alarm')}, {before.name} {ours:,}."
        yield from _changed(found)
    if found.scores is not None:
        yield _detected(found.before.name, found.after.name, found.scores)


def _changed(found: Comparison) -> Iterator[str]:
    kinds = Counter(kind for change in found.episodes for kind in change.kinds)
    said = kind_words(
        kinds,
        [change.raised_by_ns for change in found.episodes if change.raised_by_ns],
        [change.lasted_by_ns for change in found.episodes if change.lasted_by_ns],
    )
    same = sum(not change.kinds for change in found.episodes)
    if said:
        yield f"Alarms: {', '.join(said)}; {same:,} the same."
    else:
        yield f"Alarms: all {same:,} the same."
    commands = Counter(kind for change in found.commands for kind in change.kinds)
    if commands:
        by_ns = [change.given_by_ns for change in found.commands if change.given_by_ns]
        words = kind_words(commands, by_ns, [])
        same = sum(not change.kinds for change in found.commands)
        yield f"Commands: {', '.join(words)}; {same:,} the same."
    elif found.commands:
        yield f"Commands: all {len(found.commands):,} the same."
    else:
        yield "Neither side gives a command."


def _detected(before: str, after: str, scores: tuple[Score, Score]) -> str:
    ours, theirs = scores
    return (
        f"Of {ours.incidents} known incidents {before} detects {ours.detected} and {after} {theirs.detected}; "
        f"a rule that is always true would detect {ours.always_true}."
    )
