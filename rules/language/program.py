"""A checked program: what the rule files say, resolved against a site, before it becomes tables for a kernel.

Rules: plain immutable values; nothing here knows YAML, NumPy or Numba, so that another kernel can be put behind it.
Rules are in the order of their ids, whatever the files' names and order: order is part of the output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from rules.engine.outputs import Severity
from rules.language.terms import Term

GPU_TYPE = "GPU"
"""The asset type whose signals are the 24 fields of a frame rather than points."""

SOURCE_GAP = "source-gap"
"""The engine's own rule, reserved: a source lost something, or can't say what it lost."""

SOURCE_CLOCK = "source-clock"
"""The engine's own rule, reserved: the times that a source gives are too far from those of their arrival."""

ALARM_FLOOD = "alarm-flood"
"""The engine's own rule, reserved: alarms of a group are folded, as there are too many (`rules/alarms/flood.py`)."""

OWN_RULES = frozenset({SOURCE_GAP, SOURCE_CLOCK, ALARM_FLOOD})


@dataclass(frozen=True, slots=True)
class Target:
    """One actuator that a rule sets, and to what; the value is within the actuator's range."""

    actuator: str
    value: float
    engineering_unit: str
    expiry_ns: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule for every asset of a type. `assets` are those that have all its signals, in site order.

    `when` makes it true, `until` makes it false again; without `until`, the opposite of `when` does. A rule with
    `silent` is the condition `no_data(SIGNAL)` instead and has neither: true when that signal of the asset had no good
    sample for `timeouts_ns` (by asset). `shown`: what its message shows, by name; the first is `value`, the number
    that the alarm carries. `written`: when, until and so on as the file has them. `targets`: the commands of an
    asset's alarm. `latches`: the alarm stands until a person resets it. `suppresses`: the rules whose alarms it
    explains. `group`: alarms of which the first that goes off is marked, '' for none. `re_alarm_ns`: how long after it
    was acknowledged it is heard again while its condition holds, 0 for never.
    """

    id: str
    asset_type: str
    assets: tuple[str, ...]
    when: Term | None
    until: Term | None
    silent: Term | None
    timeouts_ns: Mapping[str, int]
    on_delay_ns: int
    off_delay_ns: int
    severity: Severity
    message: str
    shown: Mapping[str, Term] = field(default_factory=dict)
    cause: str = ""
    response: str = ""
    targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    latches: bool = False
    suppresses: tuple[str, ...] = ()
    group: str = ""
    re_alarm_ns: int = 0
    _definition: str = field(default="", init=False, repr=False, compare=False)

    @property
    def terms(self) -> list[Term]:
        """All that it computes."""
        return [*(term for term in (self.when, self.until, self.silent) if term), *self.shown.values()]

    @property
    def definition(self) -> str:
        """SHA-256 of what a condition's state means: two rules with equal ones may take over each other's
        state.
        """
        return self._defined({})

    def _defined(self, written: dict[int, orjson.Fragment]) -> str:
        if not self._definition:
            own = [
                self.id,
                self.asset_type,
                _once(self.assets, written),
                *(term.key if term else None for term in (self.when, self.until, self.silent)),
                [[name, term.key] for name, term in self.shown.items()],
                sorted(self.timeouts_ns.items()),
                self.on_delay_ns,
                self.off_delay_ns,
            ]
            object.__setattr__(self, "_definition", _digest(own))
        return self._definition

    def normalised(self, written: dict[int, orjson.Fragment]) -> list[object]:
        """Everything that can change an output, as JSON. `written`: what rules share, by `id`."""
        if id(self.targets) not in written:
            targets: list[object] = []
            for asset in sorted(self.targets):
                own = self.targets[asset]
                for target in own:
                    if id(target) not in written:
                        text = [target.actuator, target.value, target.engineering_unit, target.expiry_ns]
                        written[id(target)] = orjson.Fragment(orjson.dumps(text))
                targets.append([asset, [written[id(target)] for target in own]])
            written[id(self.targets)] = orjson.Fragment(orjson.dumps(targets))
        shared = written[id(self.targets)]
        definition = self._defined(written)
        return [
            definition,
            self.severity,
            self.message,
            self.cause,
            self.response,
            shared,
            self.latches,
            self.suppresses,
            self.group,
            self.re_alarm_ns,
        ]


@dataclass(frozen=True, slots=True)
class Program:
    """All rules of a site, by id. `digest`: SHA-256 over the normalised rules and the site's digest."""

    rules: tuple[Rule, ...]
    site_digest: str
    digest: str


def make_program(rules: Mapping[str, Rule], site_digest: str) -> Program:
    """A program of `rules` (by id), in the order of ids."""
    ordered = tuple(rules[rule_id] for rule_id in sorted(rules))
    written: dict[int, orjson.Fragment] = {}
    return Program(
        ordered, site_digest, _digest([site_digest, [rule.normalised(written) for rule in ordered]])
    )


def _once(value: object, written: dict[int, orjson.Fragment]) -> orjson.Fragment:
    """A value that rules share as JSON, which is written once for all of them."""
    if id(value) not in written:
        written[id(value)] = orjson.Fragment(orjson.dumps(value))
    return written[id(value)]


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value)).hexdigest()
