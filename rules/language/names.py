"""What names mean in a rule: signals and constants of its asset and of others, by asset, with units and ranges.

Rules: above an asset are what it is part of and what feeds it or that, at any level, within its unit. A place is a
process area without its spaces. Everything is settled when rules are loaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.language.definitions import Definitions
from rules.language.expression import Expression, ExpressionError, Name
from rules.language.program import GPU_TYPE
from rules.language.quantities import Quantity, find_constant, hint, holders
from rules.language.unit_algebra import TEMPERATURE, on_scale, spelled
from rules.site import units
from rules.site.model import SILENT_NS, Asset, Site
from rules.site.types import POINT_UNITS


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal as a rule's assets read it, each with its unit and its range in that unit.

    `unit` is the one to compute in: that of the first asset, or degC for all temperatures. `points`: what is read,
    by asset; empty for a field of a GPU. `alike`: all have the same unit and range.
    """

    name: str
    unit: str
    units: Mapping[str, str]
    low: Mapping[str, float]
    high: Mapping[str, float]
    periods_ns: Mapping[str, int]
    points: Mapping[str, str] = field(default_factory=dict)
    alike: bool = True


class Names:
    """The vocabulary of a site and its rule files."""

    def __init__(self, site: Site, definitions: Definitions) -> None:
        self.site = site
        self.definitions = definitions
        self._of_type: dict[str, list[str]] = defaultdict(list)
        self._feeders: dict[str, list[str]] = defaultdict(list)
        for asset in site.assets.values():
            self._of_type[asset.type].append(asset.id)
            for fed in asset.feeds:
                self._feeders[fed].append(asset.id)
        self._point_types: dict[str, set[str]] = defaultdict(set)
        for point in site.points.values():
            asset = site.assets[point.asset]
            self._point_types[asset.type].add(point.point_type)
            if asset.process_area:
                self._point_types[_place(asset)].add(point.point_type)
        self._point_types[GPU_TYPE] = set(FIELD_INDEX)
        self._in_place: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for asset in site.assets.values():
            for of in (asset.part_of, *asset.feeds) if asset.process_area else ():
                if of is not None and of in site.assets and site.assets[of].unit == asset.unit:
                    self._in_place[_place(asset)][of].append(asset.id)
        self._constants = {name for asset in site.assets.values() for name in asset.constants}
        self._gpu_sources = site.gpu_sources
        self._signals: dict[tuple[str, str], Signal] = {}
        self._above: dict[str, list[str]] = {}
        self._below: dict[str, dict[str, list[str]]] = {}

    @property
    def types(self) -> list[str]:
        """Types of which the site has an asset."""
        return list(self._of_type)

    def assets(self, asset_type: str) -> tuple[str, ...]:
        """All assets of a type, in site order."""
        return tuple(self._of_type.get(asset_type, ()))

    def known_anywhere(self, name: Name) -> bool:
        """Whether some asset of the site has a signal or a constant of this name."""
        if name.type:
            return self.is_signal_of(name) or (
                name.type in (*self._of_type, *self._in_place)
                and (name.name in self._constants or name.name in self.definitions.parameters)
            )
        return name.name in self._constants or any(name.name in of for of in self._point_types.values())

    def is_signal_of(self, name: Name) -> bool:
        """Whether some asset of the type, or in the place, has a signal of this name."""
        return name.name in self._point_types.get(name.type, ())

    def everything(self) -> list[str]:
        """All signals and constants of the site."""
        return sorted(set().union(self._constants, *self._point_types.values()))

    def has_signal(self, asset_type: str, name: str) -> bool:
        """Whether some asset of the type has this signal."""
        return asset_type in self._of_type and name in self._point_types.get(asset_type, ())

    def signal(self, asset_type: str, name: str, at: int) -> Signal:
        """A signal of all assets of the type that have it. Raises ExpressionError at `at`."""
        if not self.has_signal(asset_type, name):
            has = f"a GPU has no signal '{name}'" if asset_type == GPU_TYPE else ""
            raise ExpressionError(
                at,
                has or f"no {asset_type} has a signal '{name}'",
                hint(self._point_types.get(asset_type, ()), name, "signals"),
            )
        found = self._signals.get((asset_type, name))
        if found is None:
            if asset_type == GPU_TYPE:
                found = self._field(name)
            else:
                ids = {asset: f"{asset}.{name}" for asset in self._of_type[asset_type]}
                found = self._points(
                    name, {asset: point for asset, point in ids.items() if point in self.site.points}
                )
            self._signals[asset_type, name] = found
        return found

    def signal_of(self, others: Mapping[str, str], name: Name) -> Signal:
        """`TYPE.NAME` of each asset's other one, as `others` found them."""
        points = {asset: f"{other}.{name.name}" for asset, other in others.items()}
        return self._points(f"{name.type}.{name.name}", points)

    def others(self, assets: Sequence[str], name: Name) -> dict[str, str]:
        """For each of `assets` the one that the type or place of `name` means. Raises ExpressionError."""
        self._check_type(self.site.assets[assets[0]].type, name)
        if not self.known_anywhere(name):
            of = self._of_type.get(name.type) or [*chain(*self._in_place[name.type].values())]
            raise self._unknown(of, of[0], name.name, name.at)
        ids: dict[str, str] = {}
        for asset in assets:
            found = self._related(asset, name.type)
            is_place = name.type not in self._of_type
            if len(found) > 1:
                message = f"several {name.type}s hold or feed {asset}: {', '.join(found)}"
                if is_place:
                    message = f"{asset} has several of '{name.type}': {', '.join(found)}"
                raise ExpressionError(name.at, message, "a rule reads the only one")
            if not found:
                what = f"'{name.type}'" if is_place else name.type
                message = f"no {what} of unit '{self.site.assets[asset].unit}' holds or feeds {asset}"
                raise ExpressionError(name.at, message)
            ids[asset] = found[0]
        return ids

    def below(
        self, assets: Sequence[str], member_type: str, tree: Expression, at: int
    ) -> dict[str, tuple[str, ...]]:
        """Those of a type that are part of each asset, or that it feeds, and have all signals in `tree`.

        Raises ExpressionError at `at` where an asset has none.
        """
        if member_type not in self._of_type:
            message = f"the site has no asset of type '{member_type}'"
            raise ExpressionError(at, message, hint(self._of_type, member_type, "types"))
        if member_type not in self._below:
            groups: dict[str, list[str]] = defaultdict(list)
            for member in self._of_type[member_type]:
                for holder in self.above(member):
                    groups[holder].append(member)
            self._below[member_type] = groups
        groups = self._below[member_type]
        having = set(self.narrow(self.assets(member_type), tree))
        members = {asset: tuple(one for one in groups.get(asset, ()) if one in having) for asset in assets}
        empty = next((asset for asset in assets if not members[asset]), None)
        if empty is not None:
            unit = self.site.assets[empty].unit
            message = f"no {member_type} of unit '{unit}' is part of {empty} or fed by it"
            raise ExpressionError(at, message, "a rule looks at assets of its own unit")
        return members

    def narrow(self, assets: tuple[str, ...], tree: Expression) -> tuple[str, ...]:
        """Those of `assets` that have all signals in `tree`. Raises ExpressionError when none has."""
        asset_type = self.site.assets[assets[0]].type
        read: list[Name] = []
        for name in self.definitions.names_in(tree):
            if name.type:
                left = tuple(asset for asset in assets if self._may_read(asset, name))
            elif self.has_signal(asset_type, name.name):
                having = self.signal(asset_type, name.name, name.at).units
                left = tuple(asset for asset in assets if asset in having)
            else:
                continue
            read.append(name)
            if not left:
                others = [f"'{other.type}.{other.name}'".replace("'.", "'") for other in read]
                message = f"no {asset_type} has {' and '.join(dict.fromkeys(others))}"
                raise ExpressionError(name.at, message, "a rule is for assets that have all its signals")
            assets = left
        return assets

    def constant(self, assets: Sequence[str], name: str, at: int) -> tuple[dict[str, float], str]:
        """A constant or a parameter: its number by asset, all in the unit returned. Raises ExpressionError."""
        found: dict[str, Quantity] = {}
        parameter = self.definitions.parameter(name)
        for asset in assets:
            quantity = find_constant(self.site, self.site.assets[asset], name) or parameter
            if quantity is None:
                raise self._unknown(assets, asset, name, at)
            found[asset] = quantity
        first = spelled(found[assets[0]][1])
        to = TEMPERATURE if on_scale(first) else first
        if parameter is not None:
            self._check_unit(name, first, f"for {assets[0]}", parameter[1], "as a parameter", at)
        values: dict[str, float] = {}
        for asset, (value, written) in found.items():
            unit = spelled(written)
            if unit != to:
                self._check_unit(name, first, f"for {assets[0]}", unit, f"for {asset}", at)
            values[asset] = units.convert(value, unit, to)
        return values, to

    @staticmethod
    def _check_unit(name: str, one: str, whose: str, other: str, of: str, at: int) -> None:
        """Raises ExpressionError when a name stands for quantities that can't be compared."""
        if not (units.same_dimension(one, other) and on_scale(one) == on_scale(other)):
            raise ExpressionError(
                at, f"'{name}' is in {one or 'no unit'} {whose}, in {other or 'no unit'} {of}"
            )

    def _unknown(self, assets: Sequence[str], asset: str, name: str, at: int) -> ExpressionError:
        asset_type = self.site.assets[asset].type
        constants = [
            constant
            for holder in holders(self.site, self.site.assets[asset])
            for constant in holder.constants
        ]
        valid = [
            *self._point_types.get(asset_type, ()),
            *constants,
            *self.definitions.parameters,
            *self.definitions.expressions,
        ]
        if any(find_constant(self.site, self.site.assets[other], name) for other in assets):
            message = f"{asset_type} {asset} has no constant '{name}'"
        elif asset_type == GPU_TYPE:
            message = f"a GPU has no signal or constant '{name}'"
        else:
            message = f"no {asset_type} has a signal or constant '{name}'"
        if name in units.COMMON:
            return ExpressionError(at, message, f"the unit {name} belongs right behind a number")
        return ExpressionError(at, message, self.definitions.hint(hint(valid, name, "names")))

    def _check_type(self, own: str, name: Name) -> None:
        if name.type in self._in_place and name.type not in self._of_type:
            return
        if name.type not in self._of_type:
            message = f"the site has no type and no process area '{name.type}'"
            valid = (*self._of_type, *self._in_place)
            raise ExpressionError(name.at, message, hint(valid, name.type, "types and areas"))
        if name.type == own and name.type != GPU_TYPE:
            raise ExpressionError(
                name.at, "a rule reads its own asset without a type", f"did you mean '{name.name}'?"
            )
        if name.type == GPU_TYPE or any(self._related(asset, own) for asset in self._of_type[name.type]):
            raise ExpressionError(
                name.at,
                f"there may be several {name.type}s: say what to make of them",
                f"such as 'max({name.type}.{name.name})'",
            )

    def _may_read(self, asset: str, name: Name) -> bool:
        """False only where nothing is in the place, or where the one asset lacks the signal that others have."""
        found = self._related(asset, name.type)
        if len(found) != 1:
            return bool(found) or name.type not in self._in_place
        return not self.is_signal_of(name) or f"{found[0]}.{name.name}" in self.site.points

    def _related(self, asset: str, what: str) -> list[str]:
        """Those of a type above the asset; those in a place of it, or else in that place of what is above it."""
        if what in self._of_type:
            return [other for other in self.above(asset) if self.site.assets[other].type == what]
        places = self._in_place.get(what, {})
        own = places.get(asset, [])
        return own or [other for holder in self.above(asset) for other in places.get(holder, ())]

    def above(self, asset: str) -> list[str]:
        """What holds or feeds it, at any level, within its unit; in no promised order."""
        if asset in self._above:
            return self._above[asset]
        unit = self.site.assets[asset].unit
        found: dict[str, None] = {}
        waiting = [asset]
        while waiting:
            current = waiting.pop()
            parent = self.site.assets[current].part_of
            for other in [*([parent] if parent else ()), *self._feeders.get(current, ())]:
                known = self.site.assets.get(other)
                if known is not None and known.unit == unit and other not in found and other != asset:
                    found[other] = None
                    waiting.append(other)
        self._above[asset] = list(found)
        return self._above[asset]

    def _field(self, name: str) -> Signal:
        assets = self._of_type[GPU_TYPE]
        of = GPU_FIELDS[FIELD_INDEX[name]]
        sources = self._gpu_sources
        return Signal(
            name,
            of.unit,
            dict.fromkeys(assets, of.unit),
            dict.fromkeys(assets, of.low),
            dict.fromkeys(assets, of.high),
            {gpu: sources[gpu].period_ns if gpu in sources else SILENT_NS for gpu in assets},
        )

    def _points(self, name: str, ids: Mapping[str, str]) -> Signal:
        points = {asset: self.site.points[point] for asset, point in ids.items()}
        first = next(iter(points.values()))
        is_temperature = POINT_UNITS.get(first.point_type) == TEMPERATURE
        return Signal(
            name,
            TEMPERATURE if is_temperature else spelled(first.engineering_unit),
            # A temperature in K stands for itself here; everywhere else K is a difference.
            {asset: units.normal(point.engineering_unit) for asset, point in points.items()},
            {asset: point.low for asset, point in points.items()},
            {asset: point.high for asset, point in points.items()},
            {asset: point.period_ns for asset, point in points.items()},
            dict(ids),
            len({(point.engineering_unit, point.low, point.high) for point in points.values()}) == 1,
        )


def _place(asset: Asset) -> str:
    """The name of an asset's process area in rules."""
    return asset.process_area.replace(" ", "")
