"""From what `headrace bench scale` has measured to what a site of another size needs: arithmetic alone.

Rules: every row says how its number comes about; what is assumed rather than measured stands in `Assumed`, and nowhere
else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from rules.gpu_fields import FIELD_COUNT
from streams.topics import partition_of
from streams.worker.sharing import shared_out

_MILLION: Final = 1_000_000
PARTITIONS: Final = (12, 24, 48, 96, 192, 384)
"""Those that a plan tries: a number that is never changed again (docs/kafka.md)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the plan goes by. CPU in seconds of one core per million readings."""

    worker_cpu_s: float
    broker_cpu_s: float
    """Of all brokers at a steady pace: `copies` of each record, workers as readers, what these say."""

    broker_read_cpu_s: float
    """Of it, what readers take."""

    copies: int
    bytes_per_reading: float
    """On the network and on disk, compressed, at a steady pace."""

    raw_bytes_per_reading: float
    """Before compression: simulated numbers have less noise than real ones."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """The site of the plan, and its hosts."""

    gpus: int = 100_000
    hz: int = 10
    gpus_per_rack: int = 72
    racks_per_unit: int = 16
    sites: int = 10
    copies: int = 3
    readers: int = 3
    """Of `events`: workers, recorder, SCADA server (streams/rights.py)."""

    share: float = 0.5
    """Of what is there, that may be in use: promise 4 is for up to half of the capacity."""

    days: int = 7
    host_cores: int = 32
    host_gbit_s: float = 25.0
    host_disk_tb: float = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """One number of the plan: `how` it comes about, for one site and for all (None where a sum means nothing)."""

    what: str
    how: str
    value: float
    of_all: float | None
    unit: str = ""


def busiest(units: int, partitions: int) -> Iterator[int]:
    """For 1, 2, 3 … workers, one coming after the other: how many of `units` (row-01, row-02, …) the busiest has."""
    load = Counter(partition_of(f"row-{number:02}", partitions) for number in range(1, units + 1))
    held: dict[str, list[int]] = {}
    for number in range(1, partitions + 1):
        held = shared_out({**held, f"worker-{number}": []}, partitions)
        yield max(sum(load[place] for place in mine) for mine in held.values())


def plan(measured: Measured, assumed: Assumed) -> list[Row]:
    """The rows, in the order in which they follow from each other."""
    a, m = assumed, measured
    readings = a.gpus * a.hz * FIELD_COUNT / _MILLION
    racks = ceil(a.gpus / a.gpus_per_rack)
    units = ceil(racks / a.racks_per_unit)
    unit_cores = readings / units * m.worker_cpu_s
    workers, partitions, most = _shared(units, max(1, int(a.share / unit_cores)))
    worker_hosts = max(2, ceil(workers / a.host_cores))
    broker_cores = readings * (m.broker_cpu_s * a.copies / m.copies + (a.readers - 1) * m.broker_read_cpu_s)
    mb_s = readings * m.bytes_per_reading
    sent_mb_s = mb_s * (a.copies - 1 + a.readers)
    disk_tb = mb_s * 86_400 * a.days * a.copies / _MILLION
    by_cpu = ceil(broker_cores / (a.host_cores * a.share))
    by_network = ceil(max(sent_mb_s, mb_s * a.copies) * 8 / (a.host_gbit_s * 1000 * a.share))
    by_disk = ceil(disk_tb / a.host_disk_tb)
    # one more than are needed: so that one may be away
    brokers = max(a.copies, max(by_cpu, by_network, by_disk) + 1)
    rows = [
        ("readings", f"{a.gpus:,} GPUs x {a.hz} Hz x {FIELD_COUNT}", readings, "M/s"),
        ("frames", f"{racks:,} racks x {a.hz} Hz", racks * a.hz, "/s"),
        ("units", f"{racks:,} racks / {a.racks_per_unit} a row", units, ""),
        ("worker CPU", f"{readings:g} M/s x {m.worker_cpu_s:.3f} s/M", readings * m.worker_cpu_s, "cores"),
        ("workers", f"the fewest of which the busiest, with {most} units x {unit_cores:.3f} cores, is at {a.share:.0%} "
                    f"of its core; {ceil(units * unit_cores / a.share)} if all had the same", workers, ""),
        ("partitions", f"of {', '.join(map(str, PARTITIONS))}: with which so few workers do", partitions, ""),
        ("hosts of workers", f"{workers} workers / {a.host_cores} cores, 2 at least", worker_hosts, ""),
        ("broker CPU", f"{readings:g} M/s x ({m.broker_cpu_s:.3f} s/M x {a.copies} copies / {m.copies} measured + "
                       f"{a.readers - 1} more readers x {m.broker_read_cpu_s:.3f} s/M)",
         broker_cores, "cores"),
        ("events on the network", f"{readings:g} M/s x {m.bytes_per_reading:.2f} B", mb_s, "MB/s"),
        ("received by brokers", f"{mb_s:,.0f} MB/s x {a.copies} copies", mb_s * a.copies, "MB/s"),
        ("sent by brokers", f"{mb_s:,.0f} MB/s x ({a.copies - 1} copies + {a.readers} readers)", sent_mb_s, "MB/s"),
        ("disk", f"{mb_s:,.0f} MB/s x {a.days} d x {a.copies} copies", disk_tb, "TB"),
        ("disk, if nothing could be compressed", f"{disk_tb:,.1f} TB x {m.raw_bytes_per_reading:.2f} B / "
                                                 f"{m.bytes_per_reading:.2f} B",
         disk_tb * m.raw_bytes_per_reading / m.bytes_per_reading, "TB"),
        ("brokers", f"most of {by_cpu} by CPU, {by_network} by network, {by_disk} by disk, at {a.share:.0%}; and one",
         brokers, ""),
    ]  # fmt: skip
    return [
        Row(what, how, value, None if what == "partitions" else value * a.sites, unit)
        for what, how, value, unit in rows
    ]


def _shared(units: int, most: int) -> tuple[int, int, int]:
    """(workers, partitions, units of the busiest): the fewest workers of which none has more than `most` units.

    Where no number of partitions does it, a worker for each of the most.
    """
    found = [
        (workers, partitions, has)
        for partitions in PARTITIONS
        for workers, has in enumerate(busiest(units, partitions), 1)
        if has <= most or workers == partitions == PARTITIONS[-1]
    ]
    return min(found)
