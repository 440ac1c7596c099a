"""What an import did with every row and every cell: nothing is dropped uncounted.

Lines of the files = `rows` + rows among the rejected + `blank` (and heads). Cells of the mapped columns of those
rows = `readings` + `not_available` + cells among the rejected. What the map ignores is in `left_out`, by name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from streams.times import iso_utc

LISTED: Final = 1000
"""So many rejected lines are listed; the count goes on."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row or a cell that can't be read. `column` is empty where the whole row is meant.

    `line`: of a text; the number of the row (Parquet) or series (files of Prometheus' API) of what has no lines.
    """

    file: str
    line: int
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class MissingSpan:
    """No row of a series for longer than the map's `max_gap`. `readings`: about so many are missing."""

    series: str
    from_ns: int
    to_ns: int
    readings: int


@dataclass(slots=True)
class ImportReport:
    """Counts of one import. `conflicting`: those of the duplicates whose values differ from the first row's.

    `rejected` counts rows and cells, `rejected_rows` the rows alone. `not_good`: values of `readings` and
    `not_available` whose status says uncertain or bad, where the format has one. `silent`: targets of the map that
    no sample named, where samples name themselves.
    """

    files: list[str] = field(default_factory=list)
    rows: int = 0
    readings: int = 0
    not_available: int = 0
    not_good: int = 0
    duplicates: int = 0
    conflicting: int = 0
    out_of_order: int = 0
    blank: int = 0
    rejected: int = 0
    rejected_rows: int = 0
    rejections: list[Rejected] = field(default_factory=list)
    gaps: list[MissingSpan] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    first_ns: int | None = None
    last_ns: int | None = None

    def reject(self, file: str, line: int, column: str, reason: str) -> None:
        """Count one, and list it unless there are very many."""
        self.rejected += 1
        self.rejected_rows += not column
        if len(self.rejections) < LISTED:
            self.rejections.append(Rejected(file, line, column, reason))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "files": self.files,
            "rows": self.rows,
            "readings": self.readings,
            "not_available": self.not_available,
            "not_good": self.not_good,
            "duplicates": self.duplicates,
            "conflicting": self.conflicting,
            "out_of_order": self.out_of_order,
            "blank": self.blank,
            "rejected": self.rejected,
            "rejected_rows": self.rejected_rows,
            "rejected_cells": self.rejected - self.rejected_rows,
            "rejections": [
                {"file": one.file, "line": one.line, "column": one.column, "reason": one.reason}
                for one in self.rejections
            ],
            "gaps": [
                {
                    "series": gap.series,
                    "from": iso_utc(gap.from_ns),
                    "to": iso_utc(gap.to_ns),
                    "readings": gap.readings,
                }
                for gap in self.gaps
            ],
            "never_seen": self.silent,
            "left_out": dict(sorted(self.left_out.items())),
            "from": None if self.first_ns is None else iso_utc(self.first_ns),
            "to": None if self.last_ns is None else iso_utc(self.last_ns),
        }
