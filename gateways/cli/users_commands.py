"""`headrace users …`: options. The work is in `users`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateways.cli.alarm_commands import KeyOption, SiteOption
from gateways.cli.arguments import DEMO_SITE, BootstrapOption, JsonOption, NewKeyOption, SiteArgument

RoleName = Literal["viewer", "operator", "engineer", "admin"]

users_app = typer.Typer(help="Who may do what at a site.", no_args_is_help=True)


@users_app.command("init")
def init(
    site: SiteArgument = DEMO_SITE,
    name: Annotated[str | None, typer.Option(help="The first admin; else the name of the account.")] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Their key, made where it is not there; else ~/.config/headrace/key.pem.", metavar="FILE"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Begin a users.yaml, with an admin and their key."""
    from gateways.cli.users import init as run

    raise typer.Exit(run(site, name, key, as_json))


@users_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Of a person, or of an edge such as scada.", metavar="NAME")],
    role: Annotated[RoleName, typer.Option(help="What they may do.")],
    public_key: Annotated[
        list[Path] | None, typer.Option(help="A public key (PEM). Repeatable.", metavar="FILE")
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(help="The certificate of their OPC UA client (DER or PEM). Repeatable.", metavar="FILE"),
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password, or read it on stdin.")
    ] = False,
    login: Annotated[str, typer.Option(help="What the proxy (OIDC) calls them.", metavar="TEXT")] = "",
    speaks_for: Annotated[
        list[str] | None,
        typer.Option(
            help="Of an edge: 'all', or a user whose actions it may sign. Repeatable.", metavar="NAME"
        ),
    ] = None,
    site: SiteOption = DEMO_SITE,
    as_json: JsonOption = False,
) -> None:
    """Add a user to users.yaml."""
    from gateways.cli.users import NewUser
    from gateways.cli.users import add as run

    user = NewUser(name, role, public_key or [], certificate or [], login, speaks_for or [])
    raise typer.Exit(run(site, user, password, as_json))


@users_app.command("list")
def list_users(site: SiteArgument = DEMO_SITE, as_json: JsonOption = False) -> None:
    """Show the users of users.yaml."""
    from gateways.cli.users import list_users as run

    raise typer.Exit(run(site, as_json))


@users_app.command("key")
def key(output: NewKeyOption, as_json: JsonOption = False) -> None:
    """Make a key with which a person or an edge signs."""
    from gateways.cli.users import new_key

    raise typer.Exit(new_key(output, as_json))


@users_app.command("hash-password")
def hash_password(as_json: JsonOption = False) -> None:
    """Print the hash of a password that is typed, or comes on stdin."""
    from gateways.cli.users import hash_password as run

    raise typer.Exit(run(as_json))


@users_app.command("apply")
def apply(
    site: SiteArgument = DEMO_SITE,
    key: KeyOption = None,
    by: Annotated[
        str | None, typer.Option(help="Whose the key is, where users.yaml does not have it.", metavar="NAME")
    ] = None,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """The users of users.yaml rule the running site from now on."""
    from gateways.cli.users import apply as run

    raise typer.Exit(run(site, key, by, bootstrap, as_json))
