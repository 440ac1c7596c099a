"""GPU frames of the simulated plant: one frame per rack and sample, on a source of kind `simulator`.

Rules: a frame's asset is the rack, its `gpu` column the places of the source's GPUs below that rack in lane order:
GPUs that another source reads (a tray with a real NVML gateway) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateways.sim.telemetry import Telemetry
from rules.site.model import Site
from streams.publisher import Publisher


@dataclass(frozen=True, slots=True)
class RackPart:
    """A rack's GPUs of one source: `index` in the plant's arrays (G,), `gpu` below the rack (G,)."""

    unit: str
    rack: str
    index: NDArray[np.intp]
    gpu: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class FrameSource:
    """One simulator source and its period."""

    id: str
    period_ns: int
    parts: tuple[RackPart, ...]

    def publish(self, publisher: Publisher, telemetry: Telemetry, time_ns: int) -> None:
        """One sample of every rack, stamped `time_ns` (wall clock)."""
        times = np.array([time_ns], dtype=np.int64)
        for part in self.parts:
            values = telemetry.values[part.index]
            quality = np.zeros((1, len(part.index)), dtype=np.uint8)
            energy = telemetry.energy_mj[part.index]
            publisher.publish_frame(
                part.unit, part.rack, times, part.gpu, values[np.newaxis], quality, energy[np.newaxis]
            )


def frame_sources(site: Site) -> list[FrameSource]:
    """The site's simulator sources, with what each one reads of every rack."""
    first = 0
    first_of_unit = {}
    for unit in site.units.values():
        first_of_unit[unit.id] = first
        first += len(unit.gpus)
    sources = []
    for source in site.sources.values():
        if source.kind != "simulator":
            continue
        read = set()
        for asset in source.assets:
            unit = site.units[site.assets[asset].unit]
            read |= {unit.gpus[lane] for lane in range(*unit.gpu_range[asset])}
        parts = []
        for unit in site.units.values():
            for rack in (asset.id for asset in unit.assets if asset.type == "Rack"):
                low, high = unit.gpu_range[rack]
                lanes = np.array(
                    [lane for lane in range(low, high) if unit.gpus[lane] in read], dtype=np.intp
                )
                if len(lanes):
                    places = (lanes - low).astype(np.uint16)
                    parts.append(RackPart(unit.id, rack, lanes + first_of_unit[unit.id], places))
        sources.append(FrameSource(source.id, source.period_ns, tuple(parts)))
    return sources
