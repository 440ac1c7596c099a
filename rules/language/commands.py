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


def targets_of(
    site: Site, command: CommandText, asset: Asset, parameters: Mapping[str, Quantity], warn: Warn
) -> tuple[Target, ...]:
    """What the command sets for an alarm of `asset`. Raises ExpressionError."""
    if command.verb == "set":
        return (_target(site, command, asset, parameters, warn),)
    gpus = gpus_behind(site, asset)
    if not gpus:
        raise ExpressionError(
            command.quantity_offset,
            f"no GPU of unit '{asset.unit}' is behind {asset.id}",
            "a command reaches GPUs of the same unit, through part_of and feeds",
        )
    return tuple(_target(site, command, site.assets[gpu], parameters, warn) for gpu in gpus)


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


def _target(
    site: Site, command: CommandText, asset: Asset, parameters: Mapping[str, Quantity], warn: Warn
) -> Target:
    name = f"{asset.id}.{command.quantity}"
    actuator = site.actuators.get(name)
    if actuator is None:
        valid = sorted({other.quantity for other in site.actuators.values() if other.asset == asset.id})
        hint = nearest(command.quantity, valid) or (
            f"it has: {', '.join(valid)}" if valid else "the site file gives it no actuator"
        )
        raise ExpressionError(
            command.quantity_offset, f"{asset.id} has no actuator '{command.quantity}'", hint
        )
    value = _value(site, command.limit, asset, actuator, parameters)
    clamped = min(max(value, actuator.low), actuator.high)
    if value != clamped:
        bounds = f"{actuator.low:g} to {actuator.high:g} {actuator.engineering_unit}"
        message = f"{value:g} {actuator.engineering_unit} is out of range for {name}"
        if not command.limit.constant:
            raise ExpressionError(command.limit.offset, message, bounds)
        warn(command.limit.offset, f"{message}: it will be {clamped:g} ({bounds})")
    return Target(name, clamped, actuator.engineering_unit, actuator.expiry_ns)


def _value(
    site: Site, text: LimitText, asset: Asset, actuator: Actuator, parameters: Mapping[str, Quantity]
) -> float:
    name = f"default_{actuator.quantity}"
    if text.constant == name and name not in parameters and find_constant(site, asset, name) is None:
        return text.factor * actuator.default
    return number_in(asset, site, text, actuator.engineering_unit, whose="actuator", parameters=parameters)
