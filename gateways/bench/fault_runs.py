"""Two ways to run faults: the whole system with real processes, or plant and engines alone in event time."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateways.bench.fault_table import Planned, Run, Tells, what_rules_tell, without_delays
from gateways.bench.session import watch_until
from gateways.sim.event_time import EventTimePlant
from gateways.sim.faults import parse_fault
from gateways.up.command import UpRequest
from gateways.up.system import System
from rules.engine.engine import Engine
from rules.engine.outputs import Alarm
from rules.errors import UnreachableError
from rules.language.program import Program
from rules.site.model import Site
from streams.recording.recording import Recording
from streams.replay.replay import replay
from streams.replay.rules import Chosen, choose_site
from streams.topics import ALARMS
from streams.wire import decode_output

LIVE_AT_S: Final = 30.0
"""When the processes have started, on a busy machine too, and any false alarm of the start has come."""
SETTLE_S: Final = 60.0
SETTLE_SLOW_S: Final = 720.0
"""Event time before the injection: the longest window of the example's plant rules is ten minutes and must be full."""
FOLLOW_S: Final = 5.0
"""How long after the first alarm of the last fault others are collected."""


def run_event_time(site: Site, program: Program, faults: Sequence[Planned], seed: int) -> Run:
    """Plant and engines in this process; nothing acts on the plant but its own PLC."""
    settle_s = SETTLE_S if all(planned.case.is_quick for planned in faults) else SETTLE_SLOW_S
    plant = EventTimePlant(site, seed)
    injected_ns = plant.now_ns + round(settle_s * 1e9)
    for planned in faults:
        plant.inject(parse_fault(planned.fault(settle_s)))
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    undelayed = without_delays(program)
    probes = {unit: Engine(undelayed, site, unit) for unit in site.units}
    tells = what_rules_tell(program)
    alarms: list[Alarm] = []
    met: list[Alarm] = []
    while not _is_over(faults, alarms, injected_ns, plant.now_ns, tells):
        for unit, inputs in plant.step().items():
            alarms += _raised(engines[unit].step(inputs))
            met += _raised(probes[unit].step(inputs))
    return Run("event time", seed, injected_ns, alarms, met)


def _raised(outputs: Sequence[object]) -> list[Alarm]:
    return [one for one in outputs if isinstance(one, Alarm) and one.id == one.raised_id]


def _is_over(
    faults: Sequence[Planned],
    alarms: Sequence[Alarm],
    injected_ns: int,
    now_ns: int,
    tells: Mapping[str, Tells],
) -> bool:
    """Whether each fault has its first alarm (and a little more), or was waited for long enough."""
    ends_ns = []
    for planned in faults:
        first = planned.first(alarms, injected_ns, tells)
        ends_ns.append(
            first.raised_ns + round(FOLLOW_S * 1e9)
            if first
            else injected_ns + round(planned.case.patience_s * 1e9)
        )
    return now_ns >= max(ends_ns)


def run_live(site_dir: Path, program: Program, faults: Sequence[Planned], seed: int) -> Run:
    """`headrace up` with these faults, recorded; what was raised is read from the recording."""
    with tempfile.TemporaryDirectory(prefix="headrace-faults-") as folder:
        recording = Path(folder) / "run.mcap"
        request = UpRequest(
            site=site_dir,
            faults=tuple(planned.fault(LIVE_AT_S) for planned in faults),
            record=recording,
            seed=seed,
            free_ports=True,
        )
        injected_ns = 0
        tells = what_rules_tell(program)

        def is_enough(system: System) -> bool:
            nonlocal injected_ns
            now_ns = time.time_ns()
            started_ns = now_ns - round((time.monotonic() - system.started) * 1e9)
            injected_ns = injected_ns or started_ns + round(LIVE_AT_S * 1e9)
            return _is_over(faults, list(system.observer.raised.values()), injected_ns, now_ns, tells)

        limit_s = LIVE_AT_S + max(planned.case.patience_s for planned in faults) + 30.0
        asyncio.run(watch_until(request, is_enough, limit_s, Path(folder)))
        return _read(recording, program, seed, injected_ns)


def _read(path: Path, program: Program, seed: int, injected_ns: int) -> Run:
    recording = Recording(path)
    alarms: list[Alarm] = []
    on_log_ns: dict[str, int] = {}
    for record in recording.records({ALARMS.name}):
        output = decode_output(record.headers, record.value)
        if isinstance(output, Alarm) and output.id == output.raised_id and output.id not in on_log_ns:
            alarms.append(output)
            on_log_ns[output.id] = record.timestamp_ms * 1_000_000
    if recording.damage:
        raise UnreachableError(f"the run's own recording is damaged: {recording.damage[0]}")
    chosen = Chosen(choose_site(recording, None, None).site, without_delays(program))
    met = replay([recording], chosen, verify=False).raised
    return Run("live", seed, injected_ns, alarms, list(met.values()), on_log_ns)
