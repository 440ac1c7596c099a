"""`headrace test`: the scenarios of a site's rules, in event time, without a plant.

Rules: exit code 0 when every scenario went as expected, 1 when one did not (or `--coverage` found a rule that none
tries, or an operand of one that was never true or never false), 2 when a file is wrong. What failed is shown with a
small time line of its signals and alarms.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import orjson
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gateways.cli import tables
from gateways.cli.timeline import timeline
from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.language.operands import operands
from streams.rule_sets.rule_folder import load_program, read_as_opened
from streams.scenarios.coverage import Coverage, coverage
from streams.scenarios.load import load_scenarios
from streams.scenarios.operands import Seen, operands_seen
from streams.scenarios.run import Result, RulesUnderTest, run
from streams.site_folder import SITE_FILE, load_site
from streams.text_file import read_text

T = TypeVar("T")
FOLDER = "scenarios"
"""Where a site keeps them, beside its site file."""


def test_rules(paths: Sequence[Path], rules: Path | None, with_coverage: bool, as_json: bool) -> int:
    """Run every scenario of `paths` (site folders, folders below one, or scenario files); the exit code.

    `rules`: a folder or file in place of the rules of the site, of which there is one then.
    """
    began_s = time.monotonic()
    results: list[Result] = []
    covered: list[Coverage] = []
    seen: list[Seen] = []
    by_site = _by_site(paths)
    if rules is not None and len(by_site) > 1:
        sites = ", ".join(str(site_dir) for site_dir in by_site)
        raise ConfigurationError([Finding("--rules", 0, 0, f"rules are of one site, these are {sites}")])
    for site_dir, files in by_site.items():
        site = load_site(site_dir)
        program = load_program(site_dir, site, rules)
        texts, unread = _read(files)
        scenarios, findings = load_scenarios(texts, site, program)
        if unread or findings:
            raise ConfigurationError([*unread, *findings])
        under_test = RulesUnderTest(program, site)
        here = [run(scenario, under_test) for scenario in _shown(scenarios, "scenarios")]
        results += here
        if with_coverage:
            covered += coverage(program, here)
            found = operands(read_as_opened(site_dir, site, rules)[0], site, program)
            seen += operands_seen(found, site, _shown(here, "operands"))
    untried = [one for one in covered if not one.complete]
    unseen = [one for one in seen if not one.complete]
    failed = [result for result in results if result.problems]
    if as_json:
        print(orjson.dumps(_plain(results, covered, seen if with_coverage else None)).decode())
    else:
        for result in failed:
            _print_failure(result)
        if with_coverage:
            _print_coverage(covered)
            _print_unseen(unseen)
        words = f"{len(results)} scenarios, {len(failed)} failed, {time.monotonic() - began_s:.1f} s"
        if with_coverage:
            words += f"; {len(untried)} of {len(covered)} rules lack a scenario"
            words += f"; {len(unseen)} of {len(seen)} operands were not both true and false"
        print(words)
    return 1 if failed or untried or unseen else 0


def _shown(items: Sequence[T], what: str) -> Iterable[T]:
    """With a bar on stderr, in a terminal."""
    console = Console(stderr=True)
    return track(items, what, console=console, transient=True, disable=not sys.stderr.isatty())


def _by_site(paths: Sequence[Path]) -> dict[Path, list[Path]]:
    """Scenario files by the folder of their site. Raises ConfigurationError for what is none."""
    found: dict[Path, list[Path]] = {}
    findings = []
    for path in paths:
        folder = path / FOLDER if (path / SITE_FILE).is_file() else path
        site_dir = next((up for up in (path, *path.absolute().parents) if (up / SITE_FILE).is_file()), None)
        files = sorted(folder.glob("*.yaml")) if folder.is_dir() else [path] if path.is_file() else []
        if not files:
            hint = f"scenario files of a site are in its folder '{FOLDER}', as *.yaml"
            findings.append(Finding(str(path), 0, 0, "no scenarios here", hint))
        elif site_dir is None:
            findings.append(
                Finding(str(path), 0, 0, "no site above these scenarios", f"a folder with a {SITE_FILE}")
            )
        else:
            known = found.setdefault(site_dir, [])
            known += [file for file in files if file not in known]
    if findings:
        raise ConfigurationError(findings)
    return found


def _read(files: Sequence[Path]) -> tuple[dict[str, str], list[Finding]]:
    """Texts of the files by name, and what can't be read."""
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    for file in files:
        try:
            texts[str(file)] = read_text(file, str(file))
        except ConfigurationError as error:
            findings += error.findings
    return texts, findings


def _print_failure(result: Result) -> None:
    scenario = result.scenario
    print(printable(f"{scenario.file}:{scenario.line}: {scenario.name}"))
    for problem in result.problems:
        print(printable(f"  {problem}"))
    for line in timeline(result):
        print(printable(f"    {line}"))
    print()


def _print_coverage(covered: Sequence[Coverage]) -> None:
    table = Table("rule", "raised", "cleared", "near miss", "", box=None, pad_edge=False)
    for one in covered:
        lacks = [
            name
            for name, count in (("one that raises it", one.raised), ("a near miss", one.never))
            if not count
        ]
        table.add_row(
            one.rule,
            str(one.raised),
            str(one.cleared),
            str(one.never),
            f"lacks {' and '.join(lacks)}" if lacks else "",
        )
    tables.console().print(table)


def _print_unseen(unseen: Sequence[Seen]) -> None:
    for one in unseen:
        where, lacks = one.operand, " and ".join(_lacks(one))
        place = f"{where.file}:{where.line}:{where.column}"
        print(printable(f"{place}: {where.rule.id}: '{where.text}' was never {lacks}"))


def _lacks(one: Seen) -> list[str]:
    return [value for value, count in (("true", one.true), ("false", one.false)) if not count]


def _plain(
    results: Sequence[Result], covered: Sequence[Coverage], seen: Sequence[Seen] | None
) -> dict[str, object]:
    answer: dict[str, object] = {
        "ok": not any(result.problems for result in results)
        and all(one.complete for one in covered)
        and all(one.complete for one in seen or ()),
        "scenarios": [
            {
                "name": result.scenario.name,
                "file": result.scenario.file,
                "line": result.scenario.line,
                "ok": not result.problems,
                "problems": list(result.problems),
                "alarms": [
                    {
                        "rule": seen.rule,
                        "asset": seen.asset,
                        "raised_s": seen.raised_ns / 1e9,
                        "cleared_s": None if seen.cleared_ns is None else seen.cleared_ns / 1e9,
                    }
                    for seen in result.seen
                ],
            }
            for result in results
        ],
    }
    if seen is not None:
        answer["coverage"] = [
            {"rule": one.rule, "raised": one.raised, "cleared": one.cleared, "near_miss": one.never}
            for one in covered
        ]
        answer["operands"] = [
            {
                "rule": one.operand.rule.id,
                "file": one.operand.file,
                "line": one.operand.line,
                "column": one.operand.column,
                "text": one.operand.text,
                "true": one.true,
                "false": one.false,
            }
            for one in seen
        ]
    return answer
