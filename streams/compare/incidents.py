"""Known incidents of a recording, out of a file that a person keeps beside it: moments of faults, or spans of time.

Rules: CSV has a head and a row an incident: its first column a time (a fault), or the begin of a span where the second
column is called `to`; others are notes. JSON is a list of such times or pairs, or an object of lists, of which
`FILE#KEY` names one. Times are ISO 8601, UTC where no zone is said. What is looked at before a fault is its run-up of
12 h; of a span it is the span itself.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.compare.spans import Span
from streams.times import time_ns_of

RUN_UP_NS: Final = 12 * 3600 * 1_000_000_000
FORM: Final = (
    "a time (a fault) or two (from, to) a row, as 2026-01-01T10:00:00Z; CSV has a head, with `to` for spans"
)


class KnownIncident(NamedTuple):
    """A fault at `end_ns` with its run-up from `begin_ns` on, or a span (`is_fault` False)."""

    begin_ns: int
    end_ns: int
    is_fault: bool

    @property
    def span(self) -> Span:
        """What is looked at."""
        return self.begin_ns, self.end_ns


def load_incidents(name: str) -> list[KnownIncident]:
    """Those of a file `NAME.csv`, `NAME.json` or `NAME.json#KEY`, by time. Raises ConfigurationError."""
    path, key = _parts(name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "is not UTF-8"
        raise _wrong(path, 0, f"can't be read: {what}") from None
    rows = _rows_of_json(path, text, key) if path.suffix == ".json" else _rows_of_csv(text)
    found = [_incident(path, line, cells) for line, cells in rows]
    if not found:
        raise _wrong(path, 0, "there are no incidents in it")
    return sorted(found)


def _parts(name: str) -> tuple[Path, str | None]:
    head, mark, key = name.rpartition("#")
    return (Path(head), key) if mark and not Path(name).exists() else (Path(name), None)


def _rows_of_csv(text: str) -> list[tuple[int, list[Any]]]:
    head, *rows = csv.reader(text.splitlines() or [""])
    columns = 2 if len(head) > 1 and head[1].strip().lower() == "to" else 1
    return [(number, row[:columns]) for number, row in enumerate(rows, 2) if row]


def _rows_of_json(path: Path, text: str, key: str | None) -> list[tuple[int, list[Any]]]:
    try:
        read = json.loads(text)
    except ValueError as error:
        raise _wrong(path, 0, f"is no JSON: {error}") from None
    if isinstance(read, dict):
        if key is None and len(read) == 1:
            key = next(iter(read))
        if key is None:
            raise _wrong(path, 0, f"has {len(read)} lists: name one", f"{path}#{next(iter(read), 'KEY')}")
        if key not in read:
            raise _wrong(path, 0, f"has no list '{key}'", nearest(key, read) or ", ".join(read))
        read = read[key]
    if not isinstance(read, list):
        raise _wrong(path, 0, "is no list of incidents")
    return [(0, row if isinstance(row, list) else [row]) for row in read]


def _incident(path: Path, line: int, cells: list[Any]) -> KnownIncident:
    try:
        times = [time_ns_of(str(cell)) for cell in cells]
    except ValueError as error:
        raise _wrong(path, line, str(error)) from None
    if len(times) == 1:
        return KnownIncident(times[0] - RUN_UP_NS, times[0], True)
    if len(times) != 2 or times[0] >= times[1]:
        raise _wrong(path, line, f"{', '.join(map(str, cells)) or 'nothing'} is neither a time nor a span")
    return KnownIncident(times[0], times[1], False)


def _wrong(path: Path, line: int, message: str, hint: str = FORM) -> ConfigurationError:
    return ConfigurationError([Finding(str(path), line, 0, message, hint)])
