"""Where a journal is read from: recordings, copies that were exported, a running log. Each record with its place."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from rules.errors import ConfigurationError, UndecodableError
from rules.findings import Finding
from streams.bus.bus import Bus, up_to_the_end
from streams.journal.chain import Line, Row, line_of
from streams.journal.heads import Head, head_of, looks_like_head
from streams.record import Record
from streams.recording.recording import Recording
from streams.topics import JOURNAL

COPIES: Final = (".jsonl", ".csv", ".parquet")
COLUMNS: Final = ("unit", "number", "at_ns", "kind", "id", "record")
"""Of a copy as a table. `record` is what is verified; the others are what it says, and have to agree."""
HEAD_KIND: Final = "head"


class Stated(NamedTuple):
    """A record's value, where it stands, and the unit that it is filed under, None in a copy; `row`: of a table."""

    value: bytes | None
    place: str
    key: str | None = None
    row: Row | None = None


def row_of(one: Line | Head, value: bytes) -> dict[str, Any]:
    """A row of a copy."""
    said = (one.kind, one.id) if isinstance(one, Line) else (HEAD_KIND, "")
    return dict(zip(COLUMNS, (one.unit, one.number, one.at_ns, *said, value.decode()), strict=True))


def of_recordings(recordings: Sequence[Recording]) -> Iterator[Stated]:
    """The journal of recordings that follow each other."""
    for recording in recordings:
        for record in recording.records({JOURNAL.name}):
            yield _stated(record, f"{recording.path}: ")


def _stated(record: Record, before: str = "") -> Stated:
    place = f"{before}{record.topic}/{record.partition} offset {record.offset}"
    return Stated(record.value, place, (record.key or b"").decode("utf-8", "replace"))


def of_copy(path: Path) -> Iterator[Stated]:
    """A copy that was exported. Raises ConfigurationError where it is no such file."""
    try:
        if path.suffix == ".jsonl":
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield Stated(line.removesuffix(b"\n"), f"{path}:{number}")
            return
        rows = _csv_rows(path) if path.suffix == ".csv" else _parquet_rows(path)
        for place, row in rows:
            yield _of_row(row, place)
    except (OSError, OverflowError, pa.ArrowException) as error:
        raise ConfigurationError([Finding(str(path), 0, 0, f"can't be read: {error}")]) from None
    except (csv.Error, UnicodeDecodeError) as error:
        kind = "table" if path.suffix == ".parquet" else "CSV file"
        raise ConfigurationError([Finding(str(path), 0, 0, f"no {kind} in UTF-8: {error}")]) from None


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    limit = csv.field_size_limit(sys.maxsize)  # of the whole process
    try:
        with path.open(encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            _check_columns(path, reader.fieldnames or ())
            before = reader.line_num
            for row in reader:
                yield f"{path}:{before + 1}", row
                before = reader.line_num
    finally:
        csv.field_size_limit(limit)


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with pa.parquet.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if tuple(names) != COLUMNS:
        text = f"its columns are {', '.join(map(str, names))}, not {', '.join(COLUMNS)}"
        raise ConfigurationError(
            [Finding(str(path), 1, 0, text, "`headrace journal export` writes what can be verified")]
        )


def _of_row(row: dict[Any, Any], place: str) -> Stated:
    """The record of a row, and what the row says of it."""
    number = str(row.get("number"))
    named = Row(str(row.get("unit")), int(number) if number.isdecimal() else 0, str(row.get("id")))
    record = row.get("record")
    if not isinstance(record, str) or len(row) != len(COLUMNS):
        return Stated(None, place, None, named)
    value = record.encode()
    try:
        one: Line | Head = head_of(value) if looks_like_head(value) else line_of(value, "")
    except UndecodableError:
        return Stated(value, place, None, named)  # the verifier says what is wrong with it
    said = row_of(one, value)
    other = [
        f"its {name} says '{row[name]}', and its record '{said[name]}'"
        for name in COLUMNS
        if str(row[name]) != str(said[name])
    ]
    return Stated(value, place, None, named._replace(differs="; ".join(other)))


async def of_log(bus: Bus) -> AsyncIterator[Stated]:
    """The journal of a running log, up to where it ends now. UnreachableError where it brings nothing any more."""
    reader = await bus.reader([JOURNAL.name])
    try:
        async for record in up_to_the_end(bus, reader, JOURNAL.name):
            yield _stated(record)
    finally:
        await reader.close()


def is_copy(path: Path) -> bool:
    """Whether a file is named as a copy is."""
    return path.suffix in COPIES
