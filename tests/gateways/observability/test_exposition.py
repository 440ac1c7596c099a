"""What Prometheus reads, in both of its formats."""

from __future__ import annotations

from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from gateways.observability.exposition import exposition
from gateways.observability.table import TABLE
from tests.gateways.observability.filled import NOW_NS, filled, status

OPEN = "application/openmetrics-text; version=1.0.0"


def series(body: dict[str, Any]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text, _ = exposition(body, NOW_NS, "")
    return {
        (sample.name, frozenset((key, value) for key, value in sample.labels.items() if value)): sample.value
        for family in plain(text.decode())
        for sample in family.samples
    }


def of(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_values_are_in_base_units() -> None:
    shown = series(filled("worker", 1500))
    latency = of("headrace_worker_latency_seconds", path="event_to_acknowledged", percentile="p99")
    assert shown[latency] == 1.5
    assert shown[of("headrace_worker_tick_timestamp_seconds", unit="row-a")] == 1.5e-6
    assert shown[of("headrace_publisher_spool_bytes", source="plant")] == 1.5e9
    assert shown[of("headrace_publisher_state", source="plant", state="live")] == 1


def test_both_formats_say_the_same() -> None:
    text, kind = exposition(filled("alerts"), NOW_NS, "text/plain")
    opened, open_kind = exposition(filled("alerts"), NOW_NS, OPEN)
    assert kind.startswith("text/plain")
    assert open_kind.startswith("application/openmetrics-text")
    names = [
        {family.name for family in parse(body.decode())}
        for parse, body in ((plain, text), (open_metrics, opened))
    ]
    assert names[0] == names[1]


def test_nothing_lost_is_shown_as_zero_at_every_stage() -> None:
    for role, table in TABLE.items():
        shown = series(status(role, {}))
        stages = {metric.stage for metric in table if metric.stage}
        assert {of("headrace_lost_total", stage=stage) for stage in stages} <= shown.keys()
        assert all(value == 0 for (name, _), value in shown.items() if name == "headrace_lost_total")


def test_what_is_lost_is_counted_by_stage_unit_and_source() -> None:
    metrics = {
        "publishers": {"a": {"dropped": 2, "oversized": 0}, "b": {"dropped": 3, "oversized": 1}},
        "engine": {"row-a": {"late": 4, "unknown_points": 5, "unknown_gpus": 6}, "row-b": {"late": 0}},
        "dead_letter_reasons": {"json": 7, "replayed": 8},
        "skipped_offsets": 9,
    }
    shown = series(status("worker", metrics))
    lost = {
        labels: value for (name, labels), value in shown.items() if name == "headrace_lost_total" and value
    }
    assert lost == {
        frozenset({("stage", "spool"), ("source", "a")}): 2,
        frozenset({("stage", "spool"), ("source", "b")}): 3,
        frozenset({("stage", "oversized"), ("source", "b")}): 1,
        frozenset({("stage", "late"), ("unit", "row-a")}): 4,
        frozenset({("stage", "unknown_name"), ("unit", "row-a")}): 11,
        frozenset({("stage", "dead_letters")}): 15,
        frozenset({("stage", "retention")}): 9,
    }


def test_readiness_is_a_metric_too() -> None:
    shown = series(status("worker", {"now_ns": {"row-a": NOW_NS, "row-b": NOW_NS - 3_000_000_000}}))
    assert shown[of("headrace_ready")] == 0
    assert shown[of("headrace_part_ready", part="ticks of row-a")] == 1
    assert shown[of("headrace_part_ready", part="ticks of row-b")] == 0
    assert shown[of("headrace_info", role="worker", name="worker")] == 1
