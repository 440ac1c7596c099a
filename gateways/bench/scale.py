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
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gateways.bench.kafka_cluster import KafkaCluster, refuse_no_kafka
from gateways.bench.machine import machine
from gateways.bench.scale_figures import figures, measured
from gateways.bench.scale_load import RULES, Load, make_load, send
from gateways.bench.scale_log import claims_since, said_on
from gateways.bench.scale_plan import Assumed, plan
from gateways.bench.scale_run import Run, ScaleRequest, keep_pace, plant_s, work_off_backlog
from gateways.bench.scale_tables import lines_of
from gateways.bench.session import quiet_logging
from gateways.bench.site_copy import site_copy
from gateways.up.processes import Processes
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.bus.kafka import KafkaBus
from streams.replay_mark import Mark, Marking, mark_log
from streams.settings import BOOTSTRAP_VARIABLE, load_settings
from streams.topics import STATUS, TOPICS

log = logging.getLogger("headrace.bench")

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
    of_plan = measured(min(runs, key=lambda run: int(run["workers"])), request.brokers)
    return {
        "site": {"folder": str(request.site), "gpus": load.gpus, "units": len(load.site.units)},
        "partitions": request.partitions,
        "brokers": request.brokers,
        "runs": runs,
        "plan": {
            "measured": asdict(of_plan),
            "rows": [
                {
                    "what": row.what,
                    "how": row.how,
                    "one_site": row.value,
                    "all_sites": row.of_all,
                    "unit": row.unit,
                }
                for row in plan(of_plan, Assumed())
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
    environment = {
        BOOTSTRAP_VARIABLE: cluster.bootstrap,
        "HEADRACE_BROKER__PARTITIONS": str(request.partitions),
        "HEADRACE_RUN_DIR": str(run_dir),
    }
    processes = Processes(run_dir, environment)
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
    return figures(run.count, request.partitions, backlog, live, said, claims, load.outputs)
