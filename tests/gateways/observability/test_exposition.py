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


def test_nothing_lost_is_shown_as_zero_at_every_stage_and_so_is_what_was_not_evaluated() -> None:
    for role, table in TABLE.items():
        shown = series(status(role, {}))
        counted = {key for key in shown if key[0] in {"headrace_lost_total", "headrace_not_evaluated_total"}}
        assert counted == {
            *(of("headrace_lost_total", stage=metric.stage) for metric in table if metric.stage),
            *(of("headrace_not_evaluated_total", reason=metric.reason) for metric in table if metric.reason),
        }
        assert not any(shown[key] for key in counted)


def added_up(shown: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str) -> dict[Any, float]:
    return {labels: value for (called, labels), value in shown.items() if called == name and value}


def test_what_is_lost_is_counted_by_stage_unit_and_source() -> None:
    metrics = {
        "publishers": {"a": {"dropped": 2, "oversized": 0}, "b": {"dropped": 3, "oversized": 1}},
        "engine": {"row-a": {"inputs_missing": 4}, "row-b": {"inputs_missing": 0}},
        "dead_letter_reasons": {"json": 7, "replayed": 8},
        "skipped_offsets": 9,
    }
    shown = series(status("worker", metrics))
    assert added_up(shown, "headrace_lost_total") == {
        frozenset({("stage", "spool"), ("source", "a")}): 2,
        frozenset({("stage", "spool"), ("source", "b")}): 3,
        frozenset({("stage", "oversized"), ("source", "b")}): 1,
        frozenset({("stage", "missing"), ("unit", "row-a")}): 4,
        frozenset({("stage", "dead_letters")}): 15,
        frozenset({("stage", "retention")}): 9,
    }


def test_what_an_outage_delays_is_in_the_log_and_not_lost() -> None:
    """Its tail comes late under its own numbers, or before the first tick of afterwards; the rest as backfill."""
    row_a = {"late": 4, "out_of_order": 3, "backfill": 9, "unknown_points": 5, "unknown_gpus": 6}
    shown = series(status("worker", {"engine": {"row-a": row_a, "row-b": {"before_first_tick": 2}}}))
    assert added_up(shown, "headrace_lost_total") == {}
    assert added_up(shown, "headrace_not_evaluated_total") == {
        frozenset({("reason", "late"), ("unit", "row-a")}): 4,
        frozenset({("reason", "out_of_order"), ("unit", "row-a")}): 3,
        frozenset({("reason", "backfill"), ("unit", "row-a")}): 9,
        frozenset({("reason", "unknown_name"), ("unit", "row-a")}): 11,
        frozenset({("reason", "before_first_tick"), ("unit", "row-b")}): 2,
    }


def test_readiness_is_a_metric_too() -> None:
    shown = series(status("worker", {"now_ns": {"row-a": NOW_NS, "row-b": NOW_NS - 3_000_000_000}}))
    assert shown[of("headrace_ready")] == 0
    assert shown[of("headrace_part_ready", part="ticks of row-a")] == 1
    assert shown[of("headrace_part_ready", part="ticks of row-b")] == 0
    assert shown[of("headrace_info", role="worker", name="worker")] == 1
