"""`headrace bench pipeline`: how many readings a second go through broker, worker and kernel at saturation.

A backlog of GPU frames (one per rack and sample at 10 Hz, with a tick per unit and sample) is put on a fresh
embedded log; then the worker starts and works it off with the site's rules. Counted is from the worker's first to
its last status with progress: its start and group join are no part of it. Frames are encoded once; each copy gets
its own identity and time.
"""

from __future__ import annotations

import asyncio
import json
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gateways.bench.kernel_load import quiet_values
from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging
from gateways.broker import EmbeddedBroker
from gateways.listen import free_port
from gateways.up.processes import Processes
from gateways.up.resources import cpu_s
from rules.engine.inputs import Frame, Identity, Tick
from rules.gpu_fields import FIELD_COUNT
from rules.site.model import Site
from streams.bus.bus import Bus
from streams.bus.kafka import KafkaBus
from streams.record import Message
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.topics import STATUS
from streams.wire import encode_input

_SEQUENCE, _INGEST, _TIME = 0x1B2C3D4E5F60718, 0x1B2C3D4E5F60719, 0x1B2C3D4E5F6071A
_PERIOD_NS = 100_000_000


@dataclass(slots=True)
class FrameTemplate:
    """An encoded frame whose sequence and times can be set in place."""

    message: Message
    sequence_at: int
    ingest_at: int
    time_at: int

    def at(self, sequence: int, time_ns: int) -> Message:
        """The frame as sample `sequence`, taken and ingested at `time_ns`."""
        assert self.message.value is not None
        value = bytearray(self.message.value)
        struct.pack_into("<q", value, self.sequence_at, sequence)
        struct.pack_into("<q", value, self.ingest_at, time_ns)
        struct.pack_into("<q", value, self.time_at, time_ns)
        message = self.message
        return Message(message.topic, message.partition, message.key, bytes(value), message.headers)


def frame_template(unit: str, rack: str, gpus: int, source: str, partitions: int, seed: int) -> FrameTemplate:
    """A frame of a quiet rack: values that raise no alarm."""
    values = quiet_values(1, gpus, seed)
    frame = Frame(
        unit,
        Identity(source, 1, _SEQUENCE),
        _INGEST,
        rack,
        np.array([_TIME]),
        np.arange(gpus, dtype=np.uint16),
        values,
        np.zeros((1, gpus), np.uint8),
        np.full((1, gpus), 10**9),
    )
    message = encode_input(frame, partitions)
    assert message.value is not None
    places = [message.value.index(struct.pack("<q", sentinel)) for sentinel in (_SEQUENCE, _INGEST, _TIME)]
    return FrameTemplate(message, *places)


def backlog(site: Site, gpus: int, samples: int, start_ns: int, partitions: int) -> Iterator[Message]:
    """Frames and ticks of `samples` samples of the first `gpus` GPUs of the site, in event time."""
    templates: dict[str, list[FrameTemplate]] = {}
    left = gpus
    for unit in site.units.values():
        for asset in unit.assets:
            if asset.type != "Rack" or left <= 0:
                continue
            low, high = unit.gpu_range[asset.id]
            count = min(high - low, left)
            left -= count
            template = frame_template(unit.id, asset.id, count, f"bench-{asset.id}", partitions, low)
            templates.setdefault(unit.id, []).append(template)
    for sample in range(samples):
        time_ns = start_ns + sample * _PERIOD_NS
        for unit_id, frames in templates.items():
            for template in frames:
                yield template.at(sample + 1, time_ns)
            tick = Tick(unit_id, Identity("ticker", 0, time_ns // site.tick_ns), time_ns)
            yield encode_input(tick, partitions)


def bench_pipeline(site_dir: Path, gpus: list[int], seconds: float, as_json: bool) -> int:
    """Measure each number of GPUs; 0 always, a figure is no verdict."""
    quiet_logging()
    results = []
    for count in gpus:
        site = load_site(site_dir)
        folder = site_dir
        if sum(len(unit.gpus) for unit in site.units.values()) < count:
            folder = site_dir.parent / f"{site_dir.name}-full"
        with tempfile.TemporaryDirectory() as run_dir:
            results.append(asyncio.run(_measure(folder, count, seconds, Path(run_dir))))
    result = {"runs": results, "machine": machine()}
    if as_json:
        print(json.dumps(result))
        return 0
    for run in results:
        print(
            f"{run['gpus']:>7,} GPUs: {run['readings_per_s'] / 1e6:.2f} M readings/s, "
            f"{run['records_per_s']:,.0f} records/s; CPU s: {run['cpu_s']}"
        )
    print(result["machine"])
    return 0


async def _measure(site_dir: Path, gpus: int, seconds: float, run_dir: Path) -> dict[str, Any]:
    site = load_site(site_dir)
    settings = load_settings(site_dir / "headrace.yaml", run_dir=run_dir)
    port = free_port()
    broker_settings = settings.broker.model_copy(update={"bootstrap": f"127.0.0.1:{port}"})
    partitions = broker_settings.partitions
    broker = EmbeddedBroker(port, run_dir, partitions)
    await broker.start()
    bus = KafkaBus(broker_settings)
    processes = Processes(
        run_dir,
        {"HEADRACE_BROKER__BOOTSTRAP": broker_settings.bootstrap, "HEADRACE_RUN_DIR": str(run_dir)},
    )
    # about what one core does at the highest rate that was ever seen, but not more than memory holds
    per_sample = gpus * FIELD_COUNT
    samples = max(50, min(int(seconds * 25e6 / per_sample), int(1.2e9 / (per_sample * 5))))
    try:
        records = await _fill(bus, site, gpus, samples, partitions)
        broker_cpu = cpu_s(broker.pid) if broker.pid else 0.0
        await processes.start("worker", site_dir, {})
        seen = await _until_done(bus, records, limit_s=60 + 20 * seconds)
        worker_pid = processes.children["worker"].pid
        cpu = {
            "worker": round(cpu_s(worker_pid), 2) if worker_pid else 0.0,
            "broker": round(cpu_s(broker.pid) - broker_cpu, 2) if broker.pid else 0.0,
        }
    finally:
        await processes.end_all()
        await bus.close()
        await broker.stop()
    first, last = seen[0], seen[-1]
    span_s = (last[0] - first[0]) / 1e9
    share = (last[2] - first[2]) / max(span_s, 1e-9)
    return {
        "gpus": gpus,
        "samples": samples,
        "records": records,
        "readings_per_s": round(share),
        "records_per_s": round((last[1] - first[1]) / max(span_s, 1e-9)),
        "x_of_10_hz": round(share / (per_sample * 10), 2),
        "seconds": round(span_s, 2),
        "cpu_s": cpu,
    }


async def _fill(bus: Bus, site: Site, gpus: int, samples: int, partitions: int) -> int:
    producer = await bus.producer("bench-load")
    count = 0
    for message in backlog(site, gpus, samples, time.time_ns() // _PERIOD_NS * _PERIOD_NS, partitions):
        await producer.send(message)
        count += 1
        if count % 2000 == 0:
            await producer.flush()
    await producer.flush()
    await producer.close()
    return count


async def _until_done(bus: Bus, records: int, limit_s: float) -> list[tuple[int, int, int]]:
    """(time, records, readings) of the worker's status, from its first progress to its last."""
    reader = await bus.reader([STATUS.name])
    seen: list[tuple[int, int, int]] = []
    until = time.monotonic() + limit_s
    try:
        while time.monotonic() < until:
            for record in await reader.read(timeout_s=1.0):
                status = json.loads(record.value or b"{}")
                metrics = status.get("metrics", {})
                if metrics.get("records", 0) and (not seen or metrics["records"] > seen[-1][1]):
                    seen.append((status["at_ns"], metrics["records"], metrics["readings"]))
            if seen and seen[-1][1] >= records:
                break
    finally:
        await reader.close()
    if len(seen) < 2:
        raise RuntimeError("the worker made no progress that could be measured: its log says why")
    return seen
