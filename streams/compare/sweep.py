"""Many versions of one rule on one recording: made, and run side by side in one pass.

Rules: every candidate is a rule of one program, and each input is decoded once for all of them. No rule sees another
one, so an alarm of a candidate comes when it would come in a replay of the whole rule set with that change; alarms of
other rules, commands and what they would have changed are not made. Candidates rule from end to end, whatever the log
activates. Facts between units are made anew. Only alarms are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from rules.engine.engine import Engine
from rules.engine.facts import parts_of
from rules.engine.inputs import Fact, Frame, Gap, Input, Readings
from rules.engine.outputs import Alarm, Output
from rules.language.candidates import RuleAlone, with_value
from rules.language.load import load_rules
from rules.language.program import OWN_RULES, Program, Rule, make_program
from rules.site.model import Site
from streams.compare.episodes import Episode, cut_behind
from streams.compare.spans import Span
from streams.facts import Courier
from streams.recording.recording import Recording
from streams.recording.segments import missed_before
from streams.replay.inputs import Reader, Watch
from streams.replay.replayed import Replay
from streams.replay.seek import Begin
from streams.replay.start import WHOLE, Part, Share

BATCH: Final = 128
Values = Mapping[str, str]
"""What a candidate has in the place of parameters, by their names; of the rule as it is, nothing."""


class Candidate(NamedTuple):
    """A rule with these values, or why the language refuses it."""

    values: Values
    rule: Rule | None
    refused: str = ""


def every_choice(choices: Mapping[str, Sequence[str]]) -> Iterator[Values]:
    """Each combination of values; the last name varies fastest."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def make_candidate(alone: RuleAlone, values: Values, site: Site) -> Candidate:
    """The rule with other values, checked as any rule is."""
    for name, value in values.items():
        alone = with_value(alone, name, value)
    program, findings = load_rules({"": alone.text}, site)
    if program is None:
        return Candidate(values, None, next(one.message for one in findings if one.severity == "error"))
    return Candidate(values, program.rules[0])


def side_by_side(rules: Sequence[Rule], site: Site) -> Program:
    """One program of all of them, each under its number."""
    return make_program({str(n): replace(rule, id=str(n)) for n, rule in enumerate(rules)}, site.digest)


def units_of(program: Program, site: Site) -> frozenset[str]:
    """Those that have one of the rules, or tell one of them something."""
    own = {site.assets[asset].unit for rule in program.rules for asset in rule.assets}
    return frozenset(own | {part.unit for part in parts_of(program, site).every})


@dataclass(slots=True)
class Swept:
    """`episodes`: of each rule, by its number. `recorded`: first and last sample, None without any; `gaps` in it."""

    episodes: list[list[Episode]]
    first_ns: int | None = None
    last_ns: int | None = None
    gaps: list[Span] = field(default_factory=list)
    inputs: int = 0
    is_partial: bool = False
    now_ns: int = 0
    """The last tick of all units; where it is partial, of the unit that is furthest behind."""

    lacks: list[str] = field(default_factory=list)
    """What of the recording can't be read, or nobody recorded, in words."""


def run_side_by_side(
    recordings: Sequence[Recording],
    share: Share,
    watch: Watch | None,
    site: Site,
    program: Program,
) -> Swept:
    """The program's rules over the recordings, one after the other as one log, in a share of their units."""
    result = Replay(site, program)
    units = units_of(program, site)
    reader = Reader(recordings, result, WHOLE, Begin(), units, share, watch=watch)
    engines = {unit: Engine(program, site, unit) for unit in share.units}
    makes_facts = bool(parts_of(program, site).facts())
    swept = Swept([[] for _ in program.rules])
    heard = _Heard(swept, site.sources)
    courier = Courier()
    waiting: dict[str, list[Input]] = {unit: [] for unit in engines}
    for value in itertools.chain(reader.until_damage(), reader.behind_damage()):
        if makes_facts and isinstance(value, Fact):
            continue
        heard.note(value)
        batch = waiting[value.unit]
        batch.append(value)
        if makes_facts:
            # as they come: what one unit tells must reach another before its tick
            outputs = engines[value.unit].step([*courier.due(value), value])
            courier.take(outputs)
            heard.take(outputs)
            batch.clear()
        elif len(batch) >= BATCH:
            heard.take(engines[value.unit].step(batch))
            batch.clear()
    for unit, batch in waiting.items():
        heard.take(engines[unit].step(batch))
    heard.finish()
    swept.is_partial = result.is_partial
    swept.now_ns = min((engine.now_ns for engine in engines.values()), default=0)
    swept.lacks = [
        *(line for recording in recordings for line in recording.damage),
        *missed_before(recordings),
        *(
            f"{one.records} inputs of partition {one.partition} are missing"
            for one in result.missing.values()
        ),
    ]
    return swept


class _Heard:
    """Takes down what came in, and the alarms."""

    def __init__(self, swept: Swept, sources: Collection[str]) -> None:
        self._swept = swept
        self._sources = sources
        self._open: dict[str, Episode] = {}

    def note(self, value: Input) -> None:
        swept = self._swept
        swept.inputs += 1
        if isinstance(value, Gap):
            if value.identity.source in self._sources:  # a receipt is no sample
                swept.gaps.append((value.from_ns, value.to_ns))
        elif isinstance(value, Frame | Readings) and len(value.time_ns):
            first_ns, last_ns = int(value.time_ns.min()), int(value.time_ns.max())
            swept.first_ns = first_ns if swept.first_ns is None else min(swept.first_ns, first_ns)
            swept.last_ns = last_ns if swept.last_ns is None else max(swept.last_ns, last_ns)

    def take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Alarm) and output.rule not in OWN_RULES:
                raised = self._open.get(output.raised_id) or _episode(output)
                self._open[output.raised_id] = raised
                if output.cleared_ns is not None:
                    del self._open[output.raised_id]
                    self._keep(raised._replace(cleared_ns=output.cleared_ns))

    def finish(self) -> None:
        """What still stands is kept, too."""
        for episode in self._open.values():
            self._keep(episode)
        for episodes in self._swept.episodes:
            episodes.sort(key=lambda one: (one.raised_ns, one.unit, one.asset))

    def _keep(self, episode: Episode) -> None:
        self._swept.episodes[int(episode.rule)].append(episode)


def _episode(raised: Alarm) -> Episode:
    """Without its message, of which there would be one for each candidate."""
    return Episode(
        raised.raised_id, raised.unit, raised.rule, raised.asset, raised.severity, "", raised.raised_ns, None
    )


def within(swept: Swept, part: Part) -> None:
    """Leave what was raised in a part of the recording: what stood when it began, is none of it, as in a comparison."""
    end_ns = part.to_ns
    for place, episodes in enumerate(swept.episodes):
        kept = episodes if end_ns is None else cut_behind(episodes, lambda _: end_ns)
        swept.episodes[place] = [one for one in kept if one.raised_ns >= part.from_ns]
    first_ns, last_ns = swept.first_ns, swept.last_ns
    if first_ns is not None and last_ns is not None:
        first_ns = max(first_ns, part.from_ns)
        last_ns = last_ns if end_ns is None else min(last_ns, end_ns)
        swept.first_ns, swept.last_ns = (first_ns, last_ns) if first_ns < last_ns else (None, None)
