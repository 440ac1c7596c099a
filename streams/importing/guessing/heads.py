"""The head of any file: its format, and either the cells of a table or the samples that name themselves.

Rules: the format is told by the bytes, not by the file's name; at most HEAD_BYTES are read, but for the formats that
can only be read whole (Parquet's end, and what Prometheus' API answers).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.importing.guessing.tables import TableHead, judge, split_head
from streams.importing.lines import unreadable
from streams.importing.report import ImportReport

HEAD_BYTES: Final = 1 << 20
HEAD_ROWS: Final = 5000


@dataclass(slots=True)
class Head:
    """`table` of tables; else `samples`: (name, labels), and `timed`: whether all carry a time."""

    format: str
    encoding: str = "utf-8-sig"
    table: TableHead | None = None
    samples: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    timed: bool = True
    texts: set[str] = field(default_factory=set)
    """Names of samples that are words."""
    questions: list[str] = field(default_factory=list)
    typed_time: bool = False


def read_head(path: Path) -> Head:
    """Raises ConfigurationError for a file that is of no format known here, or has nothing in it."""
    head = _read_head(path)
    if head.table is None and not head.samples:
        raise _no_head(path, f"there is no series in it ({head.format})", "")
    return head


def _read_head(path: Path) -> Head:
    try:
        with path.open("rb") as file:
            data = file.read(HEAD_BYTES)
    except OSError as error:
        raise ConfigurationError([Finding(str(path), 0, 0, f"can't be read: {error.strerror}")]) from None
    if not data.strip():
        raise _no_head(path, "it is empty", "")
    whole = len(data) < HEAD_BYTES
    if data.startswith(b"PAR1"):
        return _parquet(path)
    if data.lstrip()[:1] == b"{" and b'"resultType"' in data:
        return _answer(path)
    encoding, text = _decoded(data)
    if text is None:
        return _remote(path)
    lines = text.splitlines()
    if not whole:
        del lines[-1:]  # cut off in the middle
    head = _exposition(lines) or _influx(lines) or _table(path, lines[: HEAD_ROWS + 1])
    head.encoding = encoding
    if encoding == "cp1252":
        head.questions.append("the file is not UTF-8: is its encoding cp1252 (Windows, western Europe)?")
    return head


def _no_head(path: Path, message: str, hint: str = "docs/import.md lists the formats") -> ConfigurationError:
    return ConfigurationError([Finding(str(path), 0, 0, message, hint)])


def _decoded(data: bytes) -> tuple[str, str | None]:
    """Encoding and text; no text where the bytes are none."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", data[: len(data) // 2 * 2].decode("utf-16", "replace")
    if b"\0" in data:
        return "", None
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        return "utf-8-sig", decoder.decode(data)
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        strange = sum(not one.isprintable() and one not in "\r\n\t" for one in text)
        return ("", None) if strange > len(text) // 100 else ("cp1252", text)


def _parquet(path: Path) -> Head:
    import pyarrow as pa

    from streams.importing.parquet import can_be_mapped, open_parquet, values_of

    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            wanted = [one.name for one in schema if can_be_mapped(one.type)]
            batch = next(file.iter_batches(HEAD_ROWS, columns=wanted), None)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable(path, error) from None
    columns: list[list[str]] = [[] for _ in schema]
    if batch is not None:
        read = iter(batch.columns)
        columns = [
            _texts(values_of(next(read))) if can_be_mapped(one.type) else [str(one.type)] * batch.num_rows
            for one in schema
        ]
    head = Head("parquet", table=judge(list(schema.names), columns, ","))
    assert head.table is not None
    time = None if head.table.time is None else schema.field(head.table.time).type
    if time is not None and pa.types.is_timestamp(time):
        head.typed_time = True
        head.table.named_zone = time.tz is not None
    return head


def _texts(values: list[Any]) -> list[str]:
    return ["" if one is None or one != one else str(one) for one in values]  # noqa: PLR0124 - NaN


def _answer(path: Path) -> Head:
    from streams.importing.prometheus_json import results_of

    try:
        found = results_of(orjson.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    return Head("prometheus-json", samples=[_named(one["metric"]) for one in found if _is_series(one)])


def _is_series(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("metric"), dict)


def _named(labels: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    return str(labels.get("__name__", "")), {
        key: str(one) for key, one in labels.items() if key != "__name__"
    }


def _remote(path: Path) -> Head:
    from streams.importing.remote_read import series_of

    try:
        found = series_of(path, path.read_bytes(), ImportReport())
        samples = [_named(one.labels) for one in found]
    except ConfigurationError:
        message = "neither text, nor Parquet, nor an answer of Prometheus: its format is not known here"
        raise _no_head(path, message) from None
    return Head("remote-read", samples=samples)


def _exposition(lines: Sequence[str]) -> Head | None:
    """Prometheus' or OpenMetrics' text: when every line (of the first 200, but for comments) is a sample."""
    from prometheus_client.parser import text_string_to_metric_families

    samples: list[tuple[str, Mapping[str, str]]] = []
    timed, seconds = True, False
    for number, line in enumerate(_content(lines)):
        try:
            (sample,) = (one for family in text_string_to_metric_families(line) for one in family.samples)
        except Exception:
            # the parser's own errors are of every kind; behind the first lines a bad one is import's to name
            if number < 200:
                return None
            continue
        timed = timed and sample.timestamp is not None
        stamp = float(sample.timestamp or 0)
        seconds = seconds or 1e5 < stamp < 1e8  # seconds, read as ms and divided by a thousand
        samples.append((sample.name, sample.labels))
    if not samples:
        return None
    is_open = seconds or any(line.startswith(("# EOF", "# UNIT")) for line in lines)
    return Head("openmetrics" if is_open else "prometheus", samples=samples, timed=timed)


def _influx(lines: Sequence[str]) -> Head | None:
    from line_protocol_parser import LineFormatError, parse_line

    samples: list[tuple[str, Mapping[str, str]]] = []
    head = Head("influx", samples=samples)
    newest = 0
    for number, line in enumerate(_content(lines)):
        try:
            point = parse_line(line)
        except (LineFormatError, ValueError):
            if number < 200:
                return None
            continue
        newest = max(newest, point["time"] or 0)
        head.timed = head.timed and point["time"] is not None
        for name, value in point["fields"].items():
            full = f"{point['measurement']}.{name}"
            if isinstance(value, str):
                head.texts.add(full)
            else:
                samples.append((full, point["tags"]))
    for form, per_s in (("unix s", 1), ("unix ms", 1000), ("unix us", 10**6)):
        if newest and newest < 10**10 * per_s:
            head.questions.append(
                f"the times look like {form[5:]}: add 'time: {{format: {form}}}' if they are"
            )
            break
    return head if samples else None


def _content(lines: Sequence[str]) -> Iterator[str]:
    for line in lines[:HEAD_ROWS]:
        if line.strip() and not line.startswith("#"):
            yield line


def _table(path: Path, lines: Sequence[str]) -> Head:
    delimiter, rows = split_head([line for line in lines if line.strip()])
    if len(rows) < 2:
        message = "no table (a line of names and rows of as many cells), and no other format known here"
        raise _no_head(path, message)
    columns = [[row[index] for row in rows[1:]] for index in range(len(rows[0]))]
    head = Head("tsv" if delimiter == "\t" else "csv", table=judge(rows[0], columns, delimiter))
    odd = sum(bool(line.strip()) for line in lines) - len(rows)
    if odd:
        head.questions.append(
            f"{odd} lines of the head have another number of cells: import will reject them"
        )
    return head
