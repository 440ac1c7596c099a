"""Transitions of conditions that no tick has passed yet, in the order in which they are to be taken."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from rules.engine.tables import Spoken
from rules.site.model import Unit

Shown = Mapping[str, float | None]
"""What a message shows, by name."""


class Transition(NamedTuple):
    """What became of a condition, at which event time; `shown`: what its message shows."""

    at_ns: int
    rule: Spoken
    asset: str
    kind: Literal["raised", "cleared", "unknown", "known"]
    shown: Shown


class Waiting:
    """Of one time, causes come before what they explain (`rank`, of a rule), then rules and assets in their order."""

    def __init__(self, unit: Unit) -> None:
        self.rank: Callable[[str], int] = lambda _: 0
        self._place = {asset.id: place for place, asset in enumerate(unit.assets)}
        self._queue: list[Transition] = []

    def add(self, what: Transition) -> None:
        """One more; behind those of the same place in the order."""
        insort(self._queue, what, key=self._order)

    def _order(self, what: Transition) -> tuple[int, int, str, int]:
        return what.at_ns, self.rank(what.rule.id), what.rule.id, self._place[what.asset]

    def first_ns(self, otherwise: int) -> int:
        """The time of the first one."""
        return self._queue[0].at_ns if self._queue else otherwise

    def take(self) -> Transition:
        """The first one, which waits no more."""
        return self._queue.pop(0)

    def saved(self) -> list[list[Any]]:
        """For a snapshot: plain values."""
        return [[at_ns, rule.id, asset, kind, shown] for at_ns, rule, asset, kind, shown in self._queue]

    def restore(self, saved: Iterable[list[Any]], rules: Mapping[str, Spoken]) -> None:
        """Take over what `saved` gave, but of rules that are not among these: their alarms are orphans."""
        self._queue = [Transition(at_ns, rules[rule], *rest) for at_ns, rule, *rest in saved if rule in rules]
