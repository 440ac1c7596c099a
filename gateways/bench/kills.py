"""`headrace bench kills`: the worker is killed at seeded moments while the plant and the log misbehave.

Half of the kills are kill -9 from outside at random times, the others from inside, between an output's publishing, its
snapshot and the acknowledgement. The whole run is recorded; its replay, by an engine that was never killed, must say
the same alarms, commands and journal, id by id and byte for byte.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from gateways.bench.disturbance import Disturbance
from gateways.bench.machine import machine
from gateways.bench.recorded import replay_of
from gateways.bench.session import quiet_logging
from gateways.up.command import UpRequest
from gateways.up.summary import summarize
from gateways.up.system import System
from streams.settings import load_settings
from streams.site_folder import load_site

_FIRST_S = 8.0
_APART_S = (9.0, 14.0)
"""Between two kills: long enough for a restart, so that each kill meets a worker that works."""


def plan(seed: int, kills: int) -> tuple[list[float], tuple[str, ...], tuple[str, ...]]:
    """Moments of kill -9, crash points, and faults of the plant, all from the seed."""
    chance = random.Random(seed)
    inside = kills // 2
    moments, at = [], _FIRST_S
    for _ in range(kills - inside):
        at += chance.uniform(*_APART_S)
        moments.append(round(at, 2))
    points = tuple(
        f"{point}:{chance.randint(*span)}"
        for point, span in zip(
            ("publish", "snapshot", "ack") * kills,
            ((20, 200), (2, 4), (2, 4)) * kills,
            strict=False,
        )
    )[:inside]
    faults = []
    # an on-delay is pending at several of the kills: the pump trips shortly before
    for moment in moments[::3]:
        faults += [f"pump_trip@{max(1.0, moment - 0.8):.2f}s", f"~pump_trip@{moment + 4:.2f}s"]
    faults += ["clock_skew@20s", "~clock_skew@26s", "stale@30s", "~stale@38s"]
    return moments, points, tuple(faults)


def bench_kills(site: Path, seed: int, kills: int, as_json: bool) -> int:
    """Run, compare; 1 when anything differs, was lost or broken."""
    quiet_logging()
    with tempfile.TemporaryDirectory(prefix="headrace-kills-") as folder:
        result = asyncio.run(_run(site, seed, kills, Path(folder)))
    print(
        json.dumps(result) if as_json else "\n".join(f"{name:20} {value}" for name, value in result.items())
    )
    return 0 if result["equal"] and not result["lost"] and not result["broken_ids"] else 1


async def _run(site_dir: Path, seed: int, kills: int, folder: Path) -> dict[str, Any]:
    moments, points, faults = plan(seed, kills)
    recording = folder / "run.mcap"
    request = UpRequest(
        site=site_dir, faults=faults, record=recording, seed=seed, free_ports=True, crashes=points
    )
    settings = load_settings(site_dir / "headrace.yaml", run_dir=folder)
    system = System(request, load_site(site_dir), settings, folder, time.monotonic())
    stop = asyncio.Event()
    disturbance = Disturbance(system.bus, system.settings.broker.partitions, seed)
    try:
        await system.start()
        tasks = [asyncio.create_task(system.watch()), asyncio.create_task(disturbance.run(stop))]
        for moment in moments:
            await asyncio.sleep(max(0.0, system.started + moment - time.monotonic()))
            system.processes.kill("worker")
        await asyncio.sleep(12.0)
        stop.set()
        await tasks[1]
        await system.end()
        tasks[0].cancel()
    finally:
        await system.end_processes()
    summary = summarize(system.observer, system.cost())
    replayed = replay_of(recording)
    live_alarms = {alarm["id"] for alarm in summary["alarms"]}
    live_commands = {command["id"] for command in summary["commands"]}
    return {
        "seed": seed,
        "kills": len(moments),
        "crash_points": list(points),
        "worker_exits": system.cost().exits["worker"],
        "restarts": summary["restarts"],
        "disturbed": disturbance.counts,
        "lost": summary["lost"],
        "broken_ids": summary["broken_ids"],
        "alarms": len(live_alarms),
        "commands": len(live_commands),
        "verification": replayed.verification,
        "equal": replayed.equal and live_alarms == replayed.alarms and live_commands == replayed.commands,
        "machine": machine(),
    }
