"""`headrace`: one command, a subcommand for each job.

Rules: modules of the plant are imported inside the commands, never here. Data goes to stdout, words to stderr.
Exit codes: 0 fine, 1 the answer is no, 2 the input or the call is wrong, 3 something outside can't be reached,
130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from gateways.cli import alarm_commands
from gateways.cli.alarm_commands import ByOption, KeyOption
from gateways.cli.arguments import DEMO_SITE, BootstrapOption, JsonOption, RulesOption, SiteArgument
from gateways.cli.bench_commands import bench_app
from gateways.cli.certs_commands import certs_app
from gateways.cli.journal_commands import journal_app
from gateways.cli.replay_commands import recording_app, replay
from gateways.cli.report_command import report_app
from gateways.cli.subscription_commands import subscriptions_app
from gateways.cli.sweep_command import sweep
from gateways.cli.topics_commands import topics_app
from gateways.cli.users_commands import users_app
from gateways.printable import printable_lines
from rules.errors import ConfigurationError, HeadraceError, UnreachableError
from rules.findings import Finding

app = typer.Typer(
    name="headrace",
    help="Watch and steer a hydro-powered, liquid-cooled AI data centre; run any recorded hour again.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("headrace"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end."),
    ] = False,
) -> None:
    """Those before a command."""


@app.command()
def up(
    site: SiteArgument = DEMO_SITE,
    duration: Annotated[
        str | None,
        typer.Option("--for", help="Stop after this long, for example 40s or 5min.", metavar="TIME"),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Inject a fault of the plant, for example pump_trip@10s. Repeatable.", metavar="NAME@TIME"
        ),
    ] = None,
    kill: Annotated[
        list[str] | None,
        typer.Option(help="kill -9 a role, for example worker@15s. Repeatable.", metavar="ROLE@TIME"),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record the whole log: a file (NAME.mcap), or a folder of segments.")
    ] = None,
    monitor_only: Annotated[
        bool, typer.Option("--monitor-only", help="Raise alarms, but let nothing act: the comparison.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulated plant.", min=0)] = 1,
    plc: Annotated[
        bool, typer.Option("--plc/--no-plc", help="The plant's own hard-wired protections.")
    ] = True,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Use any free ports instead of the configured ones.")
    ] = False,
    bootstrap: BootstrapOption = None,
    crash: Annotated[
        list[str] | None,
        typer.Option(
            help="Crash the worker inside, for example snapshot:3 (tests).", metavar="POINT:N", hidden=True
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start everything on this machine: broker, simulated plant, gateways, worker, actuators; and watch it."""
    from gateways.up.command import UpRequest, run_up

    raise typer.Exit(
        run_up(
            UpRequest(
                site=site,
                duration=duration,
                faults=tuple(fault or ()),
                kills=tuple(kill or ()),
                record=record,
                monitor_only=monitor_only,
                seed=seed,
                plc=plc,
                free_ports=free_ports,
                bootstrap=bootstrap,
                crashes=tuple(crash or ()),
                as_json=as_json,
            )
        )
    )


@app.command()
def run(
    role: Annotated[
        str,
        typer.Argument(help="plant, opcua, nvml, ticker, worker, actuators, recorder, scada or alerts."),
    ],
    site: SiteArgument = DEMO_SITE,
    name: Annotated[str | None, typer.Option(help="Name of this instance; the role's when left out.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the role. Repeatable.", metavar="KEY=VALUE")
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Of the log on stderr, in place of the setting: lines for people, or JSON lines."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The role's status once a second, as JSON lines on stdout.")
    ] = False,
) -> None:
    """Run one role in the foreground: what production runs, one process a role."""
    from gateways.cli.run_role import run_role

    raise typer.Exit(run_role(role, site, name or role, option or [], as_json, log_format))


@app.command()
def broker(
    port: Annotated[
        int | None,
        typer.Option(
            help="Of 127.0.0.1; that of HEADRACE_BROKER__BOOTSTRAP when left out.", min=1, max=65_535
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start the embedded broker alone, with an empty log in memory, until Ctrl-C: where there is no Kafka."""
    from gateways.cli.broker import run_broker

    raise typer.Exit(run_broker(port, as_json))


@app.command()
def check(site: SiteArgument = DEMO_SITE, as_json: JsonOption = False) -> None:
    """Say what the site holds, and everything that is wrong with its files and the environment's settings."""
    from gateways.cli.check import check as run_check

    raise typer.Exit(run_check(site, as_json))


@app.command()
def sim(
    site: SiteArgument = DEMO_SITE,
    seed: Annotated[int, typer.Option(help="Everything random comes from it.", min=0)] = 1,
    hours: Annotated[float, typer.Option(help="How long, in simulated time.")] = 1 / 6,
    seeds: Annotated[int, typer.Option(help="How many seeds, from --seed on.")] = 1,
    troubles: Annotated[
        str | None,
        typer.Option(help="These in place of those of the seed, as a run prints them; '' for none."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes that share the seeds.")] = 1,
    reduce: Annotated[
        bool, typer.Option("--reduce", help="Where a seed fails, look for fewer troubles that do it.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Show what the roles log, on stderr.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run everything in one process on virtual time while things go wrong, and check what must hold: docs/sim.md."""
    from gateways.cli.sim import SimRequest
    from gateways.cli.sim import sim as run_sim

    raise typer.Exit(run_sim(SimRequest(site, seed, hours, seeds, jobs, troubles, reduce, log, as_json)))


@app.command(name="test")
def scenarios(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Site folders, or scenario files below one.", metavar="PATH…")
    ] = None,
    rules: RulesOption = None,
    with_coverage: Annotated[
        bool,
        typer.Option("--coverage", help="Name the rules that no scenario raises, or lets pass by a little."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the scenarios of a site's rules: signals over time, and the alarms that they must and must not raise."""
    from gateways.cli.test_rules import test_rules

    raise typer.Exit(test_rules(paths or [DEMO_SITE], rules, with_coverage, as_json))


@app.command(name="import")
def import_(
    files: Annotated[
        list[str],
        typer.Argument(help="Files of one format, or a historian: opc.tcp://HOST:PORT.", metavar="FILE…"),
    ],
    map_file: Annotated[Path | None, typer.Option("--map", help="Map file: what the columns mean.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The recording to write (MCAP); with --guess the map file."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Of a historian: ISO 8601, UTC where no zone is said.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Of a historian; now where left out.")] = None,
    guess: Annotated[
        bool, typer.Option("--guess", help="Write a map from the head of FILE, for a person to check.")
    ] = False,
    site: Annotated[Path | None, typer.Option(help="With --guess: whose points the columns are.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn recorded data of others into a recording that replay reads."""
    from gateways.cli.import_ import ImportCall, run_import

    raise typer.Exit(run_import(ImportCall(files, map_file, output, start, end, guess, site), as_json))


@app.command()
def record(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A recording (NAME.mcap), or a folder of segments.")
    ],
    site: SiteArgument = DEMO_SITE,
    duration: Annotated[
        str | None, typer.Option("--for", help="Stop after this long; else at Ctrl-C.", metavar="TIME")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record every topic of a running site."""
    from gateways.cli.record import record as run_record

    raise typer.Exit(run_record(site, output, duration, as_json))


@app.command()
def activate(
    site: SiteArgument = DEMO_SITE,
    rules: RulesOption = None,
    within: Annotated[
        str, typer.Option(help="How long the workers may take to get ready.", metavar="TIME")
    ] = "60s",
    by: ByOption = None,
    key: KeyOption = None,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the rules of the site's files rule the running site, from now on: alarms of rules that are the same go on."""
    from gateways.access.signing import Who
    from gateways.cli.activate import activate_rules

    raise typer.Exit(activate_rules(site, rules, Who(by, key), within, bootstrap, as_json))


@app.command()
def migrate(
    site: SiteArgument = DEMO_SITE,
    check: Annotated[
        bool, typer.Option("--check", help="Say what this version could not read; change nothing.")
    ] = False,
    bootstrap: BootstrapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Before an upgrade or a roll back: can this version go on with what is on the log and on the disk?"""
    from gateways.cli.migrate import check_migration

    if not check:
        raise typer.BadParameter(
            "there is nothing to migrate by hand: roles do it when they start; say --check"
        )
    raise typer.Exit(check_migration(site, bootstrap, as_json))


@app.command()
def doctor(
    site: SiteArgument = DEMO_SITE, bootstrap: BootstrapOption = None, as_json: JsonOption = False
) -> None:
    """Say what of machine, ports, broker, site and sources is in order, and what to do about the rest."""
    from gateways.cli.doctor import examine

    raise typer.Exit(examine(site, bootstrap, as_json))


docs_app = typer.Typer(help="Pages made from the site's own files.", no_args_is_help=True)
app.add_typer(docs_app, name="docs")


@docs_app.command("rules")
def docs_rules(
    site: SiteArgument = DEMO_SITE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the page to this file instead of stdout.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Alarm response sheets from the rule files: condition, cause, response and action of each alarm."""
    from gateways.cli.docs import docs_rules as run_docs_rules

    raise typer.Exit(run_docs_rules(site, output, as_json))


@docs_app.command("asyncapi")
def docs_asyncapi(
    site: SiteArgument = DEMO_SITE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this file instead of stdout.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What others may read (every topic, webhooks, streams), as an AsyncAPI 3 document with JSON schemas."""
    from gateways.cli.docs import docs_asyncapi as run_docs_asyncapi

    raise typer.Exit(run_docs_asyncapi(site, output))


alarm_commands.register(app)
app.command()(replay)
app.command()(sweep)
app.add_typer(recording_app, name="recording")
app.add_typer(report_app, name="report")
app.add_typer(journal_app, name="journal")
app.add_typer(users_app, name="users")
app.add_typer(topics_app, name="topics")
app.add_typer(certs_app, name="certs")
app.add_typer(subscriptions_app, name="subscriptions")
app.add_typer(bench_app, name="bench")


def run_app(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code; what went wrong is said on stderr, without a traceback.

    With `--json` among the arguments, an error is one JSON object on stdout too.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # `headrace … | head`: the reader has had enough. What is still buffered goes nowhere, without a word at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(words: list[str]) -> int:
    from gateways.cli.findings import print_findings

    as_json = "--json" in words
    try:
        code = app(words, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except SystemExit:
        # How typer and rich end when the reader has gone: with a code of their own.
        raise BrokenPipeError from None
    except typer.TyperException as error:
        if not error.format_message():  # no command was named: its help has been shown
            return 2
        return _failed(2, f"{error.format_message()} (headrace --help says more)", as_json)
    except ConfigurationError as error:
        print_findings(error.findings)
        if as_json:
            _print_error(2, str(error), error.findings)
        return 2
    except UnreachableError as error:
        return _failed(3, str(error), as_json)
    except HeadraceError as error:
        return _failed(1, str(error), as_json)
    return code if isinstance(code, int) else 0


def _failed(exit_code: int, error: str, as_json: bool) -> int:
    print(printable_lines(f"headrace: {error}"), file=sys.stderr)
    if as_json:
        _print_error(exit_code, error)
    return exit_code


def _print_error(exit_code: int, error: str, findings: Sequence[Finding] = ()) -> None:
    said: dict[str, object] = {"error": error, "exit_code": exit_code}
    if findings:
        said["findings"] = [finding.as_dict() for finding in findings]
    print(json.dumps(said), flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the `headrace` command.

    A command that takes a second to import what it needs ends as orderly in it as later.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    sys.exit(run_app())


if __name__ == "__main__":
    main()
