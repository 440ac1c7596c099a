"""Copies of a journal that can be verified anywhere: JSON lines, CSV, Parquet.

Rules: records in the order of the log, repeats and heads as well, each with the bytes that it has there: a line of a
`.jsonl` is a record. A head without a signature closes each unit, so that the last line is vouched for, too.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from streams.journal.chain import Line, Verifier
from streams.journal.heads import Head
from streams.journal.sources import COLUMNS, row_of

Put = Callable[[Line | Head, bytes], None]
_BATCH_ROWS: Final = 1 << 14
_SCHEMA: Final = pa.schema(
    [(name, pa.int64() if name in ("number", "at_ns") else pa.utf8()) for name in COLUMNS]
)


def closing_heads(verifier: Verifier) -> Iterator[Head]:
    """How far each unit's chain goes in the copy, signed by nobody."""
    for unit, chain in sorted(verifier.units.items()):
        if chain.last is not None:
            yield Head(unit, chain.last.number, chain.last.hash, chain.last.at_ns)


@contextmanager
def copy_to(path: Path, kind: str) -> Iterator[Put]:
    """Takes the records of a copy; `kind`: .jsonl, .csv or .parquet."""
    if kind == ".jsonl":
        with path.open("wb") as out:
            yield lambda _, value: out.writelines((value, b"\n"))
    elif kind == ".csv":
        with path.open("w", encoding="utf-8", newline="") as text:
            rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            rows.writeheader()
            yield lambda one, value: rows.writerow(row_of(one, value))
    else:
        with pa.parquet.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
            waiting: list[dict[str, Any]] = []

            def put(one: Line | Head, value: bytes) -> None:
                waiting.append(row_of(one, value))
                if len(waiting) >= _BATCH_ROWS:
                    flush()

            def flush() -> None:
                writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema=_SCHEMA))
                waiting.clear()

            yield put
            flush()
