"""What a site file says about an asset, before its ids are expanded: templates, points, actuators, contents.

Rules: a template is compiled once, however many assets it makes, so that its mistakes are reported once and
where they are written; what an asset adds to its template (`is`) is merged name by name, a point given again
replaces the template's; nothing here knows an id of an asset. A spec with a finding stays known as a broken one,
so that what it lacks for that reason is not found wrong too.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from rules.findings import nearest
from rules.site.ids import ExpandedId, PatternError, expand_ids
from rules.site.model import DeadbandKind, Fallback
from rules.site.quantities import (
    known_unit,
    read_deadband,
    read_duration,
    read_fallback,
    read_in_unit,
    read_span,
)
from rules.site.sources import OWN_KINDS, SourceTable, as_address
from rules.site.types import GPU, GPU_ACTUATORS, OBJECT_TYPES, POINT_UNITS
from rules.site.units import convert
from rules.strict_yaml import DURATION_NS, Node

ASSET_KEYS = (
    "is",
    "type",
    "constants",
    "points",
    "actuators",
    "contains",
    "feeds",
    "part_of",
    "location",
    "process_area",
)
POINT_KEYS = ("range", "period", "sampling", "deadband", "queue", "discard", "source", "address")
ACTUATOR_KEYS = ("range", "default", "source", "address", "expiry", "fallback")
EXPIRY_NS = 10 * DURATION_NS["s"]

_CONSTANT = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(slots=True)
class PointSpec:
    """A point without its asset; fields as in `model.Point`, `address` still with its {placeholders}."""

    node: Node
    engineering_unit: str
    low: float
    high: float
    period_ns: int
    sampling_ns: int
    source: str
    address: str
    queue_size: int
    discard_oldest: bool
    deadband_kind: DeadbandKind
    deadband: float


@dataclass(slots=True)
class ActuatorSpec:
    """An actuator without its asset, as in `model.Actuator`. `source` '' for a GPU: the one that reads it."""

    node: Node
    kind: Literal["opcua", "nvml"]
    engineering_unit: str
    low: float
    high: float
    default: float
    source: str
    address: str
    expiry_ns: int
    fallback: Fallback | None


@dataclass(slots=True)
class AssetSpec:
    """An asset without its id. `children` are (the key in the file, its ids as suffixes, what they are).

    `is_broken`: what it is or contains can't all be read. `rejected_points`: names under `points` that make none.
    """

    type: str = ""
    constants: dict[str, float] = field(default_factory=dict)
    constant_units: dict[str, str] = field(default_factory=dict)
    points: dict[str, PointSpec] = field(default_factory=dict)
    actuators: dict[str, ActuatorSpec] = field(default_factory=dict)
    children: list[tuple[Node, list[ExpandedId], AssetSpec]] = field(default_factory=list)
    feeds: tuple[Node, ...] = ()
    part_of: Node | None = None
    location: str = ""
    process_area: str = ""
    is_broken: bool = False
    rejected_points: frozenset[str] = frozenset()


def expand_key(node: Node, text: str | None = None) -> list[ExpandedId]:
    """The ids of a pattern in the file; a wrong one is reported and gives none."""
    try:
        return expand_ids(node.scalar if text is None else text)
    except PatternError as error:
        node.report(str(error), error.hint, offset=error.offset if text is None else 0)
        return []


class SpecReader:
    """Compiles templates and assets. `is_whole`: a file without `templates` has none, rather than misspelt them."""

    def __init__(self, templates: Node | None, is_whole: bool, table: SourceTable) -> None:
        self._nodes = {} if templates is None else dict(templates.as_mapping())
        self._has_all = is_whole if templates is None else templates.is_whole()
        self._table = table
        self._sources = table.sources
        self._done: dict[str, AssetSpec] = {}
        self._under_way: list[str] = []
        self.used: set[str] = set()
        with_points = [source.id for source in self._sources.values() if source.kind in ("opcua", "file")]
        self._default_source = with_points[0] if len(with_points) == 1 and table.knows_kinds() else ""

    def all_templates(self) -> None:
        """Compile every template, so that the mistakes of an unused one are reported too."""
        for name in self._nodes:
            self.template(name)

    def template(self, name: str) -> AssetSpec:
        """The compiled template `name`, which exists."""
        if name not in self._done:
            self._under_way.append(name)
            self._done[name] = self._asset(self._nodes[name], is_template=True)
            self._under_way.pop()
        return self._done[name]

    def asset(self, node: Node) -> AssetSpec:
        """What stands behind an asset's id: the name of a template, or a mapping."""
        if node.kind == "mapping":
            return self._asset(node, is_template=False)
        return self._named(node)

    def _named(self, node: Node) -> AssetSpec:
        name = node.as_text()
        if name is None:
            return AssetSpec(is_broken=True)
        if name not in self._nodes and not self._has_all:
            return AssetSpec(is_broken=True)
        if name not in self._nodes:
            known = f"templates: {', '.join(self._nodes)}" if self._nodes else "the file has no templates"
            node.report(f"unknown template '{name}'", nearest(name, self._nodes) or known)
            return AssetSpec(is_broken=True)
        if name in self._under_way:
            path = [*self._under_way[self._under_way.index(name) :], name]
            node.report(f"template '{name}' contains itself", " > ".join(path))
            return AssetSpec(is_broken=True)
        self.used.add(name)
        return self.template(name)

    def _asset(self, node: Node, is_template: bool) -> AssetSpec:
        fields = node.fields(ASSET_KEYS)
        base = self._named(fields["is"]) if "is" in fields else AssetSpec()
        spec = AssetSpec(
            base.type,
            dict(base.constants),
            dict(base.constant_units),
            dict(base.points),
            dict(base.actuators),
            list(base.children),
            base.feeds,
            base.part_of,
            base.location,
            base.process_area,
            base.is_broken or not node.is_whole(ASSET_KEYS),
            base.rejected_points,
        )
        if "type" in fields:
            spec.type = fields["type"].as_choice(OBJECT_TYPES, "object type") or ""
            if "is" in fields:
                fields["type"].report("'type' beside 'is'", "the template gives the type: remove one")
        elif "is" not in fields and node.is_whole(ASSET_KEYS):
            what = "template" if is_template else "asset"
            node.report(
                f"the {what} has neither 'type' nor 'is'", "give it an object type, such as 'type: Rack'"
            )
        spec.is_broken |= not spec.type
        self._constants(fields.get("constants"), spec)
        # a mapping of which something is not read may hold the point of any actuator, and any asset
        are_known = not spec.is_broken and _is_readable(fields.get("points"))
        for key, entry in _entries(fields.get("points")):
            self._point(key, entry, spec)
        for key, entry in _entries(fields.get("actuators")):
            self._actuator(key, entry, spec, are_known)
        spec.is_broken |= not _is_readable(fields.get("contains"))
        for key, entry in _entries(fields.get("contains")):
            child = self.asset(entry)
            suffixes = expand_key(key)
            spec.children.append((key, suffixes, child))
            spec.is_broken |= child.is_broken or not suffixes
            if child.part_of is not None:
                child.part_of.report(
                    "'part_of' on what stands under 'contains'", "it is part of what contains it"
                )
        if spec.type == GPU and spec.children:
            node.report("a GPU contains nothing", "put GPUs under a tray or rack")
        if "feeds" in fields:
            spec.feeds = tuple(item for item in fields["feeds"].as_list_or_one() if item.as_text())
        if "part_of" in fields and fields["part_of"].as_text():
            spec.part_of = fields["part_of"]
        for name in ("location", "process_area"):
            if name in fields:
                setattr(spec, name, fields[name].as_text() or "")
        return spec

    def _constants(self, node: Node | None, spec: AssetSpec) -> None:
        for key, entry in _entries(node):
            if not _CONSTANT.fullmatch(key.scalar):
                key.report(f"'{key.scalar}' is no name of a constant", "small letters, digits and _")
            quantity = entry.as_quantity()
            if quantity is not None:
                unit = known_unit(entry, quantity[1])
                spec.constants[key.scalar] = quantity[0]
                spec.constant_units[key.scalar] = unit or ""

    def _point(self, key: Node, entry: Node, spec: AssetSpec) -> None:
        name = key.scalar
        allowed = OBJECT_TYPES.get(spec.type)
        if allowed is None:
            allowed = frozenset(POINT_UNITS)
        if name not in allowed:
            spec.rejected_points |= {name}
            if name in POINT_UNITS:
                having = ", ".join(other for other, points in OBJECT_TYPES.items() if name in points)
                message, hint = f"a {spec.type} has no point type '{name}'", f"it is one of: {having}"
            else:
                message, hint = (
                    f"unknown point type '{name}'",
                    nearest(name, allowed) or nearest(name, POINT_UNITS),
                )
            if spec.type == GPU:
                hint = "the fields of a GPU come in frames and need no points"
            key.report(message, hint)
            return
        fields = entry.fields(POINT_KEYS) if entry.kind == "mapping" else {}
        span = fields.get("range") if entry.kind in ("mapping", "null") else entry
        # a misspelt key may be the one that is lacking
        lacking = key if entry.kind != "mapping" or entry.is_whole(POINT_KEYS) else None
        low, high, unit = -math.inf, math.inf, POINT_UNITS[name]
        if span is not None or lacking is not None:
            low, high, unit = read_span(key, span, unit)
        source = self._source(fields.get("source"), lacking, "opcua")
        # 0 where a finding hides it
        is_known = source != "" and source not in self._table.broken and lacking is not None
        period_ns = self._sources[source].period_ns if is_known else 0
        period_ns = read_duration(fields["period"], 0) if "period" in fields else period_ns
        sampling_ns = read_duration(fields.get("sampling"), period_ns) or 1
        queue = fields["queue"].as_integer(1, 10_000) if "queue" in fields else None
        if 0 < period_ns < sampling_ns:
            fields["sampling"].report(
                "the sampling interval is longer than the period", "sample at least once a period"
            )
        elif queue is not None and queue < period_ns // sampling_ns:
            needed = period_ns // sampling_ns
            fields["queue"].report(
                f"a queue of {queue} loses samples", f"a period has {needed}: queue {needed} or more"
            )
        discard = (
            fields["discard"].as_choice(("oldest", "newest"), "policy") if "discard" in fields else "oldest"
        )
        kind, deadband = read_deadband(fields.get("deadband"), unit, low, high)
        spec.points[name] = PointSpec(
            key,
            unit,
            low,
            high,
            period_ns,
            sampling_ns,
            source,
            self._address(fields.get("address"), source, lacking),
            queue or max(10, 2 * (period_ns // sampling_ns)),
            discard != "newest",
            kind,
            deadband,
        )

    def _actuator(self, key: Node, entry: Node, spec: AssetSpec, are_points_known: bool) -> None:
        name = key.scalar
        is_gpu = spec.type == GPU
        point = spec.points.get(name)
        if is_gpu and name not in GPU_ACTUATORS:
            key.report(
                f"a GPU has no actuator '{name}'", nearest(name, GPU_ACTUATORS) or "it has power_limit"
            )
            return
        rejected = spec.rejected_points
        if not is_gpu and point is None:
            if not are_points_known or name in rejected or nearest(name, rejected):
                return
            hint = (
                nearest(name, spec.points)
                or "an actuator's read-back is the point of the same name: add it to 'points'"
            )
            key.report(f"the actuator '{name}' has no point", hint)
            return
        fields = entry.fields(ACTUATOR_KEYS, required=("default",) if point else ("range", "default"))
        unit = point.engineering_unit if point else GPU_ACTUATORS[name]
        low, high = (point.low, point.high) if point else (-math.inf, math.inf)
        if "range" in fields:
            low, high = self._actuator_span(key, fields["range"], unit, point)
        default = read_in_unit(fields["default"], unit) if "default" in fields else None
        if default is not None and not low <= default <= high:
            fields["default"].report(
                f"the default {default:g} is outside the range", f"{low:g} to {high:g} {unit}".strip()
            )
        # what the point lacks is reported there
        default_source, lacking = (point.source, key if point.source else None) if point else ("", key)
        source = self._source(fields.get("source"), lacking, "nvml" if is_gpu else "opcua", default_source)
        if point is not None and source == point.source and not point.address:
            lacking = None
        if source and (kind := self._sources[source].kind) in ("file", *OWN_KINDS):
            key.report(f"'{name}' comes from a {kind}", "nothing can be set there: remove the actuator")
        spec.actuators[name] = ActuatorSpec(
            key,
            "nvml" if is_gpu else "opcua",
            unit,
            low,
            high,
            low if default is None else default,
            source,
            ""
            if is_gpu
            else self._address(fields.get("address"), source, lacking, point.address if point else ""),
            read_duration(fields.get("expiry"), EXPIRY_NS, DURATION_NS["s"], 60 * DURATION_NS["s"]),
            read_fallback(fields.get("fallback"), unit, low, high),
        )

    def _actuator_span(
        self, key: Node, node: Node, unit: str, point: PointSpec | None
    ) -> tuple[float, float]:
        low, high, written = read_span(key, node, unit)
        low, high = convert(low, written, unit), convert(high, written, unit)
        is_read = math.isfinite(high - low)
        if point is not None and is_read and not (point.low <= low and high <= point.high):
            node.report(
                "the actuator's range reaches outside its point's",
                f"{point.low:g} to {point.high:g} {unit}".strip(),
            )
        return low, high

    def _source(self, node: Node | None, key: Node | None, kind: str, default: str = "") -> str:
        """The id of a known source of `kind`; '' after a finding, and for a GPU without one of its own.

        `key`: where it is reported that there is none; None where that is not certain.
        """
        if node is None:
            if not default and kind == "opcua":
                default = self._default_source
                if not default and key is not None and self._table.knows_kinds():
                    key.report(
                        f"'{key.scalar}' has no source", "name one: there is not exactly one source of points"
                    )
            return default
        name = node.as_text()
        is_broken = name in self._table.broken or not self._table.has_all
        if name is None or (name not in self._sources and is_broken):
            return ""
        kinds = ("opcua", "file", *OWN_KINDS) if kind == "opcua" else (kind,)
        fitting = [source.id for source in self._sources.values() if source.kind in kinds]
        if name not in fitting:
            is_other = name in self._sources
            message = (
                f"source '{name}' is of kind {self._sources[name].kind}"
                if is_other
                else f"unknown source '{name}'"
            )
            node.report(message, nearest(name, fitting) or f"{kind} sources: {', '.join(fitting) or 'none'}")
            return ""
        return name

    def _address(self, node: Node | None, source: str, key: Node | None, default: str = "") -> str:
        address = default or self._table.addresses.get(source, "")
        if node is not None:
            return as_address(node)
        is_known = source != "" and source not in self._table.broken
        if not address and key is not None and is_known and self._sources[source].kind == "opcua":
            key.report(f"'{key.scalar}' has no address", f"give it one, or the source '{source}' a template")
        return address


def _is_readable(node: Node | None) -> bool:
    """Whether all entries of a mapping with free keys are read; there may be none."""
    return node is None or node.kind == "null" or node.is_whole()


def _entries(node: Node | None) -> list[tuple[Node, Node]]:
    """(key, value) pairs of a mapping with free keys; an absent or empty one has none."""
    if node is None or node.kind == "null":
        return []
    entries = node.as_mapping()
    return [(node.keys[key], entries[key]) for key in entries]
