"""What the twin says of alarms, in plain Python: raised, over, unknown, closed; what one explains of others.

It knows nobody who acts: no alarm is acknowledged, shelved or out of service here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rules.engine.outputs import Alarm, Output
from rules.language.program import Rule
from rules.site.model import Site, Unit

Key = tuple[str, str]


class TwinAlarms(ABC):
    """The alarms of a unit. `holds`: until when an alarm waits for the one that explains it."""

    site: Site
    unit: Unit
    out: list[Output]
    counters: Counter[str]
    rules: Iterable[Rule]

    def no_alarms(self) -> None:
        self.active: dict[Key, Alarm] = {}
        self.returned: dict[Key, Alarm] = {}
        self.moved: dict[Key, int] = {}
        self.holds: dict[Key, int] = {}
        self.known_above: dict[str, set[str]] = {}

    @abstractmethod
    def id_of(self) -> str:
        """The id of the next output of what is taken in."""

    @abstractmethod
    def entry(self, kind: str, at: int, detail: dict[str, Any], name: str | None = None) -> None:
        """A line of the journal."""

    def raise_(
        self,
        rule: str,
        asset: str,
        severity: Any,
        at: int,
        value: float | None,
        text: str,
        prefix: str | None,
    ) -> None:
        key = rule, asset
        said = self.not_before_the_last(key, at)
        state, by = "unacknowledged", ""
        if any(rule in other.suppresses for other in self.rules):
            cause = self.cause_of(key)
            if cause is not None:
                state, by = "suppressed", self.name(cause)
            elif severity != "urgent" and self.site.hold_off_ns:
                state, self.holds[key] = "suppressed", at + self.site.hold_off_ns
        name = f"{prefix}:0" if prefix else self.id_of()
        alarm = Alarm(
            name, self.unit.id, rule, asset, severity, state, name, at, None, value, text,  # type: ignore[arg-type]
            suppressed_by=by, at_ns=said,
        )  # fmt: skip
        self.returned.pop(key, None)
        self.counters["alarms_raised"] += 1
        self.stands(key, alarm, "alarm-raised", f"{prefix}:1" if prefix else None)

    def clear(
        self,
        rule: str,
        asset: str,
        at: int,
        value: float | None,
        text: str,
        prefix: str | None,
        is_closed: bool = False,
    ) -> None:
        key = rule, asset
        said = self.not_before_the_last(key, at)
        was = self.active.pop(key)
        self.holds.pop(key, None)
        self.counters["alarms_cleared"] += 1
        is_over = is_closed or was.state == "suppressed"
        alarm = replace(
            was,
            id=f"{prefix}:0" if prefix else self.id_of(),
            state="normal" if is_over else "returned-unacknowledged",
            cleared_ns=at,
            unknown_ns=None,
            value=value,
            message=text,
            suppressed_by="",
            at_ns=said,
        )
        if not is_over:
            self.returned[key] = alarm
        self.tell(alarm, "alarm-cleared", f"{prefix}:1" if prefix else None)

    def unknown(self, rule: str, asset: str, at: int, value: float | None, text: str, kind: str) -> None:
        self.counters["alarms_unknown"] += kind == "unknown"
        key = rule, asset
        said = self.not_before_the_last(key, at)
        since = at if kind == "unknown" else None
        alarm = replace(
            self.active[key], id=self.id_of(), value=value, message=text, unknown_ns=since, at_ns=said
        )
        self.stands(key, alarm, f"alarm-{kind}")

    def close(self, rule: str, asset: str, at: int) -> None:
        """An alarm of a rule that has changed or is gone."""
        text = f"{asset}: closed, the rule has changed or is gone"
        if (rule, asset) in self.active:
            at = max(at, self.active[rule, asset].raised_ns)
            self.clear(rule, asset, at, None, text, None, is_closed=True)
            return
        at = self.not_before_the_last((rule, asset), at)
        was = self.returned.pop((rule, asset))
        self.tell(
            replace(was, id=self.id_of(), state="normal", value=None, message=text, at_ns=at), "alarm-closed"
        )

    def not_before_the_last(self, key: Key, at: int) -> int:
        """An alarm's transitions never go back in time; a wait that ended before comes before."""
        if self.holds.get(key, at) < at:
            self.end_hold(key)
        return max(at, self.moved.get(key, 0))

    def stands(self, key: Key, alarm: Alarm, kind: str, name: str | None = None) -> None:
        self.active[key] = alarm
        self.tell(alarm, kind, name)

    def tell(self, alarm: Alarm, kind: str, name: str | None = None) -> None:
        self.out.append(alarm)
        key = alarm.rule, alarm.asset
        self.moved[key] = alarm.at_ns
        if alarm.state == "normal":
            del self.moved[key]
        detail = {
            "rule": alarm.rule, "asset": alarm.asset, "severity": alarm.severity, "state": alarm.state,
            "value": alarm.value, "message": alarm.message,
        }  # fmt: skip
        self.entry(kind, alarm.at_ns, detail, name)

    # causes

    def name(self, key: Key) -> str:
        return f"{self.unit.id}:{key[0]}:{key[1]}"

    def above(self, asset: str) -> set[str]:
        """The asset, what it is part of, and what feeds any of these, in its unit."""
        if asset in self.known_above:
            return self.known_above[asset]
        found, todo = {asset}, [asset]
        while todo:
            one = todo.pop()
            for other in self.site.assets.values():
                holds = self.site.assets[one].part_of == other.id or one in other.feeds
                if holds and other.unit == self.unit.id and other.id not in found:
                    found.add(other.id)
                    todo.append(other.id)
        self.known_above[asset] = found
        return found

    def explains(self, cause: Key, key: Key) -> bool:
        if key[1] not in self.site.assets or cause[1] not in self.site.assets:
            return False
        if not any(rule.id == cause[0] and key[0] in rule.suppresses for rule in self.rules):
            return False
        above = self.above(key[1])
        return cause[1] in above or self.site.assets[cause[1]].part_of in above

    def cause_of(self, key: Key) -> Key | None:
        return min((cause for cause in self.active if self.explains(cause, key)), default=None)

    def suppress(self, rule: Rule, asset: str, at: int, prefix: str | None, said: int) -> None:
        """What a new alarm explains is heard no more. `said`: how much its deadline has said before."""
        if not rule.suppresses:
            return
        for key in sorted(key for key in self.active if self.explains((rule.id, asset), key)):
            own = self.not_before_the_last(key, at)
            if self.active[key].suppressed_by:
                continue
            self.holds.pop(key, None)
            ids = (f"{prefix}:{said}", f"{prefix}:{said + 1}") if prefix else (self.id_of(), None)
            said += 2
            alarm = replace(
                self.active[key], id=ids[0], state="suppressed", at_ns=own,
                suppressed_by=self.name((rule.id, asset)),
            )  # fmt: skip
            self.stands(key, alarm, "alarm-suppressed", ids[1])

    def let_go(self, at: int, prefix: str | None) -> None:
        """What no alarm explains any more is heard; what another one explains has that one as its cause."""
        said = 2
        for key in sorted(self.active):
            by = self.active[key].suppressed_by
            if not by:
                continue
            _, rule, asset = by.split(":", 2)
            if (rule, asset) in self.active and self.explains((rule, asset), key):
                continue
            own = self.not_before_the_last(key, at)
            cause = self.cause_of(key)
            ids = (f"{prefix}:{said}", f"{prefix}:{said + 1}") if prefix else (self.id_of(), None)
            said += 2
            state: Any = "unacknowledged" if cause is None else "suppressed"
            name = "" if cause is None else self.name(cause)
            alarm = replace(self.active[key], id=ids[0], state=state, at_ns=own, suppressed_by=name)
            kind = "alarm-unsuppressed" if cause is None else "alarm-suppressed"
            self.stands(key, alarm, kind, ids[1])

    def end_holds(self, at: int) -> None:
        for _, key in sorted((end, key) for key, end in self.holds.items() if end <= at):
            self.end_hold(key)

    def end_hold(self, key: Key) -> None:
        """Its cause did not come: it is heard."""
        end = self.holds.pop(key)
        prefix = f"{self.unit.id}:{key[0]}@suppressed:{key[1]}:{end}"
        own = max(end, self.moved.get(key, 0))
        alarm = replace(self.active[key], id=f"{prefix}:0", state="unacknowledged", at_ns=own)
        self.stands(key, alarm, "alarm-unsuppressed", f"{prefix}:1")
