"""`then:` of a rule: which actuators it sets, and to what.

Rules: targets and values are settled when rules are loaded, never while the plant runs; a value outside its
actuator's range is refused if it was written as a number, and moved into the range, with a warning, if a constant
made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rules.findings import nearest
from rules.language.expression import CommandText, ExpressionError, LimitText
from rules.language.program import GPU_TYPE, Target
from rules.language.quantities import Quantity, find_constant, number_in
from rules.site.model import Actuator, Asset, Site

Warn = Callable[[int, str], None]


class Setter:
    """What one command sets. A target is made once, whichever rules and assets lead to it.

    `kind`: a number of an asset, the same for those that have the same constants.
    """

    def __init__(
        self,
        site: Site,
        command: CommandText,
        parameters: Mapping[str, Quantity],
        kind: Callable[[Asset], int],
    ) -> None:
        self._site = site
        self._command = command
        self._parameters = parameters
        self._kind = kind
        self._made: dict[str, tuple[Target, str]] = {}
        self._of_assets: dict[tuple[str, ...], dict[str, tuple[Target, ...]]] = {}
        self._warns = False
        self._settled: dict[tuple[object, ...], tuple[float, str]] = {}

    def targets(self, assets: tuple[str, ...], warn: Warn) -> dict[str, tuple[Target, ...]]:
        """What it sets for an alarm of each of `assets`. Raises ExpressionError."""
        if assets not in self._of_assets or self._warns:
            self._of_assets[assets] = {asset: self._targets(asset, warn) for asset in assets}
        return self._of_assets[assets]

    def _targets(self, asset: str, warn: Warn) -> tuple[Target, ...]:
        command = self._command
        if command.verb == "set":
            return (self._target(asset, warn),)
        gpus = gpus_behind(self._site, self._site.assets[asset])
        if not gpus:
            raise ExpressionError(
                command.quantity_offset,
                f"no GPU of unit '{self._site.assets[asset].unit}' is behind {asset}",
                "a command reaches GPUs of the same unit, through part_of and feeds",
            )
        return tuple([self._target(gpu, warn) for gpu in gpus])

    def _target(self, asset: str, warn: Warn) -> Target:
        made = self._made.get(asset)
        if made is None:
            made = self._made[asset] = self._make(self._site.assets[asset])
        target, warning = made
        if warning:
            self._warns = True
            warn(self._command.limit.offset, warning)
        return target

    def _make(self, asset: Asset) -> tuple[Target, str]:
        """The target, and what is to be warned of."""
        name = f"{asset.id}.{self._command.quantity}"
        actuator = self._site.actuators.get(name)
        if actuator is None:
            valid = sorted(
                {other.quantity for other in self._site.actuators.values() if other.asset == asset.id}
            )
            hint = nearest(self._command.quantity, valid) or (
                f"it has: {', '.join(valid)}" if valid else "the site file gives it no actuator"
            )
            message = f"{asset.id} has no actuator '{self._command.quantity}'"
            raise ExpressionError(self._command.quantity_offset, message, hint)
        unit, low, high = actuator.engineering_unit, actuator.low, actuator.high
        alike = (self._kind(asset), unit, low, high, actuator.default)
        settled = self._settled.get(alike)
        if settled is None:
            settled = self._settled[alike] = self._settle(asset, actuator)
        value, problem = settled
        if not problem:
            return Target(name, value, unit, actuator.expiry_ns), ""
        bounds = f"{low:g} to {high:g} {unit}"
        message = f"{problem} is out of range for {name}"
        if not self._command.limit.constant:
            raise ExpressionError(self._command.limit.offset, message, bounds)
        return Target(name, value, unit, actuator.expiry_ns), f"{message}: it will be {value:g} ({bounds})"

    def _settle(self, asset: Asset, actuator: Actuator) -> tuple[float, str]:
        """The value within the actuator's range, and the one that is not, if it was moved."""
        value = _value(self._site, self._command.limit, asset, actuator, self._parameters)
        clamped = min(max(value, actuator.low), actuator.high)
        return clamped, "" if value == clamped else f"{value:g} {actuator.engineering_unit}"


def gpus_behind(site: Site, asset: Asset) -> tuple[str, ...]:
    """GPUs that depend on an asset, in lane order: its own, those of what it feeds, or of what its parent feeds.

    Only within the asset's unit. What neither holds nor feeds anything (a pump of a CDU) stands for its parent.
    """
    unit = site.units[asset.unit]
    if asset.type == GPU_TYPE:
        return (asset.id,)
    current: Asset | None = asset
    while current is not None:
        lanes = _lanes_fed(site, current)
        if lanes:
            return tuple(unit.gpus[lane] for lane in sorted(lanes))
        current = site.assets.get(current.part_of) if current.part_of else None
    return ()


def _lanes_fed(site: Site, asset: Asset) -> set[int]:
    unit = site.units[asset.unit]
    lanes: set[int] = set()
    seen: set[str] = set()
    waiting = [asset.id]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in site.assets or site.assets[name].unit != unit.id:
            continue
        seen.add(name)
        if site.assets[name].type == GPU_TYPE:
            lanes.add(unit.gpu_lane[name])
        lanes.update(range(*unit.gpu_range.get(name, (0, 0))))
        waiting.extend(site.assets[name].feeds)
    return lanes


def _value(
    site: Site, text: LimitText, asset: Asset, actuator: Actuator, parameters: Mapping[str, Quantity]
) -> float:
    name = f"default_{actuator.quantity}"
    if text.constant == name and name not in parameters and find_constant(site, asset, name) is None:
        return text.factor * actuator.default
    return number_in(asset, site, text, actuator.engineering_unit, whose="actuator", parameters=parameters)
