"""Which asset of the site file is which part of the simulated plant, as ids and index arrays.

Rules: the order of the site file is the order of every array. What the plant can't make of a site (two chillers, a
rack without a CDU) is a ConfigurationError with every finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateways.sim.constants import constant
from gateways.sim.physics_curves import Array
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Asset, Point, Site
from rules.site.sources import OWN_KINDS

Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Layout:
    """N GPUs, T trays, K racks, R rows (one per CDU), P pumps a row at most, F feeds, S heat sinks."""

    site: Site
    ids: Mapping[str, tuple[str, ...]]
    """Asset ids by type, in site order."""
    gpu_tray: Index
    tray_rack: Index
    rack_row: Index
    pump_row: Index
    pump_place: Index
    exchanger_row: Index
    sink_on_heat_pump: Array
    breaker_feed: Index

    @property
    def gpu_rack(self) -> Index:
        """(N,) rack of each GPU."""
        return self.tray_rack[self.gpu_tray]

    def assets(self, kind: str) -> tuple[Asset, ...]:
        """The assets of a type, in site order."""
        return tuple(self.site.assets[name] for name in self.ids.get(kind, ()))

    def one(self, kind: str) -> Asset | None:
        """The only asset of a type, None where the site has none."""
        assets = self.assets(kind)
        return assets[0] if assets else None

    def constants(self, kind: str, name: str) -> Array:
        """A constant of all assets of a type, in the unit of `CONSTANTS`."""
        return np.array([constant(asset, kind, name) for asset in self.assets(kind)], dtype=np.float64)

    def index(self, asset: str) -> int:
        """The place of an asset among those of its type."""
        return self.ids[self.site.assets[asset].type].index(asset)

    def pump_of(self, asset: str) -> tuple[int, int]:
        """(row, place) of a pump; of a CDU, its duty pump."""
        place = self.index(asset)
        if self.site.assets[asset].type == "CDU":
            return place, 0
        return int(self.pump_row[place]), int(self.pump_place[place])


def layout_of(site: Site) -> Layout:
    """Sort the site's assets. Raises ConfigurationError with all findings."""
    findings: list[Finding] = []
    ids: dict[str, list[str]] = {}
    # GPUs in lane order, unit by unit: the device index of the simulated NVML host
    ordered = [site.assets[gpu] for unit in site.units.values() for gpu in unit.gpus]
    ordered += [asset for asset in site.assets.values() if asset.type != "GPU"]
    for asset in ordered:
        ids.setdefault(asset.type, []).append(asset.id)
    places = {name: place for names in ids.values() for place, name in enumerate(names)}

    def say(asset: str, message: str, hint: str) -> None:
        findings.append(Finding("site", 0, 0, f"the simulated plant can't place {asset}: {message}", hint))

    def above(asset: str, kind: str) -> int:
        parent = site.assets[asset].part_of
        if parent is None or site.assets[parent].type != kind:
            say(asset, f"it is part of no {kind}", f"put it below a {kind} ('contains')")
            return 0
        return places[parent]

    for kind in ("HydroUnit", "Chiller", "HeatPump"):
        for extra in ids.get(kind, [])[1:]:
            say(extra, f"it has one {kind} only", "leave one")
    rows = [site.assets[name] for name in ids.get("CDU", [])]
    row_of_rack = {rack: row for row, cdu in enumerate(rows) for rack in cdu.feeds}
    for rack in ids.get("Rack", []):
        if rack not in row_of_rack:
            say(rack, "no CDU feeds it", "name it in the 'feeds' of its CDU")
    row_of_exchanger = {
        name: next((places[fed] for fed in site.assets[name].feeds if site.assets[fed].type == "CDU"), None)
        for name in ids.get("HX", [])
    }
    for name, row in row_of_exchanger.items():
        if row is None:
            say(name, "it feeds no CDU", "name the CDU in its 'feeds'")
    pump_row = [above(name, "CDU") for name in ids.get("Pump", [])]
    heat_pump = next((site.assets[name] for name in ids.get("HeatPump", [])), None)
    behind = set(heat_pump.feeds) if heat_pump else set()
    feeds = ids.get("PowerMeter", [])
    breaker_feed = [
        next((feeds.index(fed) for fed in site.assets[name].feeds if fed in feeds), -1)
        for name in ids.get("Breaker", [])
    ]
    layout = Layout(
        site=site,
        ids={kind: tuple(names) for kind, names in ids.items()},
        gpu_tray=_index([above(name, "Tray") for name in ids.get("GPU", [])]),
        tray_rack=_index([above(name, "Rack") for name in ids.get("Tray", [])]),
        rack_row=_index([row_of_rack.get(name, 0) for name in ids.get("Rack", [])]),
        pump_row=_index(pump_row),
        pump_place=_index([pump_row[:place].count(row) for place, row in enumerate(pump_row)]),
        exchanger_row=_index([row or 0 for row in row_of_exchanger.values()]),
        sink_on_heat_pump=np.array([float(name in behind) for name in ids.get("HeatSink", [])]),
        breaker_feed=_index(breaker_feed),
    )  # fmt: skip
    if not rows or not ids.get("GPU") or not pump_row or set(range(len(rows))) - set(pump_row):
        say("the site", "it needs GPUs, and a CDU with a pump for them", "see examples/narvik/site.yaml")
    if findings:
        raise ConfigurationError(findings)
    return layout


def _index(values: list[int]) -> Index:
    return np.array(values, dtype=np.intp)


def plant_points(site: Site) -> tuple[Point, ...]:
    """All points but what Headrace says of itself, which is no part of the plant."""
    return tuple(point for point in site.points.values() if site.sources[point.source].kind not in OWN_KINDS)
