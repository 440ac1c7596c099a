"""`headrace bench soak`: the whole system for long; what it costs, and what grows: memory, open files, lag, latency.

A slope is of one process: that of a role is the slope of its process that lived longest, without its first minute.
What a roll of the embedded log ends and starts again (worker, actuators) is no slope.

A quiet plant has no latency: so a pump trips now and then, for a moment, and commands follow.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging, watch_until
from gateways.cli.durations import duration_s
from gateways.up.command import UpRequest
from gateways.up.observer import SeenCommand
from gateways.up.resources import MemorySample, open_files
from gateways.up.summary import percentiles_ms
from gateways.up.system import System

log = logging.getLogger("headrace.bench")
WARM_UP_S = 60.0
"""Imports, first compilations and joining a group are no part of what a role costs while it works."""
TRIP_EVERY_S = 300
TRIP_S = 8
"""Shorter than the plant waits before it starts the standby pump (20 s): after that a trip moves nothing more."""
_TELL_EVERY_S = 60.0


class _Soak:
    """Looks at the running system: tells once a minute how it is, and notes what it takes from the warm-up on.

    `open_files`: by role after the first minute and in the last; `lag_max`: records that waited for the worker.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.begin_ns = time.time_ns()
        self.open_files: dict[str, tuple[int, int]] = {}
        self.lag_max = 0
        self.commands: Collection[SeenCommand] = ()
        self._tell_at_s = _TELL_EVERY_S
        self._warm: tuple[float, Mapping[str, float]] | None = None
        self.samples: Sequence[MemorySample] = ()
        self.cores: dict[str, float] = {}

    def look(self, system: System) -> bool:
        """Whether it is over."""
        at_s = time.monotonic() - system.started
        used = system.cpu_s_by_role()
        if self._warm is None and at_s >= WARM_UP_S:
            self._warm = (at_s, used)
        if self._warm is not None and at_s > self._warm[0]:
            begin_s, before = self._warm
            self.cores = {role: (seconds - before[role]) / (at_s - begin_s) for role, seconds in used.items()}
            self._note_lag(system)
        if at_s >= self._tell_at_s:
            self._tell_at_s += _TELL_EVERY_S
            self._note_open_files(system)
            resources = system.resources
            log.info(
                "%.0f of %.0f s: %s readings, broker %.0f MB, others %.0f MB, rolls %d, restarts %d",
                at_s, self._limit_s, f"{system.observer.readings:,}", resources.broker_mb, resources.others_mb,
                system.rolls, system.processes.restarts,
            )  # fmt: skip
        self.samples = system.resources.samples
        self.commands = system.observer.commands.values()
        return at_s >= self._limit_s

    def _note_open_files(self, system: System) -> None:
        for role, child in system.processes.children.items():
            if child.pid is not None and (count := open_files(child.pid)):
                self.open_files[role] = (self.open_files.get(role, (count, count))[0], count)

    def _note_lag(self, system: System) -> None:
        if (worker := system.observer.status.get("worker")) is not None:
            self.lag_max = max(self.lag_max, worker["metrics"].get("lag", 0))


def bench_soak(site: Path, duration: str, bootstrap: str | None, as_json: bool) -> int:
    """Run for `duration`; 1 when something was lost, doubled, late or restarted."""
    quiet_logging()
    limit_s = duration_s(duration, "--for")
    soak = _Soak(limit_s)
    with tempfile.TemporaryDirectory() as run_dir:
        request = UpRequest(site=site, faults=trips(limit_s), free_ports=True, bootstrap=bootstrap)
        summary = asyncio.run(watch_until(request, soak.look, limit_s + 60, Path(run_dir)))
    slopes = slopes_mb_per_h(soak.samples)
    result = {
        "seconds": round(summary["wall_s"]),
        "readings": summary["readings"],
        "readings_per_s": round(summary["readings"] / summary["wall_s"]),
        **{name: summary[name] for name in ("lost", "duplicates", "late", "restarts", "rolls")},
        "cores": summary["cores"],
        "cpu_s": summary["cpu_s"],
        "core_percent": {role: round(100 * share, 2) for role, share in sorted(soak.cores.items())},
        "pss_mb_max": summary["pss_mb_max"],
        "broker_mb_per_min": round(slopes.pop("broker") / 60, 2) if "broker" in slopes else None,
        "mb_per_h": slopes,
        "others_mb_per_h": round(sum(slopes.values()), 1),
        "open_files": {role: list(counts) for role, counts in sorted(soak.open_files.items())},
        "lag_records_max": soak.lag_max,
        "sample_to_command_ms": by_quarter(soak.commands, soak.begin_ns, limit_s),
        "broker": "given" if bootstrap else "embedded",
        "machine": machine(),
    }
    print(
        json.dumps(result) if as_json else "\n".join(f"{name:20} {value}" for name, value in result.items())
    )
    wrong = [name for name in ("lost", "duplicates", "late", "restarts") if result[name]]
    return 1 if wrong else 0


def trips(limit_s: float) -> tuple[str, ...]:
    """The faults: every five minutes, the last one early enough that its commands are seen."""
    begins = range(TRIP_EVERY_S, int(limit_s) - 2 * TRIP_S, TRIP_EVERY_S)
    return tuple(one for at_s in begins for one in (f"pump_trip@{at_s}s", f"~pump_trip@{at_s + TRIP_S}s"))


def by_quarter(
    commands: Collection[SeenCommand], begin_ns: int, limit_s: float
) -> list[dict[str, float | int | None]]:
    """Latency of the commands in each quarter of the run: a drift shows as a rise."""
    quarter_ns = limit_s * 1e9 / 4
    parts: list[list[int]] = [[], [], [], []]
    for seen in commands:
        part = int((seen.command.cause_ns - begin_ns) // quarter_ns)
        parts[min(3, max(0, part))].append(seen.at_ns - seen.command.cause_ns)
    return [percentiles_ms(part) for part in parts]


def slopes_mb_per_h(samples: Sequence[MemorySample]) -> dict[str, float]:
    """By role, the least-squares slope in MB an hour of the anonymous memory of its longest-lived process."""
    series: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        series[sample.role, sample.pid].append((sample.at_s, sample.anonymous_mb))
    longest: dict[str, list[tuple[float, float]]] = {}
    for (role, _), points in sorted(series.items()):
        warm = [point for point in points if point[0] >= points[0][0] + WARM_UP_S]
        if len(warm) >= 3 and len(warm) > len(longest.get(role, ())):
            longest[role] = warm
    return {role: round(_slope(points) * 3600, 1) for role, points in longest.items()}


def _slope(points: Sequence[tuple[float, float]]) -> float:
    at_s, mb = np.array(points).T
    return float(np.polyfit(at_s, mb, 1)[0])
