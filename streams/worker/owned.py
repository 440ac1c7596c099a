"""What a worker owns: partitions, their units, and of each its engine and how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rules.engine.chain import ChainEnd
from rules.engine.inputs import Activation, Input
from rules.engine.outputs import Output
from rules.engine.tables import Compiled
from streams.bus.bus import Producer
from streams.snapshots import record_digest


class Engine(Protocol):
    """The face of `rules.engine.engine.Engine` that the worker needs."""

    counters: Counter[str]
    rules_digest: str
    now_ns: int

    @property
    def access_digest(self) -> str:
        """Of the access list that rules, "" where there is none."""
        ...

    def lacks(self, rules_digest: str) -> bool:
        """Whether an activation would find no offer."""
        ...

    def believes(self, value: Activation) -> bool:
        """Whether an activation that came next would be anything but a forgery."""
        ...

    def offer(self, rules_digest: str, rules: Compiled | str) -> None:
        """What an activation means, or why it has to be refused."""
        ...

    def withdraw_offers(self) -> None:
        """All but that of the rules that rule."""
        ...

    def step(self, inputs: Sequence[Input]) -> Sequence[Output]:
        """React to inputs, in order."""
        ...

    def chain_end(self) -> ChainEnd:
        """The last line that it has said for the journal."""
        ...

    def snapshot(self) -> bytes:
        """All of the state."""
        ...

    def restore(self, state: bytes) -> None:
        """Take the state of a snapshot."""
        ...


class Rules(Protocol):
    """The face of `streams.rule_sets.prepared_rules.PreparedRules` that the worker needs."""

    first_digest: str

    def new_engine(self, unit: str, digest: str = "") -> Engine:
        """An empty one, with the first rules, or those of `digest`: HeadraceError where they are not to be had."""
        ...

    async def publish_first(self, producer: Producer) -> None:
        """Put the first rules on the log, if it does not have them."""
        ...

    async def rules_of(self, digest: str, unit: str) -> Compiled | str:
        """What an activation of `digest` means to a unit."""
        ...


@dataclass(slots=True)
class UnitState:
    """An engine and how far it is: the next input, and that which its last snapshot, `number`, does not cover."""

    id: str
    engine: Engine
    next_offset: int
    number: int
    covered: int
    due_s: float
    head_number: int = 0
    """The line that the last head names that was said here."""


@dataclass(slots=True)
class PartitionState:
    """`position` is the next offset; `fresh` until the first record; dead letters below `reported` are sent."""

    number: int
    position: int
    reported: int
    units: dict[str, UnitState]
    epoch: int
    fresh: bool = True
    acknowledged: int = 0
    last_value: bytes | None = None
    """Of the record before `position`, once one was read. Not its digest: that would cost 0.7 us for each kB of every
    record, and to keep one of them costs nothing.
    """

    def last_record(self, unit: UnitState) -> str:
        """The digest of the record before the unit's next input, "" where it was not read here."""
        if self.last_value is None or unit.next_offset != self.position:
            return ""
        return record_digest(self.last_value)

    @property
    def covered(self) -> int:
        return min((unit.covered for unit in self.units.values()), default=0)
