"""Sensors: from the plant's true signals to the points of the site file, with noise, span, and faults of data.

Rules: every point of the site file's OPC UA sources is served, or the plant doesn't start (all findings at once);
noise comes from a generator of its own, so that reading never changes the physics; times are the plant's, in ns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gateways.sim.faults import Fault
from gateways.sim.layout import Layout, plant_points
from gateways.sim.physics_curves import Array
from gateways.sim.readings import readings
from gateways.sim.units import scale_from_native
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Asset, Point
from rules.site.types import POINT_UNITS, STATE

if TYPE_CHECKING:
    from gateways.sim.plant import Plant

NOISE_OF_SPAN = 5e-5
GOOD = 0
OUT_OF_SPAN = 0x40940000
"""OPC UA 'UncertainEngineeringUnitsExceeded': the value is held at the end of the span."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Points as shown: `values` (N,), `time_ns` (N,) source times in plant time, `status` (N,) OPC UA codes."""

    ids: tuple[str, ...]
    values: Array
    time_ns: NDArray[np.int64]
    status: NDArray[np.uint32]

    def __getitem__(self, point: str) -> float:
        """The value of one point."""
        return float(self.values[self.ids.index(point)])


class Sensors:
    """All plant points of a site, in its order."""

    def __init__(self, plant: Plant, seed: int) -> None:
        layout = plant.layout
        self.points: tuple[Point, ...] = plant_points(layout.site)
        self.ids = tuple(point.id for point in self.points)
        self._random = np.random.Generator(np.random.PCG64([seed, 1]))
        self._place = {point.id: place for place, point in enumerate(self.points)}
        self._signals, self._index = _bind(plant, self.points)
        scales = [scale_from_native(point.point_type, point.engineering_unit) for point in self.points]
        self._factor = np.array([factor for factor, _ in scales])
        self._offset = np.array([offset for _, offset in scales])
        self._low = np.array([point.low for point in self.points])
        self._high = np.array([point.high for point in self.points])
        noisy = [POINT_UNITS[point.point_type] != STATE and not point.is_setpoint
                 and not point.point_type.endswith(("Sp", "SpRequest")) for point in self.points]  # fmt: skip
        self._noise = np.array(noisy) * NOISE_OF_SPAN * (self._high - self._low)
        count = len(self.points)
        self._values = np.zeros(count)
        self._time_ns = np.zeros(count, dtype=np.int64)
        self._frozen = np.zeros(count, dtype=np.bool_)
        self.stale = np.zeros(count, dtype=np.bool_)
        """(N,) True where a point isn't updated any more."""
        self._skew_ns = np.zeros(count, dtype=np.int64)
        self._drift_s = np.zeros(count)
        self._drift_from_ns = np.zeros(count, dtype=np.int64)

    def read(self, plant: Plant) -> Snapshot:
        """Sample every point now."""
        signals = readings(plant)
        native = np.concatenate([signals[key] for key in self._signals])[self._index]
        now_ns = plant.time_ns
        fresh = native * self._factor + self._offset
        fresh += self._noise * self._random.standard_normal(len(fresh))
        fresh += self._drift_s * (now_ns - self._drift_from_ns) / 1e9
        held = self._frozen | self.stale
        self._values = np.where(held, self._values, fresh)
        shown = np.clip(self._values, self._low, self._high)
        beyond = np.abs(self._values - shown) > 20 * self._noise + 1e-9
        self._time_ns = np.where(self.stale, self._time_ns, now_ns + self._skew_ns)
        status = np.where(beyond, OUT_OF_SPAN, GOOD).astype(np.uint32)
        return Snapshot(self.ids, shown, self._time_ns.copy(), status)

    def set_faults(self, active: list[Fault], now_ns: int) -> None:
        """Take the sensor faults at work; one that goes leaves no trace. Drift counts from the fault's own time."""
        self._frozen[:] = False
        self.stale[:] = False
        self._skew_ns[:] = 0
        self._drift_s[:] = 0.0
        for fault in active:
            if fault.name == "clock_skew":
                self._skew_ns[[point.source == fault.target for point in self.points]] = round(
                    fault.size * 1e9
                )
            elif fault.name in ("sensor_frozen", "stale", "sensor_drift"):
                places = [
                    place
                    for place, point in enumerate(self.points)
                    if fault.target in (point.id, point.asset)
                ]
                if fault.name == "sensor_frozen":
                    self._frozen[places] = True
                elif fault.name == "stale":
                    self.stale[places] = True
                else:
                    self._drift_s[places] = fault.size / 100.0 / 60.0 * (self._high - self._low)[places]
                    self._drift_from_ns[places] = min(round(fault.at_s * 1e9), now_ns)


def _key(layout: Layout, asset: Asset) -> str:
    """Where an asset's points come from: its type, or for a sensor its parent's and its place there."""
    if asset.type not in ("Sensor", "Tank"):
        return asset.type
    if asset.type == "Sensor" and asset.part_of is not None:
        return f"{layout.site.assets[asset.part_of].type}/{asset.process_area}"
    names = {point.point_type for point in layout.site.points.values() if point.asset == asset.id}
    if asset.type == "Sensor" and "AirTemperature" in names:
        # only the air between racks can condense: a sensor with a dew point stands in the hall
        return "Sensor/hall" if "DewPoint" in names else "Sensor/outdoor"
    return asset.type


def _bind(plant: Plant, points: tuple[Point, ...]) -> tuple[list[tuple[str, str]], NDArray[np.intp]]:
    """The signals that are shown, by key, and for each point its index in all of them, one behind the other."""
    layout, signals = plant.layout, readings(plant)
    begins: dict[tuple[str, str], int] = {}
    end, indices = 0, []
    findings: list[Finding] = []
    for point in points:
        asset = layout.site.assets[point.asset]
        key = (_key(layout, asset), point.point_type)
        if key not in signals:
            offered = [name for kind, name in signals if kind == key[0]]
            hint = nearest(point.point_type, offered) or f"it shows {', '.join(offered) or 'nothing there'}"
            message = f"the simulated plant has no signal for {point.id} ({key[0]})"
            findings.append(Finding("site", 0, 0, message, hint))
            continue
        host = asset.part_of if asset.type in ("Sensor", "Tank") and asset.part_of else asset.id
        index = layout.index(host) if len(signals[key]) > 1 else 0
        if key not in begins:
            begins[key] = end
            end += len(signals[key])
        indices.append(begins[key] + index)
    if findings:
        raise ConfigurationError(findings)
    return list(begins), np.array(indices, dtype=np.intp)
