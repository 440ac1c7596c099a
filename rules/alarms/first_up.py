"""Which alarm of a group went off first: where operators begin to look.

Rules: a group is of one unit. What goes off while no other alarm of its group is true is the first, by event time; what
follows within the time between two samples of its own signals may have come first, and says so. ISA-18.2-2016 calls
this first-out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

FirstUp = Literal["", "first", "possibly"]


class Groups:
    """Of a unit. `of`: by rule its group. `uncertain_ns`: by rule, how far apart samples of its signals may come.

    `first_ns`: by group, when the first alarm of those that stand went off, or of those that stood last.
    """

    def __init__(self, of: Mapping[str, str], uncertain_ns: Mapping[str, int]) -> None:
        self.of = {rule: group for rule, group in of.items() if group}
        self.first_ns: dict[str, int] = {}
        self._uncertain_ns = uncertain_ns
        self._standing: Counter[str] = Counter()

    def begin_with(self, first_ns: Mapping[str, int], true: Iterable[str]) -> None:
        """Go on from here: `true`, the rules of the alarms that are true, each as often as it has one."""
        self.first_ns = {group: at_ns for group, at_ns in first_ns.items() if group in self.of.values()}
        self._standing = Counter(self.of[rule] for rule in true if rule in self.of)

    def count(self, rule: str, change: int) -> None:
        """An alarm of `rule` is true (+1), or true no more (-1)."""
        if rule in self.of:
            self._standing[self.of[rule]] += change

    def raised(self, rule: str, at_ns: int) -> FirstUp:
        """What an alarm that goes off is in its group; before it is counted."""
        group = self.of.get(rule)
        if group is None:
            return ""
        if not self._standing[group]:
            self.first_ns[group] = at_ns
            return "first"
        first_ns = self.first_ns.setdefault(group, at_ns)
        return "possibly" if at_ns - self._uncertain_ns[rule] < first_ns else ""
