"""What names mean in a rule: signals and constants of its asset and of others, by asset, with units and ranges.

Rules: above an asset are what it is part of and what feeds it or that, at any level; an asset of its own unit goes
before one of another, and a GPU's rules look at its own unit only. A place is a process area without its spaces, within
the unit. Everything is settled when rules are loaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, count

from rules.gpu_fields import FIELD_INDEX
from rules.language.commands import Setter
from rules.language.definitions import Definitions
from rules.language.expression import CommandText, Expression, ExpressionError, Name
from rules.language.program import GPU_TYPE
from rules.language.quantities import Quantity, find_constant, hint, holders, shared
from rules.language.signals import Sensor, Signal, gpu_sensor
from rules.language.terms import Limit, Term
from rules.language.unit_algebra import TEMPERATURE, on_scale, spelled
from rules.language.upward import Upward, feeders_of
from rules.site import units
from rules.site.model import SILENT_NS, Asset, Site
from rules.site.types import POINT_UNITS


class Names:
    """The vocabulary of a site and its rule files.

    A site has 15,000 assets of one type, and they are alike: what is looked up is kept for the next rule, and what
    their templates give them is looked up once for each kind.
    """

    def __init__(self, site: Site, definitions: Definitions) -> None:
        self.site = site
        self.definitions = definitions
        of_type: dict[str, list[str]] = defaultdict(list)
        for asset in site.assets.values():
            of_type[asset.type].append(asset.id)
        feeders = feeders_of(site.assets.values())
        self._in_unit = Upward(site, feeders, within_unit=True)
        self._anywhere = Upward(site, feeders, within_unit=False)
        self._of_type = {asset_type: tuple(assets) for asset_type, assets in of_type.items()}
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
        self._sensors: dict[str, Sensor] = {}
        self._signals: dict[tuple[str, str], Signal] = {}
        self._signals_of_others: dict[tuple[tuple[str, ...], str, str], Signal] = {}
        self._others: dict[tuple[tuple[str, ...], str, str], dict[str, str]] = {}
        self._related: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
        self._below: dict[str, dict[str, tuple[str, ...]]] = {}
        self._kinds: dict[str, int] = {}
        self._numbers: dict[tuple[int, int, int], int] = defaultdict(count(1).__next__)
        self._of_each_kind: dict[tuple[str, ...], list[str]] = {}
        self._setters: dict[CommandText, Setter] = {}

    @property
    def types(self) -> list[str]:
        """Types of which the site has an asset."""
        return list(self._of_type)

    def assets(self, asset_type: str) -> tuple[str, ...]:
        """All assets of a type, in site order."""
        return self._of_type.get(asset_type, ())

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

    def sensor(self, term: Term, asset: str) -> Sensor:
        """What measures a field or a point as an asset reads it."""
        if term.op == "field":
            return gpu_sensor(term.signal)
        return self._sensor(term.points[asset])

    def _sensor(self, point_id: str) -> Sensor:
        found = self._sensors.get(point_id)
        if found is None:
            point = self.site.points[point_id]
            # A temperature in K stands for itself here; everywhere else K is a difference.
            found = Sensor(units.normal(point.engineering_unit), point.low, point.high)
            self._sensors[point_id] = found
        return found

    def periods_ns(self, signal: Signal) -> dict[str, int]:
        """How often a signal is read, by asset."""
        assets = signal.plain.points if signal.plain.op == "point" else signal.sensors
        return {asset: self.period_ns(signal.plain, asset) for asset in assets}

    def period_ns(self, term: Term, asset: str) -> int:
        """How often a field or a point is read, as an asset reads it."""
        if term.op == "point":
            return self.site.points[term.points[asset]].period_ns
        source = self._gpu_sources.get(asset)
        return source.period_ns if source else SILENT_NS

    def signal_of(self, assets: tuple[str, ...], name: Name) -> Signal:
        """`TYPE.NAME` of each asset's other one, as `others` finds them."""
        key = (assets, name.type, name.name)
        if key not in self._signals_of_others:
            points = {asset: f"{other}.{name.name}" for asset, other in self.others(assets, name).items()}
            self._signals_of_others[key] = self._points(f"{name.type}.{name.name}", points)
        return self._signals_of_others[key]

    def others(self, assets: tuple[str, ...], name: Name) -> dict[str, str]:
        """For each of `assets` the one that the type or place of `name` means. Raises ExpressionError."""
        key = (assets, name.type, name.name)
        if key not in self._others:
            self._others[key] = self._find_others(assets, name)
        return self._others[key]

    def _find_others(self, assets: tuple[str, ...], name: Name) -> dict[str, str]:
        self._check_type(self.site.assets[assets[0]].type, name)
        if not self.known_anywhere(name):
            of = self._of_type.get(name.type) or [*chain(*self._in_place[name.type].values())]
            raise self._unknown(of, of[0], name.name, name.at)
        ids: dict[str, str] = {}
        for asset in assets:
            found = self._of(asset, name.type)
            is_place = name.type not in self._of_type
            if len(found) > 1:
                message = f"several {name.type}s hold or feed {asset}: {', '.join(found)}"
                if is_place:
                    message = f"{asset} has several of '{name.type}': {', '.join(found)}"
                raise ExpressionError(name.at, message, "a rule reads the only one")
            if not found:
                what = f"'{name.type}'" if is_place else name.type
                message = f"no {what} holds or feeds {asset}"
                if is_place or self.site.assets[asset].type == GPU_TYPE:
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
            found: dict[str, list[str]] = defaultdict(list)
            for member in self._of_type[member_type]:
                for holder in self._anywhere.above(member):
                    found[holder].append(member)
            self._below[member_type] = {holder: tuple(members) for holder, members in found.items()}
        groups = self._below[member_type]
        of_type = self.assets(member_type)
        narrowed = self.narrow(of_type, tree)
        if narrowed is of_type:
            members = {asset: groups.get(asset, ()) for asset in assets}
        else:
            having = set(narrowed)
            members = {
                asset: tuple(one for one in groups.get(asset, ()) if one in having) for asset in assets
            }
        empty = next((asset for asset in assets if not members[asset]), None)
        if empty is not None:
            raise ExpressionError(at, f"no {member_type} is part of {empty} or fed by it")
        return members

    def narrow(self, assets: tuple[str, ...], tree: Expression) -> tuple[str, ...]:
        """Those of `assets` that have all signals in `tree`; itself, if all have. ExpressionError when none has."""
        asset_type = self.site.assets[assets[0]].type
        read: list[Name] = []
        for name in self.definitions.names_in(tree):
            left = assets
            if name.type:
                if not self._all_have(name.type, name):
                    left = tuple(asset for asset in assets if self._may_read(asset, name))
            elif self.has_signal(asset_type, name.name):
                if not self._all_have(asset_type, name):
                    having = self.signal(asset_type, name.name, name.at).sensors
                    left = tuple(asset for asset in assets if asset in having)
            else:
                continue
            read.append(name)
            if not left:
                others = [f"'{other.type}.{other.name}'".replace("'.", "'") for other in read]
                message = f"no {asset_type} has {' and '.join(dict.fromkeys(others))}"
                raise ExpressionError(name.at, message, "a rule is for assets that have all its signals")
            assets = assets if len(left) == len(assets) else left
        return assets

    def _all_have(self, asset_type: str, name: Name) -> bool:
        """Whether all assets of a type have the signal, as they do where one template makes them."""
        return self.has_signal(asset_type, name.name) and len(
            self.signal(asset_type, name.name, name.at).sensors
        ) == len(self._of_type[asset_type])

    def setter(self, command: CommandText) -> Setter:
        """What makes the targets of a command, for all rules that have it."""
        if command not in self._setters:
            self._setters[command] = Setter(self.site, command, self.definitions.parameters, self._kind)
        return self._setters[command]

    def _kind(self, asset: Asset) -> int:
        """A number, the same for assets that have all constants from the same templates."""
        kind = self._kinds.get(asset.id)
        if kind is None:
            holder = self.site.assets.get(asset.part_of) if asset.part_of else None
            kind = self._numbers[
                id(asset.constants), id(asset.constant_units), self._kind(holder) if holder else 0
            ]
            self._kinds[asset.id] = kind
        return kind

    def _one_of_each_kind(self, assets: tuple[str, ...]) -> list[str]:
        """The first of `assets` of each kind, in their order."""
        found = self._of_each_kind.get(assets)
        if found is None:
            firsts: dict[int, str] = {}
            for asset in assets:
                firsts.setdefault(self._kind(self.site.assets[asset]), asset)
            found = self._of_each_kind[assets] = list(firsts.values())
        return found

    def constant(self, assets: tuple[str, ...], name: str, at: int) -> tuple[Limit, str]:
        """A constant or a parameter: its number, for all assets in the unit returned. Raises ExpressionError."""
        found: dict[str, Quantity] = {}
        parameter = self.definitions.parameter(name)
        kinds = self._one_of_each_kind(assets)
        for asset in kinds:
            quantity = find_constant(self.site, self.site.assets[asset], name) or parameter
            if quantity is None:
                raise self._unknown(kinds, asset, name, at)
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
        limit = shared(values)
        if limit.by_asset:
            of_kind = {self._kinds[asset]: value for asset, value in values.items()}
            limit = Limit(limit.value, {asset: of_kind[self._kinds[asset]] for asset in assets})
        return limit, to

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
            near = hint((*self._of_type, *self._in_place), name.type, "types and areas")
            if name.type in self.site.assets:
                asset_type = self.site.assets[name.type].type
                signal = name.name if asset_type == own else f"{asset_type}.{name.name}"
                near = f"a rule names types, and is for every {own}: did you mean '{signal}'?"
            raise ExpressionError(name.at, message, near)
        if name.type == own and name.type != GPU_TYPE:
            raise ExpressionError(
                name.at, "a rule reads its own asset without a type", f"did you mean '{name.name}'?"
            )
        if name.type == GPU_TYPE or any(self._of(asset, own) for asset in self._of_type[name.type]):
            raise ExpressionError(
                name.at,
                f"there may be several {name.type}s: say what to make of them",
                f"such as 'max({name.type}.{name.name})'",
            )

    def _may_read(self, asset: str, name: Name) -> bool:
        """False only where nothing is in the place, or where the one asset lacks the signal that others have."""
        found = self._of(asset, name.type)
        if len(found) != 1:
            return bool(found) or name.type not in self._in_place
        return not self.is_signal_of(name) or f"{found[0]}.{name.name}" in self.site.points

    def _of(self, asset: str, what: str) -> tuple[str, ...]:
        """Those of a type above the asset; those in a place of it, or else in that place of what is above it."""
        above = self._in_unit.above(asset)
        if what not in self._of_type:
            places = self._in_place.get(what, {})
            return tuple(places.get(asset, ())) or tuple(chain(*(places.get(holder, ()) for holder in above)))
        found = self._of_type_in(above, what)
        if not found and self.site.assets[asset].type != GPU_TYPE:
            found = self._of_type_in(self._anywhere.above(asset), what)
        return found

    def _of_type_in(self, assets: tuple[str, ...], asset_type: str) -> tuple[str, ...]:
        found = self._related.get((assets, asset_type))
        if found is None:
            found = tuple(other for other in assets if self.site.assets[other].type == asset_type)
            self._related[assets, asset_type] = found
        return found

    def _field(self, name: str) -> Signal:
        sensor = gpu_sensor(name)
        sensors = dict.fromkeys(self._of_type[GPU_TYPE], sensor)
        return Signal(name, sensor.unit, sensors, Term("field", signal=name))

    def _points(self, name: str, ids: Mapping[str, str]) -> Signal:
        sensors = {point: self._sensor(point) for point in dict.fromkeys(ids.values())}
        first = self.site.points[next(iter(ids.values()))]
        is_temperature = POINT_UNITS.get(first.point_type) == TEMPERATURE
        return Signal(
            name,
            TEMPERATURE if is_temperature else spelled(first.engineering_unit),
            {asset: sensors[point] for asset, point in ids.items()},
            Term("point", signal=name, points=ids),
            len(set(sensors.values())) == 1,
        )


def _place(asset: Asset) -> str:
    """The name of an asset's process area in rules."""
    return asset.process_area.replace(" ", "")
