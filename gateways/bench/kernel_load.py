"""The load of `headrace bench kernels`: engines of a site's units, and seconds of quiet GPU frames for them.

Rules: what one gateway sends a rack in one second is one frame of ten samples; a unit has a tick for each sample. More
GPUs than the site has are the site's units over again, each with an engine and a state of its own. Light imports: a
start is measured with this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rules.engine.engine import Engine
from rules.engine.inputs import Frame, Identity, Input, Tick
from rules.engine.tables import Compiled
from rules.errors import UnreachableError
from rules.gpu_fields import FIELD_COUNT, GPU_FIELDS
from rules.language.program import Program
from rules.site.model import Site, Unit
from streams.site_folder import load_site

SAMPLES: Final = 10
PERIOD_NS: Final = 100_000_000
START_NS: Final = 1_700_000_000_000_000_000
QUIET: Final = (
    900, 900, 1e6, 48, 50, 40, 1400, 1900, 2600, 80, 50, 150_000, 0, 0, 0, 0, 0, 1e6, 1e6, 0, 1e7, 0, 50, 0,
)  # fmt: skip
"""What each field of a GPU says when all is well."""


def quiet_values(samples: int, gpus: int, seed: int) -> NDArray[np.float32]:
    """(S, G, 24): a per cent of noise on what is measured, none on counters and codes. Raises no alarm."""
    noise = np.random.default_rng(seed).standard_normal((samples, gpus, FIELD_COUNT)).astype(np.float32)
    spread = np.array([0.0 if one.unit in {"", "kJ"} else 0.01 for one in GPU_FIELDS], np.float32)
    values: NDArray[np.float32] = np.array(QUIET, np.float32) * (1 + spread * noise)
    return values


@dataclass
class Rack:
    """A rack as its gateway sees it."""

    asset: str
    source: str
    gpus: tuple[str, ...]
    seed: int

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """(S, G, 24), made when they are first needed: a start that is measured pays for none but its own frame."""
        return quiet_values(SAMPLES, len(self.gpus), self.seed)


@dataclass(slots=True)
class Share:
    """One engine, and the racks that it is fed; it remembers how far in event time it is."""

    engine: Engine
    racks: list[Rack]
    second: int = 0
    _sequences: dict[str, int] = field(default_factory=dict)

    @property
    def gpus(self) -> int:
        """How many GPUs it is fed."""
        return sum(len(rack.gpus) for rack in self.racks)

    def next_second(self) -> list[Input]:
        """The ticks and frames of the next second, each once."""
        unit, first_ns = self.engine.unit.id, START_NS + self.second * SAMPLES * PERIOD_NS
        self.second += 1
        times_ns = first_ns + np.arange(SAMPLES) * PERIOD_NS
        now_ns = int(times_ns[-1])
        inputs: list[Input] = [
            Tick(unit, Identity("ticker", 0, time_ns // PERIOD_NS), time_ns) for time_ns in times_ns.tolist()
        ]
        for rack in self.racks:
            self._sequences[rack.source] = self._sequences.get(rack.source, 0) + 1
            count = len(rack.gpus)
            inputs.append(
                Frame(
                    unit,
                    Identity(rack.source, 1, self._sequences[rack.source]),
                    now_ns,
                    rack.asset,
                    times_ns,
                    np.arange(count, dtype=np.uint16),
                    rack.values,
                    np.zeros((SAMPLES, count), np.uint8),
                    np.full((SAMPLES, count), 10**9),
                )
            )
        return inputs


def folder_for(site_dir: Path, gpus: int) -> Path:
    """The site, or the whole site beside it (`<name>-full`) where the site has too few GPUs."""
    full = site_dir.parent / f"{site_dir.name}-full"
    few = sum(len(unit.gpus) for unit in load_site(site_dir).units.values()) < gpus
    return full if few and full.is_dir() else site_dir


def shares(site: Site, rules: Program | Callable[[str], Compiled], gpus: int) -> list[Share]:
    """Engines for the whole racks that come nearest to `gpus`, at least one. UnreachableError without racks.

    `rules`: a program, or the tables of a unit by its id.
    """
    found: list[Share] = []
    left = gpus
    sources = site.gpu_sources
    for unit in _over_again(site):
        racks: list[Rack] = []
        for asset, (low, high) in _racks(unit):
            if left >= (high - low) / 2 or not (found or racks):
                names = unit.gpus[low:high]
                source = sources[names[-1]].id if names[-1] in sources else "bench"
                racks.append(Rack(asset, source, names, left))
                left -= high - low
        if not racks:
            break
        own = rules if isinstance(rules, Program) else rules(unit.id)
        found.append(Share(Engine(own, site, unit.id), racks))
    return found


def _racks(unit: Unit) -> list[tuple[str, tuple[int, int]]]:
    return [(asset.id, unit.gpu_range[asset.id]) for asset in unit.assets if asset.type == "Rack"]


def _over_again(site: Site) -> Iterator[Unit]:
    with_racks = [unit for unit in site.units.values() if unit.gpus and _racks(unit)]
    if not with_racks:
        raise UnreachableError("this site has no rack with GPUs: the bench needs one")
    return cycle(with_racks)
