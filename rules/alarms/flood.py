"""The flood governor: above a set rate, alarms that are neither urgent nor high fold into a summary of their group.

Rules: a flood begins when an alarm is to be heard behind `limit` others in ten minutes, and is over when no more than
half as many arrived in the last ten (ISA-18.2-2016, clause 16, and EEMUA 191 count floods in ten minutes). Urgent and
high ones count and always pass. What is folded stays in the journal; its group's alarm `alarm-flood` says how many. A
group unfolds behind the flood, once what still stands of it fits into the rate.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

EDGE_NS: Final = 10_000_000_000
"""How finely arrivals are counted, and how often one looks whether a flood is over."""

WINDOW_NS: Final = 600_000_000_000
PASSES: Final = frozenset({"urgent", "high"})


class Flood:
    """Of a unit; `limit` 0 for no governor. `is_on`: there is a flood. `folded`: by group how many, since its fold
    began; `said`: how many its alarm has said last. All of it is part of a snapshot.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.is_on = False
        self.folded: dict[str, int] = {}
        self.said: dict[str, int] = {}
        self._heard: Counter[int] = Counter()
        self._arrived: Counter[int] = Counter()

    @property
    def is_busy(self) -> bool:
        """Whether the next edge has something to see to."""
        return self.is_on or bool(self.folded)

    def folds(self, severity: str, at_ns: int) -> bool:
        """Whether an alarm that is to be heard now is folded instead."""
        if not self.limit or severity in PASSES:
            return False
        self.is_on = self.is_on or self._count(self._heard, at_ns) >= self.limit
        return self.is_on

    def count(self, at_ns: int, is_heard: bool) -> None:
        """An alarm was to be heard: it is, or it was folded."""
        if self.limit:
            self._arrived[at_ns // EDGE_NS] += 1
            self._heard[at_ns // EDGE_NS] += is_heard

    def fold(self, group: str) -> bool:
        """One more of a group; whether it is the first."""
        self.folded[group] = self.folded.get(group, 0) + 1
        return self.folded[group] == 1

    def pass_edge(self, at_ns: int) -> None:
        """Time has come to an edge: a flood may be over."""
        first = (at_ns - WINDOW_NS) // EDGE_NS
        for counted in (self._heard, self._arrived):
            for edge in [edge for edge in counted if edge < first]:
                del counted[edge]
        self.is_on = self.is_on and self._count(self._arrived, at_ns) > self.limit // 2

    def has_room(self, alarms: int, at_ns: int) -> bool:
        """Whether so many could be heard now."""
        return not self.is_on and self._count(self._heard, at_ns) + alarms <= self.limit

    def unfold(self, group: str) -> None:
        """Nothing of a group is folded any more."""
        del self.folded[group]
        self.said.pop(group, None)

    def saved(self) -> dict[str, Any]:
        """For a snapshot: plain values."""
        return {
            "is_on": self.is_on,
            "folded": dict(sorted(self.folded.items())),
            "said": dict(sorted(self.said.items())),
            "heard": sorted(self._heard.items()),
            "arrived": sorted(self._arrived.items()),
        }

    def adopt(self, saved: dict[str, Any]) -> None:
        """Take over what `saved` gave."""
        self.is_on, self.folded, self.said = saved["is_on"], dict(saved["folded"]), dict(saved["said"])
        self._heard, self._arrived = Counter(dict(saved["heard"])), Counter(dict(saved["arrived"]))

    @staticmethod
    def _count(counted: Counter[int], at_ns: int) -> int:
        first = (at_ns - WINDOW_NS) // EDGE_NS
        return sum(alarms for edge, alarms in counted.items() if first < edge <= at_ns // EDGE_NS)
