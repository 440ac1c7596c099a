"""Ids of outputs: they come from what caused them, never from a position in a log (`rules/engine/outputs.py`)."""

from __future__ import annotations

from typing import Final

from rules.engine.inputs import Identity

ENDS: Final = "@"
"""Between a rule and a silence, in the id of what its end has caused; or what else time has brought."""


class Cause:
    """Numbers the outputs of one cause: `part:part:0`, `part:part:1`, …; most have none."""

    __slots__ = ("_count", "_parts")

    def __init__(self, *parts: str | int) -> None:
        self._parts = parts
        self._count = 0

    def next_id(self) -> str:
        """The id of the next output of this cause."""
        name = ":".join(map(str, (*self._parts, self._count)))
        self._count += 1
        return name

    def skip(self, count: int) -> Cause:
        """Itself, without the next `count` ids: others have them."""
        self._count += count
        return self


def input_cause(unit: str, identity: Identity) -> Cause:
    """Outputs that an input causes."""
    return Cause(unit, identity.source, identity.epoch, identity.sequence)


def deadline_cause(unit: str, rule: str, asset: str, deadline_ns: int) -> Cause:
    """Outputs that a deadline causes, whichever tick or sample made it fire."""
    return Cause(unit, rule, asset, deadline_ns)
