"""When a role is ready, which part is not, and when it is stuck."""

from __future__ import annotations

from typing import Any

import pytest

from gateways.observability.health import is_ready, parts_of
from gateways.observability.progress import PATIENCE_S, Progress
from tests.gateways.observability.filled import NOW_NS, status

S = 1_000_000_000
READY: list[tuple[str, dict[str, Any]]] = [
    ("worker", {"now_ns": {"row-a": NOW_NS - 2 * S}}),
    ("worker", {"now_ns": {}}),
    ("worker", {"now_ns": {"row-a": 1}, "replay": "run.mcap"}),
    ("worker", {"now_ns": {"row-a": NOW_NS + 2 * S}}),  # the clocks of two machines differ
    ("ticker", {"last_tick_ns": NOW_NS - S}),
    ("opcua", {"sources": {"plant": {"state": "connected", "reason": ""}}}),
    ("opcua", {"publishers": {"plant": {"state": "held"}}}),
    ("nvml", {}),
    ("recorder", {"disk_full": False}),
    ("alerts", {"channels": {"duty": {"state": "dead", "last_error": "timeout"}}}),
    ("scada", {"silent": ["ticks of row-a", "worker"]}),
    ("actuators", {}),
    ("plant", {}),
]
UNREADY: list[tuple[str, dict[str, Any], str, str]] = [
    ("worker", {"now_ns": {"row-a": NOW_NS - 2 * S - 1}}, "ticks of row-a", "the last tick was 2.0 s ago"),
    ("worker", {"now_ns": {"row-a": 0}}, "ticks of row-a", "there was no tick yet"),
    (
        "worker",
        {"now_ns": {"row-a": NOW_NS + 3600 * S}},
        "ticks of row-a",
        "the clock was set back: it is 3600 s behind the last tick",
    ),
    ("ticker", {"last_tick_ns": NOW_NS - 200 * S}, "ticks", "the last tick was 200 s ago"),
    (
        "ticker",
        {"last_tick_ns": NOW_NS + 2 * S + 1},
        "ticks",
        "the clock was set back: it is 2.0 s behind the last tick",
    ),
    ("ticker", {"last_tick_ns": NOW_NS, "holding": True}, "ticks", "it holds"),
    (
        "opcua",
        {"sources": {"plant": {"state": "disconnected", "reason": "refused"}}},
        "source plant",
        "disconnected: refused",
    ),
    (
        "opcua",
        {"publishers": {"plant": {"state": "spooling", "spool_records": 7}}},
        "publisher of plant",
        "the broker takes nothing; 7 records are in the spool",
    ),
    ("nvml", {"publishers": {"gpus": {"state": "ended"}}}, "publisher of gpus", "its publisher has ended"),
    ("nvml", {"outage": "no driver"}, "NVML", "no driver"),
    (
        "actuators",
        {"fallback": {"silent": {"row-a": {"part": "ticker", "since_ns": NOW_NS - 20 * S}}}},
        "unit row-a",
        "its ticker has been silent for 20.0 s: actuators go to their fallback",
    ),
    ("actuators", {"refuses": {"plc": "a PLC"}}, "target plc", "every command is refused: a PLC"),
    ("recorder", {"disk_full": True}, "disk", "it has no room: recording stands still"),
]


@pytest.mark.parametrize(("role", "metrics"), READY)
def test_ready(role: str, metrics: dict[str, Any]) -> None:
    assert is_ready(parts_of(status(role, metrics), NOW_NS))


@pytest.mark.parametrize(("role", "metrics", "part", "why"), UNREADY)
def test_unready_and_why(role: str, metrics: dict[str, Any], part: str, why: str) -> None:
    parts = parts_of(status(role, metrics), NOW_NS)
    assert not is_ready(parts)
    assert [(one.name, one.why) for one in parts if not one.works] == [(part, why)]


@pytest.mark.parametrize("state", ["starting", "waiting for the broker", "degraded", "stopping"])
def test_a_role_is_unready_by_its_own_word(state: str) -> None:
    parts = parts_of(status("scada", {}, state), NOW_NS)
    assert not is_ready(parts)
    assert parts[0].why == f"its state is '{state}'"


def test_what_a_server_shows_of_others_is_said_and_makes_nobody_unready() -> None:
    parts = parts_of(status("scada", {"silent": ["worker"]}), NOW_NS)
    assert [one.name for one in parts if not one.works] == ["worker"]
    assert is_ready(parts)


def test_a_ticker_that_neither_ticks_nor_fails_is_stuck() -> None:
    progress, metrics = Progress("ticker"), {"ticks": 1, "failed": 0, "clock_back": 0}
    progress.look(metrics, 0.0)
    assert not progress.stuck(PATIENCE_S)
    assert progress.stuck(PATIENCE_S + 1) == "ticks, failed, clock_back: nothing has moved for 31 s"
    progress.look(metrics | {"failed": 1}, PATIENCE_S + 1)
    assert not progress.stuck(2 * PATIENCE_S)


def test_who_holds_need_not_move_and_who_waits_for_others_is_not_asked() -> None:
    held, worker = Progress("ticker"), Progress("worker")
    for now_s in (0.0, 100.0):
        held.look({"ticks": 1, "holding": True}, now_s)
        worker.look({"records": 1}, now_s)
    assert not held.stuck(100.0)
    assert not worker.stuck(1000.0)
