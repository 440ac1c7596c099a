"""The map file of an import: what the columns of a file mean, in YAML.

Rules: read strictly, every finding at once, with the place in the map file; every target is a point or a GPU field
of the site, and its unit is convertible; a column is mapped or named under `ignored`, never overlooked.
docs/import.md explains the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Literal, cast, get_args

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Site
from rules.strict_yaml import Node, load
from streams.importing.map_columns import (
    TABLES,
    Column,
    Series,
    read_columns,
    read_labels,
    read_series,
    text_of,
)
from streams.importing.times import TimeReader, read_zone
from streams.site_folder import load_site
from streams.text_file import read_text

Format = Literal[
    "csv", "tsv", "parquet", "prometheus", "openmetrics", "prometheus-json", "remote-read", "influx", "opcua"
]
Order = Literal["oldest first", "newest first", "any"]

KEYS = (
    "site", "format", "delimiter", "encoding", "decimal", "time", "order", "max_gap", "not_available",
    "long", "quality", "series", "labels", "columns", "ignored", "security",
)  # fmt: skip
FORMATS: tuple[str, ...] = get_args(Format)
DELIMITERS = {"csv": ",", "tsv": "\t"}
OPEN_QUESTION = "# CHECK:"
"""What `import --guess` writes before a line that a person has to decide on."""


@dataclass(frozen=True, slots=True)
class Long:
    """Of a table with one value a row: the columns that hold the signal's name and its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class QualityColumn:
    """Of a table: the column that says whether a row's values are good, and the texts that say so."""

    column: str
    good: frozenset[str]


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Times of files that carry none: the first is taken at `start_ns`, each further one `step_ns` later."""

    start_ns: int
    step_ns: int


@dataclass(frozen=True, slots=True)
class ImportMap:
    """A checked map file. `time`: the column and how its text reads; None where `snapshots` says the times."""

    file: str
    site: Site
    site_dir: Path
    format: Format
    delimiter: str
    encoding: str
    decimal: str
    time_column: str
    time: TimeReader
    snapshots: Snapshots | None
    long: Long | None
    quality: QualityColumn | None
    order: Order
    max_gap_ns: int
    not_available: frozenset[str]
    series: Series
    columns: tuple[Column, ...]
    ignored: tuple[str, ...]
    security: str

    @property
    def is_wide(self) -> bool:
        """Whether each row of the file has every column: then none are put together."""
        return (self.format in TABLES and self.long is None) or self.snapshots is not None


def load_map(path: Path) -> ImportMap:
    """Read and check a map file and the site that it names. Raises ConfigurationError with every finding."""
    text = read_text(path, str(path))
    root, findings = load(text, str(path))
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(OPEN_QUESTION):
            said = line.strip().removeprefix(OPEN_QUESTION).strip()
            hint = "decide, and delete this comment"
            findings.append(
                Finding(str(path), number, line.index("#") + 1, f"still to be checked: {said}", hint)
            )
    found = None if root is None else _read(root, path)
    if found is None or findings:
        raise ConfigurationError(sorted(dict.fromkeys(findings)))
    return found


def _read(root: Node, path: Path) -> ImportMap | None:
    fields = root.fields(KEYS, required=("site", "format", "columns"))
    kind = fields["format"].as_choice(FORMATS, "format") if "format" in fields else None
    if kind in TABLES and "time" not in fields:
        root.report("the key 'time' is missing")
    time_column, reader, snapshots = _read_time(fields.get("time"), kind)
    series = read_series(fields.get("series"), kind)
    site, site_dir = _read_site(fields.get("site"), path)
    has_labels = kind != "opcua" and (kind not in TABLES or "long" in fields)
    labels = read_labels(fields.get("labels"), has_labels)
    columns = read_columns(fields.get("columns"), series, labels, has_labels, site)
    long = _read_long(fields.get("long"), kind)
    quality = _read_quality(fields.get("quality"), kind)
    order = (
        fields["order"].as_choice(("oldest first", "newest first", "any"), "order")
        if "order" in fields
        else "oldest first"
        if kind in TABLES or snapshots is not None
        else "any"
    )
    max_gap_ns = fields["max_gap"].as_duration_ns() if "max_gap" in fields else None
    absent = [""] + [
        node.scalar
        for node in (fields["not_available"].as_list_or_one() if "not_available" in fields else ())
    ]
    delimiter = _read_delimiter(fields.get("delimiter"))
    if site is None or kind is None or order is None or not columns:
        return None
    if "max_gap" not in fields:
        max_gap_ns = 3 * max(source.period_ns for source in site.sources.values())
    return ImportMap(
        file=str(path),
        site=site,
        site_dir=site_dir,
        format=cast(Format, kind),
        delimiter=delimiter or DELIMITERS.get(kind, ""),
        encoding=text_of(fields.get("encoding")) or "utf-8-sig",
        decimal=text_of(fields.get("decimal")) or ".",
        time_column=time_column,
        time=reader,
        snapshots=snapshots,
        long=long,
        quality=quality,
        order=cast(Order, order),
        max_gap_ns=max_gap_ns or 1,
        not_available=frozenset(absent),
        series=series,
        columns=tuple(columns),
        ignored=tuple(
            node.scalar for node in (fields["ignored"].as_list_or_one() if "ignored" in fields else ())
        ),
        security=text_of(fields.get("security")) or "None",
    )


def _read_delimiter(node: Node | None) -> str:
    """One character, which may be a space or a tab."""
    if node is None:
        return ""
    if node.kind != "text" or len(node.scalar) != 1 or node.scalar in '"\r\n':
        node.report("a delimiter is one character, and no quote", "such as ';'")
        return ""
    return node.scalar


def _read_site(node: Node | None, path: Path) -> tuple[Site | None, Path]:
    """The site's folder is relative to the map file."""
    name = text_of(node)
    folder = path.parent / name
    if node is None or not name:
        return None, folder
    try:
        return load_site(folder), folder
    except ConfigurationError as error:
        node.report(f"the site '{name}' can't be used", f"relative to {path.parent}")
        node.document.findings.extend(error.findings)
        return None, folder


def _read_time(node: Node | None, kind: str | None) -> tuple[str, TimeReader, Snapshots | None]:
    if node is None:
        return "", TimeReader("unix ns" if kind == "influx" else "iso"), None
    if kind in ("openmetrics", "prometheus-json", "remote-read", "opcua"):
        node.report(f"the times of {kind} are its own", "remove 'time'")
        return "", TimeReader(), None
    if kind == "influx":
        form = text_of(node.fields(("format",), required=("format",)).get("format"))
        if not form.startswith("unix "):
            node.report("times in line protocol are numbers", "format: unix ns, unix us, unix ms or unix s")
            form = "unix ns"
        return "", _time_reader(node, form, UTC), None
    if kind == "prometheus":
        fields = node.fields(("start", "step"), required=("start", "step"))
        start = text_of(fields.get("start"))
        step_ns = fields["step"].as_duration_ns() if "step" in fields else None
        try:
            start_ns = TimeReader().read(start) if start else 0
        except ValueError as error:
            fields["start"].report(str(error), "such as 2026-01-01T00:00:00Z")
            start_ns = 0
        return "", TimeReader(), Snapshots(start_ns, step_ns or 1)
    fields = node.fields(("column", "format", "zone"), required=("column",))
    column, form = text_of(fields.get("column")), text_of(fields.get("format")) or "iso"
    zone = read_zone(text_of(fields.get("zone")) or "UTC")
    if zone is None:
        fields["zone"].report(f"unknown zone '{fields['zone'].scalar}'", "such as UTC or Europe/Oslo")
    return column, _time_reader(fields.get("format", node), form, zone), None


def _time_reader(node: Node, form: str, zone: tzinfo | None) -> TimeReader:
    try:
        reader = TimeReader(form, zone)
        if "%" in form:
            datetime.strptime(datetime(2024, 1, 2, 3, 4, 5).strftime(form), form)  # noqa: DTZ001, DTZ007 - a try
    except ValueError as error:
        node.report(
            f"unknown format of time '{form}': {error}", "iso, unix s, unix ms or like %Y-%m-%d %H:%M:%S"
        )
        return TimeReader()
    return reader


def _read_long(node: Node | None, kind: str | None) -> Long | None:
    if node is None:
        return None
    if kind not in TABLES:
        node.report("'long' is of tables", f"remove it: the samples of {kind} have names anyway")
    fields = node.fields(("name", "value"), required=("name", "value"))
    return Long(text_of(fields.get("name")), text_of(fields.get("value")))


def _read_quality(node: Node | None, kind: str | None) -> QualityColumn | None:
    if node is None:
        return None
    if kind not in TABLES:
        node.report("'quality' is of tables", "remove it")
    fields = node.fields(("column", "good"), required=("column", "good"))
    good = [one.scalar for one in (fields["good"].as_list_or_one() if "good" in fields else ())]
    return QualityColumn(text_of(fields.get("column")), frozenset(good))
