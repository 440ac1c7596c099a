"""A checked program: what the rule files say, resolved against a site, before it becomes tables for a kernel.

Rules: plain immutable values in canonical units (ns, the signal's own engineering unit); nothing here knows
YAML, NumPy or Numba, so that another kernel can be put behind it. Rules are in the order of their ids,
whatever the files' names and order: order is part of the output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import orjson

from rules.engine.outputs import Severity

Kind = Literal["value", "rate", "no_data"]
Operator = Literal["<", "<=", ">", ">=", "==", "!="]

GPU_TYPE = "GPU"
"""The asset type whose signals are the 24 fields of a frame rather than points."""

SOURCE_GAP = "source-gap"
"""The engine's own rule, reserved: a source lost something, or can't say what it lost."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in the signal's unit (per second for a rate). `by_asset` only where assets differ."""

    value: float
    by_asset: Mapping[str, float] = field(default_factory=dict)

    def of(self, asset: str) -> float:
        """The limit that holds for one asset."""
        return self.by_asset.get(asset, self.value)


@dataclass(frozen=True, slots=True)
class Target:
    """One actuator that a rule sets, and to what; the value is within the actuator's range."""

    actuator: str
    value: float
    engineering_unit: str
    expiry_ns: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule for every asset of a type. `assets` are those that have the signal, in site order.

    `limit` makes it true, `until` (with its operator) makes it false again. `window_ns` is the least span of
    a rate. `timeout_ns` of `no_data`, by asset. `targets`: the commands of an asset's alarm.
    """

    id: str
    asset_type: str
    assets: tuple[str, ...]
    kind: Kind
    signal: str
    operator: Operator
    limit: Limit
    until_operator: Operator
    until: Limit
    window_ns: int
    timeouts_ns: Mapping[str, int]
    on_delay_ns: int
    off_delay_ns: int
    severity: Severity
    message: str
    cause: str = ""
    response: str = ""
    targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)

    @property
    def definition(self) -> str:
        """SHA-256 of what a condition's state means: two rules with equal ones may take over each other's
        state.
        """
        return _digest(
            [
                self.id,
                list(self.assets),
                self.kind,
                self.signal,
                self.operator,
                _sorted(self.limit),
                self.until_operator,
                _sorted(self.until),
                self.window_ns,
                sorted(self.timeouts_ns.items()),
                self.on_delay_ns,
                self.off_delay_ns,
            ]
        )

    @property
    def normalised(self) -> list[object]:
        """Everything that can change an output, as JSON."""
        targets = [
            [asset, [[t.actuator, t.value, t.engineering_unit, t.expiry_ns] for t in self.targets[asset]]]
            for asset in sorted(self.targets)
        ]
        return [self.definition, self.severity, self.message, self.cause, self.response, targets]


@dataclass(frozen=True, slots=True)
class Program:
    """All rules of a site, by id. `digest`: SHA-256 over the normalised rules and the site's digest."""

    rules: tuple[Rule, ...]
    site_digest: str
    digest: str


def make_program(rules: Mapping[str, Rule], site_digest: str) -> Program:
    """A program of `rules` (by id), in the order of ids."""
    ordered = tuple(rules[rule_id] for rule_id in sorted(rules))
    return Program(ordered, site_digest, _digest([site_digest, [rule.normalised for rule in ordered]]))


def _sorted(limit: Limit) -> list[object]:
    return [limit.value, sorted(limit.by_asset.items())]


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value)).hexdigest()
