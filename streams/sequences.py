"""Whether everything that a source numbered is on the log: holes and repeats, by identity alone.

Rules: sequences begin at 1 in each epoch and have no holes (docs/architecture.md, "Identity and order"). A hole is lost
input; an identity not above the last is a repeat, which the engine drops.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rules.engine.inputs import Gap, Identity


@dataclass(slots=True)
class SequenceTracker:
    """Counts over all sources and units."""

    lost: int = 0
    duplicates: int = 0
    restarts: int = 0
    gaps: int = 0
    lost_readings_reported: int = 0
    since_ns: int = 0
    """From when on the log is read, 0 for its start: of an epoch before that, the first input may be any."""
    _last: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def see(self, unit: str, identity: Identity, gap: Gap | None = None) -> int:
        """Take the next input of `unit`; `gap` when the input is one: a source's own word on what is missing.

        How many are missing right before it; 0 for a repeat.
        """
        place = (identity.source, unit)
        before = 0 if identity.epoch >= self.since_ns else identity.sequence - 1
        epoch, sequence = self._last.get(place, (identity.epoch, before))
        if (identity.epoch, identity.sequence) <= (epoch, sequence):
            self.duplicates += 1
            return 0
        if identity.epoch > epoch:
            self.restarts += 1
            sequence = 0
        missing = identity.sequence - sequence - 1
        self.lost += missing
        self._last[place] = (identity.epoch, identity.sequence)
        if gap is not None:
            self.gaps += 1
            self.lost_readings_reported += gap.readings
        return missing
