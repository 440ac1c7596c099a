"""The table of metrics: names as Prometheus wants them, labels that are bounded, nothing that it does not know."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict

import pytest

from gateways.observability.exposition import OWN, exposition
from gateways.observability.metric import Metric, counter
from gateways.observability.table import TABLE, unknown_paths
from rules.engine.engine import COUNTERS
from tests.gateways.observability.filled import NOW_NS, filled

BOUNDED = {
    "unit", "source", "channel", "partition", "topic",  # names of the site, and of the log
    "kind", "reason", "path", "percentile", "status", "state", "of",  # words of the code
}  # fmt: skip
METRICS = sorted({metric.full_name: metric for table in TABLE.values() for metric in table}.items())


@pytest.mark.parametrize(("name", "metric"), METRICS)
def test_names_are_as_prometheus_wants_them(name: str, metric: Metric) -> None:
    assert re.fullmatch(r"headrace_[a-z][a-z0-9_]*[a-z0-9]", name)
    assert name.endswith("_total") == (metric.kind == "counter")
    assert metric.unit in {"", "seconds", "bytes", "celsius"}
    assert not re.search(r"_(ms|ns|s|mb|gb|c|max_c)(_total)?$", name)
    assert metric.help.endswith(".")
    assert not (metric.stage or metric.reason) or metric.kind == "counter"
    assert not (metric.stage and metric.reason), "what is in the log is not lost"


@pytest.mark.parametrize(("name", "metric"), METRICS)
def test_no_label_is_unbounded(name: str, metric: Metric) -> None:
    assert set(metric.labels) <= BOUNDED


def test_one_name_means_one_thing() -> None:
    """Wherever it stands: one kind, one help, the same labels; and no two of them the same series."""
    said: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for table in TABLE.values():
        for metric in table:
            said[metric.family].add((metric.kind, metric.help, metric.labels, metric.unit))
        series = [(metric.family, tuple(metric.fixed.items())) for metric in table]
        assert len(series) == len(set(series))
    assert not {name: words for name, words in said.items() if len(words) > 1}
    assert not said.keys() & OWN.keys()


def test_what_a_status_has_and_the_table_has_not_is_found() -> None:
    status = filled("worker")
    assert list(unknown_paths("worker", status["metrics"])) == []
    status["metrics"]["engine"]["row-a"]["new"] = 1
    status["metrics"]["latency_ms"]["new"] = {"p99": 1, "low": {"p1": 2}}
    assert sorted(unknown_paths("worker", status["metrics"])) == [
        ("engine", "row-a", "new"),
        ("latency_ms", "new", "low", "p1"),
    ]


def test_all_that_an_engine_counts_is_known() -> None:
    assert list(unknown_paths("worker", {"engine": {"row-a": dict.fromkeys(COUNTERS, 0)}})) == []


@pytest.mark.parametrize("role", sorted(TABLE))
def test_every_metric_of_the_table_is_shown(role: str) -> None:
    body, _ = exposition(filled(role), NOW_NS, "")
    shown = set(re.findall(r"^# HELP (\S+)", body.decode(), re.MULTILINE))
    assert {metric.full_name for metric in TABLE[role]} | OWN.keys() <= shown


@pytest.mark.parametrize("role", sorted(TABLE))
def test_promtool_finds_nothing_to_say(role: str) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool (package prometheus)")
    body, _ = exposition(filled(role), NOW_NS, "")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False, timeout=180
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_a_value_that_is_no_number_is_left_out() -> None:
    metric = counter("a.{unit}", "a", "A.")
    assert list(metric.samples({"a": {"x": 1, "y": None, "z": "word"}})) == [(("x",), 1)]
    assert list(metric.samples({"a": 3})) == []
    assert list(metric.samples({})) == []
