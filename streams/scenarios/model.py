"""A scenario as data. Times are ns since its start, values in the signal's own unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["value", "bad", "uncertain", "missing", "silent"]
"""`bad` and `uncertain` carry the last value with that quality; `missing` is a value that is not available."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a signal does from `at_ns` on. A value is reached `over_ns` later, in a straight line."""

    at_ns: int
    shape: Shape
    value: float = 0.0
    over_ns: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """Samples of one signal: time_ns (N,) since the start, value (N,), quality (N,) of `Quality`. Silence has none."""

    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Script:
    """One signal of one asset: its steps in the order of time, a sample every `every_ns`, normal noise on values.

    `recorded`: the samples themselves, in place of all of that.
    """

    asset: str
    signal: str
    unit: str
    every_ns: int
    steps: tuple[Step, ...]
    noise: float = 0.0
    seed: int = 1
    recorded: Trace | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An alarm that must come: raised, and cleared (None: stands at the end), each within `within_ns`.

    `commands`: how many must follow, None for any number. `values`: what single actuators must be set to.
    """

    asset: str
    raised_ns: int
    cleared_ns: int | None
    within_ns: int
    commands: int | None
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Expectation:
    """All that must come of one rule on the scenario's assets; nothing at all: a near miss."""

    rule: str
    occurrences: tuple[Occurrence, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Signals and what is expected of them. `file` and `line` are where it is written."""

    name: str
    file: str
    line: int
    duration_ns: int
    scripts: tuple[Script, ...]
    expectations: tuple[Expectation, ...]
