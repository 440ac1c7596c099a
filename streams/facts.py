"""Facts on their way where there is no log between the engines: in a replay that makes them anew, in a scenario.

Rules: a fact reaches its unit before the first tick of that unit whose time is at least the fact's and the delay;
several in the order in which they were told. So its place depends on event time and the order of the inputs alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from rules.engine.inputs import Fact, Input, Tick
from rules.engine.outputs import Output

DELAY_NS: Final = 100_000_000
"""What a fact takes from one engine to the other: about a pass through the log."""


class Courier:
    """Takes facts from what engines say, and gives each before the input behind which it would be late."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Fact]] = defaultdict(list)
        self.delivered = 0

    def take(self, outputs: Iterable[Output]) -> None:
        """The facts among `outputs`."""
        for output in outputs:
            if isinstance(output, Fact):
                self._waiting[output.unit].append(output)

    def due(self, value: Input) -> list[Fact]:
        """What reaches the unit of `value` before it."""
        waiting = self._waiting.get(value.unit)
        if not waiting or not isinstance(value, Tick):
            return []
        found = [fact for fact in waiting if fact.time_ns + DELAY_NS <= value.time_ns]
        self._waiting[value.unit] = [fact for fact in waiting if fact.time_ns + DELAY_NS > value.time_ns]
        self.delivered += len(found)
        return found
