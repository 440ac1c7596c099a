"""What a run of `headrace bench scale` comes to, as plain data: from what was sent, what it cost, what the log says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gateways.bench.scale_log import Age, Claimed, Said, ages, compared
from gateways.bench.scale_plan import Measured
from gateways.bench.scale_run import Backlog, Live
from gateways.bench.scale_tables import BROKERS, limit_of
from gateways.up.summary import percentiles_ms

_WARM_UP_S: Final = 2.0
_BEFORE_CLAIM_S: Final = 2.0
"""A rebalance has begun a heartbeat and a little before the new worker claims its partitions."""


def figures(
    count: int,
    partitions: int,
    backlog: Backlog,
    live: Live,
    said: Sequence[Said],
    claims: Sequence[Claimed],
    wanted: Mapping[str, bytes],
) -> dict[str, Any]:
    """Of one number of workers; `claims`: since one more was started; `wanted`: what one engine says, by id."""
    return {
        "workers": count,
        "backlog": _of_backlog(backlog, backlog.drain_s(said)),
        "live": _of_live(live, ages(said, live.steady.due_ns)),
        "one_more": _of_one_more(count, partitions, live, claims, ages(said, live.joining.due_ns)),
        "outputs": compared(said, wanted),
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


def _of_live(live: Live, found: Sequence[Age]) -> dict[str, Any]:
    steady, warm_ns = live.steady, live.steady.begun_ns + round(_WARM_UP_S * 1e9)
    end_ns = live.joining.begun_ns
    return {
        "speed": round(live.speed, 3),
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


def _of_one_more(
    count: int, partitions: int, live: Live, claims: Sequence[Claimed], found: Sequence[Age]
) -> dict[str, Any]:
    name, joining = f"worker-{count + 1}", live.joining
    until_ns = joining.begun_ns + round(joining.seconds * 1e9)
    claimed_ns = min((one.at_ns for one in claims), default=until_ns)
    before_ns = claimed_ns - round(_BEFORE_CLAIM_S * 1e9)
    return {
        "partitions_moved": sum(one.partitions for one in claims),
        "to_the_new_one": sum(one.partitions for one in claims if one.worker == name),
        "share": -(-partitions // (count + 1)),
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


def measured(run: Mapping[str, Any], brokers: int) -> Measured:
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
