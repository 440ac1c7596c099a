"""Arguments and options that mean the same in several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEMO_SITE = Path("examples/narvik")
SMALL_SITE = Path("examples/narvik-small")
FULL_SITE = Path("examples/narvik-full")

SiteArgument = Annotated[
    Path, typer.Argument(help="Folder of the site (with site.yaml).", metavar="SITE", show_default=True)
]
RecordingsArgument = Annotated[
    list[Path],
    typer.Argument(help="Recordings, or folders of segments, in order.", metavar="REC…"),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Event time, seconds from the beginning, or an alarm's id: 10 s before it was raised.",
        metavar="T",
    ),
]
ToOption = Annotated[
    str | None, typer.Option("--to", help="As --from; of an alarm when it cleared.", metavar="T")
]
UnitsOption = Annotated[list[str] | None, typer.Option("--unit", help="Only this unit; repeatable.")]
BootstrapOption = Annotated[str | None, typer.Option(help="host:port of the broker.", metavar="ADDRESS")]
RulesOption = Annotated[
    Path | None,
    typer.Option("--rules", help="Rule files, a folder or file, in place of the site's own.", metavar="DIR"),
]
OtherRulesOption = Annotated[
    Path | None,
    typer.Option("--rules", help="Other rules than the recorded ones: a folder or file.", metavar="DIR"),
]
OtherSiteOption = Annotated[
    Path | None, typer.Option("--site", help="Another site than the recorded one.", metavar="SITE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object (or JSON lines) on stdout.")]
NewKeyOption = Annotated[
    Path,
    typer.Option("--output", "-o", help="The private key; the public one becomes FILE.pub.", metavar="FILE"),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        help="Processes that share the units; of itself one for each usable core, and one for a small recording.",
        min=1,
        show_default=False,
    ),
]
