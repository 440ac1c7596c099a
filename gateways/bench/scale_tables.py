"""What `headrace bench scale` says to people: tables in Markdown, as docs/scale.md has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_FULL: Final = 0.9
"""Of a core, or of all: what is so busy has no more to give."""
BROKERS: Final = "brokers"


def limit_of(busy: Mapping[str, float], cores: int) -> str:
    """Which resource was used up; `busy`: cores by worker, and of the brokers together."""
    if sum(busy.values()) >= _FULL * cores:
        return "the cores of the machine"
    if any(used >= _FULL for name, used in busy.items() if name != BROKERS):
        return "the core of a worker"
    return "none that was measured"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def lines_of(result: Mapping[str, Any]) -> list[str]:
    """All that was measured, and the plan."""
    site, machine = result["site"], result["machine"]
    load = ", ".join(f"{value:g}" for value in result["load_average_before"])
    return [
        f"{site['gpus']:,} GPUs in {site['units']} units, {result['partitions']} partitions, {result['brokers']} "
        f"broker(s); {machine['processor']}, {machine['cores']} cores; load before: {load}",
        "",
        *measured_lines(result["runs"]),
        "",
        *plan_lines(result["plan"]["rows"]),
    ]


def measured_lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A column for each number of workers."""
    rows = [
        (
            "backlog worked off, M readings/s",
            [f"{run['backlog']['readings_per_s'] / 1e6:.2f}" for run in runs],
        ),
        ("cores busy: workers; brokers", [_busy(run["backlog"]["cores_busy"]) for run in runs]),
        ("used up", [run["backlog"]["limit"] for run in runs]),
        (
            "worker CPU, s per M readings",
            [f"{run['backlog']['worker_cpu_s_per_million']:.3f}" for run in runs],
        ),
        ("the same at the steady pace", [f"{run['live']['worker_cpu_s_per_million']:.3f}" for run in runs]),
        (
            "broker CPU, s per M readings: written; read",
            [
                "{written:.3f}; {read:.3f}".format(**run["backlog"]["broker_cpu_s_per_million"])
                for run in runs
            ],
        ),
        ("both at the steady pace", [f"{run['live']['broker_cpu_s_per_million']:.3f}" for run in runs]),
        (
            "bytes a reading, as a backlog; at the steady pace",
            [
                f"{run['backlog']['bytes_per_reading']:.2f}; {run['live']['bytes_per_reading']:.2f}"
                for run in runs
            ],
        ),
        ("steady pace, M readings/s", [f"{run['live']['readings_per_s'] / 1e6:.2f}" for run in runs]),
        (
            "event to output there, ms: p50; p99",
            ["{p50:.0f}; {p99:.0f}".format(**run["live"]["event_to_output_ms"]) for run in runs],
        ),
        ("memory of a worker, MB", [f"{max(run['live']['memory_mb'].values())}" for run in runs]),
        (
            "one more: partitions moved, of a share of",
            [f"{run['one_more']['partitions_moved']} of {run['one_more']['share']}" for run in runs],
        ),
        (
            "one more: longest from event to output, ms: while it starts; while it joins",
            [
                "; ".join(
                    _or_none(run["one_more"][key])
                    for key in ("longest_while_it_starts_ms", "longest_stop_ms")
                )
                for run in runs
            ],
        ),
        (
            "outputs compared: different; missing; beside",
            ["{compared:,}: {different}; {missing}; {beside}".format(**run["outputs"]) for run in runs],
        ),
    ]
    head = ["", *(f"{run['workers']} worker{'s' if run['workers'] > 1 else ''}" for run in runs)]
    return table(head, [[name, *values] for name, values in rows])


def plan_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each number, and how it comes about."""
    return table(
        ["", "arithmetic", "one site", "all sites"],
        [
            [
                row["what"],
                row["how"],
                _number(row["one_site"], row["unit"]),
                _number(row["all_sites"], row["unit"]),
            ]
            for row in rows
        ],
    )


def _busy(busy: Mapping[str, float]) -> str:
    workers = " + ".join(f"{used:.2f}" for name, used in busy.items() if name != BROKERS)
    return f"{workers}; {busy[BROKERS]:.2f}"


def _or_none(value: float | None) -> str:
    return "not seen" if value is None else f"{value:,}"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    text = f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.2f}"
    return f"{text} {unit}".rstrip()
