"""The commands about alarms: `alarms`, `ack`, `reset`, `shelve`, `unshelve`, `comment`, and out of and into service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from gateways.cli.arguments import DEMO_SITE, BootstrapOption, JsonOption, SiteArgument
from rules.engine.inputs import ActionKind

AlarmsArgument = Annotated[
    list[str],
    typer.Argument(help="unit:rule:asset, or a pattern such as 'row-a:gpu-*:R01-*'.", metavar="ALARM…"),
]
SiteOption = Annotated[
    Path, typer.Option("--site", help="Folder of the site (with site.yaml).", metavar="SITE")
]
ByOption = Annotated[
    str | None,
    typer.Option(help="Who acts; else the owner of the key, or the account.", metavar="NAME"),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="Private key that signs; else HEADRACE_KEY (its text), or ~/.config/headrace/key.pem.",
        metavar="FILE",
        show_default=False,
    ),
]
CommentOption = Annotated[str, typer.Option("--comment", help="A word for the journal.", metavar="TEXT")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the journal.", metavar="TEXT")]
ForOption = Annotated[str, typer.Option("--for", help="How long, such as 30min or 2h.", metavar="TIME")]


def alarms(
    site: SiteArgument = DEMO_SITE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on and print each transition.")] = False,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the alarms of a running site."""
    from gateways.cli.alarms import show_alarms

    raise typer.Exit(show_alarms(site, follow, bootstrap, as_json))


def shelve(
    names: AlarmsArgument,
    why: WhyOption,
    length: ForOption,
    one_shot: Annotated[bool, typer.Option("--one-shot", help="Until the condition returns, too.")] = False,
    site: SiteOption = DEMO_SITE,
    by: ByOption = None,
    key: KeyOption = None,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do not hear alarms for a while."""
    _act("shelve", names, site, by, key, bootstrap, as_json, why, length, one_shot)


def out_of_service(
    names: AlarmsArgument,
    why: WhyOption,
    length: ForOption,
    site: SiteOption = DEMO_SITE,
    by: ByOption = None,
    key: KeyOption = None,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take alarms out of service while their sensor or equipment is worked on."""
    _act("remove-from-service", names, site, by, key, bootstrap, as_json, why, length)


def comment(
    names: AlarmsArgument,
    text: Annotated[str, typer.Option("--text", help="The comment.", metavar="TEXT")],
    site: SiteOption = DEMO_SITE,
    by: ByOption = None,
    key: KeyOption = None,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a comment on alarms, for whoever looks at them next."""
    _act("comment", names, site, by, key, bootstrap, as_json, text)


def _at_once(kind: ActionKind) -> Callable[..., None]:
    """The command of an action that needs nothing but the names of alarms."""

    def command(
        names: AlarmsArgument,
        site: SiteOption = DEMO_SITE,
        comment: CommentOption = "",
        by: ByOption = None,
        key: KeyOption = None,
        bootstrap: BootstrapOption = None,
        as_json: JsonOption = False,
    ) -> None:
        _act(kind, names, site, by, key, bootstrap, as_json, comment)

    return command


_AT_ONCE: Final[Mapping[str, tuple[ActionKind, str]]] = {
    "ack": ("acknowledge", "Acknowledge alarms: somebody has seen them."),
    "confirm": ("confirm", "Confirm acknowledged alarms: what there was to do is done."),
    "reset": ("reset", "Reset latched alarms that are over and acknowledged."),
    "unshelve": ("unshelve", "Hear shelved alarms again: what is true rises at once."),
    "in-service": ("return-to-service", "Put alarms back into service: what is true rises at once."),
}


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command()(alarms)
    for name, (kind, text) in _AT_ONCE.items():
        app.command(name, help=text)(_at_once(kind))
    for command in (shelve, out_of_service, comment):
        app.command()(command)


def _act(
    kind: ActionKind,
    names: list[str],
    site: Path,
    by: str | None,
    key: Path | None,
    bootstrap: str | None,
    as_json: bool,
    comment: str,
    length: str | None = None,
    one_shot: bool = False,
) -> None:
    from gateways.access.signing import Who
    from gateways.cli.alarm_actions import Asked, act_on, time_ns

    for_ns = 0 if length is None else time_ns(length, "--for")
    asked = Asked(names, kind, comment, for_ns, one_shot)
    raise typer.Exit(act_on(site, asked, Who(by, key), bootstrap, as_json))
