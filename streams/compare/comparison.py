"""Two sides of one recording compared as a whole: changes, totals by rule and asset, figures, scores, other rules.

Rules: both sides are cut at the same end, which is that of the side that ends first; a recorded side ends a second
before its last tick, because what came later may have had no answer yet. What is cut off is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from rules.language.sheets import Sheet
from streams.compare.changes import CommandChange, EpisodeChange, Kind, command_changes, episode_changes
from streams.compare.episodes import Episode, Said, cut_behind
from streams.compare.incidents import KnownIncident
from streams.compare.kpis import Kpis, kpis
from streams.compare.scoring import Score, score
from streams.compare.spans import Span, measure

SETTLED_NS: Final = 1_000_000_000
"""The worker answers within a quarter of a second; what is this old has its answer on the log."""

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Side:
    """What one side said, and the rules that it has, by id. `ends_ns`: up to when each unit has its answers."""

    name: str
    said: Said
    sheets: Mapping[str, Sheet]
    ends_ns: Mapping[str, int]
    is_recorded: bool = False


class FieldChange(NamedTuple):
    """What a rule says otherwise; empty where one side does not say it."""

    name: str
    before: str
    after: str


class RuleChange(NamedTuple):
    """A rule that only one side has, or that is written otherwise."""

    rule: str
    before: Sheet | None
    after: Sheet | None
    fields: tuple[FieldChange, ...]


@dataclass(slots=True)
class Total:
    """Of one rule, or of one rule on one asset: how many alarms of each side, how long they stood, what changed.

    `stood_ns`: of recorded time, summed over assets.

    `kinds`: changes by kind; `raised_by_ns`: of the pairs that are earlier or later; `lasted_by_ns`: of those that are
    longer or shorter.
    """

    alarms: list[int] = field(default_factory=lambda: [0, 0])
    stood_ns: list[int] = field(default_factory=lambda: [0, 0])
    kinds: Counter[Kind] = field(default_factory=Counter)
    raised_by_ns: list[int] = field(default_factory=list)
    lasted_by_ns: list[int] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)

    def add(self, change: EpisodeChange, recorded_ns: Callable[[int, int], int]) -> None:
        """One more change; `recorded_ns`: how much was recorded between two moments."""
        for side, episode in enumerate((change.before, change.after)):
            if episode is not None:
                self.alarms[side] += 1
                self.stood_ns[side] += recorded_ns(*episode.span(change.end_ns))
        kinds = change.kinds
        self.kinds.update(kinds)
        self.assets.add(change.episode.asset)
        if change.raised_by_ns:
            self.raised_by_ns.append(change.raised_by_ns)
        if "longer" in kinds or "shorter" in kinds:
            self.lasted_by_ns.append(change.lasted_by_ns)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`before` and `after` are cut at the same end; changes include what is the same (no `kinds`), by time.

    `cut_off`: episodes and commands of either side behind the end.
    """

    before: Side
    after: Side
    recorded: tuple[Span, ...]
    end_ns: int
    episodes: tuple[EpisodeChange, ...]
    commands: tuple[CommandChange, ...]
    rules: tuple[RuleChange, ...]
    kpis: tuple[Kpis, Kpis]
    incidents: tuple[KnownIncident, ...]
    scores: tuple[Score, Score] | None
    cut_off: int

    @property
    def differs(self) -> bool:
        """Whether anything that the sides said is other."""
        return any(one.kinds for one in self.episodes) or any(one.kinds for one in self.commands)

    def totals(self) -> dict[str, Total]:
        """By rule, those with most changes first."""
        return self._totals(lambda episode: episode.rule)

    def totals_by_asset(self) -> dict[tuple[str, str, str], Total]:
        """By rule, unit and asset, those with most changes first."""
        return self._totals(lambda episode: (episode.rule, episode.unit, episode.asset))

    def total(self) -> Total:
        """Of all rules together."""
        return self._totals(lambda _: "").get("", Total())

    def _totals(self, name: Callable[[Episode], K]) -> dict[K, Total]:
        found: dict[K, Total] = {}
        recorded_ns = measure(self.recorded)
        for change in self.episodes:
            found.setdefault(name(change.episode), Total()).add(change, recorded_ns)
        return dict(sorted(found.items(), key=lambda pair: (-sum(pair[1].kinds.values()), str(pair[0]))))


def compare(
    before: Side, after: Side, recorded: Sequence[Span], incidents: Collection[KnownIncident] = ()
) -> Comparison:
    """`recorded`: spans of event time with samples."""
    until_ns = {
        unit: min(before.ends_ns[unit], after.ends_ns[unit])
        for unit in before.ends_ns.keys() & after.ends_ns.keys()
    }
    end_ns = max(until_ns.values(), default=0)
    ours, theirs = _cut(before.said, until_ns), _cut(after.said, until_ns)
    known = tuple(sorted(incidents))
    spans = tuple((low, min(high, end_ns)) for low, high in recorded if low < end_ns)
    said = sum(len(one.said.episodes) + len(one.said.commands) for one in (before, after))
    kept = sum(len(one.episodes) + len(one.commands) for one in (ours, theirs))
    scores = (score(ours.episodes, spans, known), score(theirs.episodes, spans, known)) if known else None
    return Comparison(
        replace(before, said=ours),
        replace(after, said=theirs),
        spans,
        end_ns,
        tuple(episode_changes(ours.episodes, theirs.episodes, end_ns)),
        tuple(command_changes(ours.commands, theirs.commands)),
        tuple(rule_changes(before.sheets, after.sheets)),
        (kpis(ours.episodes, spans), kpis(theirs.episodes, spans)),
        known,
        scores,
        said - kept,
    )


def settled(ends_ns: Mapping[str, int]) -> dict[str, int]:
    """Up to when a recording has the answers to its ticks, by the last of each unit."""
    return {unit: end_ns - SETTLED_NS for unit, end_ns in ends_ns.items()}


def rule_changes(before: Mapping[str, Sheet], after: Mapping[str, Sheet]) -> Iterator[RuleChange]:
    """What is written otherwise, by the rule's id."""
    for rule in sorted({*before, *after}):
        ours, theirs = before.get(rule), after.get(rule)
        was, now = _written(ours), _written(theirs)
        fields = tuple(
            FieldChange(name, was.get(name, ""), now.get(name, ""))
            for name in {**was, **now}
            if was.get(name) != now.get(name)
        )
        if fields:
            yield RuleChange(rule, ours, theirs, fields)


def _written(sheet: Sheet | None) -> dict[str, str]:
    """What of a rule can change an answer."""
    if sheet is None:
        return {}
    return {
        "for": f"{sheet.asset_type} ({sheet.assets})",
        **sheet.condition,
        "severity": sheet.severity,
        "message": sheet.message,
        **{f"command {number}": action for number, action in enumerate(sheet.actions, 1)},
    }


def _cut(said: Said, until_ns: Mapping[str, int]) -> Said:
    """What was said up to the end of each unit."""
    episodes = cut_behind(said.episodes, lambda one: until_ns.get(one.unit, -1))
    commands = (one for one in said.commands if one.cause_ns <= until_ns.get(one.unit, -1))
    return Said(tuple(episodes), tuple(commands))
