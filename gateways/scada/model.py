"""The site as a tree of nodes: what each is, and what lies below it. No OPC UA here but the names of types.

Rules: everything is worked out from the site file when it is asked for, so that a site of 15,000 GPUs costs nothing
until somebody looks; no node has more than 100 children: more are put into groups of 50.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from gateways.scada.names import HEARTBEAT, SITE
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.site.model import Asset, Point, Site

CHILDREN_MAX: Final = 100
GROUP: Final = 50
GPU: Final = "GPU"
HEARTBEAT_VALUES: Final[Mapping[str, str]] = {"Counter": "UInt32", "Healthy": "Boolean", "Silent": "String"}

Kind = Literal[
    "site", "folder", "unit", "asset", "analog", "state", "property", "heartbeat", "value", "condition", "shelving",
]  # fmt: skip


class Quantity(NamedTuple):
    """What a value is measured in, and between which limits."""

    engineering_unit: str
    low: float
    high: float


class Place(NamedTuple):
    """One node. `name`: as it is browsed. `parent`: its text. `children`: theirs, in order."""

    text: str
    name: str
    kind: Kind
    parent: str
    children: Sequence[str] = ()
    quantity: Quantity | None = None
    description: str = ""


class Model:
    """The places of a site, by text."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parts: dict[str, list[str]] = {}
        self._tops: dict[str, list[str]] = {unit: [] for unit in site.units}
        for asset in site.assets.values():
            (
                self._tops[asset.unit] if asset.part_of is None else self._parts.setdefault(asset.part_of, [])
            ).append(asset.id)
        self._points: dict[str, list[str]] = {}
        for point in site.points.values():
            self._points.setdefault(point.asset, []).append(point.id)

    def place(self, text: str) -> Place | None:
        """The node of that text, None where there is none."""
        if text == SITE:
            below = [HEARTBEAT, *(f"/{unit}" for unit in self._site.units)]
            return Place(text, self._site.name, "site", "", self._grouped(SITE, below))
        if text.startswith(HEARTBEAT):
            return _heartbeat(text)
        if text.startswith("/"):
            return self._unit(text)
        asset = self._site.assets.get(text)
        if asset is not None:
            return self._asset(asset)
        head, _, last = text.rpartition("/")
        if head in self._site.assets and last.isdecimal():
            return self._group(text, head, self._below(self._site.assets[head]), int(last))
        return self._value(text) or self._property(head, last)

    def chain(self, unit: str, asset: str) -> list[str]:
        """The nodes at which what happens to an asset is heard: itself, what it is part of, its unit, the site."""
        found = self.above(asset)
        if unit in self._site.units:
            found.append(f"/{unit}")
        return [*found, SITE]

    def above(self, asset: str) -> list[str]:
        """An asset and what it is part of, from below; nothing for what is none."""
        found, known = [], self._site.assets.get(asset)
        while known is not None:
            found.append(known.id)
            known = None if known.part_of is None else self._site.assets.get(known.part_of)
        return found

    def point(self, text: str) -> Point | None:
        """The point of that text."""
        return self._site.points.get(text)

    def gpu_field(self, text: str) -> tuple[str, int] | None:
        """GPU and column of a field of a GPU."""
        gpu, _, name = text.rpartition(".")
        asset = self._site.assets.get(gpu)
        if asset is None or asset.type != GPU or name not in FIELD_INDEX:
            return None
        return gpu, FIELD_INDEX[name]

    def _unit(self, text: str) -> Place | None:
        name, _, number = text.removeprefix("/").partition("/")
        if name not in self._site.units:
            return None
        below = self._tops[name]
        if not number:
            return Place(text, name, "unit", SITE, self._grouped(text, below))
        return self._group(text, f"/{name}", below, int(number)) if number.isdecimal() else None

    def _asset(self, asset: Asset) -> Place:
        parent = asset.part_of or f"/{asset.unit}"
        siblings = (
            self._tops[asset.unit] if asset.part_of is None else self._below(self._site.assets[asset.part_of])
        )
        place = siblings.index(asset.id) if len(siblings) > CHILDREN_MAX else -1
        above = parent if place < 0 else f"{parent}/{place // GROUP + 1}"
        said = " ".join(part for part in (asset.type, asset.process_area, asset.location) if part)
        return Place(
            asset.id, asset.id, "asset", above, self._grouped(asset.id, self._below(asset)), description=said
        )

    def _below(self, asset: Asset) -> list[str]:
        own = self._points.get(asset.id, [])
        fields = [f"{asset.id}.{field.name}" for field in GPU_FIELDS] if asset.type == GPU else []
        return [*own, *fields, *self._parts.get(asset.id, ())]

    def _grouped(self, text: str, below: Sequence[str]) -> Sequence[str]:
        if len(below) <= CHILDREN_MAX:
            return below
        return [f"{text.rstrip('/')}/{number + 1}" for number in range(-(-len(below) // GROUP))]

    def _group(self, text: str, parent: str, below: Sequence[str], number: int) -> Place | None:
        inside = below[(number - 1) * GROUP : number * GROUP] if len(below) > CHILDREN_MAX else ()
        if number < 1 or not inside:
            return None
        return Place(text, f"{_last(inside[0])} to {_last(inside[-1])}", "folder", parent, inside)

    def _value(self, text: str) -> Place | None:
        point = self.point(text)
        if point is not None:
            quantity = Quantity(point.engineering_unit, point.low, point.high)
            return _value(text, point.point_type, point.asset, quantity)
        found = self.gpu_field(text)
        if found is None:
            return None
        field = GPU_FIELDS[found[1]]
        return _value(text, field.name, found[0], Quantity(field.unit, field.low, field.high))

    def _property(self, head: str, name: str) -> Place | None:
        place = self._value(head)
        if place is None or f"{head}/{name}" not in place.children:
            return None
        return Place(f"{head}/{name}", name, "property", head, (), place.quantity)


def _value(text: str, name: str, parent: str, quantity: Quantity) -> Place:
    if not quantity.engineering_unit:
        return Place(text, name, "state", parent, (), quantity)
    ranges = [f"{text}/EURange"] if quantity.high < float("inf") else []
    return Place(text, name, "analog", parent, [*ranges, f"{text}/EngineeringUnits"], quantity)


def _heartbeat(text: str) -> Place | None:
    if text == HEARTBEAT:
        below = [f"{HEARTBEAT}/{name}" for name in HEARTBEAT_VALUES]
        return Place(text, "Heartbeat", "heartbeat", SITE, below)
    name = text.removeprefix(f"{HEARTBEAT}/")
    return Place(text, name, "value", HEARTBEAT) if name in HEARTBEAT_VALUES else None


def _last(text: str) -> str:
    return text.rpartition("/")[2] or text
