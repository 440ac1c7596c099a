"""`headrace subscriptions …`: options. The work is in `subscriptions`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateways.cli.alarm_commands import SiteOption
from gateways.cli.arguments import DEMO_SITE, BootstrapOption, JsonOption, SiteArgument

subscriptions_app = typer.Typer(
    help="Who is told of which alarms, and whether it arrives.", no_args_is_help=True
)


@subscriptions_app.command("list")
def list_(site: SiteArgument = DEMO_SITE, as_json: JsonOption = False) -> None:
    """Who is told what, over which channels."""
    from gateways.cli.subscriptions import list_subscriptions

    raise typer.Exit(list_subscriptions(site, as_json))


@subscriptions_app.command("check")
def check(site: SiteArgument = DEMO_SITE, as_json: JsonOption = False) -> None:
    """Say everything that is wrong with subscriptions.yaml, secrets that are not there included."""
    from gateways.cli.subscriptions import check_subscriptions

    raise typer.Exit(check_subscriptions(site, as_json))


@subscriptions_app.command("test")
def trial(
    name: Annotated[str, typer.Argument(help="The subscription.", metavar="NAME")],
    site: SiteOption = DEMO_SITE,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a trial over every channel of a subscription, its escalation's and fallbacks included."""
    from gateways.cli.subscriptions import try_subscription

    raise typer.Exit(try_subscription(site, name, bootstrap, as_json))


@subscriptions_app.command("status")
def status(
    site: SiteArgument = DEMO_SITE, bootstrap: BootstrapOption = None, as_json: JsonOption = False
) -> None:
    """What waits for whom, the last success and the last error of each."""
    from gateways.cli.subscription_status import show_status

    raise typer.Exit(show_status(site, bootstrap, as_json))
