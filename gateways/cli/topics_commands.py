"""`headrace topics …`: options. The work is in `topics`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gateways.cli.arguments import DEMO_SITE, BootstrapOption, JsonOption, SiteArgument

topics_app = typer.Typer(help="Topics of the broker, and who needs which rights there.", no_args_is_help=True)


@topics_app.command("check")
def check(
    site: SiteArgument = DEMO_SITE, bootstrap: BootstrapOption = None, as_json: JsonOption = False
) -> None:
    """Say what about the topics of the broker is not as it should be, and what to do about it."""
    from gateways.cli.topics import check as run

    raise typer.Exit(run(site, bootstrap, as_json))


@topics_app.command("apply")
def apply(
    site: SiteArgument = DEMO_SITE,
    bootstrap: BootstrapOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Create topics that are missing, and alter settings that differ; nothing is ever deleted or repartitioned."""
    from gateways.cli.topics import apply as run

    raise typer.Exit(run(site, bootstrap, dry_run, as_json))


@topics_app.command("acl")
def acl(
    prefix: Annotated[
        str, typer.Option(help="Of the name of each role's user at the broker.", metavar="TEXT")
    ] = "headrace-",
    form: Annotated[
        Literal["table", "kafka-acls"],
        typer.Option("--format", help="kafka-acls: the arguments of kafka-acls.sh, a line each."),
    ] = "table",
    as_json: JsonOption = False,
) -> None:
    """List the rights that each role needs at the broker: no more than these."""
    from gateways.cli.topics import show_acls

    raise typer.Exit(show_acls(prefix, form, as_json))
