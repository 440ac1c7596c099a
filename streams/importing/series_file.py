"""Files that hold one series after the other (a time column and a value column each): to rows.

Rule: nothing of such a file has a line; its place in a report is the number of the series, counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.rows import Row
from streams.importing.samples import Samples
from streams.importing.times import in_range


class PromSeries(NamedTuple):
    """One series of Prometheus: `labels` with `__name__`; `samples` of ms since 1970 and value."""

    labels: Mapping[str, str]
    samples: Iterable[tuple[int, float]]


def rows_of_series(
    path: Path, found: Iterable[PromSeries | None], plan: ImportMap, report: ImportReport
) -> Iterator[Row]:
    """A row a sample, one series after the other. A sample that is no number is not available (stale marks).

    None in `found` is a series that was rejected already.
    """
    samples = Samples(path, plan, report)
    for number, one in enumerate(found, 1):
        if one is None:
            continue
        labels = {key: value for key, value in one.labels.items() if key != "__name__"}
        name = one.labels.get("__name__", "")
        try:
            series, cells = samples.find(name, labels)
        except ValueError as error:
            said = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
            report.reject(path.name, number, "", f"{name}{{{said}}}: {error}")
            continue
        if not cells:
            report.left_out[name] += sum(1 for _ in one.samples)
            continue
        for time_ms, value in one.samples:
            try:
                time_ns = in_range(time_ms * 1_000_000, str(time_ms))
            except ValueError as error:
                report.reject(path.name, number, name, str(error))
                continue
            yield Row(time_ns, series, cells, samples.values(cells, value))
