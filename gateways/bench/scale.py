"""`headrace bench scale`: the same log worked off by 1, 2, 3 workers, each a process, on one Apache Kafka.

Rules: each number of workers has a broker and a log of its own, with the same recorded stretch of a simulated site
(`scale_load`), and does the same with it (`scale_run`). In the end all outputs on the log are compared with those of
one engine that nobody disturbed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateways.bench.kafka_cluster import KafkaCluster, refuse_no_kafka
from gateways.bench.machine import machine
from gateways.bench.scale_load import RULES, Load, make_load, send
from gateways.bench.scale_log import Age, Claimed, ages, claims_since, compared, said_on
from gateways.bench.scale_plan import Assumed, Measured, plan
from gateways.bench.scale_run import Backlog, Live, Run, ScaleRequest, keep_pace, plant_s, work_off_backlog
from gateways.bench.scale_tables import BROKERS, limit_of, lines_of
from gateways.bench.session import quiet_logging
from gateways.bench.site_copy import site_copy
from gateways.up.processes import Processes
from gateways.up.summary import percentiles_ms
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.bus_kafka import KafkaBus
from streams.replay_mark import Mark, Marking, mark_log
from streams.settings import BOOTSTRAP_VARIABLE, load_settings
from streams.topics import STATUS, TOPICS

log = logging.getLogger("headrace.bench")

_WARM_UP_S: Final = 2.0
_BEFORE_CLAIM_S: Final = 2.0
"""A rebalance has begun a heartbeat and a little before the new worker claims its partitions."""
_SHARE_OF_CAPACITY: Final = 0.5


def numbers_of(text: str) -> tuple[int, ...]:
    """`1,2,3` as numbers. ConfigurationError."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        hint = "write numbers from 1 on, such as 1,2,3"
        raise ConfigurationError([Finding("--workers", 0, 0, f"{text!r} is no list of numbers", hint)])
    return tuple(int(word) for word in words)


def bench_scale(request: ScaleRequest, as_json: bool) -> int:
    """0 where each number of workers said what one engine says; 1 else.

    ConfigurationError: too few partitions. UnreachableError without Java or the jars.
    """
    quiet_logging()
    if max(request.workers) >= request.partitions:
        text = f"{request.partitions} are too few for {max(request.workers)} workers and one more"
        raise ConfigurationError([Finding("--partitions", 0, 0, text, "each worker needs one")])
    refuse_no_kafka(request.jars)  # before the plant has run
    with tempfile.TemporaryDirectory(prefix="headrace-scale-") as folder:
        result = asyncio.run(_all_of(request, Path(folder)))
    print(json.dumps(result) if as_json else "\n".join(lines_of(result)))
    wrong = any(run["outputs"][what] for run in result["runs"] for what in ("different", "missing", "beside"))
    return 1 if wrong else 0


async def _all_of(request: ScaleRequest, folder: Path) -> dict[str, Any]:
    before = os.getloadavg()
    seconds = plant_s(request)
    log.info("the plant runs for %.0f s of its time", seconds)
    load = await asyncio.to_thread(
        make_load, site_copy(request.site, folder / "site", RULES), folder, seconds
    )
    runs: list[dict[str, Any]] = []
    speed = 1.0
    for count in request.workers:
        run = await _with_log(request, load, count, folder / f"workers-{count}", speed if runs else None)
        speed = run["live"]["speed"]
        runs.append(run)
    # of the fewest workers: more of them than cores take each other's
    measured = _measured(min(runs, key=lambda run: int(run["workers"])), request.brokers)
    return {
        "site": {"folder": str(request.site), "gpus": load.gpus, "units": len(load.site.units)},
        "partitions": request.partitions,
        "brokers": request.brokers,
        "runs": runs,
        "plan": {
            "measured": {name: getattr(measured, name) for name in measured.__slots__},
            "rows": [
                {
                    "what": row.what,
                    "how": row.how,
                    "one_site": row.value,
                    "all_sites": row.of_all,
                    "unit": row.unit,
                }
                for row in plan(measured, Assumed())
            ],
        },
        "load_average_before": [round(value, 1) for value in before],
        "machine": machine(),
    }


async def _with_log(
    request: ScaleRequest, load: Load, count: int, folder: Path, speed: float | None
) -> dict[str, Any]:
    cluster = KafkaCluster(folder / "kafka", request.jars, request.brokers, append_time=True)
    await cluster.start()
    run_dir = folder / "run"
    run_dir.mkdir()
    broker = load_settings(run_dir=run_dir).broker.model_copy(
        update={"bootstrap": cluster.bootstrap, "partitions": request.partitions, "request_timeout_s": 30.0}
    )
    bus = KafkaBus(broker)
    processes = Processes(run_dir, {BOOTSTRAP_VARIABLE: cluster.bootstrap, "HEADRACE_RUN_DIR": str(run_dir)})
    try:
        mark = Mark(load.recording.name, has_facts=True)
        await bus.create_topics(TOPICS, request.partitions)
        await mark_log(bus, mark)
        producer = Marking(await bus.producer("bench-load"), mark)
        reader = await bus.reader([STATUS.name])
        run = Run(request, load, count, cluster, bus, producer, processes, reader)
        try:
            return await _measure(run, speed)
        finally:
            await reader.close()
            await producer.close()
    finally:
        await processes.end_all()
        await bus.close()
        await cluster.stop()


async def _measure(run: Run, speed: float | None) -> dict[str, Any]:
    load, request = run.load, run.request
    await send(run.producer, load.first_rules(request.partitions))
    log.info("%d workers: a backlog of %.0f s", run.count, request.seconds)
    backlog = await work_off_backlog(run)
    await asyncio.gather(*(run.processes.end(name) for name in run.pids()))
    if speed is None:
        speed = min(1.0, _SHARE_OF_CAPACITY * request.seconds / backlog.drain_s(await said_on(run.bus)))
    log.info("%d workers: %.0f s at %.2f times the pace of the plant", run.count, request.seconds, speed)
    await run.start(range(1, run.count + 1), {})
    live = await keep_pace(run, speed)
    said = await said_on(run.bus)
    claims = await claims_since(run.bus, live.joining.begun_ns)
    return {
        "workers": run.count,
        "backlog": _of_backlog(backlog, backlog.drain_s(said)),
        "live": _of_live(live, ages(said, live.steady.due_ns), speed),
        "one_more": _of_one_more(run, live, claims, ages(said, live.joining.due_ns)),
        "outputs": compared(said, load.outputs),
    }


def _of_backlog(backlog: Backlog, seconds: float) -> dict[str, Any]:
    written, busy = backlog.written, {name: round(cpu / seconds, 2) for name, cpu in backlog.cpu_s.items()}
    return {
        "records": written.records,
        "readings": written.readings,
        "written_s": round(written.seconds, 1),
        "seconds": round(seconds, 2),
        "readings_per_s": round(written.readings / seconds),
        "cpu_s": backlog.cpu_s,
        "cores_busy": busy,
        "limit": limit_of(busy, os.cpu_count() or 1),
        "worker_cpu_s_per_million": _per_million(backlog.cpu_s, written.readings),
        "broker_cpu_s_per_million": {
            "written": round(backlog.broker_cpu_s_written * 1e6 / written.readings, 4),
            "read": round(backlog.cpu_s[BROKERS] * 1e6 / written.readings, 4),
        },
        "bytes_per_reading": round(backlog.bytes / written.readings, 3),
    }


def _of_live(live: Live, found: Sequence[Age], speed: float) -> dict[str, Any]:
    steady, warm_ns = live.steady, live.steady.begun_ns + round(_WARM_UP_S * 1e9)
    end_ns = live.joining.begun_ns
    return {
        "speed": round(speed, 3),
        "readings_per_s": round(steady.readings / steady.seconds),
        "records_per_s": round(steady.records / steady.seconds),
        "event_to_output_ms": percentiles_ms(one.age_ns for one in found if warm_ns <= one.due_ns < end_ns),
        "sender_late_ms_max": round(steady.late_ns_max / 1e6),
        "cpu_s": live.cpu_s,
        "worker_cpu_s_per_million": _per_million(live.cpu_s, steady.readings),
        "broker_cpu_s_per_million": round(live.cpu_s[BROKERS] * 1e6 / steady.readings, 4),
        "bytes_per_reading": round(live.bytes_per_reading, 3),
        "raw_bytes_per_reading": round(steady.bytes / steady.readings, 3),
        "memory_mb": live.memory_mb,
    }


def _of_one_more(run: Run, live: Live, claims: Sequence[Claimed], found: Sequence[Age]) -> dict[str, Any]:
    name, joining = f"worker-{run.count + 1}", live.joining
    until_ns = joining.begun_ns + round(joining.seconds * 1e9)
    claimed_ns = min((one.at_ns for one in claims), default=until_ns)
    before_ns = claimed_ns - round(_BEFORE_CLAIM_S * 1e9)
    return {
        "partitions_moved": sum(one.partitions for one in claims),
        "to_the_new_one": sum(one.partitions for one in claims if one.worker == name),
        "share": -(-run.request.partitions // (run.count + 1)),
        "started_s": round((claimed_ns - joining.begun_ns) / 1e9, 1),
        "longest_while_it_starts_ms": _longest_ms(one for one in found if one.due_ns < before_ns),
        # none where it came so late that nothing was sent any more
        "longest_stop_ms": _longest_ms(
            one for one in found if one.due_ns >= before_ns and claimed_ns < until_ns
        ),
    }


def _longest_ms(found: Iterable[Age]) -> int | None:
    longest_ns = max((one.age_ns for one in found), default=None)
    return None if longest_ns is None else round(longest_ns / 1e6)


def _per_million(cpu_s: Mapping[str, float], readings: int) -> float:
    """CPU seconds of all workers per million readings."""
    return round(sum(seconds for name, seconds in cpu_s.items() if name != BROKERS) * 1e6 / readings, 4)


def _measured(run: Mapping[str, Any], brokers: int) -> Measured:
    """What a plan goes by: the worker at its limit, brokers and network at a steady pace."""
    backlog, live = run["backlog"], run["live"]
    return Measured(
        backlog["worker_cpu_s_per_million"],
        live["broker_cpu_s_per_million"],
        backlog["broker_cpu_s_per_million"]["read"],
        3 if brokers >= 3 else 1,
        live["bytes_per_reading"],
        live["raw_bytes_per_reading"],
    )
