"""The rows of Parquet files, wide or long as those of CSV: a batch at a time, whatever the file's size.

Rules: the place of a row in a report is its number, counted from 1; null is not available. Times are of a time type,
or numbers or texts in the form that the map says; columns of lists or structures can't be mapped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.importing.heads import Head, read_head, series_named, series_of_file
from streams.importing.lines import Progress, unreadable
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.rows import Row
from streams.importing.samples import Samples
from streams.importing.tables import number_of

BATCH_ROWS = 16_384
_PER_S = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def read_parquet(path: Path, plan: ImportMap, report: ImportReport, progress: Progress) -> Iterator[Row]:
    """Rows in the order of the file. Raises ConfigurationError when it is none, or doesn't fit the map."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from None
    with file:
        names = file.schema_arrow.names
        head = read_head(path, names, 0, plan)
        _check_types(path, file.schema_arrow, head, plan)
        size, rows, read = path.stat().st_size, max(1, file.metadata.num_rows), 0
        wanted = [name for name in names if name.strip() not in head.left_out]
        place = {name.strip(): index for index, name in enumerate(wanted)}
        batch_rows = _wide if plan.long is None else _long
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
                columns = [batch.column(index) for index in range(batch.num_columns)]
                yield from batch_rows(path, read, columns, place, plan, report)
                report.left_out.update(dict.fromkeys(head.left_out, batch.num_rows))
                told = size * read // rows
                read += batch.num_rows
                progress(size * read // rows - told)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(path, ValueError(f"broken behind row {read}: {error}")) from None


def _check_types(path: Path, schema: Any, head: Head, plan: ImportMap) -> None:
    findings = []
    for field in schema:
        if field.name.strip() not in head.left_out and pa.types.is_nested(field.type):
            findings.append(Finding(str(path), 0, 0, f"the column '{field.name}' is of type {field.type}"))
    time = schema.field(head.time)
    if pa.types.is_integer(time.type) and not plan.time.is_number:
        message = f"the column '{time.name}' has whole numbers, and {plan.file} says no unit of them"
        findings.append(Finding(str(path), 0, 0, message, "format: unix s, unix ms, unix us or unix ns"))
    if findings:
        raise ConfigurationError(findings)


def _wide(
    path: Path, before: int, columns: list[Any], place: dict[str, int], plan: ImportMap, report: ImportReport
) -> Iterator[Row]:
    times = _times(columns[place[plan.time_column]], path, before, plan, report)
    cells = tuple(range(len(plan.columns)))
    values = [
        _numbers(columns[place[one.name]], one.scale, one.offset, plan, (path.name, before, one.name), report)
        for one in plan.columns
    ]
    if plan.series.by != "column":
        of_file = series_of_file(path, plan)
        for time_ns, row in zip(times, zip(*values, strict=True), strict=True):
            if time_ns is not None:
                yield Row(time_ns, of_file, cells, row)
        return
    series = _texts(columns[place[plan.series.key]])
    for number, (time_ns, name, row) in enumerate(
        zip(times, series, zip(*values, strict=True), strict=True), 1
    ):
        if time_ns is None:
            continue
        try:
            yield Row(time_ns, series_named(name, plan), cells, row)
        except ValueError as error:
            report.reject(path.name, before + number, "", str(error))


def _long(
    path: Path, before: int, columns: list[Any], place: dict[str, int], plan: ImportMap, report: ImportReport
) -> Iterator[Row]:
    assert plan.long is not None
    times = _times(columns[place[plan.time_column]], path, before, plan, report)
    names = _texts(columns[place[plan.long.name]])
    values = _numbers(
        columns[place[plan.long.value]], 1.0, 0.0, plan, (path.name, before, plan.long.value), report
    )
    labels = [key for key in place if key not in (plan.time_column, plan.long.name, plan.long.value)]
    texts = [_texts(columns[place[key]]) for key in labels] or [[]] * 1
    samples = Samples(path, plan, report)
    of_rows = zip(*texts, strict=True) if labels else iter(() for _ in names)
    for number, (time_ns, name, value, found) in enumerate(
        zip(times, names, values, of_rows, strict=True), 1
    ):
        if time_ns is None:
            continue
        row = samples.row(before + number, time_ns, name, dict(zip(labels, found, strict=True)), value or 0.0)
        if row is not None:
            yield row if value is not None else row._replace(values=(None,) * len(row.cells))


def _texts(column: Any) -> list[str]:
    return ["" if one is None else str(one).strip() for one in column.to_pylist()]


def _times(column: Any, path: Path, before: int, plan: ImportMap, report: ImportReport) -> list[int | None]:
    """Ns since 1970; None where it is none, and rejected."""
    kind = column.type
    if pa.types.is_timestamp(kind) and (kind.tz is not None or plan.time.is_utc):
        return _checked(column.cast(pa.int64()).to_pylist(), _PER_S[kind.unit], path, before, report)
    ascending, previous_ns = plan.order != "newest first", None
    found: list[int | None] = []
    part = [0] * len(column)
    if pa.types.is_timestamp(kind):  # local time: the zone is the map's; below a microsecond it plays no part
        part = [(one or 0) * _PER_S[kind.unit] % 1000 for one in column.cast(pa.int64()).to_pylist()]
        column = pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%S")
    for number, (one, rest) in enumerate(zip(column.to_pylist(), part, strict=True), 1):
        try:
            if one is None:
                raise ValueError("no time")
            previous_ns = plan.time.read(str(one).strip(), previous_ns, ascending) + rest
            found.append(previous_ns)
        except ValueError as error:
            report.reject(path.name, before + number, "", str(error))
            found.append(None)
    return found


def _checked(
    found: list[int | None], factor: int, path: Path, before: int, report: ImportReport
) -> list[int | None]:
    from streams.importing.times import in_range

    times: list[int | None] = []
    for number, one in enumerate(found, 1):
        try:
            if one is None:
                raise ValueError("no time")
            times.append(in_range(one * factor, str(one)))
        except ValueError as error:
            report.reject(path.name, before + number, "", str(error))
            times.append(None)
    return times


def _numbers(
    column: Any,
    scale: float,
    offset: float,
    plan: ImportMap,
    place: tuple[str, int, str],
    report: ImportReport,
) -> list[float | None]:
    """Values in the target's unit: NaN for null and NaN, None (and rejected) for what is no finite number."""
    file, before, name = place
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return [
            math.nan
            if one is None
            else number_of(str(one), scale, offset, plan, (file, number, name), report)
            for number, one in enumerate(column.to_pylist(), before + 1)
        ]
    try:
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise ConfigurationError(
            [Finding(file, 0, 0, f"the column '{name}' has no numbers: {error}")]
        ) from None
    values: list[float | None] = (numbers * scale + offset).tolist()
    for index in np.flatnonzero(np.isinf(numbers)):
        report.reject(file, before + int(index) + 1, name, f"'{numbers[index]}' is no number")
        values[index] = None
    return values
