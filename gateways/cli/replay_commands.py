"""`headrace replay` and `headrace recording …`: their options. The work is in `replay.py` and `recordings.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

recording_app = typer.Typer(help="Look into recordings and make copies of them.", no_args_is_help=True)

RecordingArgument = Annotated[Path, typer.Argument(help="A recording (MCAP).", metavar="REC")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def replay(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings (MCAP), in order.", metavar="REC…")],
    rules: Annotated[
        Path | None, typer.Option(help="Other rules than the recorded ones: a folder or file.", metavar="DIR")
    ] = None,
    site: Annotated[
        Path | None, typer.Option(help="Another site than the recorded one.", metavar="SITE")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare with the outputs that the recording holds.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Run a recording through the same engine again, and show its alarms and commands."""
    from gateways.cli.replay import replay_recordings

    raise typer.Exit(replay_recordings(recordings, site, rules, verify, as_json))


@recording_app.command("info")
def info(recording: RecordingArgument, as_json: JsonOption = False) -> None:
    """Say what a recording holds, and what is missing from it."""
    from gateways.cli.recordings import show

    raise typer.Exit(show(recording, as_json))


@recording_app.command("check")
def check(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings (MCAP), in order.", metavar="REC…")],
    as_json: JsonOption = False,
) -> None:
    """Say whether recordings are whole: framing, checksums, index, attachments, offsets and sequences."""
    from gateways.cli.recordings import check as run_check

    raise typer.Exit(run_check(recordings, as_json))


@recording_app.command("strip")
def strip(
    recording: RecordingArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The copy to write.")],
    topics: Annotated[
        str, typer.Option(help="Topics to leave out, separated by commas.")
    ] = "alarms,commands,journal,snapshots,dead-letters",
    as_json: JsonOption = False,
) -> None:
    """Copy a recording without some topics: without its outputs, a replay has to make them again."""
    from gateways.cli.recordings import strip as run_strip

    raise typer.Exit(run_strip(recording, output, topics, as_json))
