"""Numbers of rule texts in the units of a site: signals, constants, limits.

Rules: units are converted here, once, when rules are loaded; a number without its unit is refused where the
signal has one; what is wrong is raised as a `ExpressionError` at its character.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rules.findings import nearest
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.language.expression import ExpressionError, LimitText
from rules.language.program import GPU_TYPE, Limit
from rules.site import units
from rules.site.model import Asset, Site

SILENT_NS = 1_000_000_000
"""The period of a GPU that no source reads."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of all assets that have it: their ids in site order, and each one's unit and range."""

    name: str
    assets: tuple[str, ...]
    unit: Mapping[str, str]
    low: Mapping[str, float]
    high: Mapping[str, float]
    periods_ns: Mapping[str, int]


def find_signal(site: Site, asset_type: str, name: str, offset: int) -> Signal:
    """The signal `name` of the assets of a type. Raises ExpressionError at `offset` with the nearest name."""
    assets = [asset.id for asset in site.assets.values() if asset.type == asset_type]
    if asset_type == GPU_TYPE:
        if name not in FIELD_INDEX:
            raise ExpressionError(
                offset, f"a GPU has no signal '{name}'", _hint(name, FIELD_INDEX, "signals")
            )
        field = GPU_FIELDS[FIELD_INDEX[name]]
        return Signal(
            name,
            tuple(assets),
            dict.fromkeys(assets, field.unit),
            dict.fromkeys(assets, field.low),
            dict.fromkeys(assets, field.high),
            dict.fromkeys(assets, SILENT_NS)
            | {gpu: source.period_ns for gpu, source in site.gpu_sources.items()},
        )
    points = {asset: site.points.get(f"{asset}.{name}") for asset in assets}
    having = {asset: point for asset, point in points.items() if point is not None}
    if not having:
        of_type = set(assets)
        valid = sorted({point.point_type for point in site.points.values() if point.asset in of_type})
        raise ExpressionError(offset, f"no {asset_type} has a signal '{name}'", _hint(name, valid, "signals"))
    return Signal(
        name,
        tuple(having),
        {asset: point.engineering_unit for asset, point in having.items()},
        {asset: point.low for asset, point in having.items()},
        {asset: point.high for asset, point in having.items()},
        {asset: point.period_ns for asset, point in having.items()},
    )


def limit_of(
    site: Site, text: LimitText, signal: Signal, per_second: bool, difference: bool = False
) -> Limit:
    """A limit in each asset's own unit. `per_second`: of a rate. `difference`: a dead-band. Raises
    ExpressionError.
    """
    values = {}
    for asset in signal.assets:
        unit = signal.unit[asset]
        target = f"{unit or '1'}/s" if per_second else unit
        values[asset] = number_in(site.assets[asset], site, text, target, difference or per_second)
    return shared(values)


def shared(values: Mapping[str, float]) -> Limit:
    """One value if all are equal, otherwise the first and those by asset."""
    first = next(iter(values.values()))
    return Limit(first) if all(value == first for value in values.values()) else Limit(first, dict(values))


def number_in(
    asset: Asset, site: Site, text: LimitText, unit: str, difference: bool = False, whose: str = "signal"
) -> float:
    """The number that `text` is for one asset, in `unit`, which is that of `whose`. Raises ExpressionError."""
    if text.constant:
        value, own = constant_of(asset, site, text)
        given = f"'{text.constant}' is in {own or 'no unit'}"
        _check(own, unit, text.offset, difference, f"{given}, the {whose} in {unit or 'no unit'}")
        return text.factor * _converted(value, own, unit, difference)
    written = units.normal(text.unit)
    if not written and unit:
        raise ExpressionError(
            text.offset, f"the number needs a unit: the {whose} is in {unit}", f"such as '{unit}'"
        )
    given = f"the limit is in {written or 'no unit'}"
    _check(written, unit, text.unit_offset, difference, f"{given}, the {whose} in {unit or 'no unit'}")
    return _converted(text.factor, written, unit, difference)


def constant_of(asset: Asset, site: Site, text: LimitText) -> tuple[float, str]:
    """A constant of the asset or of what it is part of, with its unit. Raises ExpressionError."""
    seen: list[str] = []
    current: Asset | None = asset
    while current is not None:
        if text.constant in current.constants:
            return current.constants[text.constant], current.constant_units.get(text.constant, "")
        seen.extend(current.constants)
        current = site.assets.get(current.part_of) if current.part_of else None
    message = f"{asset.type} {asset.id} has no constant '{text.constant}'"
    raise ExpressionError(text.offset, message, _hint(text.constant, seen, "constants"))


def _check(unit: str, to: str, offset: int, difference: bool, what: str) -> None:
    if not units.is_unit(unit):
        raise ExpressionError(offset, f"unknown unit '{unit}'", nearest(unit, units.COMMON))
    if not units.same_dimension(*_plain(unit, to, difference)):
        raise ExpressionError(offset, f"{what}: not the same dimension")


def _converted(value: float, unit: str, to: str, difference: bool) -> float:
    return units.convert(value, *_plain(unit, to, difference))


def _plain(unit: str, to: str, difference: bool) -> tuple[str, str]:
    """A difference of temperatures is in kelvin, whatever the scale."""
    return (unit.replace("degC", "K"), to.replace("degC", "K")) if difference else (unit, to)


def _hint(name: str, valid: Iterable[str], what: str) -> str:
    names = sorted(valid)
    return nearest(name, names) or (f"{what}: {', '.join(names)}" if names else f"it has no {what}")
