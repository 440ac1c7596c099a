"""When what a subscription is told goes out, and what goes together. Pure: no clock, no I/O.

Rules, which `tests/gateways/alerts/test_grouping.py` holds against random sequences:
- Everything that is taken goes out once, and of each alarm in the order in which it was taken.
- A severity that is `at_once` goes out alone, at the moment at which it is taken.
- Nothing else goes out while the subscription is quiet, nor faster than its digest allows, but what goes before a later
  word on the same alarm, and what is too much for one notification.
- What is held has a group and a time at which it is due; both are on disk, so that a restart goes on with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateways.alerts.hours import covers, end_ns
from gateways.alerts.model import Subscription
from rules.engine.outputs import Alarm

LARGEST: Final = 1000
"""Transitions of one notification: the next one begins another."""
DIGEST: Final = "digest"
QUIET: Final = "quiet"
_OWN: Final = "by:"
"""How the names of groups of a wait begin."""


class Item(NamedTuple):
    """A transition that a subscription is told of. `place`: its number in what is held; 0 before it has one."""

    alarm: Alarm
    place: int = 0


class Batch(NamedTuple):
    """What goes out as one notification, in the order in which it was taken. `group` '': it never waited."""

    group: str
    items: tuple[Item, ...]

    @property
    def is_folded(self) -> bool:
        """Whether only the worst of it is shown: it was held by a digest or by quiet hours."""
        return self.group in (DIGEST, QUIET) and len(self.items) > 1


@dataclass(slots=True)
class _Group:
    due_ns: int
    items: list[Item] = field(default_factory=list)


class Hold(NamedTuple):
    """A transition waits in a group."""

    group: str
    due_ns: int


class Grouper:
    """Of one subscription."""

    def __init__(self, subscription: Subscription, zone: ZoneInfo) -> None:
        self._subscription = subscription
        self._zone = zone
        self._groups: dict[str, _Group] = {}
        self._where: dict[str, str] = {}
        """By alarm the group that holds something of it."""
        self._recent: deque[int] = deque()

    @property
    def due_ns(self) -> int | None:
        """When the first group is due; None where nothing is held."""
        return min((group.due_ns for group in self._groups.values()), default=None)

    @property
    def held(self) -> int:
        """Transitions that wait."""
        return sum(len(group.items) for group in self._groups.values())

    def restore(self, item: Item, hold: Hold) -> None:
        """Take up what an earlier process held, in the order in which it did."""
        self._put(item, hold)

    def due(self, now_ns: int) -> list[Batch]:
        """What is to go out now, the earliest first."""
        names = [name for name, group in self._groups.items() if group.due_ns <= now_ns]
        return [self._pop(name) for name in sorted(names, key=lambda name: self._groups[name].due_ns)]

    def take(self, alarm: Alarm, kind: str, now_ns: int) -> tuple[list[Batch], Hold | None]:
        """What goes out now because of a transition, and where the transition itself waits, if it does.

        `kind`: the type of its asset. Who gets a `Hold` gives it a place and puts it in with `restore`.
        """
        batches = self.due(now_ns)
        hold = self._hold(alarm, kind, now_ns)
        elsewhere = self._where.get(alarm.key)
        if elsewhere is not None and (hold is None or hold.group != elsewhere):
            batches.append(self._pop(elsewhere))  # what was before it goes before it
        elif hold is not None and hold.group in self._groups and self._is_full(hold.group):
            batches.append(self._pop(hold.group))
        if hold is None:
            batches.append(Batch("", (Item(alarm),)))
        return batches, hold

    def _hold(self, alarm: Alarm, kind: str, now_ns: int) -> Hold | None:
        one = self._subscription
        is_flood = self._is_flood(now_ns)
        if alarm.severity in one.at_once:
            return None
        quiet_until_ns = self._after_quiet(now_ns)
        if quiet_until_ns > now_ns:  # behind what waits already of the same alarm, which goes out no sooner
            group = self._where.get(alarm.key, QUIET)
            return Hold(group, self._due(group, quiet_until_ns))
        if one.digest is not None and (is_flood or DIGEST in self._groups):
            return Hold(DIGEST, self._due(DIGEST, self._after_quiet(now_ns + one.digest.every_ns)))
        if one.wait_ns:
            parts = {"unit": alarm.unit, "rule": alarm.rule, "asset": alarm.asset}
            parts |= {"severity": alarm.severity, "type": kind}
            group = _OWN + ":".join(parts[key] for key in one.group_by)
            return Hold(group, self._due(group, self._after_quiet(now_ns + one.wait_ns)))
        return None

    def _after_quiet(self, at_ns: int) -> int:
        """A moment, or the end of the quiet hours in which it lies."""
        quiet = self._subscription.quiet
        if quiet is None or not covers(quiet, at_ns, self._zone):
            return at_ns
        return end_ns(quiet, at_ns, self._zone)

    def _is_flood(self, now_ns: int) -> bool:
        """Counts one transition more: whether there were more than the digest allows in its time."""
        digest = self._subscription.digest
        if digest is None:
            return False
        self._recent.append(now_ns)
        while self._recent and self._recent[0] <= now_ns - digest.every_ns:
            self._recent.popleft()
        while len(self._recent) > digest.above + 1:
            self._recent.popleft()
        return len(self._recent) > digest.above

    def _due(self, group: str, due_ns: int) -> int:
        return self._groups[group].due_ns if group in self._groups else due_ns

    def _is_full(self, group: str) -> bool:
        return len(self._groups[group].items) >= LARGEST

    def _put(self, item: Item, hold: Hold) -> None:
        self._groups.setdefault(hold.group, _Group(hold.due_ns)).items.append(item)
        self._where[item.alarm.key] = hold.group

    def _pop(self, name: str) -> Batch:
        group = self._groups.pop(name)
        for item in group.items:
            self._where.pop(item.alarm.key, None)
        return Batch(name, tuple(group.items))


def places(batches: Iterable[Batch]) -> list[int]:
    """The numbers of what was held and goes out."""
    return [item.place for batch in batches for item in batch.items if item.place]
