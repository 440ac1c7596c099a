"""`headrace import`: recorded data of others to a recording, with a progress bar and a closing report.

Rules: exit code 0 when every row and cell was read, 1 when some were rejected; what could be read is in the
recording either way. A historian that is away is exit code 3.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.importing.lines import Progress as Told
from streams.importing.report import ImportReport
from streams.times import iso_utc, time_ns_of

SHOWN = 20
"""So many gaps and rejected lines are shown; `--json` has them all."""
HISTORIAN = "opc.tcp://"


@dataclass(frozen=True, slots=True)
class ImportCall:
    """The words of the command, as they were given."""

    sources: list[str]
    map_file: Path | None
    output: Path | None
    start: str | None
    end: str | None
    guess: bool
    site: Path | None


def run_import(call: ImportCall, as_json: bool) -> int:
    """Import or guess a map; the exit code. Raises ConfigurationError: nothing is written."""
    if call.guess:
        if call.map_file or call.start or call.end:
            raise _wrong_call("--guess writes a map, and imports nothing", "leave --map, --from and --to out")
        from gateways.cli.import_guess import guess_map

        return guess_map(call.sources, call.site, call.output, as_json)
    if call.site is not None:
        raise _wrong_call("--site is of --guess: the map says which site it is", "leave --site out")
    if call.map_file is None or call.output is None:
        lacking = "--map" if call.map_file is None else "-o"
        raise _wrong_call(f"{lacking} is missing", "headrace import FILE… --map MAP -o REC, or --guess FILE")
    if any(source.startswith(HISTORIAN) for source in call.sources):
        report = _import_historian(call, call.map_file, call.output)
    else:
        report = _import_files([Path(source) for source in call.sources], call, call.map_file, call.output)
    if as_json:
        sys.stdout.write(orjson.dumps({"recording": str(call.output), **report.as_dict()}).decode() + "\n")
    else:
        _print(report, call.output)
    return 1 if report.rejected else 0


def _import_files(files: list[Path], call: ImportCall, map_file: Path, output: Path) -> ImportReport:
    from streams.importing.run import import_recording

    if call.start or call.end:
        raise _wrong_call("--from and --to are of a historian", "cut the recording: headrace recording cut")
    total = sum(file.stat().st_size for file in files if file.is_file())
    with _bar(total, in_bytes=True) as told:
        return import_recording(files, map_file, output, told)


def _import_historian(call: ImportCall, map_file: Path, output: Path) -> ImportReport:
    from gateways.opcua.history import Span, read_history
    from streams.importing.map_file import load_map
    from streams.importing.run import write_recording
    from streams.settings import load_settings

    if len(call.sources) != 1 or call.start is None:
        raise _wrong_call(
            "a historian is imported alone, and from a time on", f"{HISTORIAN}HOST:PORT --from TIME"
        )
    try:
        span = Span(time_ns_of(call.start), time_ns_of(call.end) if call.end else time.time_ns())
    except ValueError as error:
        raise _wrong_call(str(error), "") from None
    if not 0 < span.from_ns < span.to_ns:
        raise _wrong_call("--from must lie before --to", "")
    plan, report = load_map(map_file), ImportReport()
    if plan.format != "opcua":
        raise ConfigurationError([Finding(str(map_file), 0, 0, f"a map of format {plan.format} reads files")])
    with _bar(len({column.name for column in plan.columns}), in_bytes=False) as told:
        rows = read_history(call.sources[0], plan, span, load_settings().run_dir, report, told)
        write_recording(plan, map_file, rows, output, report)
    return report


def _wrong_call(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding("headrace import", 0, 0, message, hint)])


@contextmanager
def _bar(total: int, in_bytes: bool) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn("importing"), BarColumn(), DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(), console=console, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("import", total=total)
        yield lambda done: bar.advance(task, done)


def _print(report: ImportReport, output: Path) -> None:
    from rich.table import Table

    from gateways.cli import tables

    console = tables.console()
    table = Table(title=f"{output}", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for name, count in (
        ("rows", report.rows),
        ("readings", report.readings),
        ("not available", report.not_available),
        ("of uncertain or bad status", report.not_good),
        ("gaps", len(report.gaps)),
        ("duplicates", report.duplicates),
        ("  of them with other values", report.conflicting),
        ("out of order", report.out_of_order),
        ("blank lines", report.blank),
        ("rejected rows", report.rejected_rows),
        ("rejected cells", report.rejected - report.rejected_rows),
        ("left out by the map", sum(report.left_out.values())),
    ):
        table.add_row(name, f"{count:,}")
    if report.first_ns is not None and report.last_ns is not None:
        table.add_row("from", iso_utc(report.first_ns))
        table.add_row("to", iso_utc(report.last_ns))
    console.print(table)
    for target in report.silent[:SHOWN]:
        console.print(printable(f"never seen: {target}"))
    for gap in report.gaps[:SHOWN]:
        series = f"{printable(gap.series)}: " if gap.series else ""
        console.print(
            f"gap: {series}{iso_utc(gap.from_ns)} to {iso_utc(gap.to_ns)}, about {gap.readings:,} readings"
        )
    for one in report.rejections[:SHOWN]:
        column = f", column {one.column}" if one.column else ""
        console.print(printable(f"rejected: {one.file}:{one.line}{column}: {one.reason}"))
    for count, what in (
        (len(report.silent), "never seen"),
        (len(report.gaps), "gaps"),
        (report.rejected, "rejected rows and cells"),
    ):
        if count > SHOWN:
            console.print(f"{count - SHOWN:,} more {what}: --json lists them")
