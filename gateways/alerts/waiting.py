"""What has to wait: transitions for the time of their group, and escalations for somebody who acknowledges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateways.alerts.grouping import Hold, Item
from gateways.alerts.store import Store, alarm_bytes, alarm_of
from rules.engine.outputs import Alarm


class Due(NamedTuple):
    """A step of an escalation whose time has come."""

    subscription: str
    step: int
    key: str
    occurrence: str


class Waiting(Store):
    """Called within a transaction, but for what only looks."""

    def hold(self, subscription: str, alarm: Alarm, hold: Hold, now_ns: int) -> Item:
        """Keep a transition that is not to go out yet."""
        body = alarm_bytes(alarm)
        row = (subscription, hold.group, hold.due_ns, now_ns, body)
        statement = "insert into held (subscription, name, due_ns, since_ns, body) values (?, ?, ?, ?, ?)"
        return Item(alarm, self._db.execute(statement, row).lastrowid or 0)

    def held(self) -> Iterator[tuple[str, Item, Hold]]:
        """(subscription, transition, where) in the order in which they came."""
        rows = self._db.execute("select subscription, place, name, due_ns, body from held order by place")
        for subscription, place, name, due_ns, body in rows:
            yield subscription, Item(alarm_of(body), place), Hold(name, due_ns)

    def release(self, places: Iterable[int]) -> None:
        """They go out."""
        self._db.executemany("delete from held where place = ?", [(place,) for place in places])

    def escalate(self, subscription: str, alarm: Alarm, due_ns: Iterable[int]) -> None:
        """Go on to the next step at these times, unless somebody acknowledges the occurrence."""
        self._db.executemany(
            "insert or ignore into escalations values (?, ?, ?, ?, ?)",
            [
                (due, subscription, step, alarm.key, alarm.raised_id)
                for step, due in enumerate(due_ns, start=1)
            ],
        )

    def settle(self, key: str, standing: str = "") -> None:
        """No escalation of an alarm any more, but of its occurrence `standing`."""
        self._db.execute("delete from escalations where key = ? and occurrence != ?", (key, standing))

    def due_steps(self, now_ns: int) -> list[Due]:
        """Steps whose time has come, the earliest first; `drop_steps` removes them."""
        rows = self._db.execute(
            "select subscription, step, key, occurrence from escalations where due_ns <= ? order by due_ns, step",
            (now_ns,),
        )
        return [Due(*row) for row in rows]

    def drop_steps(self, now_ns: int) -> None:
        """Those of `due_steps`."""
        self._db.execute("delete from escalations where due_ns <= ?", (now_ns,))
