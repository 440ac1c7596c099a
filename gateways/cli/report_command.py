"""`headrace report …`: their options. The work is in the modules that they import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateways.cli.arguments import FromOption, JsonOption, RecordingsArgument, ToOption, UnitsOption

report_app = typer.Typer(help="Figures for people who answer for the plant.", no_args_is_help=True)


@report_app.callback()
def report() -> None:
    """Figures for people who answer for the plant."""


@report_app.command()
def alarms(
    recordings: RecordingsArgument,
    begin: FromOption = None,
    end: ToOption = None,
    unit: UnitsOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A page (HTML) with the plot.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Figures of alarm management by ISA-18.2 and EEMUA 191, unit by unit, beside their targets."""
    from gateways.cli.report_alarms import Asked, report_alarms

    raise typer.Exit(report_alarms(recordings, Asked(begin, end, unit or (), output), as_json))
