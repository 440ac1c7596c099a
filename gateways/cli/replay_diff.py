"""`headrace replay --diff`: a candidate's rules against what was recorded, or against other rules."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateways.cli.replay import INTERRUPTED, refuse_foreign
from gateways.cli.replay_pace import Pace, paced, terminal
from gateways.cli.replay_part import incidents_of, part_of
from gateways.cli.tables import print_table
from gateways.compare.figures import Figure, kpi_figures, score_figures
from gateways.compare.limits import Circumstances, limits
from gateways.compare.page import page
from gateways.compare.plain import plain
from gateways.compare.words import detected, duration, kind_words, names, verdict
from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.compare.comparison import Comparison, Side, compare, settled
from streams.compare.episodes import recorded_time, said_in_replay
from streams.compare.incidents import KnownIncident
from streams.compare.sides import other_rule_sets, recorded_side, replayed_side, written_rules
from streams.output_file import finished_file
from streams.recording.recorded_site import refuse_two_sites
from streams.recording.recording import Recording
from streams.recording.segments import open_recordings
from streams.recording.ticks import begin_of_log_ns, end_of_log_ns
from streams.replay.replayed import Replay
from streams.replay.rules import choose_site
from streams.replay.start import WHOLE, Part

RECORDED: Final = "recorded"
SHOWN: Final = 40


class Loop(NamedTuple):
    """The simulated plant in place of the recorded one: its faults in their short forms, and its seed."""

    faults: tuple[str, ...]
    seed: int


class Asked(NamedTuple):
    """The options: the candidate, what it is compared with (`recorded`, or rules), incidents, page, simulated plant."""

    site: Path | None
    rules: Path | None
    against: str
    incidents: str | None
    output: Path | None
    closed_loop: Loop | None = None

    @property
    def candidate(self) -> str:
        """What the candidate is called."""
        return str(self.rules or self.site)


def diff(
    paths: list[Path], asked: Asked, part: tuple[str | None, str | None, list[str]], as_json: bool
) -> int:
    """0 where both sides say the same; 1 where they differ, inputs are missing or the site lacks some of its units.

    130 where Ctrl-C has ended it: both sides are compared up to there. ConfigurationError: a file, a folder, a moment
    or the call is wrong.
    """
    if asked.rules is None and asked.site is None:
        hint = "name a candidate's rules with --rules DIR, or another site with --site SITE"
        raise ConfigurationError([Finding("--diff", 0, 0, "there is no candidate to compare", hint)])
    recordings = open_recordings(paths)
    refuse_two_sites(recordings)
    # what is wrong with the candidate is said before the work
    site = choose_site(recordings[0], asked.site, asked.rules).site
    of = part_of(recordings, *part, site.units)
    loop = asked.closed_loop
    incidents = (
        [] if asked.incidents is None or loop is not None else incidents_of(asked.incidents, recordings, of)
    )
    # where no page can be written, that is said before the work, too
    with nullcontext() if asked.output is None else finished_file(asked.output) as file:
        if loop is None:
            found, made = _compared(recordings, asked, of, set(of.units or site.units), incidents)
        else:
            found, made = _simulated(recordings, asked, of, loop)
        said = limits(found, made)
        if file is not None:
            file.write_text(page(site.name, found, said), encoding="utf-8")
    if as_json:
        answer = {
            "site": site.name,
            "partial": made.is_partial,
            **plain(found, said),
            "page": None if asked.output is None else str(asked.output),
        }
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    else:
        _print(site.name, found, said, asked.output)
    if made.is_partial:
        return INTERRUPTED
    result = made.replayed
    lacks = result.damage or result.missing or result.missed
    leaves_out = asked.site is not None and bool(result.unknown_units)
    return 1 if found.differs or lacks or leaves_out else 0


def _compared(
    recordings: Sequence[Recording],
    asked: Asked,
    of: Part,
    units: Collection[str],
    incidents: Collection[KnownIncident],
) -> tuple[Comparison, Circumstances]:
    before, first = _before(recordings, asked, of, units)
    was_ended = first is not None and first.is_partial
    if was_ended:
        of = replace(of, to_ns=max(before.ends_ns.values(), default=0))
    with paced(recordings, of) as pace:
        after, result = replayed_side(recordings, asked.site, asked.rules, asked.candidate, of, pace)
    if asked.site is not None:
        refuse_foreign(recordings[0], asked.site, result)
    if before.is_recorded:
        before = replace(before, ends_ns=settled(after.ends_ns))
    is_against_recorded = asked.against == RECORDED
    made = Circumstances(
        result,
        of,
        is_against_recorded and not before.is_recorded,
        other_rule_sets(recordings) if is_against_recorded else 0,
        was_ended or result.is_partial,
    )
    return compare(before, after, recorded_time(result), incidents), made


def _simulated(
    recordings: Sequence[Recording], asked: Asked, of: Part, loop: Loop
) -> tuple[Comparison, Circumstances]:
    """Both rule sets, each on a simulated plant of its own that its commands act on."""
    from gateways.compare.closed_loop import simulated
    from gateways.sim.event_time import START_NS
    from gateways.sim.faults import parse_faults

    if of != WHOLE or asked.incidents is not None:
        message = "the simulated plant runs from its start, on another clock"
        hint = "leave --from, --to, --unit and --incidents out"
        raise ConfigurationError([Finding("--closed-loop", 0, 0, message, hint)])
    faults = parse_faults(",".join(loop.faults))
    first_ns = begin_of_log_ns(recordings) or 0
    last_ns = end_of_log_ns(recordings) or first_ns
    ways = (
        (None, None, "recorded rules")
        if asked.against == RECORDED
        else (asked.site, Path(asked.against), asked.against),
        (asked.site, asked.rules, asked.candidate),
    )
    end_ns, sides, is_partial = START_NS + last_ns - first_ns, [], False
    for site_dir, rules, name in ways:
        chosen = choose_site(recordings[0], site_dir, rules)
        with Pace((START_NS, end_ns), None, console=terminal()) as pace:
            result, end_ns = simulated(chosen, faults, loop.seed, end_ns, pace)
        is_partial = is_partial or result.is_partial
        ends_ns = dict.fromkeys(chosen.site.units, end_ns)
        sides.append(Side(name, said_in_replay(result), written_rules(chosen, site_dir, rules), ends_ns))
    named = f"seed {loop.seed} and {', '.join(loop.faults) or 'no fault'}"
    found = compare(sides[0], sides[1], [(START_NS, end_ns)])
    return found, Circumstances(result, of, False, 0, is_partial, named)


def _before(
    recordings: Sequence[Recording], asked: Asked, of: Part, units: Collection[str]
) -> tuple[Side, Replay | None]:
    """The side that the candidate is compared with, and its replay where it had to be run."""
    if asked.against == RECORDED:
        side = recorded_side(recordings, units, RECORDED, of)
        if side is not None:
            return side, None
        with paced(recordings, of) as pace:
            return replayed_side(recordings, None, None, "recorded rules", of, pace)
    with paced(recordings, of) as pace:
        return replayed_side(recordings, asked.site, Path(asked.against), asked.against, of, pace)


def _print(site: str, found: Comparison, said: Sequence[str], output: Path | None) -> None:
    first, *rest = [*verdict(found), *detected(found)]
    print("\n".join(map(printable, [f"{site}: {first}", *rest])))
    totals = [(rule, total) for rule, total in found.totals().items() if total.kinds]
    if totals:
        print()
        print_table(
            ("rule", *names(found), "in alarm", "", "what changed"),
            [
                (
                    rule,
                    *(f"{count:,}" for count in total.alarms),
                    *(duration(ns) for ns in total.stood_ns),
                    ", ".join(kind_words(total.kinds, total.raised_by_ns, total.lasted_by_ns)),
                )
                for rule, total in totals[:SHOWN]
            ],
        )
        if len(totals) > SHOWN:
            print(f"and {len(totals) - SHOWN} more rules: --json has all")
    if found.scores is not None:
        _print_figures(found, score_figures(found.scores))
    _print_figures(found, kpi_figures(found.kpis))
    print("\nWhat this can't know:")
    for line in said:
        print(printable(f"- {line}"))
    if output is not None:
        print(f"\nwritten: {output}")


def _print_figures(found: Comparison, figures: Iterable[Figure]) -> None:
    print()
    print_table(
        ("figure", *names(found), "target"),
        [(one.name, one.before, one.after, one.target) for one in figures],
    )
