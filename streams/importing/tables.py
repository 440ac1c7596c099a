"""The rows of CSV and TSV files: wide (a column a signal) or long (a column with the signal's name).

Rule: a row is a line; a line or cell that can't be read is rejected with its line and reason, and costs no other.
(CSV would let a quoted cell go on over lines; then one stray quote swallows what follows it, up to the next quote.)
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.quality import BAD_STATUS
from streams.importing.heads import Head, read_head, series_named, series_of_file
from streams.importing.lines import Progress, check_length, read_lines
from streams.importing.map_file import ImportMap, QualityColumn
from streams.importing.report import ImportReport
from streams.importing.rows import Row
from streams.importing.samples import Samples


def read_table(path: Path, plan: ImportMap, report: ImportReport, progress: Progress) -> Iterator[Row]:
    """Rows in the order of the file. Raises ConfigurationError when its head doesn't fit the map."""
    lines = read_lines(path, plan.encoding, progress)
    header = _header(path, next(lines, (1, ""))[1], plan)
    if not any(header):
        raise ConfigurationError([Finding(str(path), 1, 0, "the first line is empty: a head belongs there")])
    head = read_head(path, header, 1, plan)
    ascending = plan.order != "newest first"
    read_time, previous_ns = plan.time.read, None
    make = _wide(path, head, plan, report) if plan.long is None else _long(path, head, plan, report)
    for line, text in lines:
        try:
            cells = cells_of(text, plan.delimiter)
            if not any(cells):
                report.blank += 1
                continue
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells, the head has {len(header)}")
            time_ns = read_time(cells[head.time].strip(), previous_ns, ascending)
            row = make(line, time_ns, cells)
            if row is not None and plan.quality is not None:
                row = judged(row, cells[head.quality].strip(), plan.quality)
        except ValueError as error:
            report.reject(path.name, line, "", str(error))
            continue
        previous_ns = time_ns
        if head.left_out:
            report.left_out.update(head.left_out)
        if row is not None:
            yield row


_Make = Callable[[int, int, list[str]], Row | None]
"""Line number, time and cells of a line to its row; ValueError where the line is none."""


def _wide(path: Path, head: Head, plan: ImportMap, report: ImportReport) -> _Make:
    """A row has every mapped column."""
    of_file = series_of_file(path, plan)
    cells = tuple(range(len(plan.columns)))
    columns = tuple(zip(head.values, plan.columns, strict=True))

    def make(line: int, time_ns: int, texts: list[str]) -> Row:
        series = series_named(texts[head.series], plan) if plan.series.by == "column" else of_file
        values = tuple(
            number_of(texts[index], column.scale, column.offset, plan, (path.name, line, column.name), report)
            for index, column in columns
        )
        return Row(time_ns, series, cells, values)

    return make


def _long(path: Path, head: Head, plan: ImportMap, report: ImportReport) -> _Make:
    """A row is one sample, which may go to several columns."""
    samples = Samples(path, plan, report)

    def make(line: int, time_ns: int, texts: list[str]) -> Row | None:
        name = texts[head.long_name].strip()
        labels = {label: texts[index].strip() for label, index in head.labels}
        row = samples.row(line, time_ns, name, labels, math.nan)
        if row is None:
            return None
        number = number_of(texts[head.long_value], 1.0, 0.0, plan, (path.name, line, name), report)
        values = (None,) * len(row.cells) if number is None else samples.values(row.cells, number)
        return row._replace(values=values)

    return make


def judged(row: Row, text: str, quality: QualityColumn) -> Row:
    """The row with the status bad, unless the text of its quality is one of the good ones."""
    return row if text in quality.good else row._replace(status=(BAD_STATUS,) * len(row.cells))


def _header(path: Path, text: str, plan: ImportMap) -> list[str]:
    try:
        return cells_of(text, plan.delimiter)
    except ValueError as error:
        raise ConfigurationError([Finding(str(path), 1, 0, f"the head can't be read: {error}")]) from None


def cells_of(text: str, delimiter: str) -> list[str]:
    """The cells of one line. Raises ValueError with the reason why it is no row."""
    check_length(text)
    try:
        (cells,) = csv.reader((text + "\n",), delimiter=delimiter)
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if cells and cells[-1].endswith("\n"):  # only a quote keeps the end of the line from ending the cell
        raise ValueError(f"the quote that opens cell {len(cells)} is not closed on this line")
    return cells


def number_of(
    text: str, scale: float, offset: float, plan: ImportMap, place: tuple[str, int, str], report: ImportReport
) -> float | None:
    """A cell as `value * scale + offset`: NaN when not available, None (and rejected) when it is no number."""
    text = text.strip()
    if text in plan.not_available:
        return math.nan
    try:
        # Python would read 1_000, nan and inf too: none of them is a measured number
        value = float(text.replace(plan.decimal, ".") if plan.decimal != "." else text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        report.reject(*place, f"{text[:40]!r} is no number")
        return None
    return value * scale + offset
