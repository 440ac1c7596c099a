"""`headrace certs …`: options. The work is in `certs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateways.cli.arguments import DEMO_SITE, JsonOption, SiteArgument

Whose = Literal["gateway", "scada"]
WhoseOption = Annotated[
    Whose, typer.Option("--for", help="Whose: the gateway's (a client), or the SCADA server's.")
]
DaysOption = Annotated[int, typer.Option(help="How long a new one is valid.", min=1, max=3650)]
OrganisationOption = Annotated[str, typer.Option(help="In the subject.", metavar="TEXT")]
ThumbprintArgument = Annotated[
    str, typer.Argument(help="How its thumbprint (SHA-256, hex) begins.", metavar="THUMBPRINT")
]

certs_app = typer.Typer(help="Certificates of OPC UA, and whom they are trusted from.", no_args_is_help=True)


@certs_app.command("make")
def make(
    site: SiteArgument = DEMO_SITE,
    whose: WhoseOption = "gateway",
    days: DaysOption = 365,
    organisation: OrganisationOption = "Headrace",
    as_json: JsonOption = False,
) -> None:
    """Make a key and a certificate where there are none."""
    from gateways.cli.certs import make as run

    raise typer.Exit(run(site, whose, days, organisation, as_json))


@certs_app.command("rotate")
def rotate(
    site: SiteArgument = DEMO_SITE,
    whose: WhoseOption = "gateway",
    days: DaysOption = 365,
    organisation: OrganisationOption = "Headrace",
    as_json: JsonOption = False,
) -> None:
    """A new key and a new certificate; the old ones stay beside them as .old."""
    from gateways.cli.certs import rotate as run

    raise typer.Exit(run(site, whose, days, organisation, as_json))


@certs_app.command("list")
def list_(site: SiteArgument = DEMO_SITE, as_json: JsonOption = False) -> None:
    """Own, trusted and rejected certificates."""
    from gateways.cli.certs import list_certificates

    raise typer.Exit(list_certificates(site, as_json))


@certs_app.command("trust")
def trust(
    site: SiteArgument,
    thumbprint: Annotated[
        str, typer.Argument(help="Of a rejected one: how its thumbprint begins.", metavar="[THUMBPRINT]")
    ] = "",
    file: Annotated[
        Path | None, typer.Option(help="A certificate (DER or PEM) from elsewhere.", metavar="FILE")
    ] = None,
    whose: WhoseOption = "scada",
    source: Annotated[
        str, typer.Option(help="With --file and --for gateway: the source whose server it is.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Trust a certificate that was rejected, or one of a file."""
    from gateways.cli.certs import trust as run

    raise typer.Exit(run(site, whose, thumbprint, file, source, as_json))


@certs_app.command("distrust")
def distrust(
    site: SiteArgument,
    thumbprint: ThumbprintArgument,
    whose: WhoseOption = "scada",
    as_json: JsonOption = False,
) -> None:
    """Trust one no longer: it goes to the rejected ones."""
    from gateways.cli.certs import distrust as run

    raise typer.Exit(run(site, whose, thumbprint, as_json))


@certs_app.command("check")
def check(
    site: SiteArgument = DEMO_SITE,
    days: Annotated[int, typer.Option(help="Say what expires within so many days.", min=0)] = 30,
    as_json: JsonOption = False,
) -> None:
    """Whether certificates are valid and of their keys, and keys are nobody else's to read; 1 when not."""
    from gateways.cli.certs import check as run

    raise typer.Exit(run(site, days, as_json))
