"""What `headrace bench kernels` measures of all engines together: throughput beside the baselines, snapshots.

Rules: the baselines take their turn in every pass, because a machine is never quiet, and a ratio is the median of the
passes' own ratios. A baseline does less than the engine: kernel_twins says what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

import cramjam
import numpy as np

from gateways.bench import kernel_twins
from gateways.bench.kernel_load import Rack, Share
from rules.engine.engine import Engine
from rules.errors import InvariantError
from rules.language.program import Program, Rule
from rules.site.model import Site

COMPRESSION_LEVEL: Final = 3
BASELINES: Final = ("memcpy", "numpy", "polars", "polars_from_frames")
"""polars: its table of columns lies ready; polars_from_frames: making it is counted, as the engine gets frames."""
_WARM_UP: Final = 3

Prepare = Callable[[], Callable[[], object]]
"""Makes what a pass needs; what it returns is timed."""


def throughput(program: Program, found: Sequence[Share], passes: int) -> dict[str, Any]:
    """Engine and baselines over the same frames, in alternation. The first passes warm up and do not count."""
    racks = [rack for share in found for rack in share.racks]
    rules = kernel_twins.stateless(program)
    work = {"engine": _engine(found), "memcpy": _copy(racks), "numpy": _numpy(rules, racks)}
    if kernel_twins.has_polars():
        work["polars"] = _polars(rules, racks)
        work["polars_from_frames"] = lambda: lambda: kernel_twins.PolarsTwin(rules, racks).masks()
    readings = sum(rack.values.size for rack in racks)
    taken: dict[str, list[float]] = {name: [] for name in work}
    for number in range(passes + _WARM_UP):
        for name, prepare in work.items():
            once = prepare()
            begun_s = time.perf_counter()
            once()
            taken[name] += [time.perf_counter() - begun_s] if number >= _WARM_UP else []
    _check(found, readings * (passes + _WARM_UP))
    rates = {name: readings / median(times) for name, times in taken.items()}
    return {
        "readings_per_s": round(rates["engine"]),
        "readings_per_s_best": round(readings / min(taken["engine"])),
        **{f"ratio_to_{name}": _ratio(taken, name) for name in BASELINES},
        "rules_of_twins": len(rules),
        "fields_of_twins": len(kernel_twins.fields_of(rules)),
        "baselines_readings_per_s": {name: round(rates[name]) for name in work if name != "engine"},
    }


def _ratio(taken: dict[str, list[float]], name: str) -> float | None:
    """How many times as fast the engine is."""
    if name not in taken:
        return None
    return round(median(base / engine for base, engine in zip(taken[name], taken["engine"], strict=True)), 3)


def _engine(found: Sequence[Share]) -> Prepare:
    def prepare() -> Callable[[], object]:
        seconds = [(share.engine, share.next_second()) for share in found]
        return lambda: [engine.step(inputs) for engine, inputs in seconds]

    return prepare


def _copy(racks: Sequence[Rack]) -> Prepare:
    places = [np.empty_like(rack.values) for rack in racks]

    def once() -> None:
        for place, rack in zip(places, racks, strict=True):
            np.copyto(place, rack.values)

    return lambda: once


def _numpy(rules: Sequence[Rule], racks: Sequence[Rack]) -> Prepare:
    def once() -> None:
        for rack in racks:
            kernel_twins.numpy_masks(rules, rack)

    return lambda: once


def _polars(rules: Sequence[Rule], racks: Sequence[Rack]) -> Prepare:
    twin = kernel_twins.PolarsTwin(rules, racks)
    return lambda: twin.masks


def _check(found: Sequence[Share], readings: int) -> None:
    """A figure of frames that were not evaluated would be none. Raises InvariantError."""
    counted = sum((share.engine.counters for share in found), start=type(found[0].engine.counters)())
    wrong = (
        "late",
        "out_of_order",
        "clock_corrected",
        "not_good",
        "backfill",
        "unknown_gpus",
        "repeats",
        "gaps",
    )
    if counted["readings"] != readings or any(counted[name] for name in wrong):
        raise InvariantError(f"the load is not what the bench means to measure: {dict(counted)}")


def snapshots(site: Site, program: Program, found: Sequence[Share], passes: int) -> dict[str, Any]:
    """State, the longest `snapshot()` of a unit, all of them compressed, and restoring all, in fresh engines."""
    pauses_ms, restores_ms, states = [], [], [b""]
    for _ in range(passes):
        states, longest_s = [], 0.0
        for share in found:
            begun_s = time.perf_counter()
            states.append(share.engine.snapshot())
            longest_s = max(longest_s, time.perf_counter() - begun_s)
        pauses_ms.append(longest_s * 1e3)
    for _ in range(min(passes, 3)):
        fresh = [Engine(program, site, share.engine.unit.id) for share in found]
        begun_s = time.perf_counter()
        for engine, state in zip(fresh, states, strict=True):
            engine.restore(state)
        restores_ms.append((time.perf_counter() - begun_s) * 1e3)
    compressed = sum(len(bytes(cramjam.zstd.compress(state, COMPRESSION_LEVEL))) for state in states)
    size = sum(map(len, states))
    return {
        "state_bytes_per_gpu": round(size / sum(len(share.engine.unit.gpus) for share in found)),
        "snapshot_pause_ms": round(median(pauses_ms), 2),
        "snapshot_mb": round(size / 1e6, 2),
        "snapshot_mb_compressed": round(compressed / 1e6, 2),
        "restore_ms": round(median(restores_ms), 1),
    }
