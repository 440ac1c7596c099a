"""Units and what stands in them: specs and id patterns become assets, points and actuators, in file order.

Rules: depth first, so that the GPUs below any asset have consecutive lanes; a mistake in a pattern or a relation is
reported once, where it is written, and not once per asset that it makes, nor again by what refers to assets that it
fails to make; whatever is built here is light (18,928 assets of a site with 208 racks share the constants of their
templates).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from rules.findings import nearest
from rules.site.ids import ASSET_ID, NAME_ID, ExpandedId
from rules.site.model import Actuator, Asset, Point, Unit
from rules.site.spec import ActuatorSpec, AssetSpec, PointSpec, SpecReader, expand_key
from rules.site.types import GPU
from rules.strict_yaml import Node

UNIT_KEYS = ("assets",)
ASSETS_MAX = 300_000
FEEDS_MAX = 1_000_000
"""Twice a site with 100,000 GPUs, and more: nested ranges multiply, and a slip must not fill the memory."""
CYCLES_MAX = 20
"""More circles than these are not listed: the first ones have to go anyway."""


@dataclass(slots=True)
class _UnitParts:
    """A unit while its assets are being placed."""

    assets: list[str] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    gpus: list[str] = field(default_factory=list)
    gpu_range: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Relation:
    """A relation as written, for one asset: `number` and `unit` fill the placeholders."""

    node: Node
    asset: str
    unit: str
    number: str

    def text(self) -> str:
        return (
            self.node.scalar.replace("{n}", self.number)
            .replace("{unit}", self.unit)
            .replace("{id}", self.asset)
        )


class Expansion:
    """Everything that the units make. `keys` is the place in the file of every asset."""

    def __init__(self, reader: SpecReader) -> None:
        self._reader = reader
        self._parts: dict[str, _UnitParts] = {}
        self._is_full = False
        self._unit_keys: dict[str, Node] = {}
        self._feeds: list[_Relation] = []
        self._part_of: list[_Relation] = []
        self._unit_of: dict[str, str] = {}
        self._unread: set[str] = set()
        """How ids of assets begin that the file may declare where it can't be read."""
        self._repeated: dict[tuple[int, int], tuple[Node, Node, list[str]]] = {}
        self._fed: dict[str, tuple[str, ...]] = {}
        self._parents: dict[str, str] = {}
        self._specs: dict[str, tuple[AssetSpec, str]] = {}
        self.keys: dict[str, Node] = {}
        self.gpu_index: dict[str, int] = {}
        self.assets: dict[str, Asset] = {}
        self.points: dict[str, Point] = {}
        self.actuators: list[tuple[ActuatorSpec, str, str, str, int]] = []
        """Each actuator to be: its spec, asset, object type, quantity and the GPUs placed before it."""
        self.units: dict[str, Unit] = {}

    def read(self, units: Node | None) -> None:
        """Place all assets of all units, resolve their relations and build the units."""
        if units is None or not units.is_whole():
            self._unread.add("")
        for pattern, entry in ({} if units is None else units.as_mapping()).items():
            assert units is not None
            key = units.keys[pattern]
            fields = entry.fields(UNIT_KEYS, required=UNIT_KEYS) if entry.kind == "mapping" else {}
            if entry.kind != "mapping":
                entry.report("a unit is a mapping with 'assets'")
            assets = fields.get("assets")
            expanded = expand_key(key)
            if assets is None or not assets.is_whole() or not expanded:
                self._unread.add("")
            specs = self._declared(assets)
            for unit in expanded:
                self._place_unit(unit, key, specs)
        for key, first, ids in self._repeated.values():
            those = ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]} ({len(ids)} ids)"
            key.report(f"{those} declared twice", f"first in line {first.line}")
        self._resolve()
        self._build()

    def gpus_below(self, asset: str) -> tuple[str, ...]:
        """The GPUs of a tray, a rack or what else holds some; none below a GPU."""
        parts = self._parts[self._unit_of[asset]]
        return tuple(parts.gpus[slice(*parts.gpu_range.get(asset, (0, 0)))])

    def is_broken(self, asset: str) -> bool:
        """Whether what a placed asset is or contains can't all be read."""
        return self._specs[asset][0].is_broken

    def is_unknown(self, asset: str) -> bool:
        """Whether the file declares no such asset, not even where it can't be read."""
        return asset not in self.keys and not asset.startswith(tuple(self._unread))

    def point_spec(self, point: Point) -> PointSpec:
        """What the file says of a point."""
        return self._specs[point.asset][0].points[point.point_type]

    def _declared(self, assets: Node | None) -> list[tuple[Node, AssetSpec]]:
        if assets is None:
            return []
        entries = assets.as_mapping()
        return [(assets.keys[text], self._reader.asset(entry)) for text, entry in entries.items()]

    def _place_unit(self, unit: ExpandedId, key: Node, specs: list[tuple[Node, AssetSpec]]) -> None:
        if not NAME_ID.fullmatch(unit.id):
            key.report(f"'{unit.id}' can't be the id of a unit", "small letters, digits and -")
        elif unit.id in self._parts:
            key.report(f"unit '{unit.id}' declared twice", f"first in line {self._unit_keys[unit.id].line}")
            return
        parts = self._parts[unit.id] = _UnitParts()
        self._unit_keys[unit.id] = key
        for asset_key, spec in specs:
            text = asset_key.scalar.replace("{n}", unit.number).replace("{unit}", unit.id)
            expanded = expand_key(asset_key, text)
            if not expanded:
                self._unread.add(text.partition("[")[0])
            if spec.is_broken:
                self._unread.update(asset.id for asset in expanded)
            for asset in expanded:
                self._place(asset.id, asset_key, spec, unit.id, unit.number or asset.number, parts, None)
        parts.gpu_range[unit.id] = (0, len(parts.gpus))

    def _place(
        self,
        id_: str,
        key: Node,
        spec: AssetSpec,
        unit: str,
        number: str,
        parts: _UnitParts,
        parent: str | None,
    ) -> None:
        if not ASSET_ID.fullmatch(id_):
            key.report(f"'{id_}' can't be the id of an asset", "letters, digits, - and _")
            self._unread.add(id_)
            return
        if len(self.keys) >= ASSETS_MAX:
            if not self._is_full:
                key.report(f"more than {ASSETS_MAX:,} assets", "a range is too wide, or ranges multiply")
            self._is_full = True
            self._unread.add("")
            return
        if id_ in self.keys:
            place = (key.line, key.column)
            self._repeated.setdefault(place, (key, self.keys[id_], []))[2].append(id_)
            return
        self.keys[id_] = key
        self._unit_of[id_] = unit
        self._specs[id_] = (spec, number)
        parts.assets.append(id_)
        if parent is not None:
            self._parents[id_] = parent
        elif spec.part_of is not None:
            self._part_of.append(_Relation(spec.part_of, id_, unit, number))
        if spec.feeds:
            self._feeds += [_Relation(node, id_, unit, number) for node in spec.feeds]
        if spec.points:
            self._add_points(id_, spec, parts)
        for quantity, actuator in spec.actuators.items():
            self.actuators.append((actuator, id_, spec.type, quantity, len(self.gpu_index)))
        first = len(parts.gpus)
        if spec.type == GPU:
            self.gpu_index[id_] = len(self.gpu_index)
            parts.gpus.append(id_)
        for child_key, suffixes, child in spec.children:
            for suffix in suffixes:
                self._place(id_ + suffix.id, child_key, child, unit, number, parts, id_)
        if len(parts.gpus) > first and spec.type != GPU:
            parts.gpu_range[id_] = (first, len(parts.gpus))

    def _add_points(self, id_: str, spec: AssetSpec, parts: _UnitParts) -> None:
        for point_type, point in spec.points.items():
            made = Point(
                id=f"{id_}.{point_type}",
                asset=id_,
                point_type=point_type,
                engineering_unit=point.engineering_unit,
                low=point.low,
                high=point.high,
                period_ns=point.period_ns,
                source=point.source,
                address=_address(point.address, id_, spec.type, point_type),
                sampling_ns=point.sampling_ns,
                queue_size=point.queue_size,
                discard_oldest=point.discard_oldest,
                deadband_kind=point.deadband_kind,
                deadband=point.deadband,
                is_setpoint=point_type in spec.actuators,
            )
            self.points[made.id] = made
            parts.points.append(made)

    def build_actuators(self, source_of_gpu: Mapping[str, str]) -> dict[str, Actuator]:
        """The actuators, once it is known which source reads each GPU."""
        made: dict[str, Actuator] = {}
        for spec, asset, object_type, quantity, gpu_index in self.actuators:
            is_gpu = spec.kind == "nvml"
            actuator = Actuator(
                id=f"{asset}.{quantity}",
                asset=asset,
                quantity=quantity,
                kind=spec.kind,
                source=spec.source or source_of_gpu.get(asset, ""),
                address=str(gpu_index) if is_gpu else _address(spec.address, asset, object_type, quantity),
                engineering_unit=spec.engineering_unit,
                low=spec.low,
                high=spec.high,
                default=spec.default,
                expiry_ns=spec.expiry_ns,
                fallback=spec.fallback,
            )
            made[actuator.id] = actuator
        return made

    def _resolve(self) -> None:
        """Relations to ids; unknown ones are reported once per place, cycles once per cycle."""
        fed: dict[str, list[str]] = {}
        unknown: dict[tuple[int, int], None] = {}
        total = 0
        for relation in self._feeds:
            targets = self._known(relation, unknown)
            total += len(targets)
            if total > FEEDS_MAX:
                relation.node.report(f"more than {FEEDS_MAX:,} pairs of assets that feed each other")
                break
            fed.setdefault(relation.asset, []).extend(targets)
        for relation in self._part_of:
            targets = self._known(relation, unknown)
            spec = self._specs[relation.asset][0]
            if spec.type == GPU or relation.asset in self._parts[self._unit_of[relation.asset]].gpu_range:
                relation.node.report(
                    "'part_of' on an asset with GPUs", "write it under 'contains' of its parent"
                )
            elif len(targets) > 1:
                relation.node.report(
                    f"'{relation.asset}' can be part of one asset only", "name one id, not a range"
                )
            elif targets:
                self._parents[relation.asset] = targets[0]
                if self._unit_of[targets[0]] != self._unit_of[relation.asset]:
                    relation.node.report(
                        f"'{relation.asset}' is part of '{targets[0]}', which is in another unit",
                        "parts of an asset share its unit; use 'feeds' across units",
                    )
        self._fed = {asset: tuple(dict.fromkeys(targets)) for asset, targets in fed.items()}
        for graph, name in ((self._parts_of(), "part_of"), (self._fed, "feeds")):
            for cycle in _cycles(graph):
                relations = self._part_of if name == "part_of" else self._feeds
                node = next(
                    (relation.node for relation in relations if relation.asset in cycle), self.keys[cycle[0]]
                )
                node.report(f"'{name}' runs in a circle: {' > '.join(cycle)}", "remove one of them")

    def _parts_of(self) -> dict[str, tuple[str, ...]]:
        """What 'part_of' leads to: what is written below another asset runs in no circle without it."""
        found: dict[str, tuple[str, ...]] = {}
        for relation in self._part_of:
            asset = relation.asset
            while asset in self._parents and asset not in found:
                found[asset] = (self._parents[asset],)
                asset = self._parents[asset]
        return found

    def _known(self, relation: _Relation, reported: dict[tuple[int, int], None]) -> list[str]:
        place = (relation.node.line, relation.node.column)
        text = relation.text()
        if place in reported:
            return []
        expanded = expand_key(relation.node, text)
        missing = [target.id for target in expanded if self.is_unknown(target.id)]
        if missing or not expanded:
            reported[place] = None
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            relation.node.report(f"unknown asset '{missing[0]}'{more}", nearest_asset(missing[0], self.keys))
        return [target.id for target in expanded if target.id in self.keys]

    def _build(self) -> None:
        for unit, parts in self._parts.items():
            assets = tuple(self._asset(id_, unit) for id_ in parts.assets)
            self.assets.update((asset.id, asset) for asset in assets)
            self.units[unit] = Unit(
                unit,
                assets,
                tuple(parts.points),
                tuple(parts.gpus),
                {gpu: lane for lane, gpu in enumerate(parts.gpus)},
                parts.gpu_range,
            )
            if unit in self.keys:
                self._unit_keys[unit].report(
                    f"'{unit}' is a unit and an asset", f"the asset is in line {self.keys[unit].line}"
                )

    def _asset(self, id_: str, unit: str) -> Asset:
        spec, _ = self._specs[id_]
        return Asset(
            id_,
            spec.type,
            unit,
            self._parents.get(id_),
            self._fed.get(id_, ()),
            spec.constants,
            spec.constant_units,
            spec.location,
            spec.process_area,
        )


def nearest_asset(name: str, assets: Iterable[str]) -> str:
    """The hint of `nearest`, which is slow over thousands of ids: 2,000 that start alike at most."""
    names = list(assets)
    alike = [other for other in names if other[:1] == name[:1]]
    return nearest(name, sorted(alike or names, key=len)[:2000])


def _address(template: str, asset: str, object_type: str, point_type: str) -> str:
    if "{" not in template:
        return template
    return (
        template.replace("{point}", f"{asset}.{point_type}")
        .replace("{asset}", asset)
        .replace("{object_type}", object_type)
        .replace("{point_type}", point_type)
    )


def _cycles(graph: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """Up to CYCLES_MAX circles of the graph, the first id repeated at the end of each."""
    remaining = dict(graph)
    cycles: list[list[str]] = []
    while len(cycles) < CYCLES_MAX:
        try:
            TopologicalSorter(remaining).prepare()
        except CycleError as error:
            # graphlib names predecessors first, and what an asset feeds stands here as its predecessors
            cycle: list[str] = error.args[1][::-1]
            cycles.append(cycle)
            remaining[cycle[0]] = tuple(target for target in remaining[cycle[0]] if target != cycle[1])
        else:
            break
    return cycles
