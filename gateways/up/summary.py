"""The one object that `headrace up --json` prints, and the same in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateways.observability.silent import Silent
from gateways.plain import plain_alarm, plain_gap
from gateways.up.observer import Observer, SeenCommand
from gateways.up.resources import Resources
from streams.times import iso_utc


def percentiles_ms(values_ns: Iterable[int]) -> dict[str, float | int | None]:
    """Median and 99th percentile in ms, and how many values there were; None where there was none."""
    values = np.fromiter(values_ns, np.float64)
    if values.size == 0:
        return {"p50": None, "p99": None, "count": 0}
    p50, p99 = np.percentile(values, [50, 99]) / 1e6
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "count": int(values.size)}


@dataclass(slots=True)
class Cost:
    """What the run cost."""

    cpu_s_by_role: Mapping[str, float]
    wall_s: float
    resources: Resources
    first_reading_s: float | None
    rolls: int = 0
    restarts: int = 0
    exits: Mapping[str, list[int]] = field(default_factory=dict)
    silent: Sequence[Silent] = ()
    """Before roles were ended."""


def summarize(observer: Observer, cost: Cost) -> dict[str, Any]:
    """The summary as plain data."""
    commands = list(observer.commands.values())
    lost = observer.tracker.lost + unsent(observer.status)
    return {
        "readings": observer.readings,
        "not_available": observer.not_available,
        "frames": observer.frames,
        "readings_by_source": dict(sorted(observer.readings_by_source.items())),
        "lost": lost,
        "duplicates": observer.tracker.duplicates,
        "gaps": [plain_gap(gap) for gap in observer.gaps],
        "late": _engine_counter(observer, "late"),
        "out_of_order": _engine_counter(observer, "out_of_order"),
        "dead_letters": sum(observer.dead_letters.values()),
        "unreadable": dict(sorted(observer.unreadable.items())),
        "restarts": cost.restarts,
        "rolls": cost.rolls,
        "silent": [{"role": one.role, "part": one.part, "why": one.why} for one in cost.silent],
        "broken_ids": observer.broken_ids,
        "annunciated": len(observer.annunciated),
        "alarms": [
            {
                **plain_alarm(alarm, observer.raised[alarm.raised_id]),
                "annunciated": alarm.raised_id in observer.annunciated,
            }
            for alarm in sorted(observer.alarms.values(), key=lambda alarm: (alarm.raised_ns, alarm.key))
        ],
        "commands": [
            _command(seen)
            for seen in sorted(commands, key=lambda seen: (seen.command.cause_ns, seen.command.id))
        ],
        "latency_ms": {
            "sample_to_command": percentiles_ms(seen.at_ns - seen.command.cause_ns for seen in commands),
            "sample_to_receipt": percentiles_ms(
                seen.receipt.at_ns - seen.command.cause_ns
                for seen in commands
                if seen.receipt is not None and seen.receipt.status == "done"
            ),
        },
        "gpu_temperature_max_degc": {
            unit: round(gpus.max_degc, 1)
            for unit, gpus in observer.gpus.items()
            if gpus.max_degc == gpus.max_degc
        },
        "nvml_face": {
            role: status["metrics"]["face"]
            for role, status in sorted(observer.status.items())
            if "face" in status.get("metrics", {})
        },
        "cpu_s": {
            **{name: round(seconds, 2) for name, seconds in sorted(cost.cpu_s_by_role.items())},
            "total": round(sum(cost.cpu_s_by_role.values()), 2),
        },
        "cores": round(sum(cost.cpu_s_by_role.values()) / max(cost.wall_s, 1e-9), 3),
        "fallback": _fallback(observer),
        "wall_s": round(cost.wall_s, 2),
        "first_reading_s": None if cost.first_reading_s is None else round(cost.first_reading_s, 2),
        "pss_mb_max": {
            "broker": round(cost.resources.broker_mb_max, 1),
            "others": round(cost.resources.others_mb_max, 1),
        },
    }


def never_came(observer: Observer, exits: Mapping[str, Iterable[int]], is_over: bool) -> str:
    """Which roles failed and never came up, or that no reading came by the end of a run that `is_over`; or ''.

    `exits`: exit codes by role. One below 0 is a signal, which is ours or a test's.
    """
    failed = [
        name for name, codes in exits.items() if name not in observer.came_up and max(codes, default=0) > 0
    ]
    if failed:
        return f"{', '.join(failed)} never came up"
    if is_over and not observer.readings + observer.not_available:
        return "no reading came in"
    return ""


def unsent(status: Mapping[str, Mapping[str, Any]]) -> int:
    """Records that a publisher accepted and, at its last word, had neither on the log nor in its spool."""
    return sum(
        int(publisher.get("unsent", 0))
        for role in status.values()
        for publisher in role.get("metrics", {}).get("publishers", {}).values()
        if role.get("state") == "stopping"
    )


def _fallback(observer: Observer) -> dict[str, Any]:
    """How many actuators were in their fallback at the end, and how often the plant's own watchdog let them go."""
    said = [status.get("metrics", {}) for status in observer.status.values()]
    held: dict[str, Any] = next((one["fallback"] for one in said if "fallback" in one), {})
    return {
        "actuators": held.get("actuators", 0),
        "part": held.get("part", ""),
        "since": iso_utc(held["since_ns"]) if held.get("since_ns") else None,
        "watchdog_trips": sum(one.get("watchdog", {}).get("trips", 0) for one in said),
    }


def _engine_counter(observer: Observer, name: str) -> int:
    """What the engines have counted since the run began. One that lost its state has begun again at 0."""
    total = 0
    for status in observer.status.values():
        for unit, counters in status.get("metrics", {}).get("engine", {}).items():
            now = int(counters.get(name, 0))
            before = int(observer.counters_before.get(unit, {}).get(name, 0))
            total += now - before if now >= before else now
    return total


def _command(seen: SeenCommand) -> dict[str, Any]:
    receipt = seen.receipt
    return {
        "id": seen.command.id,
        "rule": seen.command.rule,
        "actuator": seen.command.actuator,
        "value": seen.command.value,
        "at": iso_utc(seen.at_ns),
        "receipt_at": None if receipt is None else iso_utc(receipt.at_ns),
        "status": "no receipt" if receipt is None else receipt.status,
    }


def in_words(summary: Mapping[str, Any]) -> str:
    """The summary for people, at the end of a run: of the alarms, those that were heard come first."""
    latency = summary["latency_ms"]["sample_to_receipt"]
    done = sum(command["status"] == "done" for command in summary["commands"])
    heard = summary["annunciated"]
    quiet = "" if heard == len(summary["alarms"]) else f", {heard} of them annunciated and the others silent"
    lines = [
        f"{summary['wall_s']:.0f} s, start and end included: {summary['readings']:,} readings in "
        f"{summary['frames']:,} frames, {summary['not_available']:,} values not available",
        f"lost {summary['lost']}, duplicates {summary['duplicates']}, late {summary['late']}, "
        f"out of order {summary['out_of_order']}, dead letters {summary['dead_letters']}, "
        f"restarts {summary['restarts']}",
        f"alarms {len(summary['alarms'])}{quiet}; commands {len(summary['commands'])}, of these {done} done"
        + (
            f"; sample to receipt p50 {latency['p50']} ms, p99 {latency['p99']} ms"
            if latency["count"]
            else ""
        ),
        f"cores {summary['cores']}; memory broker {summary['pss_mb_max']['broker']} MB, "
        f"others {summary['pss_mb_max']['others']} MB",
    ]
    fallback = summary["fallback"]
    if fallback["actuators"]:
        lines.append(
            f"{fallback['actuators']} actuators are in their fallback since {fallback['since'][11:19]} "
            f"(silent: {fallback['part']})"
        )
    if fallback["watchdog_trips"]:
        lines.append(f"the plant's watchdog let its actuators fall back: {fallback['watchdog_trips']} times")
    for one in summary["silent"]:
        what = one["role"] if one["part"] == "role" else f"{one['role']}, {one['part']}"
        lines.append(f"silent at the end: {what}: {one['why']}")
    if summary["unreadable"]:
        counts = ", ".join(f"{topic} {count:,}" for topic, count in summary["unreadable"].items())
        lines.append(f"records that are not Headrace's, passed over: {counts}")
    for alarm in sorted(summary["alarms"], key=lambda alarm: not alarm["annunciated"])[:12]:
        lines.append(
            f"  {alarm['raised_at'][11:23]} {alarm['severity']:7} {alarm['rule']:22} {alarm['message']}"
        )
    if len(summary["alarms"]) > 12:
        lines.append(f"  … and {len(summary['alarms']) - 12} more (--json has all)")
    return "\n".join(lines)
