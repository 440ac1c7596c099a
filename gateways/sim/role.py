"""The role `plant`: the simulated plant on the wall clock, with its OPC UA server, NVML state and GPU frames.

Options: `seed` (number), `faults` (short forms, comma-separated), `faults_from_ns` (the wall time from which their
times count, default the start; with it they wait for a reader of every server, and past ones come at once), `plc` (on,
off), `nvml_state` (path of the state file, default `run_dir/nvml.state`), `write_log` (path of the device's own log).

Rules: physics steps are 100 ms of plant time each, whatever the wall clock does; a step that comes late is made up
for, and counted, but what it would show is shown by the next one that is on time; commands reach the plant over OPC UA
or NVML only.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gateways.nvml.state import FILE_NAME, NvmlState
from gateways.role_options import unknown_options
from gateways.sim.effects import resolve
from gateways.sim.faults import parse_faults
from gateways.sim.frames import FrameSource, frame_sources
from gateways.sim.plant import Plant
from gateways.sim.server import PlantServer
from gateways.sim.telemetry import Telemetry
from gateways.sim.watchdog import Watchdogs
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Actuator
from streams.publisher.publisher import Publisher
from streams.role import RoleContext

STEP_NS = 100_000_000
STEP_S = 0.1
CATCH_UP_STEPS = 20
"""Further behind than this (a suspended machine), the plant's time is set to the wall clock anew."""
SHOWN_STEPS = 5
"""Further behind than this, a step is made up for and not shown: a time that is further from its arrival than its
source's `clock_tolerance` (1 s) is not believed, and what then comes with a right one lies before it."""
OPTIONS = ("seed", "faults", "faults_from_ns", "plc", "nvml_state", "write_log")


class WriteLog:
    """What the device itself saw: one JSON line a write or a sign of life. Without a path it only counts writes."""

    def __init__(self, path: str | None, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._file = None if path is None else _opened(Path(path))
        self.writes = 0

    def add(self, via: str, actuator: str, node: str, old: float | None, new: float) -> None:
        """One write that took effect. `old` None: nobody looked."""
        self.writes += 1
        self._line({"via": via, "actuator": actuator, "node": node, "old": old, "new": new})

    def add_count(self, source: str, number: int) -> None:
        """A sign of life at a server's watchdog: nothing was written to the plant."""
        self._line({"via": "count", "source": source, "number": number})

    def _line(self, said: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(orjson.dumps({"at_ns": self._clock_ns(), **said}) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _opened(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


class LivePlant:
    """The plant, what shows it, and the time between plant and wall clock."""

    def __init__(self, context: RoleContext) -> None:
        options = _checked(context)
        self._context = context
        self.plant = Plant(context.site, int(options.get("seed", "1")), options.get("plc", "on") == "on")
        self._faults = parse_faults(options.get("faults", ""))
        self._faults_from_ns = int(options.get("faults_from_ns", "0"))
        for fault in self._faults:
            if fault.target or not fault.remove:  # a target that there is not is said at once
                resolve(self.plant.layout, fault)
        if not self._faults_from_ns:
            self._inject(0.0)
        self.log = WriteLog(options.get("write_log"), context.clock)
        gpu_ids = self.plant.layout.ids["GPU"]
        state_file = Path(options.get("nvml_state") or context.settings.run_dir / FILE_NAME)
        self._limit_of = {
            actuator.asset: actuator
            for actuator in context.site.actuators.values()
            if actuator.kind == "nvml"
        }
        limits = [self._limit_of[gpu] for gpu in gpu_ids if gpu in self._limit_of]
        span = (limits[0].low, limits[0].high, limits[0].default) if limits else (500.0, 1600.0, 1400.0)
        self.telemetry = Telemetry(self.plant, NvmlState.create(state_file, gpu_ids, *span))
        # at once: a gateway that reads before the first step must not see a cold GPU
        self.telemetry.update(STEP_S)
        self.watchdogs = Watchdogs(context.site)
        self.servers = [
            PlantServer(context.site, source, context.settings.run_dir, self._written, self._counted)
            for source in context.site.sources.values()
            if source.kind == "opcua"
        ]
        self._places = {point.id: place for place, point in enumerate(self.plant.sensors.points)}
        self._period_ns = np.array(
            [max(point.period_ns // STEP_NS, 1) * STEP_NS for point in self.plant.sensors.points]
        )
        self._serving: list[PlantServer] = []
        self._frames: list[tuple[FrameSource, Publisher]] = []
        self._due_sources: set[str] = set()
        self._sampled_ns: dict[str, int] = {}
        """The last sample of each source."""
        self._due_points = np.zeros(len(self._period_ns), np.bool_)
        """What is to be shown by the next step that shows anything."""
        self._base_ns = 0
        self.metrics = context.metrics
        self.metrics.update(steps=0, late_steps=0, unshown_steps=0, resets=0, points_shown=0, writes=0)
        self.metrics["gpu_max_c"] = 0.0

    def _inject(self, begun_s: float) -> None:
        """Faults whose times count from `begun_s` of the plant's time; what should have been is now."""
        for fault in self._faults:
            at_s = max(self.plant.time_ns / 1e9, begun_s + fault.at_s)
            self.plant.inject(dataclasses.replace(fault, at_s=at_s))
        self._faults = ()

    async def start(self) -> None:
        """Publishers send from here on."""
        for source in frame_sources(self._context.site):
            self._frames.append((source, await Publisher.open(self._context, source.id)))
        self._base_ns = self._context.clock() - self.plant.time_ns

    async def serve(self) -> None:
        """Servers listen once this returns. It takes seconds, in which the plant already runs."""
        for server in self.servers:
            await server.start()
            self._serving.append(server)
        self._due_points[:] = True
        await self._show_points()

    async def close(self) -> None:
        """Let go of everything."""
        for server in self._serving:
            await server.stop()
        for _, publisher in self._frames:
            await publisher.close()
        self.log.close()

    async def run(self, stop: asyncio.Event) -> None:
        """One step every 100 ms until `stop`."""
        while not stop.is_set():
            due_ns = self._base_ns + self.plant.time_ns + STEP_NS
            wait_s = (due_ns - self._context.clock()) / 1e9
            if wait_s > 10 * STEP_S:  # the wall clock was set back
                self._base_ns = self._context.clock() - self.plant.time_ns - STEP_NS
                self.metrics["resets"] += 1
            elif wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait_s)
                continue
            behind = int(-wait_s / STEP_S)
            if behind > CATCH_UP_STEPS:
                self._base_ns += behind * STEP_NS
                self.metrics["resets"] += 1
                behind = 0
            elif behind:
                self.metrics["late_steps"] += 1
            await self._step(shows=behind <= SHOWN_STEPS)

    async def _step(self, shows: bool) -> None:
        plant = self.plant
        gpu_ids = plant.layout.ids["GPU"]
        for gpu, old_w, new_w in self.telemetry.take_limits():
            actuator = self._limit_of.get(gpu_ids[gpu])
            name = actuator.id if actuator else f"{gpu_ids[gpu]}.power_limit"
            self.log.add("nvml", name, gpu_ids[gpu], old_w, new_w)
        if self._faults and all(server.is_read for server in self.servers):
            self._inject((self._faults_from_ns - self._base_ns) / 1e9)
        await self._fall_back()
        plant.step(STEP_S)
        self.telemetry.update(STEP_S)
        self._due_sources.update(
            source.id for source, _ in self._frames if plant.time_ns % source.period_ns < STEP_NS
        )
        self._due_points |= plant.time_ns % self._period_ns == 0
        if shows:
            for source, publisher in self._frames:
                if source.id in self._due_sources:
                    self._publish(source, publisher, self._base_ns + plant.time_ns)
            self._due_sources.clear()
            await self._show_points()
        self.metrics["unshown_steps"] += not shows
        self.metrics["steps"] += 1
        self.metrics["writes"] = self.log.writes
        self.metrics["gpu_max_c"] = round(float(plant.gpus.temperature_c.max()), 1)
        self.metrics["trays_tripped"] = int(plant.plc.tray_tripped.sum())
        self.metrics["standby_starts"] = plant.plc.standby_starts

    def _publish(self, source: FrameSource, publisher: Publisher, time_ns: int) -> None:
        """After a pause (a suspended machine) it says first from when to when nothing was sampled, as gateways do."""
        last_ns, self._sampled_ns[source.id] = self._sampled_ns.get(source.id, time_ns), time_ns
        if time_ns - last_ns > source.period_ns + CATCH_UP_STEPS * STEP_NS:
            source.publish_gap(publisher, last_ns, time_ns)
        source.publish(publisher, self.telemetry, time_ns)

    async def _fall_back(self) -> None:
        """What nobody counts for any more, goes to its fallback by itself."""
        for actuator in self.watchdogs.due(self.plant.time_ns):
            assert actuator.fallback is not None
            self.plant.write(actuator.id, actuator.fallback.value)
            self.log.add("watchdog", actuator.id, actuator.address, None, actuator.fallback.value)
        state = self.watchdogs.state()
        if self._serving and state != self.metrics.get("watchdog"):
            self.metrics["watchdog"] = state
            for server in self._serving:
                await server.show_tripped(server.source_id in self.watchdogs.tripped)

    async def _show_points(self) -> None:
        """Points whose period is over, to the servers; a stale point isn't shown again."""
        due = self._due_points
        if not due.any() or not self._serving:
            return
        self._due_points = np.zeros_like(due)
        shown = self.plant.points()
        due &= ~self.plant.sensors.stale
        for server in self._serving:
            places = np.array([self._places[point.id] for point in server.points], dtype=np.intp)
            mine = np.flatnonzero(due[places])
            at = places[mine]
            times = (shown.time_ns[at] + self._base_ns).tolist()
            await server.show(mine.tolist(), shown.values[at].tolist(), times, shown.status[at].tolist())
            self.metrics["points_shown"] += len(mine)

    def _counted(self, source: str, number: int) -> None:
        self.watchdogs.count(source, number, self.plant.time_ns)
        self.log.add_count(source, number)

    def _written(self, actuator: Actuator, old: float, new: float) -> None:
        self.plant.write(actuator.id, new)
        self.log.add("opcua", actuator.id, actuator.address, old, new)


def _checked(context: RoleContext) -> dict[str, str]:
    """The options of this role; ConfigurationError for an unknown one. `endpoint.SOURCE` are the command line's."""
    findings = unknown_options("plant", context.options, OPTIONS)
    seed, plc = context.options.get("seed", "1"), context.options.get("plc", "on")
    if not context.options.get("faults_from_ns", "0").isdecimal():
        findings.append(Finding("--option", 0, 0, "faults_from_ns is no time in ns"))
    if not seed.isdecimal():
        findings.append(Finding("--option", 0, 0, f"seed '{seed}' is not a whole number", "such as seed=1"))
    if plc not in ("on", "off"):
        findings.append(Finding("--option", 0, 0, f"plc '{plc}'", "on or off"))
    if findings:
        raise ConfigurationError(findings)
    return context.options


async def run(context: RoleContext) -> None:
    """Simulate until told to stop. Raises ConfigurationError, UnreachableError (a port that is taken)."""
    live = LivePlant(context)
    try:
        await live.start()
        running = asyncio.create_task(live.run(context.stop), name="plant")
        try:
            await live.serve()
            context.ready()
            await running
        finally:
            running.cancel()
    finally:
        await live.close()
