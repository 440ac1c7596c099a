"""The two sides of a comparison out of recordings: what was recorded, or what rules say in a replay.

Rules: of a replay only its episodes, its commands and its counts are kept; a recording that holds no answers (an
import, a stripped copy) has the rules that it carries run again, which gives the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rules.language.program import Program
from rules.language.sheets import Sheet, sheets
from streams.compare.comparison import Side
from streams.compare.episodes import Said, said_in_recordings, said_in_replay
from streams.recording.recorded_site import published_rules, recorded_rules
from streams.recording.recording import Recording
from streams.replay.inputs import Watch
from streams.replay.replay import replay
from streams.replay.replayed import Replay
from streams.replay.rules import Chosen, choose_site
from streams.replay.start import Part
from streams.rule_sets.rule_folder import rule_texts


def replayed_side(
    recordings: Sequence[Recording],
    site_dir: Path | None,
    rules: Path | None,
    name: str,
    part: Part,
    watch: Watch | None = None,
) -> tuple[Side, Replay]:
    """What the rules of `rules`, of `site_dir` or those that the recording carries say to a part of it.

    Raises ConfigurationError as `choose_site` does.
    """
    chosen = choose_site(recordings[0], site_dir, rules)
    result = replay(recordings, chosen, verify=False, part=part, watch=watch)
    ends_ns = {unit: end_ns for unit, end_ns in result.ends_ns.items() if end_ns > 0}
    said = _from(said_in_replay(result), part.from_ns)
    return Side(name, said, written_rules(chosen, site_dir, rules), ends_ns), result


def recorded_side(
    recordings: Sequence[Recording], units: Collection[str], name: str, part: Part
) -> Side | None:
    """What was said while a part of it was recorded; None where nothing was. It ends where the other side does."""
    said = said_in_recordings(recordings, units)
    if said is None:
        return None
    rule_set = recorded_rules(recordings[0])
    program = rule_set.program(rule_set.load_site(f"{recordings[0].path}:"))
    return Side(name, _from(said, part.from_ns), _by_id(rule_set.rule_texts, program), {}, is_recorded=True)


def other_rule_sets(recordings: Sequence[Recording]) -> int:
    """How many rule sets the log published beside the one that the first recording carries."""
    return len(published_rules(recordings).keys() - {recorded_rules(recordings[0]).digest})


def never_recorded(result: Replay, rules: Collection[str]) -> dict[str, list[str]]:
    """Those of `rules` that read points without a sample, with these points: to them they are unknown throughout."""
    found: dict[str, list[str]] = {}
    for rule in result.program.rules:
        if rule.id in rules and result.silent:
            tops = [top for top in (rule.when, rule.until, rule.silent) if top]
            read = {
                term.points[of]
                for top in tops
                for asset in rule.assets
                for term, of in top.signals(asset)
                if term.op == "point"
            }
            if read & result.silent:
                found[rule.id] = sorted(read & result.silent)
    return found


def written_rules(chosen: Chosen, site_dir: Path | None, rules: Path | None) -> Mapping[str, Sheet]:
    """The rules of `choose_site` as their files have them, by id."""
    return _by_id(written_texts(chosen, site_dir, rules), chosen.program)


def written_texts(chosen: Chosen, site_dir: Path | None, rules: Path | None) -> Mapping[str, str]:
    """The files out of which the rules of `choose_site` are."""
    if chosen.recorded is not None:
        return chosen.recorded.rule_texts
    return rule_texts(site_dir or Path(), chosen.site, rules)


def _by_id(texts: Mapping[str, str], program: Program) -> Mapping[str, Sheet]:
    return {sheet.rule: sheet for sheet in sheets(texts, program)}


def _from(said: Said, from_ns: int) -> Said:
    """What was raised and given in the part: a replay from snapshots lacks the first word on what stood already."""
    return replace(
        said,
        episodes=tuple(one for one in said.episodes if one.raised_ns >= from_ns),
        commands=tuple(one for one in said.commands if one.cause_ns >= from_ns),
    )
