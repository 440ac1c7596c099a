"""`headrace bench soak`: the whole system for half an hour; the slope of its memory, and what it cost."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging, watch_until
from gateways.cli.durations import seconds_of
from gateways.up.command import UpRequest
from gateways.up.system import System


def bench_soak(site: Path, duration: str, as_json: bool) -> int:
    """Run for `duration` with nothing going wrong; 1 when something was lost, doubled or restarted."""
    quiet_logging()
    limit_s = seconds_of(duration, "--for")
    samples: list[tuple[float, float, float]] = []

    def enough(system: System) -> bool:
        samples[:] = system.resources.samples
        return time.monotonic() - system.started >= limit_s

    with tempfile.TemporaryDirectory() as run_dir:
        request = UpRequest(site=site, free_ports=True)
        summary = asyncio.run(watch_until(request, enough, limit_s + 60, Path(run_dir)))
    result = {
        "seconds": round(summary["wall_s"]),
        "readings": summary["readings"],
        "readings_per_s": round(summary["readings"] / summary["wall_s"]),
        "lost": summary["lost"],
        "duplicates": summary["duplicates"],
        "restarts": summary["restarts"],
        "rolls": summary["rolls"],
        "cores": summary["cores"],
        "cpu_s": summary["cpu_s"],
        "pss_mb_max": summary["pss_mb_max"],
        "others_mb_per_h": slope_per_h(samples, column=2),
        "broker_mb_per_min": round(slope_per_h(samples, column=1) / 60, 2),
        "machine": machine(),
    }
    print(
        json.dumps(result) if as_json else "\n".join(f"{name:20} {value}" for name, value in result.items())
    )
    return 0 if not (result["lost"] or result["duplicates"] or result["restarts"]) else 1


def slope_per_h(samples: list[tuple[float, float, float]], column: int, warm_up_s: float = 60.0) -> float:
    """Least-squares slope of a column over time, in units an hour, without the start."""
    warm = np.array([sample for sample in samples if sample[0] >= warm_up_s])
    if len(warm) < 3:
        return float("nan")
    return round(float(np.polyfit(warm[:, 0] / 3600, warm[:, column], 1)[0]), 1)
