"""The rows of Parquet files, wide or long as those of CSV: a batch at a time, whatever the file's size.

Rules: the place of a row in a report is its number, counted from 1; null is not available. Times are of a time type,
or numbers or texts in the form that the map says; columns of lists, structures or bytes can't be mapped.
A text that the file has once and refers to in a thousand rows is once in the memory; one that is longer than
CELL_BYTES_MAX is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

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
from streams.importing.tables import judged, number_of
from streams.importing.times import in_range

BATCH_ROWS = 4096
CELL_BYTES_MAX: Final = 10_000
"""Of a text in UTF-8. A longer one is no name, time or number, and must not fill the memory."""
_PER_S = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def read_parquet(path: Path, plan: ImportMap, report: ImportReport, progress: Progress) -> Iterator[Row]:
    """Rows in the order of the file. Raises ConfigurationError when it is none, or doesn't fit the map."""
    try:
        file = open_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name that is no UTF-8
        raise unreadable(path, error) from None
    with file:
        names = file.schema_arrow.names
        head = read_head(path, names, 0, plan)
        _check_types(path, file.schema_arrow, head, plan)
        size, rows, read = path.stat().st_size, max(1, file.metadata.num_rows), 0
        wanted = [name for name in names if name.strip() not in head.left_out]
        batches = _Batches(path, plan, report, [name.strip() for name in wanted], head)
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
                yield from batches.rows([batch.column(index) for index in range(batch.num_columns)], read)
                report.left_out.update(dict.fromkeys(head.left_out, batch.num_rows))
                told = size * read // rows
                read += batch.num_rows
                progress(size * read // rows - told)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(path, ValueError(f"broken behind row {read}: {error}")) from None


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file, its texts as dictionaries. Raises OSError, ValueError or pa.ArrowException when it is none."""
    texts = [field.name for field in pq.read_schema(path) if _is_text(field.type)]
    return pq.ParquetFile(path, read_dictionary=texts)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def can_be_mapped(kind: Any) -> bool:
    """Whether a column of this type holds texts, times or numbers."""
    is_of_bytes = (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
    return not (pa.types.is_nested(kind) or is_of_bytes)


def values_of(column: Any) -> list[Any]:
    """Python's values. In place of one that it can't hold (no UTF-8, the year 10000), or that is longer than
    CELL_BYTES_MAX, stands why, as a text.
    """
    if pa.types.is_dictionary(column.type):
        places = column.indices.to_pylist()
        words = {place: _value_of(column.dictionary[place]) for place in set(places) - {None}}
        return [None if place is None else words[place] for place in places]
    try:
        found: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        return [_value_of(one) for one in column]
    return found


def _value_of(scalar: Any) -> Any:
    if isinstance(scalar, pa.BinaryScalar) and scalar.is_valid and scalar.as_buffer().size > CELL_BYTES_MAX:
        return f"longer than {CELL_BYTES_MAX:,} bytes"
    try:
        return scalar.as_py()
    except (ValueError, OverflowError) as error:
        return str(error)


def _check_types(path: Path, schema: Any, head: Head, plan: ImportMap) -> None:
    findings = []
    for field in schema:
        if field.name.strip() not in head.left_out and not can_be_mapped(field.type):
            findings.append(Finding(str(path), 0, 0, f"the column '{field.name}' is of type {field.type}"))
    time = schema.field(head.time)
    if pa.types.is_integer(time.type) and not plan.time.is_number:
        message = f"the column '{time.name}' has whole numbers, and {plan.file} says no unit of them"
        findings.append(Finding(str(path), 0, 0, message, "format: unix s, unix ms, unix us or unix ns"))
    if findings:
        raise ConfigurationError(findings)


class _Batches:
    """Batches of columns to rows. Between them it keeps the last local time, which tells an hour that comes twice."""

    def __init__(
        self, path: Path, plan: ImportMap, report: ImportReport, names: list[str], head: Head
    ) -> None:
        self._path, self._plan, self._report = path, plan, report
        self._place = {name: index for index, name in enumerate(names)}
        self._labels = [label for label, _ in head.labels]
        self._samples = Samples(path, plan, report)
        self._of_file = series_of_file(path, plan)
        self._previous_ns: int | None = None

    def rows(self, columns: list[Any], before: int) -> Iterator[Row]:
        """The rows of one batch, of which `before` came in others."""
        times = self._times(columns[self._place[self._plan.time_column]], before)
        found = (
            self._wide(columns, times, before)
            if self._plan.long is None
            else self._long(columns, times, before)
        )
        quality = self._plan.quality
        if quality is None:
            yield from (row for _, row in found)
        else:
            said = self._texts(columns, quality.column)
            yield from (judged(row, said[index], quality) for index, row in found)

    def _texts(self, columns: list[Any], name: str) -> list[str]:
        return ["" if one is None else str(one).strip() for one in values_of(columns[self._place[name]])]

    def _wide(self, columns: list[Any], times: list[int | None], before: int) -> Iterator[tuple[int, Row]]:
        plan, cells = self._plan, tuple(range(len(self._plan.columns)))
        texts = self._texts(columns, plan.series.key) if plan.series.by == "column" else None
        kept: list[tuple[int, int, str]] = []
        for index, time_ns in enumerate(times):
            if time_ns is None:
                continue
            try:
                series = self._of_file if texts is None else series_named(texts[index], plan)
            except ValueError as error:
                self._report.reject(self._path.name, before + index + 1, "", str(error))
                continue
            kept.append((index, time_ns, series))
        places = [index for index, *_ in kept]
        values = [
            self._numbers(columns, one.name, one.scale, one.offset, places, before) for one in plan.columns
        ]
        for (index, time_ns, series), row in zip(kept, zip(*values, strict=True), strict=True):
            yield index, Row(time_ns, series, cells, row)

    def _long(self, columns: list[Any], times: list[int | None], before: int) -> Iterator[tuple[int, Row]]:
        plan, samples = self._plan, self._samples
        assert plan.long is not None
        names = self._texts(columns, plan.long.name)
        texts = {label: self._texts(columns, label) for label in self._labels}
        kept: list[tuple[int, Row]] = []
        for index, (time_ns, name) in enumerate(zip(times, names, strict=True)):
            if time_ns is None:
                continue
            said = {label: found[index] for label, found in texts.items()}
            row = samples.row(before + index + 1, time_ns, name, said, math.nan)
            if row is not None:
                kept.append((index, row))
        places = [index for index, _ in kept]
        values = self._numbers(columns, plan.long.value, 1.0, 0.0, places, before)
        for (index, row), value in zip(kept, values, strict=True):
            found = (None,) * len(row.cells) if value is None else samples.values(row.cells, value)
            yield index, row._replace(values=found)

    def _times(self, column: Any, before: int) -> list[int | None]:
        """Ns since 1970; None where it is none, and rejected."""
        kind = column.type
        if not pa.types.is_timestamp(kind):
            return [self._read(one, self._local, before + n) for n, one in enumerate(values_of(column), 1)]
        factor = _PER_S[kind.unit]
        times = [
            self._read(one, lambda one: in_range(one * factor, str(one)), before + n)
            for n, one in enumerate(column.cast(pa.int64()).to_pylist(), 1)
        ]
        if kind.tz is not None or self._plan.time.is_utc:
            return times
        # local time: the zone is the map's, read to the microsecond; the rest is put to it
        whole_us = pa.array([None if one is None else one // 1000 for one in times], pa.timestamp("us"))
        texts = pc.strftime(whole_us, "%Y-%m-%dT%H:%M:%S").to_pylist()
        found: list[int | None] = []
        for number, (text, local_ns) in enumerate(zip(texts, times, strict=True), 1):
            time_ns = None if local_ns is None else self._read(text, self._local, before + number)
            found.append(None if time_ns is None or local_ns is None else time_ns + local_ns % 1000)
        return found

    def _local(self, one: Any) -> int:
        ascending = self._plan.order != "newest first"
        self._previous_ns = self._plan.time.read(str(one).strip(), self._previous_ns, ascending)
        return self._previous_ns

    def _read(self, one: Any, read: Callable[[Any], int], number: int) -> int | None:
        try:
            if one is None:
                raise ValueError("no time")
            return read(one)
        except ValueError as error:
            self._report.reject(self._path.name, number, "", str(error))
            return None

    def _numbers(
        self, columns: list[Any], name: str, scale: float, offset: float, places: list[int], before: int
    ) -> list[float | None]:
        """Of the rows at `places`, which stand, the values in the target's unit.

        NaN for null and NaN, None (and rejected) for what is no finite number.
        """
        file, plan, report = self._path.name, self._plan, self._report
        column = columns[self._place[name]].take(pa.array(places, pa.int64()))
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
            return [
                math.nan
                if one is None
                else number_of(str(one), scale, offset, plan, (file, before + place + 1, name), report)
                for place, one in zip(places, values_of(column), strict=True)
            ]
        try:
            numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        except pa.ArrowException as error:
            message = f"the column '{name}' has no numbers: {error}"
            raise ConfigurationError([Finding(str(self._path), 0, 0, message)]) from None
        values: list[float | None] = (numbers * scale + offset).tolist()
        for index in np.flatnonzero(np.isinf(numbers)):
            report.reject(file, before + places[index] + 1, name, f"'{numbers[index]}' is no number")
            values[index] = None
        return values
