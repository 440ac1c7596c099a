"""The map file of an import: what the columns of a file mean, in YAML.

Rules: read strictly, every finding at once, with the place in the map file; every target is a point or a GPU field
of the site, and its unit is convertible; a column is mapped or named under `ignored`, never overlooked.
docs/import.md explains the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, cast

from rules.errors import ConfigurationError
from rules.findings import nearest
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.site.model import Site
from rules.site.units import convert, is_unit, normal, same_dimension
from rules.strict_yaml import Node, load
from streams.importing.times import TimeReader, read_zone
from streams.site_folder import load_site
from streams.text_file import read_text

Format = Literal["csv", "tsv", "prometheus"]
Order = Literal["oldest first", "newest first", "any"]

KEYS = (
    "site", "format", "delimiter", "encoding", "decimal", "time", "order", "max_gap", "not_available",
    "series", "columns", "ignored",
)  # fmt: skip
DELIMITERS = {"csv": ",", "tsv": "\t"}
SERIES = "{series}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column (or metric, with `labels` that a sample must carry) and where its values go.

    A value in the target's unit is `value * scale + offset`. `target` is a point's id, or `ASSET.FIELD` of a GPU.
    """

    name: str
    labels: Mapping[str, str]
    target: str
    scale: float
    offset: float


@dataclass(frozen=True, slots=True)
class Series:
    """Whose rows these are: `by` a column, a label, the file's name (with wildcards), or `none`: there is one."""

    by: Literal["none", "column", "label", "file"] = "none"
    key: str = ""
    names: Mapping[str, str] = field(default_factory=lambda: {"": ""})


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
    order: Order
    max_gap_ns: int
    not_available: frozenset[str]
    series: Series
    columns: tuple[Column, ...]
    ignored: tuple[str, ...]


def load_map(path: Path) -> ImportMap:
    """Read and check a map file and the site that it names. Raises ConfigurationError with every finding."""
    root, findings = load(read_text(path, str(path)), str(path))
    found = None if root is None else _read(root, path)
    if found is None or findings:
        raise ConfigurationError(sorted(dict.fromkeys(findings)))
    return found


def _read(root: Node, path: Path) -> ImportMap | None:
    fields = root.fields(KEYS, required=("site", "format", "time", "columns"))
    kind = fields["format"].as_choice(("csv", "tsv", "prometheus"), "format") if "format" in fields else None
    time_column, reader, snapshots = _read_time(fields.get("time"), kind)
    series = _read_series(fields.get("series"), kind)
    site, site_dir = _read_site(fields.get("site"), path)
    columns = _read_columns(fields.get("columns"), series, site)
    order = (
        fields["order"].as_choice(("oldest first", "newest first", "any"), "order")
        if "order" in fields
        else "oldest first"
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
        encoding=_text(fields.get("encoding")) or "utf-8-sig",
        decimal=_text(fields.get("decimal")) or ".",
        time_column=time_column,
        time=reader,
        snapshots=snapshots,
        order=cast(Order, order),
        max_gap_ns=max_gap_ns or 1,
        not_available=frozenset(absent),
        series=series,
        columns=tuple(columns),
        ignored=tuple(
            node.scalar for node in (fields["ignored"].as_list_or_one() if "ignored" in fields else ())
        ),
    )


def _text(node: Node | None) -> str:
    return "" if node is None else node.as_text() or ""


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
    name = _text(node)
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
        return "", TimeReader(), None
    if kind == "prometheus":
        fields = node.fields(("start", "step"), required=("start", "step"))
        start = _text(fields.get("start"))
        step_ns = fields["step"].as_duration_ns() if "step" in fields else None
        try:
            start_ns = TimeReader().read(start) if start else 0
        except ValueError as error:
            fields["start"].report(str(error), "such as 2026-01-01T00:00:00Z")
            start_ns = 0
        return "", TimeReader(), Snapshots(start_ns, step_ns or 1)
    fields = node.fields(("column", "format", "zone"), required=("column",))
    column, form = _text(fields.get("column")), _text(fields.get("format")) or "iso"
    zone = read_zone(_text(fields.get("zone")) or "UTC")
    if zone is None:
        fields["zone"].report(f"unknown zone '{fields['zone'].scalar}'", "such as UTC or Europe/Oslo")
    try:
        reader = TimeReader(form, zone)
        if "%" in form:
            datetime.strptime(datetime(2024, 1, 2, 3, 4, 5).strftime(form), form)  # noqa: DTZ001, DTZ007 - a try
    except ValueError as error:
        fields["format"].report(
            f"unknown format of time '{form}': {error}", "iso, unix s, unix ms or like %Y-%m-%d %H:%M:%S"
        )
        reader = TimeReader()
    return column, reader, None


def _read_series(node: Node | None, kind: str | None) -> Series:
    if node is None:
        return Series()
    possible = ("label", "file") if kind == "prometheus" else ("column", "file")
    fields = node.fields((*possible, "names"), required=("names",))
    given = [name for name in possible if name in fields]
    if len(given) != 1:
        node.report(f"name one of {' and '.join(possible)}", "it tells whose rows these are")
        return Series()
    by = given[0]
    key = "" if by == "file" and fields[by].kind == "boolean" else _text(fields[by])
    names = {
        name: _text(value)
        for name, value in (fields["names"].as_mapping() if "names" in fields else {}).items()
    }
    return Series(cast(Literal["column", "label", "file"], by), key, names)


def _read_columns(node: Node | None, series: Series, site: Site | None) -> list[Column]:
    columns: list[Column] = []
    owner: dict[str, str] = {}
    for name, entry in ({} if node is None else node.as_mapping()).items():
        fields = entry.fields(("to", "unit", "labels"), required=("to", "unit"))
        if "to" not in fields or "unit" not in fields or site is None:
            continue
        target, unit = _text(fields["to"]), normal(fields["unit"].scalar)
        labels = {
            key: value.scalar
            for key, value in (fields["labels"].as_mapping() if "labels" in fields else {}).items()
        }
        if target in owner:
            fields["to"].report(f"'{target}' gets the values of '{owner[target]}' already")
        owner[target] = name
        if not is_unit(unit):
            fields["unit"].report(f"unknown unit '{unit}'")
            continue
        wanted = {_unit_of(target.replace(SERIES, one), site, fields["to"]) for one in series.names.values()}
        units = wanted - {None}
        if len(units) > 1:
            fields["to"].report(
                f"'{target}' has a unit of its own in each series: {', '.join(sorted(map(str, units)))}"
            )
        if None in wanted or len(units) != 1:
            continue
        to = str(units.pop())
        if not same_dimension(unit, to):
            fields["unit"].report(f"'{unit}' can't be converted to '{to or 'a plain number'}' of {target}")
            continue
        offset = convert(0.0, unit, to)
        columns.append(Column(name, labels, target, convert(1.0, unit, to) - offset, offset))
    return columns


def _unit_of(target: str, site: Site, node: Node) -> str | None:
    """The unit of a point or GPU field; None, and reported, where the site has none such."""
    if target in site.points:
        return site.points[target].engineering_unit
    asset, _, field = target.rpartition(".")
    if asset in site.assets and site.assets[asset].type == "GPU":
        if field in FIELD_INDEX:
            return GPU_FIELDS[FIELD_INDEX[field]].unit
        node.report(f"a GPU has no field '{field}'", nearest(field, FIELD_INDEX))
        return None
    known = [*site.points, *(f"{gpu}.{field}" for unit in site.units.values() for gpu in unit.gpus)]
    node.report(f"the site '{site.name}' has no point '{target}'", nearest(target, known))
    return None
