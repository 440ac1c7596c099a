"""A file to its rows, by the format that the map names.

Rules: one row at a time where the file has the oldest row first; other orders are held in memory (`row_store`) and
sorted, rows of one time in the file's order. What can't be read is rejected with its place and reason, and costs
nothing else. A reader is imported when a map asks for it: pyarrow and protobuf are slow to load.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from streams.importing.lines import Progress
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.row_store import in_order
from streams.importing.rows import Row


def read_rows(
    path: Path, number: int, plan: ImportMap, report: ImportReport, progress: Progress
) -> Iterator[Row]:
    """The rows of one file, oldest first as far as the map's `order` says so. `number`: its place in the call.

    Raises ConfigurationError when the file can't be opened or its head doesn't fit the map.
    """
    report.files.append(path.name)
    rows = _rows_of(path, number, plan, report, progress)
    return rows if plan.order == "oldest first" else in_order(rows, plan.order == "newest first")


def _rows_of(
    path: Path, number: int, plan: ImportMap, report: ImportReport, progress: Progress
) -> Iterator[Row]:
    if plan.format in ("csv", "tsv"):
        from streams.importing.tables import read_table

        return read_table(path, plan, report, progress)
    if plan.format == "parquet":
        from streams.importing.parquet import read_parquet

        return read_parquet(path, plan, report, progress)
    if plan.format == "influx":
        from streams.importing.influx import read_influx

        return read_influx(path, plan, report, progress)
    if plan.format == "prometheus-json":
        from streams.importing.prometheus_json import read_json

        return read_json(path, plan, report, progress)
    if plan.format == "remote-read":
        from streams.importing.remote_read import read_remote

        return read_remote(path, plan, report, progress)
    from streams.importing.prometheus_text import read_samples, read_snapshot

    if plan.snapshots is not None:
        return read_snapshot(path, number, plan, report, progress)
    return read_samples(path, plan, report, progress)
