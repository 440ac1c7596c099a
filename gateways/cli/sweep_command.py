"""`headrace sweep`: its options. The work is in the modules that it imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateways.cli.arguments import (
    FromOption,
    JobsOption,
    JsonOption,
    OtherRulesOption,
    OtherSiteOption,
    RecordingsArgument,
    ToOption,
)


def sweep(
    rule: Annotated[str, typer.Argument(help="The rule to vary, by its id.", metavar="RULE")],
    recordings: RecordingsArgument,
    param: Annotated[
        list[str] | None,
        typer.Option(
            help="A parameter of the rule and its values: limit=78..88/2 or 'on_delay=1,2,5 s'. Repeatable.",
            metavar="NAME=VALUES",
        ),
    ] = None,
    incidents: Annotated[
        str | None,
        typer.Option(help="Known incidents to detect: FILE.csv, FILE.json or FILE.json#KEY.", metavar="FILE"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Detect the alarms of this rule; of RULE itself as it is, if nothing else is named.",
            metavar="RULE",
        ),
    ] = None,
    begin: FromOption = None,
    end: ToOption = None,
    rules: OtherRulesOption = None,
    site: OtherSiteOption = None,
    max_candidates: Annotated[int, typer.Option(help="More than so many are refused.", min=1)] = 200,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A page (HTML) with the plot.", metavar="FILE")
    ] = None,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try other values of a rule on a recording: what each detects, against its nuisance alarms."""
    from gateways.cli.sweep import Asked, sweep_rule

    asked = Asked(param or (), site, rules, incidents, reference, max_candidates, output, begin, end, jobs)
    raise typer.Exit(sweep_rule(rule, recordings, asked, as_json))
