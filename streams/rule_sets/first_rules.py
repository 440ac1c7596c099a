"""Which rules a unit's log begins with: those of its first activation that counts.

Rules: what lies before that activation is evaluated with its rules, by whoever evaluates it and whenever; so who begins
in a log without any says one, before it takes an input. One that the engine would refuse counts for nothing here
either: else whoever may write on the log would choose the rules of a unit that has lost its state.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from rules.access.access import Access
from rules.engine.inputs import AccessList, Activation, Tick
from rules.errors import UndecodableError, UnreachableError
from rules.site.model import Site
from streams.bus.bus import Bus
from streams.record import Record, TopicPartition, header
from streams.topics import EVENTS, partition_of
from streams.wire import decode_input

_SCHEMAS: Final = frozenset({b"activation/1", b"access/1", b"tick/1"})
_READ_S: Final = 1.0
_PATIENCE: Final = 10
"""Reads that bring nothing, although there is more."""


class FirstActivations(NamedTuple):
    """`digests`: by unit, of the rule set of its first activation that counts, for those that have one.

    `closed`: units without one, where only who has the right to it may say one.
    """

    digests: dict[str, str]
    closed: frozenset[str]


class _Beginning:
    """What the log says of a unit: who may activate rules there, and the first who did."""

    def __init__(self, site: Site) -> None:
        self.access = Access(site)
        self.digest = ""
        self.offset: int | None = None
        """Of the first record that has the unit for its key."""
        self._now_ns: int | None = None
        self._last_list = (0, 0)

    def see(self, record: Record) -> None:
        if self.offset is None:
            self.offset = record.offset
        value = _decoded(record)
        if isinstance(value, Tick):
            self._now_ns = max(value.time_ns, self._now_ns or 0)
        elif value is not None and not self.access.forgery(value, self._now_ns):
            self._take(value)

    def _take(self, value: AccessList | Activation) -> None:
        if isinstance(value, Activation):
            self.digest = self.digest or value.rules_digest
        elif value.identity[1:] > self._last_list:  # else it is a repeat
            self._last_list = value.identity.epoch, value.identity.sequence
            self.access.take(value, self._now_ns)


class Beginnings:
    """What the log of each of `units` of a site begins with, as far as it was read."""

    def __init__(self, bus: Bus, site: Site, units: Collection[str], partitions: int) -> None:
        self._bus = bus
        self._found = {unit: _Beginning(site) for unit in units}
        self._place = {unit: TopicPartition(EVENTS.name, partition_of(unit, partitions)) for unit in units}
        self._of_record = {(place, unit.encode()): self._found[unit] for unit, place in self._place.items()}
        self._positions = dict.fromkeys(sorted(set(self._place.values())), 0)
        self._earliest: dict[TopicPartition, int] = {}
        """The first offset that each partition still has."""

    async def read(self) -> FirstActivations:
        """Read on, from where the last call has stopped to where the log ends now. UnreachableError.

        No further than to these activations: a log begins with them as a rule.
        """
        if not self._found:
            return FirstActivations({}, frozenset())
        ends = await self._bus.ends(EVENTS.name)
        reader = await self._bus.reader([EVENTS.name], self._positions)
        empty = 0
        try:
            while not all(one.digest for one in self._found.values()) and any(
                reader.positions()[place] < ends[place] for place in self._positions
            ):
                records = await reader.read(_READ_S)
                empty = 0 if records else empty + 1
                if empty == _PATIENCE:
                    raise UnreachableError(
                        f"'{EVENTS.name}' stopped at {dict(reader.positions())} of {dict(ends)}"
                    )
                for record in records:
                    place = TopicPartition(record.topic, record.partition)
                    self._earliest.setdefault(place, record.offset)
                    if record.key is not None and (place, record.key) in self._of_record:
                        self._of_record[place, record.key].see(record)
        finally:
            self._positions = dict(reader.positions())
            await reader.close()
        return FirstActivations(
            {unit: one.digest for unit, one in self._found.items() if one.digest},
            frozenset(unit for unit, one in self._found.items() if not one.digest and not one.access.is_open),
        )

    def offset(self, unit: str) -> int:
        """Where the unit begins on its partition, as far as was read: nothing in front of that says anything of it.

        0 where its first record is the first that the partition still has: retention may have taken some in front.
        """
        place, offset = self._place[unit], self._found[unit].offset
        if offset is None:
            return self._positions[place]
        return 0 if offset == self._earliest[place] else offset


def _decoded(record: Record) -> Tick | AccessList | Activation | None:
    if header(record.headers, "schema") not in _SCHEMAS:
        return None
    try:
        value = decode_input(record.key, record.headers, record.value)
    except UndecodableError:
        return None
    return value if isinstance(value, Tick | AccessList | Activation) else None
