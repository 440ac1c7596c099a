"""GPU frames of the simulated plant: one frame per rack and sample, on a source of kind `simulator`.

Rules: a frame's asset is the rack, its `gpu` column the places of the source's GPUs below that rack in lane order:
GPUs that another source reads (a tray with a real NVML gateway) are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateways.sim.telemetry import Telemetry
from rules.gpu_fields import FIELD_COUNT
from rules.site.model import Site
from streams.publisher.publisher import Publisher


@dataclass(frozen=True, slots=True)
class RackPart:
    """A rack's GPUs of one source: `index` in the plant's arrays (G,), `gpu` below the rack (G,)."""

    unit: str
    rack: str
    index: NDArray[np.intp]
    gpu: NDArray[np.uint16]


class FrameColumns(NamedTuple):
    """What a frame says, as `Publisher.publish_frame` and `rules.engine.inputs.Frame` take it."""

    unit: str
    asset: str
    time_ns: NDArray[np.int64]
    gpu: NDArray[np.uint16]
    values: NDArray[np.float32]
    quality: NDArray[np.uint8]
    energy_mj: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FrameSource:
    """One simulator source and its period."""

    id: str
    period_ns: int
    parts: tuple[RackPart, ...]

    def columns(self, telemetry: Telemetry, time_ns: int) -> Iterator[FrameColumns]:
        """One sample of every rack, stamped `time_ns`."""
        times = np.array([time_ns], dtype=np.int64)
        for part in self.parts:
            values = telemetry.values[part.index][np.newaxis]
            quality = np.zeros((1, len(part.index)), dtype=np.uint8)
            energy = telemetry.energy_mj[part.index][np.newaxis]
            yield FrameColumns(part.unit, part.rack, times, part.gpu, values, quality, energy)

    def publish(self, publisher: Publisher, telemetry: Telemetry, time_ns: int) -> None:
        """One sample of every rack, stamped `time_ns` (wall clock)."""
        for columns in self.columns(telemetry, time_ns):
            publisher.publish_frame(*columns)

    def publish_gap(self, publisher: Publisher, from_ns: int, to_ns: int) -> None:
        """Nothing was sampled between these two samples."""
        missed = max(0, (to_ns - from_ns) // self.period_ns - 1)
        gpus: Counter[str] = Counter()
        for part in self.parts:
            gpus[part.unit] += len(part.gpu)
        for unit, count in gpus.items():
            publisher.publish_gap(unit, "disconnected", from_ns, to_ns, missed * count * FIELD_COUNT)


def frame_sources(site: Site, kinds: Collection[str] = ("simulator",)) -> list[FrameSource]:
    """The site's sources of these kinds, with what each one reads of every rack."""
    first = 0
    first_of_unit = {}
    for unit in site.units.values():
        first_of_unit[unit.id] = first
        first += len(unit.gpus)
    sources = []
    for source in site.sources.values():
        if source.kind not in kinds:
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
