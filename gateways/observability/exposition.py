"""The status of a role as Prometheus reads it: text, or OpenMetrics where that is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from gateways.observability.health import Part, is_ready, parts_of
from gateways.observability.metric import PREFIX, Metric
from gateways.observability.table import TABLE

LOST: Final = f"{PREFIX}lost_total"
NOT_EVALUATED: Final = f"{PREFIX}not_evaluated_total"
OWN: Final = {
    f"{PREFIX}info": "1, with what the process is.",
    f"{PREFIX}state": "1 for the state that the role says it is in.",
    f"{PREFIX}ready": "1 while the role does its work (/readyz).",
    f"{PREFIX}part_ready": "1 for each part of the role, or of what it hears, that works (/readyz says why not).",
    LOST: "What was lost, by the stage that lost it: 0 when all is well.",
    NOT_EVALUATED: "What is in the log and no rule has seen, by the reason.",
}
"""Metrics of every role that no table has, by full name."""


def exposition(status: Mapping[str, Any], now_ns: int, accept: str) -> tuple[bytes, str]:
    """Body and content type for a header `Accept`, of a status and the process. Takes 0.4 ms a unit of a worker."""
    registry = CollectorRegistry()
    registry.register(_Status(status, now_ns))
    registry.register(_PROCESS)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


_PROCESS: Final = ProcessCollector(registry=None)


class _Status(Collector):
    def __init__(self, status: Mapping[str, Any], now_ns: int) -> None:
        self._status = status
        self._now_ns = now_ns

    def collect(self) -> Iterator[Family]:
        """All families."""
        yield from families(self._status, parts_of(self._status, self._now_ns))


def families(status: Mapping[str, Any], parts: Sequence[Part]) -> Iterator[Family]:
    """A role's status, and how its parts are."""
    role = str(status["kind"])
    yield _family("gauge", "info", ("role", "name"), [((role, str(status["role"])), 1.0)])
    yield _family("gauge", "state", ("state",), [((str(status["state"]),), 1.0)])
    yield _family("gauge", "ready", (), [((), float(is_ready(parts)))])
    yield _family("gauge", "part_ready", ("part",), [((part.name,), float(part.works)) for part in parts])
    metrics: Mapping[str, Any] = status["metrics"]
    table = TABLE.get(role, ())
    for same in _by_family(table):
        first = same[0]
        samples = [sample for one in same for sample in one.samples(metrics)]
        make: Any = CounterMetricFamily if first.kind == "counter" else GaugeMetricFamily
        family = make(first.family, first.help, labels=first.labels)
        for labels, value in samples:
            family.add_metric(labels, value)
        if samples:
            yield family
    yield _sums(LOST, ("stage", "unit", "source"), [(one.stage, one) for one in table if one.stage], metrics)
    reasons = [(one.reason, one) for one in table if one.reason]
    yield _sums(NOT_EVALUATED, ("reason", "unit"), reasons, metrics)


def _by_family(table: Sequence[Metric]) -> list[list[Metric]]:
    found: dict[str, list[Metric]] = defaultdict(list)
    for metric in table:
        found[metric.family].append(metric)
    return list(found.values())


def _family(
    kind: str, name: str, labels: Sequence[str], samples: Sequence[tuple[tuple[str, ...], float]]
) -> Any:
    family = GaugeMetricFamily(PREFIX + name, OWN[PREFIX + name], labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _sums(
    name: str, labels: tuple[str, ...], words: Sequence[tuple[str, Metric]], metrics: Mapping[str, Any]
) -> Family:
    """By the word of each metric, and by unit or source where they are known; what has counted nothing is 0."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for word, metric in words:
        found = False
        for values, value in metric.samples(metrics):
            known = dict(zip(metric.labels, values, strict=True))
            sums[word, *(known.get(label, "") for label in labels[1:])] += value
            found = True
        if not found:
            sums[word, *("" for _ in labels[1:])] += 0.0
    family = CounterMetricFamily(name.removesuffix("_total"), OWN[name], labels=labels)
    for key, value in sorted(sums.items()):
        family.add_metric(key, value)
    return family
