"""Numbers of commands and scenarios in the units of a site, and constants of assets.

Rules: units are converted here, once, when rules are loaded; a number without its unit is refused where one is
needed; what is wrong is raised as a `ExpressionError` at its character.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rules.findings import nearest
from rules.language.expression import ExpressionError, LimitText
from rules.language.terms import Limit
from rules.site import units
from rules.site.model import Asset, Site

Quantity = tuple[float, str]
"""A number and its unit."""


SHOWN_MAX: Final = 12
"""Names that a hint shows at most."""


def shared(values: Mapping[str, float]) -> Limit:
    """One value if all are equal, otherwise the first and those by asset."""
    first = next(iter(values.values()))
    return Limit(first) if all(value == first for value in values.values()) else Limit(first, dict(values))


def number_in(
    asset: Asset,
    site: Site,
    text: LimitText,
    unit: str,
    difference: bool = False,
    whose: str = "signal",
    parameters: Mapping[str, Quantity] | None = None,
) -> float:
    """The number that `text` is for one asset, in `unit`, which is that of `whose`. Raises ExpressionError."""
    if text.constant:
        value, own = constant_of(asset, site, text, parameters or {})
        given = f"'{text.constant}' is in {own or 'no unit'}"
        _check(own, unit, text.offset, difference, f"{given}, the {whose} in {unit or 'no unit'}")
        return text.factor * units.convert(value, *_plain(own, unit, difference))
    written = units.normal(text.unit)
    if not written and unit:
        raise ExpressionError(
            text.offset, f"the number needs a unit: the {whose} is in {unit}", f"such as '{unit}'"
        )
    given = f"the number is in {written or 'no unit'}"
    _check(written, unit, text.unit_offset, difference, f"{given}, the {whose} in {unit or 'no unit'}")
    return units.convert(text.factor, *_plain(written, unit, difference))


def constant_of(
    asset: Asset, site: Site, text: LimitText, parameters: Mapping[str, Quantity] | None = None
) -> Quantity:
    """A constant of the asset or of what it is part of, else a parameter. Raises ExpressionError."""
    found = find_constant(site, asset, text.constant) or (parameters or {}).get(text.constant)
    if found is not None:
        return found
    seen = [name for holder in holders(site, asset) for name in holder.constants]
    message = f"{asset.type} {asset.id} has no constant '{text.constant}'"
    raise ExpressionError(
        text.offset, message, hint([*seen, *(parameters or {})], text.constant, "constants")
    )


def find_constant(site: Site, asset: Asset, name: str) -> Quantity | None:
    """A constant of the asset, or of the nearest thing it is part of that has one of this name."""
    for holder in holders(site, asset):
        if name in holder.constants:
            return holder.constants[name], holder.constant_units.get(name, "")
    return None


def holders(site: Site, asset: Asset) -> Iterator[Asset]:
    """The asset and, outwards, all that it is part of."""
    current: Asset | None = asset
    while current is not None:
        yield current
        current = site.assets.get(current.part_of) if current.part_of else None


def hint(valid: Iterable[str], name: str, what: str) -> str:
    """The nearest of `valid`, or all of them, which are `what`, if they are few."""
    names = sorted(set(valid))
    if len(names) > SHOWN_MAX:
        return nearest(name, names)
    return nearest(name, names) or (f"{what}: {', '.join(names)}" if names else f"it has no {what}")


def _check(unit: str, to: str, offset: int, difference: bool, what: str) -> None:
    if not units.is_unit(unit):
        raise ExpressionError(offset, f"unknown unit '{unit}'", nearest(unit, units.COMMON))
    if not units.same_dimension(*_plain(unit, to, difference)):
        raise ExpressionError(offset, f"{what}: not the same dimension")


def _plain(unit: str, to: str, difference: bool) -> tuple[str, str]:
    """A difference of temperatures is in kelvin, whatever the scale."""
    return (unit.replace("degC", "K"), to.replace("degC", "K")) if difference else (unit, to)
