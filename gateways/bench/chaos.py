"""`headrace bench chaos`: real processes on Apache Kafka, and what goes wrong on a bad night.

Rules: the troubles are drawn from a seed; one follows the other, faults of the plant run beside them; whoever dies is
started again by its supervisor, as in production. Afterwards a script that imports nothing of Headrace counts anew what
is on the log, on the devices and with the receiver of notifications, and an engine that nobody troubled says the same
alarms, commands and journal from the recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from gateways.bench.audited import audited
from gateways.bench.chaos_plan import (
    KILLED,
    LINKS,
    ROLES_BY_LINK,
    STOPPED,
    WORKERS,
    Trouble,
    faults,
    troubles,
)
from gateways.bench.chaos_site import SUBSCRIPTION, chaos_site
from gateways.bench.kafka_cluster import KafkaCluster
from gateways.bench.machine import machine
from gateways.bench.recorded import replay_of
from gateways.bench.session import quiet_logging
from gateways.bench.sink import running_sink
from gateways.up.command import UpRequest
from gateways.up.summary import summarize
from gateways.up.system import System
from rules.errors import UnreachableError
from streams.settings import BOOTSTRAP_VARIABLE, load_settings
from streams.site_folder import load_site
from streams.topics import EVENTS

log = logging.getLogger("headrace.bench")

CALM_S: Final = 15.0
"""After the last trouble: spools are drained, escalations of the sink's failures are over."""
RECOVERY_LIMIT_S: Final = 60.0
_RECOVERY_S: Final = 3.0
FAILING_SHARE: Final = 0.2
_SMALL_FILE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ChaosRequest:
    """What the command line asked for. `jars`: Apache Kafka's."""

    site: Path
    jars: Path
    seed: int = 1
    events: int = 15
    brokers: int = 1
    keep: Path | None = None


@dataclass(slots=True)
class _Recovery:
    trouble: str
    target: str
    seconds: float | None
    """From the trouble's end until every partition was worked off as far as the log was then; None: not in time."""


@dataclass(slots=True)
class _Run:
    request: ChaosRequest
    cluster: KafkaCluster
    system: System
    recoveries: list[_Recovery] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)

    async def trouble(self, planned: Sequence[Trouble]) -> None:
        """One after the other, once everybody has come up."""
        while not self._are_up():
            await asyncio.sleep(0.1)
        for one in planned:
            await asyncio.sleep(one.rest_s)
            log.warning("%s", one)
            self.happened.append(f"{time.monotonic() - self.system.started:.1f}s {one}")
            await self._do(one)
            await self._recovered(one)

    def _are_up(self) -> bool:
        return {*KILLED, *STOPPED} <= self.system.observer.came_up

    async def _do(self, one: Trouble) -> None:
        """From its beginning to its end."""
        processes = self.system.processes
        if one.target.startswith("broker-"):
            number = int(one.target.removeprefix("broker-"))
            await (self.cluster.kill_node if one.kind == "kill" else self.cluster.stop_node)(number)
            await asyncio.sleep(one.lasts_s)
            await self.cluster.start_node(number)
        elif one.kind == "kill":
            processes.kill(one.target)
        elif one.kind == "stop":
            processes.signal(one.target, signal.SIGSTOP)
            await asyncio.sleep(one.lasts_s)
            processes.signal(one.target, signal.SIGCONT)
        elif one.kind == "disk-full":
            await self._disk_full(one)
        else:
            for link in self.cluster.links_of(one.target):
                (link.hold if one.kind == "hold" else link.cut)()
            await asyncio.sleep(one.lasts_s)
            for link in self.cluster.links_of(one.target):
                link.mend()

    async def _disk_full(self, one: Trouble) -> None:
        """No file of the gateways may grow while they need their spools: the broker is away for them."""
        unlimited = resource.RLIM_INFINITY
        pids = [pid for role in ("opcua", "nvml") if (pid := self.system.processes.children[role].pid)]
        for link in self.cluster.links_of("gateway"):
            link.cut()
        for pid in pids:
            _limit_files(pid, _SMALL_FILE_BYTES)
        await asyncio.sleep(one.lasts_s)
        for pid in pids:
            _limit_files(pid, unlimited)
        for link in self.cluster.links_of("gateway"):
            link.mend()

    async def _recovered(self, one: Trouble) -> None:
        """Wait until the workers have read what the log has now."""
        ended_ns, ended = time.time_ns(), time.monotonic()
        wanted: dict[str, int] | None = None
        while time.monotonic() - ended < RECOVERY_LIMIT_S:
            if wanted is None:
                with contextlib.suppress(UnreachableError):
                    ends = await self.system.bus.ends(EVENTS.name)
                    wanted = {str(place.partition): end for place, end in ends.items()}
            elif (at_ns := self._reached(wanted, ended_ns)) is not None:
                seconds = round((at_ns - ended_ns) / 1e9, 2)
                self.recoveries.append(_Recovery(str(one), one.target, seconds))
                return
            await asyncio.sleep(0.1)
        log.error("%s: not recovered after %.0f s", one, RECOVERY_LIMIT_S)
        self.recoveries.append(_Recovery(str(one), one.target, None))

    def _reached(self, wanted: dict[str, int], since_ns: int) -> int | None:
        """When the workers said that they have read so far; None: they have not."""
        at_ns = since_ns
        for partition, end in wanted.items():
            said = [
                int(status["at_ns"])
                for name in WORKERS
                if (status := self.system.observer.status.get(name)) is not None
                and int(status["at_ns"]) > since_ns
                and int(status["metrics"].get("positions", {}).get(partition, 0)) >= end
            ]
            if not said:
                return None
            at_ns = max(at_ns, min(said))
        return at_ns


def bench_chaos(request: ChaosRequest, as_json: bool) -> int:
    """0 where nothing was lost, nothing done twice, and everything is explained; 1 else. UnreachableError."""
    quiet_logging()
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as folder:
        result = asyncio.run(_run(request, Path(folder)))
        if request.keep is not None:
            shutil.copytree(folder, request.keep, dirs_exist_ok=True)
    print(json.dumps(result) if as_json else "\n".join(_lines(result)))
    wrong = result["lost"] or result["duplicated_effects"] or result["unexplained"]
    return 0 if not wrong and result["replay"]["equal"] and not result["not_recovered"] else 1


async def _run(request: ChaosRequest, folder: Path) -> dict[str, Any]:
    cluster = KafkaCluster(folder / "kafka", request.jars, request.brokers, LINKS)
    await cluster.start()
    try:
        async with running_sink(folder / "sink.log", FAILING_SHARE, request.seed) as address:
            return await _with_sink(request, folder, cluster, address)
    finally:
        await cluster.stop()


async def _with_sink(request: ChaosRequest, folder: Path, cluster: KafkaCluster, sink: str) -> dict[str, Any]:
    site_dir = chaos_site(request.site, folder / "site", sink)
    run_dir = folder / "run"
    run_dir.mkdir()
    settings = load_settings(site_dir / "headrace.yaml", run_dir=run_dir)
    planned = troubles(request.seed, request.events, request.brokers, settings.broker.session_timeout_s)
    # a recovery takes some seconds more
    until_s = sum(one.rest_s + one.lasts_s + _RECOVERY_S for one in planned)
    by_role = {
        role: {BOOTSTRAP_VARIABLE: cluster.bootstrap_of(link)}
        for link, roles in ROLES_BY_LINK.items()
        for role in roles
    }
    up = UpRequest(
        site=site_dir, faults=faults(request.seed, until_s), record=folder / "recording", seed=request.seed,
        free_ports=True, bootstrap=cluster.bootstrap, environments=by_role,
    )  # fmt: skip
    system = System(up, load_site(site_dir), settings, run_dir, time.monotonic())
    run = _Run(request, cluster, system)
    try:
        await system.start()
        await system.processes.start("worker", site_dir, {}, WORKERS[1], by_role["worker"], has_spare=True)
        watching = asyncio.create_task(system.watch())
        working = asyncio.create_task(run.trouble(planned))
        await asyncio.wait([watching, working], return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        await working
        await asyncio.sleep(CALM_S)
        await system.processes.end(WORKERS[1])
        await system.end()
        watching.cancel()
    finally:
        await system.end_processes()
    found = await audited(cluster.bootstrap, run_dir, folder / "sink.log", SUBSCRIPTION)
    return _result(run, found, folder)


def _result(run: _Run, found: dict[str, Any], folder: Path) -> dict[str, Any]:
    summary = summarize(run.system.observer, run.system.cost())
    replayed = replay_of(folder / "recording")
    of_workers = [one.seconds for one in run.recoveries if one.seconds is not None and one.target in WORKERS]
    return {
        "seed": run.request.seed,
        "events": len(run.happened),
        "brokers": run.request.brokers,
        **{name: found[name] for name in ("lost", "duplicated_effects", "unexplained", "findings")},
        "replay": {
            "equal": replayed.equal,
            "alarms": len(replayed.alarms),
            "commands": len(replayed.commands),
            "verification": replayed.verification,
        },
        "recovery_s": {
            "workers": _percentiles(of_workers),
            "all": _percentiles([one.seconds for one in run.recoveries if one.seconds is not None]),
        },
        "not_recovered": [one.trouble for one in run.recoveries if one.seconds is None],
        "happened": run.happened,
        "recoveries": [[one.trouble, one.seconds] for one in run.recoveries],
        "exits": {name: codes for name, codes in run.system.cost().exits.items() if codes},
        "audit": found,
        "latency_ms": summary["latency_ms"],
        "machine": machine(),
    }


def _limit_files(pid: int, soft_bytes: int) -> None:
    """How large a file that a process writes may become; what it has already is left."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (soft_bytes, hard))


def _percentiles(seconds: Sequence[float]) -> dict[str, float | int | None]:
    if not seconds:
        return {"p50": None, "p99": None, "count": 0}
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "count": len(seconds)}


def _lines(result: dict[str, Any]) -> list[str]:
    """For people: what counts first."""
    plain = ("seed", "events", "brokers", "lost", "duplicated_effects", "unexplained")
    lines = [f"{name:20} {result[name]}" for name in plain]
    lines += [
        f"  {kind}: {found['count']}, first {found['first']}" for kind, found in result["findings"].items()
    ]
    lines.append(f"{'replay':20} {result['replay']}")
    lines += [f"{f'recovery, {who}':20} {values}" for who, values in result["recovery_s"].items()]
    lines += [f"not recovered: {one}" for one in result["not_recovered"]]
    return [*lines, f"{'machine':20} {result['machine']}"]
