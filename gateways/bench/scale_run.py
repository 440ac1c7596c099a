"""One number of workers on one log, for `headrace bench scale`: a backlog, a steady pace, and one worker more.

Rules: the workers have shared the partitions and are stopped while the backlog is written, so that all begin at one
moment; then they end and start anew, from their snapshots and with the settings of the site, for the steady pace.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateways.bench.kafka_cluster import KafkaCluster
from gateways.bench.scale_load import Load, Sent, send
from gateways.bench.scale_log import Said
from gateways.bench.scale_tables import BROKERS
from gateways.up.processes import Processes
from gateways.up.resources import cpu_s, memory_mb
from rules.errors import UnreachableError
from streams.bus.bus import Reader
from streams.bus.kafka import KafkaBus
from streams.replay_mark import Marking
from streams.topics import EVENTS

LIMIT_S: Final = 180.0
"""For whatever is waited for."""
STOPPED: Final = {
    "HEADRACE_BROKER__SESSION_TIMEOUT_S": "60",
    "HEADRACE_BROKER__REQUEST_TIMEOUT_S": "90",
    "HEADRACE_WORKER__WATCHDOG_S": "120",
}
"""A worker that is stopped while the backlog is written must keep its partitions, and not end when it wakes up."""
_JOIN_S: Final = 20.0
"""In which one worker more has to start and join."""


@dataclass(frozen=True, slots=True)
class ScaleRequest:
    """What the command line asked for. `seconds`: of the plant as a backlog, of the clock at a steady pace."""

    site: Path
    jars: Path
    workers: tuple[int, ...]
    partitions: int
    seconds: float
    brokers: int = 1


def plant_s(request: ScaleRequest) -> float:
    """How long the plant runs, in its time: for a pace that is its own. What is left at a slower one is a backlog."""
    return 2 * request.seconds + _JOIN_S


@dataclass(slots=True)
class Backlog:
    """What was written while the workers were stopped, and cost them from `begun_ns` on, when they woke up."""

    written: Sent
    begun_ns: int
    cpu_s: dict[str, float]
    broker_cpu_s_written: float
    bytes: int

    def drain_s(self, said: Sequence[Said]) -> float:
        """How long it took to say the last of what the backlog causes."""
        last_ns = max(one.appended_ns for one in said if one.cause in self.written.due_ns)
        return (last_ns - self.begun_ns) / 1e9


@dataclass(slots=True)
class Live:
    """What was sent at a steady pace, and behind it while one worker more joined; the rest is of the steady pace."""

    speed: float
    steady: Sent
    joining: Sent
    cpu_s: dict[str, float]
    bytes_per_reading: float
    memory_mb: dict[str, int]


@dataclass(slots=True)
class Run:
    """One number of workers."""

    request: ScaleRequest
    load: Load
    count: int
    cluster: KafkaCluster
    bus: KafkaBus
    producer: Marking
    processes: Processes
    reader: Reader
    said: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The newest status by process id."""

    async def start(self, numbers: Sequence[int], environment: Mapping[str, str]) -> None:
        """Start workers; return when all that run share the partitions."""
        for number in numbers:
            name = f"worker-{number}"
            await self.processes.start("worker", self.load.site_dir, {}, name, environment)
        await self.until("the workers share the partitions", self._are_shared)

    def pids(self) -> dict[str, int]:
        """Of the workers that run."""
        return {name: child.pid for name, child in self.processes.children.items() if child.pid is not None}

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by worker, and of the brokers together."""
        brokers = sum(cpu_s(pid) for pid in self.cluster.pids)
        return {**{name: cpu_s(pid) for name, pid in self.pids().items()}, BROKERS: brokers}

    def positions(self) -> list[dict[str, int]]:
        """What each worker that runs has said."""
        running = self.pids().values()
        return [self.said[pid]["metrics"].get("positions", {}) for pid in running if pid in self.said]

    def _are_shared(self) -> bool:
        had = self.positions()
        numbers = sorted(int(number) for one in had for number in one)
        is_all = len(had) == len(self.pids()) and all(had)
        return is_all and numbers == list(range(self.request.partitions))

    async def worked_off(self) -> None:
        """Return when the workers are at the end of the log as it is now."""
        ends = {str(place.partition): end for place, end in (await self.bus.ends(EVENTS.name)).items()}

        def is_there() -> bool:
            had = self.positions()
            return all(any(one.get(number, -1) >= end for one in had) for number, end in ends.items())

        await self.until("the workers are at the end of the log", is_there)

    async def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Read what the workers say until it is so. UnreachableError where it is not in time."""
        until_s = time.monotonic() + LIMIT_S
        while not is_so():
            if time.monotonic() > until_s or self.processes.refused.done():
                words = (
                    self.processes.refused.result()
                    if self.processes.refused.done()
                    else str(self.positions())
                )
                raise UnreachableError(f"not in {LIMIT_S:.0f} s: {what}; {words}")
            for record in await self.reader.read(0.1):
                status = json.loads(record.value or b"{}")
                self.said[status["pid"]] = status


async def work_off_backlog(run: Run) -> Backlog:
    """What was written while the workers were stopped, worked off. UnreachableError."""
    request = run.request
    await run.start(range(1, run.count + 1), STOPPED)
    for name in run.pids():
        run.processes.signal(name, signal.SIGSTOP)
    before, bytes_before = run.cpu(), run.cluster.log_bytes(EVENTS.name)
    sent = await send(run.producer, run.load.between(0, request.seconds, request.partitions))
    written, bytes_written = run.cpu(), run.cluster.log_bytes(EVENTS.name) - bytes_before
    begun_ns = time.time_ns()
    for name in run.pids():
        run.processes.signal(name, signal.SIGCONT)
    await run.worked_off()
    ended = run.cpu()
    cpu = {name: round(ended[name] - written[name], 2) for name in ended}
    return Backlog(sent, begun_ns, cpu, written[BROKERS] - before[BROKERS], bytes_written)


async def keep_pace(run: Run, speed: float) -> Live:
    """At a steady pace; and with one worker more, which starts while the pace goes on. UnreachableError."""
    request, partitions = run.request, run.request.partitions
    from_s, end_s = request.seconds, plant_s(request)
    to_s = from_s + request.seconds * speed
    joined_s = to_s + _JOIN_S * speed
    before, bytes_before = run.cpu(), run.cluster.log_bytes(EVENTS.name)
    steady = await send(run.producer, run.load.between(from_s, to_s, partitions), speed)
    ended, written = run.cpu(), run.cluster.log_bytes(EVENTS.name) - bytes_before
    memory = {name: round(memory_mb(pid)[0]) for name, pid in run.pids().items()}
    sending = asyncio.create_task(send(run.producer, run.load.between(to_s, joined_s, partitions), speed))
    await run.start([run.count + 1], {})
    joining = await sending
    await send(run.producer, run.load.between(joined_s, end_s, partitions))
    await run.worked_off()
    cpu = {name: round(ended[name] - before[name], 2) for name in ended}
    return Live(speed, steady, joining, cpu, written / steady.readings, memory)
