"""`headrace journal …`: options. The work is in `journal`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateways.cli.arguments import JsonOption, NewKeyOption, RecordingsArgument

journal_app = typer.Typer(help="Verify the journal, and copy it as evidence.", no_args_is_help=True)


@journal_app.command("verify")
def verify(
    journals: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings or folders of segments, in order; exported copies; or the folder of a running site.",
            metavar="REC…|SITE",
        ),
    ],
    public_key: Annotated[
        list[Path] | None,
        typer.Option(help="Heads have to be signed by this key (PEM). Repeatable.", metavar="FILE"),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="host:port of the broker of a running site.", metavar="ADDRESS")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Whether a journal is as it was said: the first record of each unit that was changed, removed or reordered."""
    from gateways.cli.journal import verify as run_verify

    raise typer.Exit(run_verify(journals, public_key or [], bootstrap, as_json))


@journal_app.command("export")
def export(
    recordings: RecordingsArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="NAME.jsonl, .csv or .parquet.", metavar="FILE")
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy the journal of recordings into a file that can be verified anywhere."""
    from gateways.cli.journal import export as run_export

    raise typer.Exit(run_export(recordings, output, as_json))


@journal_app.command("key")
def key(output: NewKeyOption, as_json: JsonOption = False) -> None:
    """Make the key with which a worker signs how far its journal goes."""
    from gateways.cli.journal import new_key

    raise typer.Exit(new_key(output, as_json))
