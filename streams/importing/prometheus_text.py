"""Samples in Prometheus and OpenMetrics text: snapshots without times, or a dump whose samples carry them.

Rules: a line at a time, as the parsers themselves stop at the first bad line and name none; the times of the
exposition format are ms, those of OpenMetrics s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streams.importing.lines import Progress, check_length, read_lines
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.rows import Row
from streams.importing.samples import Samples
from streams.importing.times import in_range


def read_samples(path: Path, plan: ImportMap, report: ImportReport, progress: Progress) -> Iterator[Row]:
    """A row a sample. One that carries no time is rejected."""
    samples = Samples(path, plan, report)
    for line, sample, time_ns in _samples(path, plan, report, progress):
        if time_ns is None:
            report.reject(
                path.name, line, sample.name, "no time: name start and step under 'time' in the map"
            )
            continue
        row = samples.row(line, time_ns, sample.name, sample.labels, sample.value)
        if row is not None:
            yield row


def read_snapshot(
    path: Path, number: int, plan: ImportMap, report: ImportReport, progress: Progress
) -> Iterator[Row]:
    """One row per series (and time, where samples carry one); a metric that it lacks is not available."""
    assert plan.snapshots is not None
    snapshot_ns = plan.snapshots.start_ns + number * plan.snapshots.step_ns
    samples = Samples(path, plan, report)
    rows: dict[tuple[int, str], dict[int, float]] = {}
    for line, sample, time_ns in _samples(path, plan, report, progress):
        at_ns = snapshot_ns if time_ns is None else time_ns
        found = samples.row(line, at_ns, sample.name, sample.labels, sample.value)
        if found is None:
            continue
        row = rows.setdefault((at_ns, found.series), {})
        for cell, value in zip(found.cells, found.values, strict=True):
            if cell in row:
                report.reject(path.name, line, sample.name, "a second sample of the same series and time")
            elif value is not None:
                row[cell] = value
    cells = tuple(range(len(plan.columns)))
    for (time_ns, series), values in sorted(rows.items(), key=lambda item: item[0]):
        yield Row(time_ns, series, cells, tuple(values.get(cell, math.nan) for cell in cells))


def _samples(
    path: Path, plan: ImportMap, report: ImportReport, progress: Progress
) -> Iterator[tuple[int, Any, int | None]]:
    """Line, sample (of prometheus_client) and its time, if it has one."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
    from prometheus_client.parser import text_string_to_metric_families as parse_exposition

    is_open = plan.format == "openmetrics"
    parse: Any = parse_openmetrics if is_open else parse_exposition
    for line, text in read_lines(path, plan.encoding, progress):
        if not text.strip():
            report.blank += 1
            continue
        if text.startswith("#"):
            continue
        try:
            check_length(text)
            families = parse(f"{text}\n# EOF\n" if is_open else text)
            (sample,) = (one for family in families for one in family.samples)
        except Exception as error:
            # The parsers index and unpack what a line lacks: what comes back for nonsense is of every kind.
            kind = "OpenMetrics" if is_open else "exposition"
            report.reject(path.name, line, "", f"not in the {kind} format: {error}")
            continue
        try:
            # OpenMetrics' parser gives whole numbers of any length as such.
            sample = sample._replace(value=float(sample.value))
            time_ns = None if sample.timestamp is None else _time_ns(sample.timestamp)
        except (ValueError, OverflowError) as error:
            report.reject(path.name, line, sample.name, str(error))
            continue
        yield line, sample, time_ns


def _time_ns(stamp: Any) -> int:
    """Both parsers give seconds: OpenMetrics' exactly where it can, the exposition's as ms divided by 1000."""
    if hasattr(stamp, "nsec"):
        return in_range(stamp.sec * 1_000_000_000 + stamp.nsec, str(stamp))
    return in_range(round(float(stamp) * 1000) * 1_000_000, str(stamp))
