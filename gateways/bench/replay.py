"""`headrace bench replay`: a recording of the whole site through the replay, on one core, and where the time goes.

Rules: the recording is made here, of the simulated plant in event time (`replay_load`), and lies in the page cache;
it is replayed in a process of its own, so that nobody else's memory is counted; time is that process's CPU time, as a
machine is never quiet. Rules to tables (`start`) is a cost of each replay, not of each reading, and stands apart. What
all cores buy is time on the wall; there the processes start, too.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateways import collector
from gateways.bench.kernel_load import folder_for
from gateways.bench.machine import machine
from gateways.bench.replay_load import record_run, rules_at
from gateways.bench.session import quiet_logging
from rules.engine.engine import Engine
from rules.engine.inputs import Input
from rules.errors import UnreachableError
from streams.recording.recording import Recording
from streams.replay.processes import usable_cores
from streams.replay.replay import BATCH, replay
from streams.replay.rules import Chosen, choose_site
from streams.replay.start import WHOLE, Part
from streams.topics import EVENTS
from streams.wire import decode_input

PASSES: Final = 3
_SECOND_NS: Final = 1_000_000_000


def bench_replay(site_dir: Path, gpus: int, seconds: int, samples: int, as_json: bool) -> int:
    """Measure; 0, or 1 where the replay says other things than the run that was recorded."""
    quiet_logging()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "run.mcap"
        record_run(rules_at(folder_for(site_dir, gpus), samples), seconds, path)
        command = [sys.executable, "-m", "gateways.bench.replay", str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UnreachableError("the process that replays has failed: its words are above")
    result = {"samples_per_s": samples, **json.loads(done.stdout), "machine": machine()}
    if as_json:
        print(json.dumps(result))
    else:
        _print(result)
    return 1 if result["differences"] else 0


def measure(path: Path) -> dict[str, Any]:
    """Figures of a recording, the quickest of some passes each; `split_ms` is for all of the recording."""
    recording = Recording(path)
    chosen = choose_site(recording, None, None)
    collector.keep_all()
    result = replay([recording], chosen, verify=True)  # the first: Numba's cache is read, layouts are learned
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start_s = _quickest(lambda: _engines(chosen))
    read_s = _quickest(lambda: _read(path))
    decompressed_s = _quickest(lambda: _through(recording))
    kernel_s, stepped_s = min((_stepped(recording, chosen) for _ in range(PASSES)), key=sum)
    all_s = _quickest(lambda: replay([recording], chosen, verify=True))
    assert result.first_ns is not None
    assert result.last_ns is not None
    assert result.verification is not None
    parts_s = {
        "start": start_s,
        "read": read_s,
        "decompress": max(decompressed_s - read_s, 0),
        "decode": max(stepped_s - decompressed_s, 0),
        "kernel": kernel_s,
        "output": max(all_s - start_s - kernel_s - stepped_s, 0),
    }
    recorded_s = (result.last_ns - result.first_ns) / 1e9
    return {
        "gpus": sum(len(unit.gpus) for unit in result.site.units.values()),
        "recorded_s": round(recorded_s, 1),
        "readings": result.readings,
        "frames": result.frames,
        "readings_per_s": round(result.readings / (all_s - start_s)),
        "x_real_time": round(recorded_s / (all_s - start_s), 1),
        "cpu_s": round(all_s, 2),
        "rss_mb_max": round(rss_mb),
        "bytes_per_reading": round(path.stat().st_size / result.readings, 2),
        "split_ms": {part: round(part_s * 1e3, 1) for part, part_s in parts_s.items()},
        "compared": result.verification.compared,
        "differences": result.verification.differences,
        "all_cores": _on_all_cores(recording, chosen, result.first_ns, recorded_s),
    }


def _on_all_cores(recording: Recording, chosen: Chosen, first_ns: int, recorded_s: float) -> dict[str, Any]:
    """The same by a process for each usable core, by the clock on the wall; `start_s`: of a second of event time."""
    jobs = usable_cores()
    start = Part(to_ns=first_ns + _SECOND_NS)
    start_s = min(_on_the_wall(recording, chosen, start, jobs) for _ in range(PASSES))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, wall_s = time.process_time(), _on_the_wall(recording, chosen, WHOLE, jobs)
    cpu_s = time.process_time() - cpu_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "jobs": jobs,
        "x_real_time": round(recorded_s / wall_s, 1),
        "wall_s": round(wall_s, 2),
        "start_s": round(start_s, 2),
        "cpu_s": round(cpu_s, 2),
    }


def _on_the_wall(recording: Recording, chosen: Chosen, part: Part, jobs: int) -> float:
    begun_s = time.monotonic()
    replay([recording], chosen, verify=True, part=part, jobs=jobs)
    return time.monotonic() - begun_s


def _quickest(work: Callable[[], object]) -> float:
    taken_s = []
    for _ in range(PASSES):
        begun_s = time.process_time()
        work()
        taken_s.append(time.process_time() - begun_s)
    return min(taken_s)


def _engines(chosen: Chosen) -> dict[str, Engine]:
    return {unit: Engine(chosen.program, chosen.site, unit) for unit in chosen.site.units}


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def _through(recording: Recording) -> None:
    """Every chunk decompressed and its records passed by, none of them taken."""
    for _ in recording.stored(set()):
        pass


def _stepped(recording: Recording, chosen: Chosen) -> tuple[float, float]:
    """Seconds in the engines, and outside of them while inputs are decoded for them."""
    engines = _engines(chosen)
    waiting: dict[str, list[Input]] = {unit: [] for unit in engines}
    kernel_s, begun_s = 0.0, time.process_time()
    for _, place, _, _, value in recording.stored({EVENTS.name}):
        made = decode_input(place.key, place.headers, value)
        batch = waiting[made.unit]
        batch.append(made)
        if len(batch) >= BATCH:
            stepped_s = time.process_time()
            engines[made.unit].step(batch)
            kernel_s += time.process_time() - stepped_s
            batch.clear()
    return kernel_s, time.process_time() - begun_s - kernel_s


def _print(result: dict[str, Any]) -> None:
    print(
        f"{result['gpus']:,} GPUs at {result['samples_per_s']} Hz and the plant's points, {result['recorded_s']} s: "
        f"{result['x_real_time']} times real time, {result['readings_per_s'] / 1e6:.1f} M readings/s on one core; "
        f"{result['cpu_s']} s of CPU, {result['rss_mb_max']} MB, {result['bytes_per_reading']} bytes a reading"
    )
    print(f"ms: {result['split_ms']}")
    cores = result["all_cores"]
    print(
        f"{cores['jobs']} processes: {cores['x_real_time']} times real time by the clock on the wall, "
        f"{cores['wall_s']} s with a start of {cores['start_s']} s; {cores['cpu_s']} s of CPU"
    )
    print(f"{result['compared']} outputs compared, {result['differences']} differ")
    print(result["machine"])


if __name__ == "__main__":
    collector.run_seldom()
    print(json.dumps(measure(Path(sys.argv[1]))))
