"""What the twin says of floods, in plain Python: every arrival kept with its time, counted anew at each question.

Written from docs/alarms.md and decision 0097.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rules.engine.outputs import Alarm
from rules.language.program import Rule
from rules.site.model import Site, Unit
from tests.rules.engine.twin_ids import Ids, Key, numbered

STEP = 10_000_000_000
WINDOW = 600_000_000_000
FLOOD = "alarm-flood"
OWN = (FLOOD, "source-gap", "source-clock")


class TwinFlood(ABC):
    """The floods of a unit. `folded`: by group, how many since its fold began; `told`: how many were said last."""

    site: Site
    unit: Unit
    rules: Iterable[Rule]
    active: dict[Key, Alarm]

    def no_flood(self) -> None:
        self.is_flood = False
        self.arrivals: list[tuple[int, bool]] = []
        self.folded: dict[str, int] = {}
        self.said_of: dict[str, int] = {}

    @abstractmethod
    def raise_(
        self, rule: str, asset: str, severity: Any, at: int, value: float | None, text: str, ids: Ids
    ) -> None:
        """An alarm goes off."""

    @abstractmethod
    def clear(
        self,
        rule: str,
        asset: str,
        at: int,
        value: float | None,
        text: str,
        ids: Ids,
        is_closed: bool = False,
    ) -> None:
        """An alarm is over."""

    @abstractmethod
    def let_go(self, at: int, ids: Ids) -> None:
        """What nothing explains any more is heard."""

    @abstractmethod
    def not_before_the_last(self, key: Key, at: int) -> int:
        """When its next transition is said to be."""

    @abstractmethod
    def stands(self, key: Key, alarm: Alarm, kind: str, ids: Ids) -> None:
        """An alarm as it is now."""

    def group_of(self, rule_id: str) -> str:
        return next((rule.group for rule in self.rules if rule.id == rule_id and rule.group), self.unit.id)

    def arrived(self, at: int, heard_only: bool) -> int:
        """How many in the ten minutes up to a time, in whole steps."""
        first, last = (at - WINDOW) // STEP, at // STEP
        return sum(
            first < when // STEP <= last and (heard or not heard_only) for when, heard in self.arrivals
        )

    def folds_under(self, rule: str, severity: str, at: int) -> str:
        """The name of the flood under which an alarm that is to be heard folds; "" where it is heard."""
        limit = self.site.flood_limit
        if not limit or rule in OWN:
            return ""
        may_fold = severity in ("medium", "low")
        if may_fold and self.arrived(at, heard_only=True) >= limit:
            self.is_flood = True
        is_folded = may_fold and self.is_flood
        self.arrivals.append((at, not is_folded))
        return f"{self.unit.id}:{FLOOD}:{self.group_of(rule)}" if is_folded else ""

    def one_more_folded(self, rule: str, at: int) -> None:
        group = self.group_of(rule)
        self.folded[group] = self.folded.get(group, 0) + 1
        if self.folded[group] == 1:
            self.say_flood(group, 1, at)

    def say_flood(self, group: str, stand: int, at: int) -> None:
        count, key = self.folded[group], (FLOOD, group)
        ids = numbered(self.unit.id, FLOOD, group, at)
        are = "alarm is" if stand == 1 else "alarms are"
        text = f"{group}: {stand} {are} folded in a flood, {count} since it began"
        self.said_of[group] = count
        if key not in self.active:
            self.raise_(*key, "medium", at, float(count), text, ids)
            return
        own = self.not_before_the_last(key, at)
        alarm = replace(self.active[key], id=ids(), value=float(count), message=text, at_ns=own)
        self.stands(key, alarm, FLOOD, ids)

    def is_in_flood(self, by: str, rule: str) -> bool:
        """Whether the flood of this name still explains an alarm of a rule."""
        group = by.split(":", 2)[2]
        return group in self.folded and group == self.group_of(rule)

    def see_to_floods(self, at: int) -> None:
        """At each step: a flood may be over, and what stands of a group may fit into the rate."""
        if not self.is_flood and not self.folded:
            return
        limit = self.site.flood_limit
        if self.arrived(at, heard_only=False) <= limit // 2:
            self.is_flood = False
        for group in sorted(self.folded):
            name = f"{self.unit.id}:{FLOOD}:{group}"
            stand = sum(alarm.suppressed_by == name for alarm in self.active.values())
            if not self.is_flood and self.arrived(at, heard_only=True) + stand <= limit:
                count = self.folded.pop(group)
                ids = numbered(self.unit.id, FLOOD, group, at)
                were = "alarm was" if count == 1 else "alarms were"
                self.clear(FLOOD, group, at, float(count), f"{group}: {count} {were} folded in a flood", ids)
                self.let_go(at, ids)
            elif self.folded[group] != self.said_of[group]:
                self.say_flood(group, stand, at)
