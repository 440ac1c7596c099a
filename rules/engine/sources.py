"""What the engine knows of each source: its last identity, and what to say of it at the next tick.

Rules: identity is (source, epoch, sequence), as docs/architecture.md states it; nothing here looks at an
input's content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rules.engine.inputs import Identity

Standing = Literal["next", "joined", "repeat", "gap", "restart"]
"""What an identity is to the last one of its source.

next: what was due. joined: the first that this engine sees, and not the first of its epoch. repeat: seen
before, or of an epoch that is over. gap: sequences are missing. restart: a new epoch that starts at 1.
"""

NOTES = ("late", "out-of-order", "repeat")
"""What is journaled once per source and tick, in this order."""


class Admission(NamedTuple):
    """How an identity stands, and which sequences of its epoch are missing (half-open range)."""

    standing: Standing
    first_missing: int = 0
    after_missing: int = 0

    @property
    def missing(self) -> int:
        """How many inputs are missing."""
        return self.after_missing - self.first_missing


@dataclass(slots=True)
class SourceState:
    """`first_epoch`: the one in which this engine met the source. `notes`: counts since the last tick.

    `tolerance_ns`, `lateness_ns`: as the site file says.
    """

    first_epoch: int
    epoch: int
    sequence: int
    tolerance_ns: int
    lateness_ns: int
    notes: dict[str, int] = field(default_factory=dict)


def admit(known: SourceState | None, identity: Identity) -> Admission:
    """How `identity` stands to the last one of its source; changes nothing."""
    if known is None:
        return Admission("next" if identity.sequence == 1 else "joined")
    if identity.epoch == known.epoch:
        due = known.sequence + 1
        if identity.sequence == due:
            return Admission("next")
        if identity.sequence < due:
            return Admission("repeat")
        return Admission("gap", due, identity.sequence)
    if identity.epoch < known.epoch:
        return Admission("repeat")
    if identity.sequence == 1:
        return Admission("restart")
    return Admission("gap", 1, identity.sequence)
