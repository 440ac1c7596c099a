"""`headrace bench outage`: the broker is away for a while; what the spools keep, and how it comes back.

Rules: the whole system runs on an Apache Kafka that stamps each record when it takes it, so that the age of live data
is that at the broker; the broker is killed and started again with its data. What was lost is counted by the script of
`headrace bench chaos`, which imports nothing of Headrace.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateways.bench.audited import audited
from gateways.bench.kafka_cluster import KafkaCluster
from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging
from gateways.cli.durations import duration_s
from gateways.up.command import UpRequest
from gateways.up.summary import percentiles_ms
from gateways.up.system import System
from rules.engine.inputs import Frame, Readings
from streams.bus.bus import Bus
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.topics import EVENTS
from streams.wire import decode_input

log = logging.getLogger("headrace.bench")

BEFORE_S: Final = 30.0
AFTER_S: Final = 20.0
DRAIN_LIMIT_S: Final = 300.0


class Moment(NamedTuple):
    """A record of live or late data: when the broker took it, and when it came in; both in ns."""

    appended_ns: int
    ingest_ns: int
    source: str
    unit: str
    sequence: int


def bench_outage(site: Path, away: str, jars: Path, as_json: bool) -> int:
    """0 where nothing was lost, doubled or out of order. UnreachableError without Java or the jars."""
    quiet_logging()
    away_s = duration_s(away, "--away")
    with tempfile.TemporaryDirectory(prefix="headrace-outage-") as folder:
        result = asyncio.run(_run(site, away_s, jars, Path(folder)))
    print(
        json.dumps(result) if as_json else "\n".join(f"{name:20} {value}" for name, value in result.items())
    )
    wrong = result["lost"] or result["unexplained"] or result["out_of_order"] or result["drained_s"] is None
    return 1 if wrong else 0


async def _run(site_dir: Path, away_s: float, jars: Path, folder: Path) -> dict[str, Any]:
    cluster = KafkaCluster(folder / "kafka", jars, append_time=True)
    await cluster.start()
    run_dir = folder / "run"
    run_dir.mkdir()
    settings = load_settings(site_dir / "headrace.yaml", run_dir=run_dir)
    up = UpRequest(site=site_dir, free_ports=True, bootstrap=cluster.bootstrap)
    system = System(up, load_site(site_dir), settings, run_dir, time.monotonic())
    try:
        await system.start()
        watching = asyncio.create_task(system.watch())
        while not {"opcua", "nvml", "worker"} <= system.observer.came_up:
            await asyncio.sleep(0.1)
        await asyncio.sleep(BEFORE_S)
        left_ns = time.time_ns()
        await cluster.kill_node(1)
        log.info("the broker is away for %.0f s", away_s)
        await asyncio.sleep(away_s)
        await cluster.start_node(1)
        back_ns = time.time_ns()
        is_drained = await _drained(system)
        await asyncio.sleep(AFTER_S)
        await system.end()
        watching.cancel()
        moments = await _moments(system.bus)
        found = await audited(cluster.bootstrap, run_dir)
    finally:
        await system.end_processes()
        await cluster.stop()
    return {
        "away_s": away_s,
        **{name: found[name] for name in ("lost", "unexplained", "findings")},
        **figures(moments, left_ns, back_ns, is_drained),
        "machine": machine(),
    }


async def _drained(system: System) -> bool:
    """Whether every spool is empty within the limit."""
    until = time.monotonic() + DRAIN_LIMIT_S
    since_ns = time.time_ns()
    while time.monotonic() < until:
        said = {name: status for name, status in system.observer.status.items() if status["at_ns"] > since_ns}
        publishers = [
            publisher
            for status in said.values()
            for publisher in status["metrics"].get("publishers", {}).values()
        ]
        if {"opcua", "nvml", "plant"} <= set(said) and not any(one["spool_records"] for one in publishers):
            return True
        await asyncio.sleep(0.2)
    return False


async def _moments(bus: Bus) -> list[Moment]:
    """Every frame and reading of the log, in its order."""
    ends = await bus.ends(EVENTS.name)
    reader = await bus.reader([EVENTS.name])
    found: list[Moment] = []
    try:
        while any(reader.positions().get(place, 0) < end for place, end in ends.items()):
            for record in await reader.read(1.0, 2000):
                event = decode_input(record.key, record.headers, record.value)
                if isinstance(event, Frame | Readings):
                    source, _, sequence = event.identity
                    taken_ns = record.timestamp_ms * 1_000_000
                    found.append(Moment(taken_ns, event.ingest_ns, source, event.unit, sequence))
    finally:
        await reader.close()
    return found


def figures(moments: Iterable[Moment], left_ns: int, back_ns: int, is_drained: bool) -> dict[str, Any]:
    """What the log says of an outage from `left_ns` to `back_ns`: live data before it, and beside the backlog."""
    late: dict[tuple[str, str], list[Moment]] = defaultdict(list)
    live: list[Moment] = []
    for moment in moments:
        if moment.source.endswith("/backfill"):
            late[moment.source, moment.unit].append(moment)
        else:
            live.append(moment)
    last_ns = max((one.appended_ns for ones in late.values() for one in ones), default=back_ns)
    before = (one.appended_ns - one.ingest_ns for one in live if one.appended_ns < left_ns)
    beside = (one.appended_ns - one.ingest_ns for one in live if back_ns < one.ingest_ns < last_ns)
    return {
        "backfill": sum(len(ones) for ones in late.values()),
        "out_of_order": sum(_out_of_order(ones) for ones in late.values()),
        "drained_s": round((last_ns - back_ns) / 1e9, 1) if is_drained else None,
        "live_age_ms": {"before": percentiles_ms(before), "beside_the_backlog": percentiles_ms(beside)},
    }


def _out_of_order(moments: list[Moment]) -> int:
    """How many of one source and unit do not follow the one before, by sequence or by the time they came in."""
    return sum(
        later.sequence != earlier.sequence + 1 or later.ingest_ns < earlier.ingest_ns
        for earlier, later in pairwise(moments)
    )
