"""What the engine says. An output's id comes from its cause, never from a position in a log:

`unit:source:epoch:sequence:n` for the n-th output of an input, `unit:rule:asset:deadline_ns:n` for the n-th
of a deadline. The same id with other bytes is a broken invariant. A fact is an input of another unit, and has its
identity as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rules.alarms.first_up import FirstUp
from rules.engine.inputs import Fact

Severity = Literal["urgent", "high", "medium", "low"]
"""ISA-18.2 priorities, most severe first."""

AlarmState = Literal[
    "normal", "unacknowledged", "acknowledged", "returned-unacknowledged", "latched-unacknowledged",
    "latched-acknowledged", "shelved", "suppressed", "out-of-service",
]  # fmt: skip
"""States of ISA-18.2 (`rules/alarms/life_cycle.py`)."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """The last word on one alarm, for the compacted topic `alarms`; its key is `unit:rule:asset`.

    `id` and `at_ns` are of this transition, `raised_id` is of the one that raised it; '' where it never went off and is
    shelved or out of service. Times are event times. `cleared_ns`: when its condition returned, None while it holds.
    `unknown_ns`: since when nobody knows whether the condition of an alarm that stands still holds, if so.
    `confirmed_ns`: when somebody said that what there was to do is done.
    `shelved_until_ns`, `out_of_service_until_ns`: None where it is not; `one_shot`: shelved until it returns, too.
    `suppressed_by`: the key of the alarm that is its cause. `first_up`: whether it was the first of its group. `by`,
    `comment`: who acted on it last, and what they wrote.
    """

    id: str
    unit: str
    rule: str
    asset: str
    severity: Severity
    state: AlarmState
    raised_id: str
    raised_ns: int
    cleared_ns: int | None
    value: float | None
    message: str
    unknown_ns: int | None = None
    acknowledged_ns: int | None = None
    confirmed_ns: int | None = None
    shelved_until_ns: int | None = None
    one_shot: bool = False
    out_of_service_until_ns: int | None = None
    suppressed_by: str = ""
    first_up: FirstUp = ""
    by: str = ""
    comment: str = ""
    at_ns: int = 0

    @property
    def key(self) -> str:
        """Names the alarm itself, whatever its transitions."""
        return f"{self.unit}:{self.rule}:{self.asset}"


@dataclass(frozen=True, slots=True)
class Command:
    """Set `actuator` to `value` before `expires_ns`. Idempotent: a set point, never an increment."""

    id: str
    unit: str
    rule: str
    asset: str
    actuator: str
    value: float
    engineering_unit: str
    cause_ns: int
    """Event time of the sample or deadline that completed the condition."""
    expires_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal: alarm transitions, gaps, late and repeated inputs, activations, receipts.

    `number`: 1, 2, … of its unit; `previous`: SHA-256 of the line before it (`rules/engine/chain.py`), "" in the first.
    """

    id: str
    unit: str
    kind: str
    at_ns: int
    detail: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    number: int = 0
    previous: str = ""


Output = Alarm | Command | Entry | Fact
