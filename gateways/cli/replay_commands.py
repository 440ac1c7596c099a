"""`headrace replay` and `headrace recording …`: their options. The work is in the modules that they import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateways.cli.arguments import (
    FromOption,
    JobsOption,
    JsonOption,
    OtherRulesOption,
    OtherSiteOption,
    RecordingsArgument,
    ToOption,
    UnitsOption,
)

recording_app = typer.Typer(help="Look into recordings and make copies of them.", no_args_is_help=True)

RecordingArgument = Annotated[Path, typer.Argument(help="A recording (MCAP).", metavar="REC")]
FolderArgument = Annotated[
    Path, typer.Argument(help="A recording (MCAP), or a folder of segments.", metavar="REC")
]


def replay(
    recordings: RecordingsArgument,
    rules: OtherRulesOption = None,
    site: OtherSiteOption = None,
    begin: FromOption = None,
    end: ToOption = None,
    speed: Annotated[
        str, typer.Option(help="max, or how many times real time, in event time.", metavar="max|N")
    ] = "max",
    unit: UnitsOption = None,
    to_kafka: Annotated[
        str | None,
        typer.Option(help="Feed it into the empty log of this broker instead.", metavar="HOST:PORT"),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare with the outputs that the recording holds.")
    ] = True,
    diff: Annotated[
        str | None,
        typer.Option(
            help="Compare the candidate (--rules, --site) with what was recorded, or with other rules.",
            metavar="recorded|DIR",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --diff: write a page.", metavar="HTML")
    ] = None,
    incidents: Annotated[
        str | None,
        typer.Option(
            help="With --diff: known incidents (CSV or JSON), to score both sides by.", metavar="FILE[#KEY]"
        ),
    ] = None,
    closed_loop: Annotated[
        bool,
        typer.Option(
            "--closed-loop", help="With --diff: both rule sets on a simulated plant that they act on."
        ),
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="With --closed-loop: what disturbs the plant, for example pump_trip@10s. Repeatable.",
            metavar="NAME@TIME",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="With --closed-loop: of the simulated plant.", min=0, show_default="1"),
    ] = None,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recording through the same engine again, and show its alarms and commands; or feed it into a broker."""
    if diff is None and (output is not None or incidents is not None or closed_loop or fault):
        raise typer.BadParameter(
            "--output, --incidents, --closed-loop and --fault are of a comparison: add --diff recorded or DIR"
        )
    if to_kafka is not None and diff is not None:
        raise typer.BadParameter("--to-kafka feeds a broker, --diff compares: leave one out")
    if not verify and (to_kafka is not None or diff is not None):
        raise typer.BadParameter("--no-verify is of a replay alone: leave it out with --diff and --to-kafka")
    if jobs is not None and (to_kafka is not None or diff is not None or speed != "max"):
        raise typer.BadParameter("--diff, --to-kafka and a --speed run in one process: leave --jobs out")
    if seed is not None and not closed_loop:
        raise typer.BadParameter("only a simulated plant has a seed: add --closed-loop to --seed")
    if to_kafka is not None:
        from gateways.cli.replay_to_kafka import replay_to_kafka

        part = begin, end, unit or []
        raise typer.Exit(replay_to_kafka(recordings, to_kafka, part, speed, (rules, site), as_json))
    if diff is not None:
        from gateways.cli.replay_diff import Asked, Loop
        from gateways.cli.replay_diff import diff as run_diff

        if speed != "max":
            raise typer.BadParameter("a comparison runs as fast as it goes: leave --speed out")
        if fault and not closed_loop:
            raise typer.BadParameter("a recorded plant can't be disturbed: add --closed-loop to --fault")
        loop = Loop(tuple(fault or ()), 1 if seed is None else seed) if closed_loop else None
        asked = Asked(site, rules, diff, incidents, output, loop)
        raise typer.Exit(run_diff(recordings, asked, (begin, end, unit or []), as_json))
    from gateways.cli.replay import replay_recordings

    part = begin, end, unit or []
    raise typer.Exit(replay_recordings(recordings, site, rules, verify, as_json, part, speed, jobs))


@recording_app.command("info")
def info(recording: FolderArgument, as_json: JsonOption = False) -> None:
    """Say what a recording holds, and what is missing from it."""
    from gateways.cli.recording_folder import show_folder
    from gateways.cli.recordings import show

    raise typer.Exit((show_folder if recording.is_dir() else show)(recording, as_json))


@recording_app.command("check")
def check(
    recordings: RecordingsArgument,
    as_json: JsonOption = False,
) -> None:
    """Say whether recordings are whole: framing, checksums, index, attachments, offsets and sequences."""
    from gateways.cli.recordings import check as run_check

    raise typer.Exit(run_check(recordings, as_json))


@recording_app.command("strip")
def strip(
    recording: FolderArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The copy to write.")],
    topics: Annotated[
        str, typer.Option(help="Topics to leave out, separated by commas.")
    ] = "alarms,commands,journal,snapshots,dead-letters",
    as_json: JsonOption = False,
) -> None:
    """Copy a recording without some topics: without its outputs, a replay has to make them again."""
    from gateways.cli.recording_copies import strip as run_strip

    raise typer.Exit(run_strip(recording, output, topics, as_json))


@recording_app.command("cut")
def cut(
    recording: FolderArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The part to write.")],
    from_: FromOption = None,
    to: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a while of a recording, with the snapshots and rules that a replay of it needs."""
    from gateways.cli.recording_copies import cut as run_cut

    raise typer.Exit(run_cut(recording, from_, to, output, as_json))


@recording_app.command("merge")
def merge(
    recordings: Annotated[
        list[Path], typer.Argument(help="Recordings of one site, or folders of segments.", metavar="REC…")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recording to write.")],
    as_json: JsonOption = False,
) -> None:
    """Make one recording of several of one log: in its order, and what more than one has only once."""
    from gateways.cli.recording_copies import merge as run_merge

    raise typer.Exit(run_merge(recordings, output, as_json))


@recording_app.command("repair")
def repair(
    recording: RecordingArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The sound copy to write.")],
    as_json: JsonOption = False,
) -> None:
    """Copy what can be read of a damaged recording into a sound file, and say what is lost."""
    from gateways.cli.recording_copies import repair as run_repair

    raise typer.Exit(run_repair(recording, output, as_json))


@recording_app.command("export")
def export(
    recording: FolderArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", metavar="DIR")],
    kind: Annotated[
        Literal["parquet", "csv"], typer.Option("--format", help="What the tables are.")
    ] = "parquet",
    anonymise: Annotated[
        Path | None,
        typer.Option(
            help="Hide the names of hosts behind pseudonyms made with this file's key.", metavar="KEYFILE"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a recording into tables for other tools: readings, frames, alarms, commands, receipts, journal."""
    from gateways.cli.recording_copies import export as run_export

    raise typer.Exit(run_export(recording, output, kind, anonymise, as_json))
