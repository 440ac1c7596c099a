"""`headrace import`: files of others to a recording, with a progress bar and a closing report.

Rules: exit code 0 when every row and cell was read, 1 when some were rejected; what could be read is in the
recording either way.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from streams.importing.report import ImportReport
from streams.importing.run import import_recording
from streams.times import iso_utc

SHOWN = 20
"""So many gaps and rejected lines are shown; `--json` has them all."""


def import_files(files: list[Path], map_file: Path, output: Path, as_json: bool) -> int:
    """Import and report; 0, or 1 when something was rejected. Raises ConfigurationError: nothing is written."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    total = sum(file.stat().st_size for file in files if file.is_file())
    with Progress(
        TextColumn("importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("import", total=total)
        report = import_recording(files, map_file, output, lambda size: bar.advance(task, size))
    if as_json:
        sys.stdout.write(orjson.dumps({"recording": str(output), **report.as_dict()}).decode() + "\n")
    else:
        _print(report, output)
    return 1 if report.rejected else 0


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
    for gap in report.gaps[:SHOWN]:
        series = f"{gap.series}: " if gap.series else ""
        console.print(
            f"gap: {series}{iso_utc(gap.from_ns)} to {iso_utc(gap.to_ns)}, about {gap.readings:,} readings",
            highlight=False,
            markup=False,
        )
    for one in report.rejections[:SHOWN]:
        column = f", column {one.column}" if one.column else ""
        console.print(f"rejected: {one.file}:{one.line}{column}: {one.reason}", highlight=False, markup=False)
    for count, what in ((len(report.gaps), "gaps"), (report.rejected, "rejected rows and cells")):
        if count > SHOWN:
            console.print(f"{count - SHOWN:,} more {what}: --json lists them")
