"""Receipts on their way to the log, and which of them are safe there.

Rules: while the publisher can't be opened, or its disk takes none, receipts wait here, in order. Of an actuator's only
those are safe that have none before them that is not: one may be in the publisher's spool while an older one waits for
the log in memory, and a crash between the two must not leave the older command as the one that is done again.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from gateways.actuators.outcome import Outcome
from rules.engine.outputs import Command
from rules.errors import UnreachableError
from streams.log_limit import limited
from streams.publisher.publisher import Publisher

log_again: logging.Logger = limited(__name__)

NAME_MAX: Final = 200
"""Characters of a name that a receipt has of a command that is refused: anybody may have made it up."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What the publisher has not taken. `name`: of the command in the ledger, "" where it is in none."""

    name: str
    command: Command
    outcome: Outcome
    at_ns: int


@dataclass(frozen=True, slots=True)
class _Said:
    """A receipt on its way: when the log has `sequence` of `unit`, it is there; 0: it is in the publisher's spool."""

    name: str
    unit: str
    actuator: str
    sequence: int


class Receipts:
    """Those of one role. `publisher`: None until `carry`."""

    def __init__(self, publisher: Publisher | None = None) -> None:
        self.publisher = publisher
        self._waiting: deque[_Waiting] = deque()
        self._said: deque[_Said] = deque()

    def carry(self, publisher: Publisher) -> None:
        """Hand everything to this publisher from now on."""
        self.publisher = publisher
        self.push()

    def say(self, command: Command, outcome: Outcome, at_ns: int, name: str = "") -> None:
        """What became of a command at `at_ns`. `name`: in the ledger, for `safe`."""
        self._waiting.append(_Waiting(name, command, outcome, at_ns))
        self.push()

    def push(self) -> None:
        """Hand what waits to the publisher, as far as it takes it."""
        while self.publisher is not None and self._waiting:
            try:
                self._hand_over(self.publisher, self._waiting[0])
            except (OSError, UnreachableError, sqlite3.Error) as error:
                log_again.error("receipts wait: %s", error)
                return
            self._waiting.popleft()

    def safe(self, everything: bool = False) -> list[str]:
        """Names of commands whose receipts are on the log or on disk; `everything`: the publisher has been closed, and
        all are, unless its disk took nothing of what was left.
        """
        is_left_safe = everything and self.publisher is not None and not self.publisher.metrics["unsent"]
        units = {} if self.publisher is None else self.publisher.metrics["units"]
        behind: set[str] = set()
        found: list[str] = []
        for said in self._said:
            if said.actuator in behind:
                continue
            if is_left_safe or said.sequence <= units.get(said.unit, {}).get("acknowledged", 0):
                found.append(said.name)
            else:
                behind.add(said.actuator)
        return found

    def told(self, names: Collection[str]) -> None:
        """The ledger has it that these are safe."""
        gone = set(names)
        self._said = deque(said for said in self._said if said.name not in gone)

    def _hand_over(self, publisher: Publisher, waiting: _Waiting) -> None:
        counts: dict[str, Any] = publisher.metrics
        command, outcome, spooled = waiting.command, waiting.outcome, counts["spooled"]
        publisher.publish_receipt(
            command.unit,
            command.id,
            command.actuator,
            outcome.status,
            command.value,
            outcome.read_back,
            waiting.at_ns,
            outcome.detail,
        )
        is_on_disk = counts["spooled"] > spooled
        # a unit has no counts where its only receipt was too long for the log
        accepted = counts["units"].get(command.unit, {}).get("accepted", 0)
        if waiting.name:
            sequence = 0 if is_on_disk else accepted
            self._said.append(_Said(waiting.name, command.unit, command.actuator, sequence))
