"""What one Prometheus metric is: where its value stands in the status of a role, and what it is called.

Rules: a path names the keys from `metrics` down; `{label}` in it stands for any key, which becomes the value of that
label. So a label takes only what keys of the status are: names of the site (units, sources), and words of the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

PREFIX: Final = "headrace_"
Kind = Literal["counter", "gauge", "state"]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """`state`: the value is a word, which becomes the label `state` of a gauge that is 1.

    `name` has neither prefix nor unit. `scale` brings the value to the base unit. `fixed` are labels with one value.
    `stage`: what it counts is lost, and is part of `headrace_lost_total` under this name.
    `reason`: what it counts is in the log and was not evaluated, and is part of `headrace_not_evaluated_total`.
    """

    path: Path
    kind: Kind
    name: str
    help: str
    unit: str = ""
    scale: float = 1.0
    fixed: Mapping[str, str] = field(default_factory=dict)
    stage: str = ""
    reason: str = ""

    @property
    def family(self) -> str:
        """As Prometheus knows it, but for the `_total` of a counter."""
        return f"{PREFIX}{self.name}" + (f"_{self.unit}" if self.unit else "")

    @property
    def full_name(self) -> str:
        """As it is written in queries."""
        return self.family + ("_total" if self.kind == "counter" else "")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its labels."""
        named = tuple(part[1:-1] for part in self.path if part.startswith("{"))
        return named + tuple(self.fixed) + (("state",) if self.kind == "state" else ())

    def samples(self, metrics: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
        """Values of its labels and its own, for each that is there and is a number (or a word, of a state)."""
        for keys, value in _values(metrics, self.path):
            labels = keys + tuple(self.fixed.values())
            if self.kind == "state":
                if isinstance(value, str):
                    yield (*labels, value), 1.0
            elif isinstance(value, int | float):
                yield labels, value * self.scale


def counter(
    path: str, name: str, text: str, *, stage: str = "", reason: str = "", unit: str = "", **fixed: str
) -> Metric:
    """What only rises while the process lives."""
    return Metric(
        tuple(path.split(".")), "counter", name, text, unit, fixed=fixed, stage=stage, reason=reason
    )


def gauge(path: str, name: str, text: str, *, unit: str = "", scale: float = 1.0, **fixed: str) -> Metric:
    """What is so now."""
    return Metric(tuple(path.split(".")), "gauge", name, text, unit, scale, fixed)


def state(path: str, name: str, text: str) -> Metric:
    """A word out of few."""
    return Metric(tuple(path.split(".")), "state", name, text)


def fits(path: Path, pattern: Path) -> bool:
    """Whether a path is one of those that the pattern stands for."""
    return len(path) == len(pattern) and begins(path, pattern)


def begins(path: Path, pattern: Path) -> bool:
    """Whether a path is below one of those, or is one."""
    return len(path) >= len(pattern) and all(
        part.startswith("{") or part == key for key, part in zip(path, pattern, strict=False)
    )


def _values(found: Any, path: Path) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not path:
        yield (), found
        return
    if not isinstance(found, Mapping):
        return
    first, rest = path[0], path[1:]
    if first.startswith("{"):
        for key, below in list(found.items()):
            for keys, value in _values(below, rest):
                yield (str(key), *keys), value
    elif first in found:
        yield from _values(found[first], rest)
