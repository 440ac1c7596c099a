"""Alarms as a worker says them, in a few letters."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from rules.engine.outputs import Alarm, AlarmState, Severity
from streams.record import Record
from streams.wire import encode_output

S = 1_000_000_000
NOON = 4_102_488_000 * S
"""A noon in UTC, in 2100: never too old."""

UNACKNOWLEDGED = "unacknowledged"


def raised(
    number: int = 1,
    asset: str = "R1",
    rule: str = "rack-low",
    severity: str = "high",
    unit: str = "row",
    at_s: float = 0,
) -> Alarm:
    """An alarm that goes off."""
    own_id = f"{unit}:plc:1:{number}:0"
    at_ns = NOON + round(at_s * S)
    return Alarm(
        own_id,
        unit,
        rule,
        asset,
        cast(Severity, severity),
        UNACKNOWLEDGED,
        own_id,
        at_ns,
        None,
        12.5,
        f"{asset} is low",
        at_ns=at_ns,
    )


def then(before: Alarm, state: str, number: int, after_s: float = 1, **changes: Any) -> Alarm:
    """The same occurrence in another state."""
    at_ns = before.at_ns + round(after_s * S)
    if state in ("normal", "returned-unacknowledged"):
        changes.setdefault("cleared_ns", at_ns)
    own_id = f"{before.unit}:plc:1:{number}:0"
    return dataclasses.replace(before, id=own_id, state=cast(AlarmState, state), at_ns=at_ns, **changes)


def record(
    alarm: Alarm, offset: int, partition: int = 0, headers: tuple[tuple[str, bytes], ...] = ()
) -> Record:
    """A word on the topic `alarms`."""
    message = encode_output(alarm, 1)
    return Record(
        message.topic, partition, offset, 0, message.key, message.value, (*message.headers, *headers)
    )
