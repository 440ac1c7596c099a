"""What a map says of columns and series: which column, metric or field goes to which point or GPU field.

Rules: every target is a point or a GPU field of the site, and its unit is convertible; a target gets the values of one
column only; `{series}` and `{LABEL}` in a target stand for what the map calls their values. Labels are of samples and
long tables: where nothing carries one, `labels` is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from rules.findings import nearest
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.site.model import Site
from rules.site.units import convert, is_unit, normal, same_dimension
from rules.yaml_node import Node

SERIES = "{series}"
TABLES = ("csv", "tsv", "parquet")


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


def read_series(node: Node | None, kind: str | None) -> Series:
    """One series where the map names none."""
    if node is None:
        return Series()
    if kind == "opcua":
        node.report("a historian has no series", "remove 'series': each node is a column of its own")
        return Series()
    possible = ("column", "file") if kind in TABLES else ("label", "file")
    fields = node.fields((*possible, "names"), required=("names",))
    given = [name for name in possible if name in fields]
    if len(given) != 1:
        node.report(f"name one of {' and '.join(possible)}", "it tells whose rows these are")
        return Series()
    by = given[0]
    key = "" if by == "file" and fields[by].kind == "boolean" else text_of(fields[by])
    names = {
        name: text_of(value)
        for name, value in (fields["names"].as_mapping() if "names" in fields else {}).items()
    }
    return Series(cast(Literal["column", "label", "file"], by), key, names)


def read_labels(node: Node | None, are_carried: bool) -> dict[str, dict[str, str]]:
    """By label: what each of its values is called in a target. `are_carried`: whether what is read has labels."""
    _check_carried(node, are_carried)
    return {
        label: {value: text_of(name) for value, name in entry.as_mapping().items()}
        for label, entry in ({} if node is None else node.as_mapping()).items()
    }


def read_columns(
    node: Node | None,
    series: Series,
    labels: Mapping[str, Mapping[str, str]],
    are_carried: bool,
    site: Site | None,
) -> list[Column]:
    """The columns that are right; what is wrong with the others is reported to their nodes."""
    columns: list[Column] = []
    owner: dict[str, str] = {}
    for name, entry in ({} if node is None else node.as_mapping()).items():
        fields = entry.fields(("to", "unit", "labels"), required=("to", "unit"))
        _check_carried(fields.get("labels"), are_carried)
        if "to" not in fields or "unit" not in fields or site is None:
            continue
        target, unit = text_of(fields["to"]), normal(fields["unit"].scalar)
        if not is_unit(unit):
            fields["unit"].report(f"unknown unit '{unit}'")
            continue
        own = {
            key: value.scalar
            for key, value in (fields["labels"].as_mapping() if "labels" in fields else {}).items()
        }
        for one, fitting in _spread(target, labels):
            if one in owner:
                fields["to"].report(f"'{one}' gets the values of '{owner[one]}' already")
            owner[one] = name
            to = _unit_of_series(one, series, site, fields["to"])
            if to is None:
                continue
            if not same_dimension(unit, to):
                fields["unit"].report(f"'{unit}' can't be converted to '{to or 'a plain number'}' of {one}")
                continue
            offset = convert(0.0, unit, to)
            columns.append(Column(name, own | fitting, one, convert(1.0, unit, to) - offset, offset))
    return columns


def _check_carried(node: Node | None, are_carried: bool) -> None:
    if node is not None and not are_carried:
        node.report("'labels' is of samples and long tables", "remove it: no value here carries a label")


def _spread(target: str, labels: Mapping[str, Mapping[str, str]]) -> list[tuple[str, dict[str, str]]]:
    """A target with `{label}` in it stands for one a value of the label: each with the labels that lead to it."""
    found: list[tuple[str, dict[str, str]]] = [(target, {})]
    for label, names in labels.items():
        place = f"{{{label}}}"
        if place in target:
            found = [
                (one.replace(place, name), fitting | {label: value})
                for one, fitting in found
                for value, name in names.items()
            ]
    return found


def _unit_of_series(target: str, series: Series, site: Site, node: Node) -> str | None:
    """The one unit that `target` has in every series; None, and reported, where it has none or several."""
    found = {_unit_of(target.replace(SERIES, one), site, node) for one in series.names.values()}
    units = found - {None}
    if len(units) > 1:
        node.report(f"'{target}' has a unit of its own in each series: {', '.join(sorted(map(str, units)))}")
    return units.pop() if found == units and len(units) == 1 else None


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


def text_of(node: Node | None) -> str:
    """The text of a node that may be missing; empty, and reported, where it is none."""
    return "" if node is None else node.as_text() or ""
