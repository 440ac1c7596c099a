"""A comparison as one HTML page: read in a minute, on a desk or a phone, without anything from elsewhere.

Rules: every text of a rule or a recording is escaped; nothing is fetched and nothing runs (no script); how long the
page is does not grow with the recording: what is left out is counted on it, and `--json` has all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from gateways.compare.figures import Figure, kpi_figures, score_figures
from gateways.compare.template import filled
from gateways.compare.timeline import HEIGHT, WIDTH, Axis, shaded, standing
from gateways.compare.words import counted, detected, duration, kind_words, moment, names, verdict
from streams.compare.changes import CommandChange, EpisodeChange, Kind
from streams.compare.comparison import Comparison, RuleChange, Total
from streams.compare.scoring import IncidentScore
from streams.compare.spans import Span, length_ns

RULES: Final = 40
ASSETS: Final = 8
CHANGES: Final = 12
"""Of one rule, shown one by one."""
COMMANDS: Final = 40
INCIDENTS: Final = 60


class Row(NamedTuple):
    """A line of the time line: a rule, or one of its assets; `paths` of both sides."""

    name: str
    counts: tuple[int, int]
    paths: tuple[str, str]
    kinds: list[str]


class Change(NamedTuple):
    """One alarm that is other."""

    at: str
    asset: str
    what: str
    messages: tuple[str, ...]


class RuleBlock(NamedTuple):
    """A rule with its line, its assets, and some of its differences; `more_…`: how many are left out."""

    row: Row
    assets: list[Row]
    more_assets: int
    changes: list[Change]
    more_changes: int


class CommandLine(NamedTuple):
    """Commands that are other in the same way."""

    at: str
    rule: str
    actuators: str
    what: str


class IncidentLine(NamedTuple):
    """What each side had to say of one known incident."""

    at: str
    before: str
    after: str


class Page(NamedTuple):
    """All that the template shows."""

    site: str
    names: tuple[str, str]
    period: str
    recorded: str
    verdict: list[str]
    tiles: list[tuple[str, str, str]]
    axis: Axis
    gaps: str
    marks: str
    rules: list[RuleBlock]
    same_rules: list[RuleBlock]
    more_rules: int
    commands: list[CommandLine]
    more_commands: int
    written: tuple[RuleChange, ...]
    scores: list[Figure]
    incidents: list[IncidentLine]
    more_incidents: int
    faults: bool
    kpis: list[Figure]
    top: tuple[list[tuple[str, int]], list[tuple[str, int]]]
    limits: Sequence[str]


def page(site: str, found: Comparison, limits: Sequence[str]) -> str:
    """The page as text. `limits`: what the comparison can't know."""
    return filled("compare/page.html.j2", page=_page(site, found, limits), width=WIDTH, height=HEIGHT)


def _page(site: str, found: Comparison, limits: Sequence[str]) -> Page:
    axis = Axis(found.recorded)
    blocks = list(_blocks(found, axis))
    changed = [block for block in blocks if block.row.kinds]
    same = [block for block in blocks if not block.row.kinds]
    lines = list(_command_lines(found.commands))
    incidents = list(_incident_lines(found))
    return Page(
        site,
        names(found),
        f"{moment(axis.begin_ns)[:19]} to {moment(axis.end_ns)[:19]} UTC" if found.recorded else "no samples",
        duration(length_ns(found.recorded)),
        [*verdict(found), *detected(found)],
        list(_tiles(found)),
        axis,
        shaded(axis, axis.gaps),
        shaded(axis, [(one.end_ns if one.is_fault else one.begin_ns, one.end_ns) for one in found.incidents]),
        changed[:RULES],
        same[:RULES],
        max(len(changed) - RULES, 0) + max(len(same) - RULES, 0),
        lines[:COMMANDS],
        max(len(lines) - COMMANDS, 0),
        found.rules,
        [] if found.scores is None else list(score_figures(found.scores)),
        incidents[:INCIDENTS],
        max(len(incidents) - INCIDENTS, 0),
        any(one.is_fault for one in found.incidents),
        list(kpi_figures(found.kpis)),
        (_top(found, 0), _top(found, 1)),
        limits,
    )


def _tiles(found: Comparison) -> Iterator[tuple[str, str, str]]:
    """A number, what it is of, and its kind for the colour."""
    kinds = Counter(kind for change in found.episodes for kind in change.kinds)
    alarms = [len(side.said.episodes) for side in (found.before, found.after)]
    yield f"{alarms[0]:,} → {alarms[1]:,}", "alarms", ""
    for kind in ("added", "gone", "earlier", "later"):
        yield f"{kinds[kind]:,}", kind, kind if kinds[kind] else ""
    if found.commands:
        changed = sum(bool(one.kinds) for one in found.commands)
        yield f"{changed:,}", f"of {len(found.commands):,} commands changed", ""
    if found.scores is not None:
        ours, theirs = found.scores
        yield (
            f"{ours.detected} → {theirs.detected}",
            f"of {counted(ours.always_true, 'incident')} with samples (always true: all)",
            "",
        )


def _blocks(found: Comparison, axis: Axis) -> Iterator[RuleBlock]:
    by_rule: dict[str, list[EpisodeChange]] = {}
    by_asset: dict[tuple[str, str, str], list[EpisodeChange]] = {}
    for change in found.episodes:
        episode = change.episode
        by_rule.setdefault(episode.rule, []).append(change)
        by_asset.setdefault((episode.rule, episode.unit, episode.asset), []).append(change)
    totals = found.totals_by_asset()
    for rule, total in found.totals().items():
        of = [(name, one) for name, one in totals.items() if name[0] == rule]
        only = of[0][0][2] if len(of) == 1 else f"{len(of)} assets"
        other = [change for change in by_rule[rule] if change.kinds]
        shown = of[:ASSETS] if len(of) > 1 else []
        yield RuleBlock(
            _row(f"{rule} · {only}", by_rule[rule], total, axis, len(of)),
            [_row(name[2], by_asset[name], one, axis, 1) for name, one in shown],
            len(of) - len(shown) if len(of) > 1 else 0,
            [_change(change) for change in other[:CHANGES]],
            max(len(other) - CHANGES, 0),
        )


def _row(name: str, changes: Iterable[EpisodeChange], total: Total, axis: Axis, assets: int) -> Row:
    spans: tuple[list[Span], list[Span]] = ([], [])
    for change in changes:
        for side, episode in enumerate((change.before, change.after)):
            if episode is not None:
                spans[side].append(episode.span(change.end_ns))
    return Row(
        name,
        (total.alarms[0], total.alarms[1]),
        (standing(axis, spans[0], assets, True), standing(axis, spans[1], assets, False)),
        kind_words(total.kinds, total.raised_by_ns, total.lasted_by_ns),
    )


def _change(change: EpisodeChange) -> Change:
    before, after = change.before, change.after
    messages = dict.fromkeys(one.message for one in (before, after) if one is not None)
    return Change(moment(change.episode.raised_ns), change.episode.asset, _what(change), tuple(messages))


def _what(change: EpisodeChange) -> str:
    said = []
    for kind in change.kinds:
        if kind in ("earlier", "later"):
            said.append(f"{kind} by {duration(change.raised_by_ns)}")
        elif kind in ("longer", "shorter"):
            said.append(f"{kind} by {duration(change.lasted_by_ns)}")
        elif kind == "severity" and change.before and change.after:
            said.append(f"{change.before.severity} → {change.after.severity}")
        elif kind == "message":
            said.append("another message")
        else:
            said.append(kind)
    return ", ".join(said)


def _command_lines(changes: Sequence[CommandChange]) -> Iterator[CommandLine]:
    """288 GPUs that are limited at once are one line."""
    alike: dict[tuple[str, str, tuple[Kind, ...], str], list[CommandChange]] = {}
    for change in changes:
        if change.kinds:
            one = change.command
            kind = one.actuator.rpartition(".")[2]
            alike.setdefault((one.rule, kind, change.kinds, _values(change)), []).append(change)
    for (rule, _, kinds, values), group in sorted(
        alike.items(), key=lambda pair: pair[1][0].command.cause_ns
    ):
        by_ns = sorted(change.given_by_ns for change in group)
        words = [
            f"{kind} by {duration(by_ns[len(by_ns) // 2])}" if kind in ("earlier", "later") else kind
            for kind in kinds
        ]
        more = f" and {len(group) - 1:,} more" if len(group) > 1 else ""
        yield CommandLine(
            moment(group[0].command.cause_ns), rule, f"{group[0].command.actuator}{more}",
            f"{', '.join(words)}: {values}",
        )  # fmt: skip


def _values(change: CommandChange) -> str:
    said = [f"{one.value:g} {one.engineering_unit}" for one in change if one is not None]
    return " → ".join(dict.fromkeys(said))


def _incident_lines(found: Comparison) -> Iterator[IncidentLine]:
    if found.scores is None:
        return
    ours, theirs = ({one.incident: one for one in score.found} for score in found.scores)
    for incident in found.incidents:
        at = moment(incident.end_ns)[:16]
        if not incident.is_fault:
            at = f"{moment(incident.begin_ns)[:16]} to {at}"
        yield IncidentLine(at, _incident(ours.get(incident)), _incident(theirs.get(incident)))


def _incident(one: IncidentScore | None) -> str:
    if one is None:
        return "nothing recorded"
    words = []
    if one.lead_ns is not None and one.new_ns is not None:
        if one.incident.is_fault:
            words.append(f"{duration(one.lead_ns)} before")
        else:
            words.append(f"{duration(one.new_ns - one.incident.begin_ns)} after its beginning")
    if one.stood_before:
        words.append("stood before")
    return ", ".join(words) or "no"


def _top(found: Comparison, side: int) -> list[tuple[str, int]]:
    return [(f"{rule} {asset}", count) for (_, rule, asset), count in found.kpis[side].top]
