"""Which commands are of a worker that has lost the unit: those of a lower epoch than the highest that was seen of it.

Rules: what counts is the order of the log, so that a reader that begins anew comes to the same; the highest epoch of
each unit is in the ledger too, for when retention has taken the commands that showed it. A fenced command leaves its id
free: the owner, whose state comes to the same, says it as well, or has said it.
"""

from __future__ import annotations

from collections.abc import Mapping

from rules.engine.outputs import Command


class Fence:
    """The epochs of owners, unit by unit."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}
        """Those in the ledger."""

        self._heard: dict[str, int] = {}

    def begin(self, kept: Mapping[str, int]) -> None:
        """The log is read from its beginning; `kept`: what the ledger has."""
        self._kept, self._heard = dict(kept), {}

    def is_fenced(self, command: Command, epoch: int, was_taken: bool) -> bool:
        """Whether it must not be done. Asked for every command, in the order of the log.

        `was_taken`: its id is in the ledger: where nothing higher stands in front of it, it was taken in its time.
        """
        highest = self._heard.get(command.unit, 0)
        if epoch < highest or (epoch < self.highest(command.unit) and not was_taken):
            return True
        self._heard[command.unit] = epoch
        return False

    def highest(self, unit: str) -> int:
        """The highest epoch of the unit."""
        return max(self._kept.get(unit, 0), self._heard.get(unit, 0))

    def raised(self) -> dict[str, int]:
        """Epochs that are higher than the ledger has them, by unit."""
        return {unit: epoch for unit, epoch in self._heard.items() if epoch > self._kept.get(unit, 0)}

    def keep(self, epochs: Mapping[str, int]) -> None:
        """The ledger has these now."""
        self._kept.update(epochs)

    def forget(self) -> None:
        """The log is read from before what was heard last."""
        self._heard = {}
