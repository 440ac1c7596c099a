"""Samples that name themselves (metric and labels, measurement and tags, a tag's name): which columns they fill.

Rule: a sample is mapped, or named under `ignored` and counted there, or rejected; never overlooked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from streams.importing.heads import is_ignored, series_named, series_of_file
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.rows import Row

KNOWN_AT_MOST = 100_000
"""So many names with labels are remembered; more of them are no plant, but must not fill the memory."""


class Samples:
    """The columns of one file's samples. Every refusal goes to the report under the sample's place."""

    def __init__(self, path: Path, plan: ImportMap, report: ImportReport) -> None:
        self._file = path.name
        self._plan = plan
        self._report = report
        self._of_file = series_of_file(path, plan)
        self._by_name: dict[str, list[int]] = {}
        for index, column in enumerate(plan.columns):
            self._by_name.setdefault(column.name, []).append(index)
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[str, tuple[int, ...]]] = {}

    def find(self, name: str, labels: Mapping[str, str]) -> tuple[str, tuple[int, ...]]:
        """Series and columns; no column where the map ignores it. Raises ValueError with what is wrong."""
        key = (name, tuple(labels.items()))
        found = self._known.get(key)
        if found is None:
            found = self._look(name, labels)
            if len(self._known) < KNOWN_AT_MOST:
                self._known[key] = found
        return found

    def _look(self, name: str, labels: Mapping[str, str]) -> tuple[str, tuple[int, ...]]:
        cells = tuple(
            index
            for index in self._by_name.get(name, ())
            if self._plan.columns[index].labels.items() <= labels.items()
        )
        if cells:
            if self._plan.series.by in ("label", "column"):
                return series_named(labels.get(self._plan.series.key, ""), self._plan), cells
            return self._of_file, cells
        if is_ignored(name, self._plan):
            return "", ()
        raise ValueError("neither mapped nor ignored")

    def row(self, line: int, time_ns: int, name: str, labels: Mapping[str, str], value: float) -> Row | None:
        """One sample as a row; None where it was ignored or rejected, and counted."""
        try:
            series, cells = self.find(name, labels)
        except ValueError as error:
            self._report.reject(self._file, line, name, str(error))
            return None
        if not cells:
            self._report.left_out[name] += 1
            return None
        return Row(time_ns, series, cells, self.values(cells, value))

    def values(self, cells: Iterable[int], value: float) -> tuple[float, ...]:
        """The value in the unit of each column's target; NaN where it is no finite number."""
        if not math.isfinite(value):
            return tuple(math.nan for _ in cells)
        columns = self._plan.columns
        return tuple(value * columns[cell].scale + columns[cell].offset for cell in cells)
