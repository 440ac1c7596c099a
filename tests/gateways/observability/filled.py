"""A status of a role in which everything stands that the table knows."""

from __future__ import annotations

from typing import Any

from gateways.observability.table import TABLE

NOW_NS = 1_800_000_000_000_000_000
WORDS = {
    "unit": "row-a",
    "source": "plant",
    "partition": "0",
    "path": "event_to_acknowledged",
    "percentile": "p99",
}


def filled(role: str, value: float = 3) -> dict[str, Any]:
    """Every number is `value`."""
    metrics: dict[str, Any] = {}
    for metric in TABLE[role]:
        below = metrics
        keys = [WORDS.get(part[1:-1], part[1:-1]) if part.startswith("{") else part for part in metric.path]
        for key in keys[:-1]:
            below = below.setdefault(key, {})
        below[keys[-1]] = "live" if metric.kind == "state" else value
    return status(role, metrics)


def status(role: str, metrics: dict[str, Any], state: str = "ready", at_ns: int = NOW_NS) -> dict[str, Any]:
    """A status of this moment."""
    return {"role": role, "kind": role, "pid": 1, "at_ns": at_ns, "state": state, "metrics": metrics}
