"""What Prometheus' HTTP API answers to `query_range` (a matrix) or `query` (a vector), saved as a file.

Rule: the answer is one JSON object, and is held in memory; what of it is no float sample is rejected by series.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from streams.importing.lines import Progress, unreadable
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.rows import Row
from streams.importing.series_file import PromSeries, rows_of_series


def read_json(path: Path, plan: ImportMap, report: ImportReport, progress: Progress) -> Iterator[Row]:
    """Raises ConfigurationError for a file that is no such answer."""
    try:
        data = path.read_bytes()
        found = results_of(orjson.loads(data))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    progress(len(data))
    yield from rows_of_series(path, _series(path, found, report), plan, report)


def results_of(answer: Any) -> list[Any]:
    """The series of an answer. Raises ValueError when it is none."""
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
        raise ValueError("no answer of Prometheus: an object with 'status' and 'data' is expected")
    if answer.get("status") != "success":
        raise ValueError(f"Prometheus answered {answer.get('error') or answer.get('status')!r}")
    data = answer["data"]
    if data.get("resultType") not in ("matrix", "vector") or not isinstance(data.get("result"), list):
        raise ValueError(f"a result of type {data.get('resultType')!r}: ask query_range for series")
    return list(data["result"])


def _series(path: Path, found: list[Any], report: ImportReport) -> Iterator[PromSeries | None]:
    for number, one in enumerate(found, 1):
        labels = one.get("metric") if isinstance(one, dict) else None
        if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
            report.reject(path.name, number, "", "no series: an object with 'metric' is expected")
            yield None
            continue
        if "histograms" in one or "histogram" in one:
            report.reject(
                path.name, number, str(labels.get("__name__", "")), "native histograms are not read"
            )
        values = one.get("values", [one["value"]] if "value" in one else [])
        yield PromSeries(labels, _samples(path, number, values, report))


def _samples(path: Path, number: int, values: Any, report: ImportReport) -> Iterator[tuple[int, float]]:
    for pair in values if isinstance(values, list) else [values]:
        try:
            at_s, text = pair
            time_ms, value = round(float(at_s) * 1000), float(text)
        except (TypeError, ValueError, OverflowError):
            report.reject(path.name, number, "value", f"{str(pair)[:40]!r} is no time with a value")
            continue
        yield time_ms, value
