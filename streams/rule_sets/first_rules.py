"""Which rules a unit's log begins with: those of its first activation.

Rules: what lies before the first activation is evaluated with the rules of that activation, by whoever evaluates it and
whenever; so who begins in a log without any says one, before it takes an input.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from rules.engine.inputs import Activation
from rules.errors import UndecodableError, UnreachableError
from streams.bus import Bus
from streams.record import Record, TopicPartition, header
from streams.topics import EVENTS, partition_of
from streams.wire import decode_input

_SCHEMA: Final = b"activation/1"
_READ_S: Final = 1.0
_PATIENCE: Final = 10
"""Reads that bring nothing, although there is more."""


async def first_activations(bus: Bus, units: Collection[str], partitions: int) -> dict[str, str]:
    """By unit, the digest of the rule set of its first activation on `events`, for those that have one.

    Reads no further than to these: a log begins with them as a rule. Raises UnreachableError.
    """
    found: dict[str, str] = {}
    if not units:
        return found
    ends = await bus.ends(EVENTS.name)
    places = {TopicPartition(EVENTS.name, partition_of(unit, partitions)) for unit in units}
    reader = await bus.reader([EVENTS.name], dict.fromkeys(sorted(places), 0))
    empty = 0
    try:
        while len(found) < len(units) and any(reader.positions()[place] < ends[place] for place in places):
            records = await reader.read(_READ_S)
            empty = 0 if records else empty + 1
            if empty == _PATIENCE:
                raise UnreachableError(
                    f"'{EVENTS.name}' stopped at {dict(reader.positions())} of {dict(ends)}"
                )
            for record in records:
                value = _activation(record)
                if value is not None and value.unit in units:
                    found.setdefault(value.unit, value.rules_digest)
    finally:
        await reader.close()
    return found


def _activation(record: Record) -> Activation | None:
    if header(record.headers, "schema") != _SCHEMA:
        return None
    try:
        value = decode_input(record.key, record.headers, record.value)
    except UndecodableError:
        return None
    return value if isinstance(value, Activation) else None
