"""`headrace sweep`: one rule with other values on a recording, and what each is worth."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateways.cli.replay import INTERRUPTED
from gateways.cli.replay_pace import paced
from gateways.cli.replay_part import incidents_of, part_of
from gateways.cli.sweep_values import choices_of
from gateways.cli.tables import print_table
from gateways.compare.sweep_result import SweepResult, as_dict, figures
from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.language.candidates import parameters_of, rule_alone
from rules.language.program import Rule
from streams.compare.sides import written_texts
from streams.compare.spans import recorded_spans
from streams.compare.sweep import Candidate, every_choice, make_candidate, side_by_side, within
from streams.compare.sweep_processes import sweep
from streams.compare.sweep_scores import Known, score_candidate
from streams.output_file import finished_file
from streams.recording.cut import between
from streams.recording.recorded_site import refuse_two_sites
from streams.recording.recording import Recording
from streams.recording.segments import open_recordings
from streams.replay.processes import jobs_for
from streams.replay.rules import Chosen, choose_site
from streams.replay.start import WHOLE

SHOWN: Final = 60


class Asked(NamedTuple):
    """The options."""

    params: Sequence[str] = ()
    site: Path | None = None
    rules: Path | None = None
    incidents: str | None = None
    reference: str | None = None
    most: int = 200
    output: Path | None = None
    begin: str | None = None
    end: str | None = None
    jobs: int | None = None


def sweep_rule(rule_id: str, paths: list[Path], asked: Asked, as_json: bool) -> int:
    """0, or 1 where the recording lacks something; 130 where Ctrl-C has ended it, with the answer up to there.

    ConfigurationError: a file, the rule or a value is wrong, or the language refuses all of them.
    """
    if asked.incidents is not None and asked.reference is not None:
        raise _wrong("--reference", "what is to be detected is named twice", "--incidents or --reference")
    recordings = open_recordings(paths)
    refuse_two_sites(recordings)
    # where no page can be written, that is said before the work, too
    with nullcontext() if asked.output is None else finished_file(asked.output) as file:
        result = _swept(rule_id, recordings, asked)
        if file is not None:
            from gateways.compare.sweep_page import sweep_page  # matplotlib takes a second to import

            file.write_text(sweep_page(result), encoding="utf-8")
    if as_json:
        page = None if asked.output is None else str(asked.output)
        sys.stdout.buffer.write(orjson.dumps({**as_dict(result), "page": page}) + b"\n")
    else:
        _print(result, asked.output)
    return INTERRUPTED if result.swept.is_partial else 1 if result.swept.lacks else 0


def _swept(rule_id: str, recordings: Sequence[Recording], asked: Asked) -> SweepResult:
    chosen = choose_site(recordings[0], asked.site, asked.rules)
    of = part_of(recordings, asked.begin, asked.end, (), chosen.site.units)
    incidents = None if asked.incidents is None else incidents_of(asked.incidents, recordings, of)
    recordings = between(recordings, 0, of.to_ns)
    alone = rule_alone(written_texts(chosen, asked.site, asked.rules), rule_id)
    parameters = parameters_of(alone, chosen.site)
    choices = choices_of(asked.params, parameters, rule_id, asked.most)
    candidates = [make_candidate(alone, values, chosen.site) for values in ({}, *every_choice(choices))]
    accepted = [one.rule for one in candidates if one.rule is not None]
    if len(accepted) == 1:
        raise _wrong("--param", f"no candidate can be a rule: {candidates[1].refused}", _first(candidates[1]))
    others = [] if asked.reference is None else [_rule(chosen, asked.reference)]
    program = side_by_side([*accepted, *others], chosen.site)
    jobs = jobs_for(recordings, of, asked.jobs)
    with paced(recordings, of) as pace:
        swept = sweep(recordings, chosen.site, program, pace, jobs)
    within(swept, of)
    if swept.first_ns is None and swept.is_partial:
        raise KeyboardInterrupt  # before there was anything to answer with
    if swept.first_ns is None:
        where, there = str(recordings[0].path), "" if of == WHOLE else " in that time"
        raise _wrong(where, f"the recording has no sample of a unit with the rule '{rule_id}'{there}", "")
    reference = others[0] if others else accepted[0]
    known = Known(
        incidents,
        swept.episodes[len(accepted) if others else 0],
        by_unit=reference.asset_type != accepted[0].asset_type,
    )
    recorded = recorded_spans(swept.first_ns, swept.last_ns, swept.gaps)
    scores = iter([score_candidate(one, recorded, known) for one in swept.episodes[: len(accepted)]])
    return SweepResult(
        rule_id,
        chosen.site.name,
        {name: parameters[name] for name in choices},
        candidates,
        [None if one.rule is None else next(scores) for one in candidates],
        recorded,
        known,
        _against(asked, rule_id),
        swept,
        _command_of(chosen, rule_id),
    )


def _rule(chosen: Chosen, rule_id: str) -> Rule:
    found = {rule.id: rule for rule in chosen.program.rules}
    if rule_id not in found:
        raise _wrong("--reference", f"there is no rule '{rule_id}'", f"rules: {', '.join(sorted(found))}")
    return found[rule_id]


def _command_of(chosen: Chosen, rule_id: str) -> str:
    [rule] = [rule for rule in chosen.program.rules if rule.id == rule_id]
    for targets in rule.targets.values():
        for target in targets:
            return f"{target.actuator.rpartition('.')[2]} to {target.value:g} {target.engineering_unit}"
    return ""


def _against(asked: Asked, rule_id: str) -> str:
    if asked.incidents is not None:
        return f"the incidents of {Path(asked.incidents).name}"
    return f"the rule {asked.reference}" if asked.reference else f"the rule {rule_id} as it is"


def _first(candidate: Candidate) -> str:
    values = ", ".join(f"{name}={value}" for name, value in candidate.values.items())
    return f"that is said of {values}"


def _wrong(where: str, message: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding(where, 0, 0, message, hint)])


def _print(result: SweepResult, output: Path | None) -> None:
    best = result.front
    names = list(result.parameters)
    heads = [name for name, _ in figures(result, result.now)]
    rows = []
    for place, (candidate, score) in enumerate(zip(result.candidates, result.scores, strict=True)):
        if place and place not in best and len(result.candidates) > SHOWN:
            continue
        values = [candidate.values.get(name, result.parameters[name].now or "none") for name in names]
        if score is None:
            rows.append((*values, *("" for _ in heads), f"refused: {candidate.refused}"))
            continue
        notes = [*(["as it is"] if not place else []), *(["best trade-off"] if place in best else [])]
        rows.append((*values, *(text for _, text in figures(result, score)), ", ".join(notes)))
    print(printable(f"{result.rule} at {result.site}, against {result.against}"))
    print_table((*names, *heads, ""), rows)
    hidden = len(result.candidates) - len(rows)
    if hidden:
        print(f"and {hidden} more candidates: --json and the page have all")
    print()
    for line in result.limits:
        print(printable(line))
    if output is not None:
        print(f"\nwritten: {output}")
