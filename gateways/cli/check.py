"""`headrace check`: what a site holds, and everything that is wrong with the files of its folder, at once.

Rules: exit code 0 when nothing is an error (warnings are said), 2 when something is; what the site holds goes to
stdout, findings to stderr with their line and a caret; with `--json` all of it is one object on stdout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateways.access.users_file import read_users_file, shared_hashes
from gateways.actuators.check import check_targets
from gateways.alerts.files import has_subscriptions
from gateways.cli import tables
from gateways.cli.findings import print_findings
from gateways.printable import printable
from gateways.sim.constants import check_constants
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.gpu_fields import FIELD_COUNT
from rules.language.load import load_rules
from rules.language.program import Program
from rules.site.model import Site, Source
from rules.site.parse import parse_site
from streams.rule_sets.rule_folder import as_opened, read_rules
from streams.settings import load_settings
from streams.site_folder import read_site_text


def check(site_dir: Path, as_json: bool) -> int:
    """Print what the site in `site_dir` holds and every finding; 0, or 2 when a finding is an error."""
    site, program, findings = _load(site_dir)
    for finding in _beside(site_dir, site):
        if finding not in findings:  # who is told by a rule's group reads the rules once more
            findings.append(finding)
    is_wrong = any(finding.severity == "error" for finding in findings)
    if as_json:
        answer = {
            "ok": not is_wrong,
            "site": None if site is None else holdings(site),
            "rules": None if program is None else [rule.id for rule in program.rules],
            "findings": [finding.as_dict() for finding in findings],
        }
        print(orjson.dumps(answer).decode())
        return 2 if is_wrong else 0
    if site is not None:
        _print(site_dir, site, program)
    print_findings(findings)
    if is_wrong:
        errors = sum(finding.severity == "error" for finding in findings)
        unread = "; rules were not read without a site" if site is None else ""
        Console(stderr=True, highlight=False).print(f"{errors} error{'s' if errors > 1 else ''}{unread}")
    return 2 if is_wrong else 0


def _load(site_dir: Path) -> tuple[Site | None, Program | None, list[Finding]]:
    try:
        text, name = read_site_text(site_dir)
    except ConfigurationError as error:
        return None, None, list(error.findings)
    site, findings = parse_site(text, name)
    if site is None:
        return None, None, findings
    findings = [*findings, *check_constants(site, text, name), *check_targets(site, text, name)]
    texts, unread = as_opened(*read_rules(site_dir, site), site_dir)
    program, of_rules = load_rules(texts, site)
    return site, None if unread else program, [*findings, *unread, *of_rules]


def _beside(site_dir: Path, site: Site | None) -> Iterator[Finding]:
    """What is wrong with settings and environment, users and subscriptions."""
    try:
        load_settings(site_dir / "headrace.yaml")
    except ConfigurationError as error:
        yield from error.findings
    try:
        yield from shared_hashes(site_dir, read_users_file(site_dir))
    except ConfigurationError as error:
        yield from error.findings
    if site is None or not has_subscriptions(site_dir):
        return
    from gateways.cli.subscriptions import lacks_variable, wrong_subscriptions  # their channels import much

    try:
        for finding in wrong_subscriptions(site_dir, site)[1]:
            # only who runs the role has its environment
            yield replace(finding, severity="warning") if lacks_variable(finding) else finding
    except ConfigurationError as error:
        yield from error.findings


def holdings(site: Site) -> dict[str, Any]:
    """What the site holds, as plain data: counts by unit, type, source and quantity, and expected readings/s."""
    by_source = Counter(point.source for point in site.points.values())
    return {
        "name": site.name,
        "digest": site.digest,
        "tick_ms": site.tick_ns / 1e6,
        "units": {
            unit.id: {"assets": len(unit.assets), "points": len(unit.points), "gpus": len(unit.gpus)}
            for unit in site.units.values()
        },
        "assets": dict(Counter(asset.type for asset in site.assets.values()).most_common()),
        "points": len(site.points),
        "point_types": dict(Counter(point.point_type for point in site.points.values()).most_common()),
        "gpus": sum(len(unit.gpus) for unit in site.units.values()),
        "sources": {
            source.id: {
                "kind": source.kind,
                "endpoint": source.endpoint,
                "points": by_source[source.id],
                "gpus": (gpus := _gpus(site, source)),
                "readings_per_s": _point_rate(site, source) + gpus * FIELD_COUNT * 1e9 / source.period_ns,
            }
            for source in site.sources.values()
        },
        "actuators": dict(Counter(actuator.quantity for actuator in site.actuators.values()).most_common()),
        "readings_per_s": site.readings_per_s,
    }


def _gpus(site: Site, source: Source) -> int:
    ranges = (site.units[site.assets[asset].unit].gpu_range[asset] for asset in source.assets)
    return sum(high - low for low, high in ranges)


def _point_rate(site: Site, source: Source) -> float:
    return sum(1e9 / point.period_ns for point in site.points.values() if point.source == source.id)


def _print(site_dir: Path, site: Site, program: Program | None) -> None:
    held = holdings(site)
    console = tables.console()
    console.print(
        Text.assemble(
            (printable(site.name), "bold"), printable(f" ({site_dir}), tick {held['tick_ms']:g} ms")
        )
    )
    units = Table("unit", "assets", "points", "GPUs", box=None, pad_edge=False)
    for name, unit in held["units"].items():
        units.add_row(name, *(f"{unit[key]:,}" for key in ("assets", "points", "gpus")))
    units.add_row("in all", f"{len(site.assets):,}", f"{held['points']:,}", f"{held['gpus']:,}", style="bold")
    sources = Table("source", "kind", "points", "GPUs", "readings/s", box=None, pad_edge=False)
    sources.add_column("endpoint", overflow="fold")
    for name, source in held["sources"].items():
        counts = (f"{source[key]:,.0f}" for key in ("points", "gpus", "readings_per_s"))
        sources.add_row(name, source["kind"], *counts, printable(source["endpoint"]))
    sources.add_row(
        "in all",
        "",
        f"{held['points']:,}",
        f"{held['gpus']:,}",
        f"{held['readings_per_s']:,.0f}",
        style="bold",
    )
    for table in (units, sources):
        console.print()
        console.print(table)
    console.print()
    console.print(f"assets     {_counts(held['assets'])}", soft_wrap=True)
    console.print(f"actuators  {_counts(held['actuators'])}", soft_wrap=True)
    if program is not None:
        names = ", ".join(rule.id for rule in program.rules)
        console.print(
            f"rules      {len(program.rules)}: {names}" if names else "rules      none", soft_wrap=True
        )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
