"""`headrace bench recorder`: frames of racks through the recorder to disk, on one core, and what a reading takes there.

Rules: the records are those of the simulated plant in event time (`replay_load`), ten samples a second of each GPU in a
frame a second of each rack, and lie in memory; they go through the tape of the always-on recorder, which looks once for
each second of event time; other compressions through the same writer. Time is this process's CPU time, the system's
share included. The broker's client, which a recorder has before the tape, is not in it.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from mcap.writer import CompressionType

from gateways import collector
from gateways.bench.event_time_run import PARTITIONS
from gateways.bench.kernel_load import folder_for
from gateways.bench.machine import machine
from gateways.bench.replay_load import record_run, rules_at
from gateways.bench.session import quiet_logging
from rules.engine.inputs import Frame, Readings
from rules.errors import InvariantError
from streams.bus.memory import MemoryBus
from streams.record import Record
from streams.recorder.retention import Retention
from streams.recorder.tape import open_segments
from streams.recording.recording import Recording, RecordingWriter
from streams.recording.segments import segments_in
from streams.role import RoleContext
from streams.settings import RecorderSettings, Settings
from streams.site_folder import load_site
from streams.topics import EVENTS, TOPICS
from streams.wire import decode_input

SITE_READINGS_PER_S: Final = 24_000_000
"""100,000 GPUs of 24 fields at 10 Hz."""
COMPRESSIONS: Final = {
    "none": CompressionType.NONE,
    "lz4": CompressionType.LZ4,
    "zstd": CompressionType.ZSTD,
}
PASSES: Final = 3
_FETCH: Final = 500
"""Records that a reader brings at once."""

Seconds = Sequence[Sequence[Record]]


def bench_recorder(site_dir: Path, gpus: int, seconds: int, as_json: bool) -> int:
    """Measure; 0, or 1 where one core does not keep up with a site of 100,000 GPUs at 10 Hz."""
    quiet_logging()
    folder = folder_for(site_dir, gpus)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        log = _log(folder, seconds, Path(scratch) / "run.mcap")
        result = measure(folder, log, Path(scratch))
    result = {"gpus": sum(len(unit.gpus) for unit in load_site(folder).units.values()), **result}
    result["machine"] = machine()
    if as_json:
        print(json.dumps(result))
    else:
        _print(result)
    return 0 if result["keeps_up"] else 1


def _log(folder: Path, seconds: int, path: Path) -> Seconds:
    """The records of a run, second by second."""
    record_run(rules_at(folder, 10), seconds, path, CompressionType.NONE)
    timed = Recording(path).timed_records()
    return [[record for _, record in second] for _, second in groupby(timed, key=_second)]


def _second(timed: tuple[int, Record]) -> int:
    """A second's last records are those of its end."""
    return (timed[0] - 1) // 1_000_000_000


def measure(folder: Path, log: Seconds, scratch: Path) -> dict[str, Any]:
    """Figures of a log, of the quickest of some passes each."""
    collector.keep_all()
    readings = sum(_readings(record) for second in log for record in second)
    taken = []
    for number in range(PASSES):
        kept = scratch / f"segments-{number}"
        kept.mkdir()
        taken.append((asyncio.run(_recorded(folder, log, kept)), kept))
    cpu_s, kept = min(taken)
    size = sum(file.stat().st_size for file in _whole(kept, log))
    by_compression = {}
    for name, compression in COMPRESSIONS.items():
        file = scratch / f"{name}.mcap"
        written_s = min(_written(log, file, compression) for _ in range(PASSES))
        read_s = min(_read(file) for _ in range(PASSES))
        by_compression[name] = {
            "readings_per_s": round(readings / written_s),
            "bytes_per_reading": round(file.stat().st_size / readings, 2),
            "readings_per_s_read": round(readings / read_s),
        }
        file.unlink()
    return {
        "seconds": len(log),
        "records": sum(map(len, log)),
        "readings": readings,
        "readings_per_s": round(readings / cpu_s),
        "site_readings_per_s": SITE_READINGS_PER_S,
        "keeps_up": readings / cpu_s >= SITE_READINGS_PER_S,
        "core_percent_at_site_rate": round(SITE_READINGS_PER_S / (readings / cpu_s) * 100),
        "cpu_s": round(cpu_s, 2),
        "bytes_per_reading": round(size / readings, 2),
        "by_compression": by_compression,
    }


def _readings(record: Record) -> int:
    if record.topic != EVENTS.name:
        return 0
    value = decode_input(record.key, record.headers, record.value)
    if isinstance(value, Frame):
        return value.values.size
    return len(value.points) if isinstance(value, Readings) else 0


async def _recorded(folder: Path, log: Seconds, kept: Path) -> float:
    """CPU seconds of one pass through the recorder's segments in the folder `kept`."""
    bus = MemoryBus()
    await bus.create_topics(TOPICS, PARTITIONS)
    settings = Settings(_env_file=None, recorder=RecorderSettings(reserve_mb=0))
    context = RoleContext("recorder", load_site(folder), folder, settings, bus, asyncio.Event())
    tape, reader = await open_segments(context, kept, "latest", Retention(kept, settings.recorder))
    begun_s = time.process_time()
    for second in log:
        for records in _fetches(second):
            await tape.take(records)
        await tape.look()
    tape.close()
    taken_s = time.process_time() - begun_s
    await reader.close()
    return taken_s


def _whole(kept: Path, log: Seconds) -> list[Path]:
    """The segments of a pass. InvariantError where they lack a record."""
    segments = segments_in(kept)
    recorded = sum(named.records for file in segments for named in Recording(file).named.values())
    if recorded != sum(map(len, log)):
        raise InvariantError(f"{recorded} of {sum(map(len, log))} records are in the segments")
    return segments


def _fetches(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (records[start : start + _FETCH] for start in range(0, len(records), _FETCH))


def _written(log: Seconds, file: Path, compression: CompressionType) -> float:
    begun_s = time.process_time()
    with RecordingWriter(file, compression=compression) as writer:
        for number, second in enumerate(log):
            for record in second:
                writer.write(record, number)
            writer.flush()
    return time.process_time() - begun_s


def _read(file: Path) -> float:
    """CPU seconds of reading it all, out of the page cache."""
    begun_s = time.process_time()
    for _ in Recording(file).stored():
        pass
    return time.process_time() - begun_s


def _print(result: dict[str, Any]) -> None:
    written, site = result["readings_per_s"] / 1e6, SITE_READINGS_PER_S / 1e6
    print(f"{result['gpus']:,} GPUs at 10 Hz, {result['seconds']} s, on one core: {written:.1f} M readings/s")
    print(f"{site:.0f} M readings/s take {result['core_percent_at_site_rate']} % of a core")
    print(f"{result['bytes_per_reading']} bytes a reading on disk")
    for name, of in result["by_compression"].items():
        rates = of["readings_per_s"] / 1e6, of["readings_per_s_read"] / 1e6
        print(
            f"{name}: {of['bytes_per_reading']} bytes a reading, "
            f"{rates[0]:.1f} M readings/s written, {rates[1]:.1f} M read"
        )
    print(result["machine"])
