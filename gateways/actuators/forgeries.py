"""Which refusals of forged commands are said: at most one a second, with how many others there were.

Rule: whoever can write to the log can forge as fast as it takes records; what is said of that must not keep the site's
own commands waiting, nor fill the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from gateways.actuators.outcome import Outcome
from gateways.actuators.receipts import NAME_MAX
from rules.engine.outputs import Command

SAY_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Kept:
    name: str
    command: Command
    reason: str


class Forgeries:
    """`time_s`: the loop's."""

    def __init__(self, time_s: Callable[[], float]) -> None:
        self._time_s = time_s
        self._said_s = float("-inf")
        self._kept: _Kept | None = None
        self._others = 0

    def keep(self, name: str, command: Command, reason: str) -> bool:
        """Whether this one is the next to be said; else it is counted with the one that is. `name`: in the ledger."""
        if self._kept is not None:
            self._others += 1
            return False
        self._kept = _Kept(name, command, reason)
        return True

    def due(self) -> tuple[Command, Outcome, str] | None:
        """What is to be said now: a refusal, and its name in the ledger."""
        kept, others = self._kept, self._others
        if kept is None or self._time_s() - self._said_s < SAY_EVERY_S:
            return None
        self._said_s, self._kept, self._others = self._time_s(), None, 0
        detail = f"forged: {kept.reason}; it calls itself {kept.command.id[:NAME_MAX]!r}"
        if others:
            detail += f"; and {others} others like it"
        return replace(kept.command, id=kept.name), Outcome("refused", None, detail), kept.name
