"""The rows of CSV, TSV and Prometheus text files, as the map reads them.

Rules: one row at a time where the file has the oldest row first; other orders are held in memory and sorted,
rows of one time in the file's order. A row is a line: a line or cell that can't be read is rejected with its line
and reason, and costs no other. (CSV would let a quoted cell go on over lines; then one stray quote swallows what
follows it, up to the next quote.)
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.times import in_range

Progress = Callable[[int], None]
"""Told how many bytes were read since the last call."""

LINE_MAX: Final = 1_000_000
"""Characters. A longer line is no row, and must not fill the memory."""
_ENCODING: Final = "name the file's own under 'encoding' in the map"


class Row(NamedTuple):
    """Values in the map's order of columns, in the targets' units: NaN not available, None rejected."""

    time_ns: int
    series: str
    values: tuple[float | None, ...]


def read_rows(
    path: Path, number: int, plan: ImportMap, report: ImportReport, progress: Progress
) -> Iterator[Row]:
    """The rows of one file, oldest first as far as the map's `order` says so. `number`: its place in the call.

    Raises ConfigurationError when the file can't be opened or its head doesn't fit the map.
    """
    report.files.append(path.name)
    try:
        # Bytes that are not text become \xff in cells that are no numbers: rejected where they stand.
        file = path.open(encoding=plan.encoding, errors="backslashreplace")
    except (OSError, LookupError) as error:
        raise ConfigurationError([Finding(str(path), 0, 0, f"can't be read: {error}")]) from None
    with file:
        lines = _lines(path, file, plan, progress)
        if plan.format == "prometheus":
            yield from _exposition(path, number, lines, plan, report)
        elif plan.order == "oldest first":
            yield from _table(path, lines, plan, report)
        else:
            rows = list(_table(path, lines, plan, report))
            if plan.order == "newest first":
                rows.reverse()
            yield from sorted(rows, key=lambda row: row.time_ns)


def _lines(path: Path, file: TextIO, plan: ImportMap, progress: Progress) -> Iterator[tuple[int, str]]:
    """Number and text of each line; of one that is longer than LINE_MAX, LINE_MAX characters and one more."""
    number, read, told = 0, 0, 0
    try:
        while text := file.readline(LINE_MAX + 1):
            number += 1
            read += len(text)
            if read >= 65_536:
                read, now = 0, file.buffer.tell()
                progress(now - told)
                told = now
            rest = text
            while len(rest) > LINE_MAX and not rest.endswith("\n"):
                rest = file.readline(LINE_MAX + 1)
            yield number, text.removesuffix("\n")
    except UnicodeError as error:
        # Few encodings can go on behind what they can't read.
        message = f"not text of the encoding {plan.encoding}: {error}"
        raise ConfigurationError([Finding(str(path), number + 1, 0, message, _ENCODING)]) from None
    progress(file.buffer.tell() - told)


def _table(
    path: Path, lines: Iterable[tuple[int, str]], plan: ImportMap, report: ImportReport
) -> Iterator[Row]:
    lines = iter(lines)
    header = _header(path, next(lines, (1, ""))[1], plan)
    if not any(header):
        raise ConfigurationError([Finding(str(path), 1, 0, "the first line is empty: a head belongs there")])
    indexes, time_index, series_index = _columns(path, header, plan)
    ascending = plan.order != "newest first"
    series = _series_of_file(path, plan) if plan.series.by != "column" else ""
    left_out = [name for name in header if name in _left_out(header, plan)]
    read_time, previous_ns = plan.time.read, None
    for line, text in lines:
        try:
            cells = _cells(text, plan)
            if not any(cells):
                report.blank += 1
                continue
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells, the head has {len(header)}")
            time_ns = read_time(cells[time_index].strip(), previous_ns, ascending)
            if plan.series.by == "column":
                series = _series_named(cells[series_index], plan)
        except ValueError as error:
            report.reject(path.name, line, "", str(error))
            continue
        previous_ns = time_ns
        report.left_out.update(left_out)
        values = tuple(
            _cell(cells[index], column.scale, column.offset, plan, (path.name, line, column.name), report)
            for index, column in zip(indexes, plan.columns, strict=True)
        )
        yield Row(time_ns, series, values)


def _header(path: Path, text: str, plan: ImportMap) -> list[str]:
    try:
        return _cells(text, plan)
    except ValueError as error:
        raise ConfigurationError([Finding(str(path), 1, 0, f"the head can't be read: {error}")]) from None


def _cells(text: str, plan: ImportMap) -> list[str]:
    """The cells of one line. Raises ValueError with the reason why it is no row."""
    _check_length(text)
    try:
        (cells,) = csv.reader((text + "\n",), delimiter=plan.delimiter)
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if cells and cells[-1].endswith("\n"):  # only a quote keeps the end of the line from ending the cell
        raise ValueError(f"the quote that opens cell {len(cells)} is not closed on this line")
    return cells


def _check_length(text: str) -> None:
    if len(text) > LINE_MAX:
        raise ValueError(f"longer than {LINE_MAX:,} characters")


def _cell(
    text: str, scale: float, offset: float, plan: ImportMap, place: tuple[str, int, str], report: ImportReport
) -> float | None:
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


def _columns(path: Path, header: list[str], plan: ImportMap) -> tuple[list[int], int, int]:
    """Where the mapped columns stand; what is missing, doubled or not in the map are findings."""
    names = [name.strip() for name in header]
    wanted = [column.name for column in plan.columns] + [plan.time_column]
    wanted += [plan.series.key] if plan.series.by == "column" else []
    where = str(path)
    if any("\\x" in name or "\0" in name for name in names):
        raise ConfigurationError(
            [Finding(where, 1, 0, f"not text of the encoding {plan.encoding}", _ENCODING)]
        )
    findings = [
        Finding(where, 1, 0, f"the file has no column '{name}' (named in {plan.file})", nearest(name, names))
        for name in wanted
        if name not in names
    ]
    for name, count in Counter(names).items():
        if count > 1:
            findings.append(Finding(where, 1, 0, f"the column '{name}' occurs {count} times"))
        elif name not in wanted and not _is_ignored(name, plan):
            message = f"the column '{name}' is not in {plan.file}"
            findings.append(Finding(where, 1, 0, message, "map it, or name it under 'ignored'"))
    if findings:
        raise ConfigurationError(findings)
    indexes = [names.index(column.name) for column in plan.columns]
    series = names.index(plan.series.key) if plan.series.by == "column" else 0
    return indexes, names.index(plan.time_column), series


def _left_out(header: list[str], plan: ImportMap) -> set[str]:
    return {name for name in header if _is_ignored(name.strip(), plan)}


def _is_ignored(name: str, plan: ImportMap) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in plan.ignored)


def _series_named(text: str, plan: ImportMap) -> str:
    name = plan.series.names.get(text.strip())
    if name is None:
        raise ValueError(f"{text[:40]!r} is no series of the map")
    return name


def _series_of_file(path: Path, plan: ImportMap) -> str:
    if plan.series.by != "file":
        return ""
    for pattern, name in plan.series.names.items():
        if fnmatchcase(path.name, pattern):
            return name
    raise ConfigurationError([Finding(str(path), 0, 0, f"the file's name fits no series of {plan.file}")])


def _exposition(
    path: Path, number: int, lines: Iterable[tuple[int, str]], plan: ImportMap, report: ImportReport
) -> Iterator[Row]:
    """A snapshot in Prometheus text form: one row per series (and time, where samples carry one)."""
    from prometheus_client.parser import text_string_to_metric_families

    assert plan.snapshots is not None
    snapshot_ns = plan.snapshots.start_ns + number * plan.snapshots.step_ns
    of_file = _series_of_file(path, plan)
    by_name: dict[str, list[int]] = {}
    for index, column in enumerate(plan.columns):
        by_name.setdefault(column.name, []).append(index)
    rows: dict[tuple[int, str], list[float | None]] = {}
    filled: set[tuple[int, str, int]] = set()
    for line, text in lines:
        if not text.strip():
            report.blank += 1
            continue
        if text.startswith("#"):
            continue
        try:
            _check_length(text)
            # A line at a time: the parser itself stops at the first bad line and names none.
            (sample,) = (one for family in text_string_to_metric_families(text) for one in family.samples)
        except ValueError as error:
            report.reject(path.name, line, "", f"not in the exposition format: {error}")
            continue
        columns = [
            index
            for index in by_name.get(sample.name, ())
            if plan.columns[index].labels.items() <= sample.labels.items()
        ]
        if not columns and not _is_ignored(sample.name, plan):
            report.reject(path.name, line, sample.name, "neither mapped nor ignored")
            continue
        if not columns:
            report.left_out[sample.name] += 1
            continue
        try:
            series = of_file
            if plan.series.by == "label":
                series = _series_named(sample.labels.get(plan.series.key, ""), plan)
            time_ns = snapshot_ns
            if sample.timestamp is not None:
                time_ns = in_range(round(float(sample.timestamp) * 1000) * 1_000_000, str(sample.timestamp))
        except (ValueError, OverflowError) as error:
            report.reject(path.name, line, sample.name, str(error))
            continue
        row = rows.setdefault((time_ns, series), [math.nan] * len(plan.columns))
        for index in columns:
            if (time_ns, series, index) in filled:
                report.reject(path.name, line, sample.name, "a second sample of the same series and time")
                continue
            filled.add((time_ns, series, index))
            column = plan.columns[index]
            row[index] = (
                sample.value * column.scale + column.offset if math.isfinite(sample.value) else math.nan
            )
    for (time_ns, series), values in sorted(rows.items()):
        yield Row(time_ns, series, tuple(values))
