"""What a fault does to the parts of the plant, and what it may be aimed at.

Rules: a fault changes parameters of the physics only; sensor faults are in `sensors.py`. Effects are set anew from all
active faults whenever one comes or goes, so that the order of removal never matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from gateways.sim.faults import FAULTS, Fault
from gateways.sim.layout import Layout, layout_of, plant_points
from gateways.sim.physics_power import INCIDENT_W
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site

if TYPE_CHECKING:
    from gateways.sim.plant import Plant

TARGET_TYPES = {
    "pump_trip": ("CDU", "Pump"),
    "feed_trip": ("PowerMeter", "Breaker"),
    "chiller_trip": ("Chiller",),
    "leak": ("Rack", "Tray", "CDU"),
    "valve_stuck": ("CDU", "HeatSink"),
    "gpu_runaway": ("GPU",),
    "xid_storm": ("Rack",),
    "heat_sink_lost": ("HeatSink",),
}
STORM_XID = 145
"""An NVLink error of the fifth generation: the storm that a broken link gives."""
DEFAULT_POINT_TYPE = "RackLiquidFlow"


def resolve(layout: Layout, fault: Fault) -> str:
    """The fault's target, or the kind's first one of the site. ConfigurationError where there is none."""
    valid = targets_of(layout, fault.name)
    if not fault.target and valid:
        return valid[0]
    if fault.target in valid or (fault.name == "frequency_dip" and not fault.target):
        return fault.target
    kind = FAULTS[fault.name]
    if not fault.target:
        raise _wrong(f"{fault.name}: the site has no {kind.targets}", "")
    raise _wrong(
        f"{fault.name} can't act on '{fault.target}'",
        nearest(fault.target, valid) or f"its target is a {kind.targets}",
    )


def check_targets(site: Site, faults: Iterable[Fault]) -> None:
    """Before a plant is started. ConfigurationError names every fault that the site has no target for."""
    layout = layout_of(site)
    findings: list[Finding] = []
    for fault in faults:
        try:
            if fault.target or not fault.remove:
                resolve(layout, fault)
        except ConfigurationError as error:
            findings.extend(error.findings)
    if findings:
        raise ConfigurationError(findings)


def targets_of(layout: Layout, name: str) -> list[str]:
    """What of the site a fault may be aimed at; nothing for one that has no target."""
    if name == "frequency_dip":
        return []
    if name == "clock_skew":
        return [source.id for source in layout.site.sources.values() if source.kind == "opcua"]
    if name in TARGET_TYPES:
        return [asset for kind in TARGET_TYPES[name] for asset in layout.ids.get(kind, ())]
    points = sorted(plant_points(layout.site), key=lambda point: point.point_type != DEFAULT_POINT_TYPE)
    return [point.id for point in points] + [*dict.fromkeys(point.asset for point in points)]


def _wrong(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding("--fault", 0, 0, message, hint)])


def apply_faults(plant: Plant, active: list[Fault]) -> None:
    """Set every part sound, then apply the faults at work."""
    plant.pumps.health[:] = 1.0
    plant.feeds.closed[:] = 1.0
    plant.facility.chiller_health = 1.0
    plant.facility.sinks.lost[:] = 0.0
    plant.grid.lost_w = 0.0
    plant.gpus.contact[:] = 1.0
    for array in (plant.leaks.tray, plant.leaks.rack_l_min, plant.leaks.row_l_min):
        array[:] = 0.0
    plant.valves.stuck_row[:] = plant.valves.stuck_sink[:] = np.nan
    plant.xid[:] = 0
    for fault in active:
        effect = _EFFECTS.get(fault.name)
        if effect is not None:
            effect(plant, fault)


def _pump_trip(plant: Plant, fault: Fault) -> None:
    """A CDU's own target is its duty pump: the first one that the site file lists."""
    row, place = plant.layout.pump_of(fault.target)
    plant.pumps.health[row, place] = 1.0 - fault.size


def _feed_trip(plant: Plant, fault: Fault) -> None:
    layout = plant.layout
    is_breaker = layout.site.assets[fault.target].type == "Breaker"
    place = layout.index(fault.target)
    plant.feeds.closed[layout.breaker_feed[place] if is_breaker else place] = 0.0


def _chiller_trip(plant: Plant, fault: Fault) -> None:
    plant.facility.chiller_health = 1.0 - fault.size


def _leak(plant: Plant, fault: Fault) -> None:
    layout = plant.layout
    kind, place = layout.site.assets[fault.target].type, layout.index(fault.target)
    if kind == "CDU":
        plant.leaks.row_l_min[place] += fault.size
        return
    tray = place if kind == "Tray" else int(np.argmax(layout.tray_rack == place))
    plant.leaks.tray[tray] = 1.0
    plant.leaks.rack_l_min[layout.tray_rack[tray]] += fault.size


def _valve_stuck(plant: Plant, fault: Fault) -> None:
    is_row = plant.layout.site.assets[fault.target].type == "CDU"
    stuck = plant.valves.stuck_row if is_row else plant.valves.stuck_sink
    stuck[plant.layout.index(fault.target)] = fault.size


def _gpu_runaway(plant: Plant, fault: Fault) -> None:
    plant.gpus.contact[plant.layout.index(fault.target)] = 1.0 - fault.size


def _frequency_dip(plant: Plant, fault: Fault) -> None:
    plant.grid.lost_w += fault.size * INCIDENT_W


def _xid_storm(plant: Plant, fault: Fault) -> None:
    gpus = np.flatnonzero(plant.layout.gpu_rack == plant.layout.index(fault.target))
    plant.xid[gpus[: int(fault.size)]] = STORM_XID


def _heat_sink_lost(plant: Plant, fault: Fault) -> None:
    plant.facility.sinks.lost[plant.layout.index(fault.target)] = fault.size


_EFFECTS = {
    "pump_trip": _pump_trip,
    "feed_trip": _feed_trip,
    "chiller_trip": _chiller_trip,
    "leak": _leak,
    "valve_stuck": _valve_stuck,
    "gpu_runaway": _gpu_runaway,
    "frequency_dip": _frequency_dip,
    "xid_storm": _xid_storm,
    "heat_sink_lost": _heat_sink_lost,
}
