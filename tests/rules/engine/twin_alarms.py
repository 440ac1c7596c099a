"""What the twin says of alarms, in plain Python: raised, over, unknown, closed; what one explains of others.

It knows nobody who acts: no alarm is acknowledged, shelved or out of service here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rules.engine.outputs import Alarm, Output
from rules.language.program import Rule
from rules.site.model import Site, Unit
from tests.rules.engine.twin_flood import FLOOD, TwinFlood
from tests.rules.engine.twin_ids import Ids, Key, numbered


class TwinAlarms(TwinFlood):
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
        self.firsts: dict[str, int] = {}
        self.believed: dict[Key, int] = {}
        self.telling: set[Key] = set()
        self.known_above: dict[str, set[str]] = {}
        self.no_flood()

    @abstractmethod
    def tell_fact(self, to: str, key: Key, at: int, is_true: bool) -> None:
        """Say to another unit whether an alarm is true."""

    @abstractmethod
    def needs_facts(self, rule: str) -> bool:
        """Whether a rule reads what other units tell."""

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
        ids: Ids,
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
        flood = self.folds_under(rule, severity, at) if state == "unacknowledged" else ""
        if flood:
            state, by = "suppressed", flood
        name = ids()
        alarm = Alarm(
            name, self.unit.id, rule, asset, severity, state, name, at, None, value, text,  # type: ignore[arg-type]
            suppressed_by=by, first_up=self.first_up(rule, at), at_ns=said,  # type: ignore[arg-type]
        )  # fmt: skip
        self.returned.pop(key, None)
        self.counters["alarms_raised"] += 1
        self.stands(key, alarm, "alarm-raised", ids)
        if flood:
            self.one_more_folded(rule, at)

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
        key = rule, asset
        said = self.not_before_the_last(key, at)
        was = self.active.pop(key)
        self.holds.pop(key, None)
        self.counters["alarms_cleared"] += 1
        is_over = is_closed or was.state == "suppressed"
        alarm = replace(
            was,
            id=ids(),
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
        self.tell(alarm, "alarm-cleared", ids)
        self.let_others_know(key, at, False)

    def unknown(
        self, rule: str, asset: str, at: int, value: float | None, text: str, kind: str, ids: Ids
    ) -> None:
        self.counters["alarms_unknown"] += kind == "unknown"
        key = rule, asset
        said = self.not_before_the_last(key, at)
        since = at if kind == "unknown" else None
        alarm = replace(self.active[key], id=ids(), value=value, message=text, unknown_ns=since, at_ns=said)
        self.stands(key, alarm, f"alarm-{kind}", ids)

    def close(self, rule: str, asset: str, at: int) -> None:
        """An alarm of a rule that has changed or is gone."""
        text = f"{asset}: closed, the rule has changed or is gone"
        if (rule, asset) in self.active:
            at = max(at, self.active[rule, asset].raised_ns)
            self.clear(rule, asset, at, None, text, self.id_of, is_closed=True)
            return
        at = self.not_before_the_last((rule, asset), at)
        was = self.returned.pop((rule, asset))
        gone = replace(was, id=self.id_of(), state="normal", value=None, message=text, at_ns=at)
        self.tell(gone, "alarm-closed", self.id_of)

    def not_before_the_last(self, key: Key, at: int) -> int:
        """An alarm's transitions never go back in time; a wait that ended before comes before."""
        if self.holds.get(key, at) < at:
            self.end_hold(key)
        return max(at, self.moved.get(key, 0))

    def stands(self, key: Key, alarm: Alarm, kind: str, ids: Ids) -> None:
        self.active[key] = alarm
        self.tell(alarm, kind, ids)

    def tell(self, alarm: Alarm, kind: str, ids: Ids) -> None:
        self.out.append(alarm)
        key = alarm.rule, alarm.asset
        self.moved[key] = alarm.at_ns
        if alarm.state == "normal":
            del self.moved[key]
        detail = {
            "rule": alarm.rule, "asset": alarm.asset, "severity": alarm.severity, "state": alarm.state,
            "value": alarm.value, "message": alarm.message,
        }  # fmt: skip
        if alarm.first_up and kind == "alarm-raised":
            detail["first_up"] = alarm.first_up
        self.entry(kind, alarm.at_ns, detail, ids())

    def first_up(self, rule_id: str, at: int) -> str:
        """Whether an alarm that goes off is the first of its group, or may be between two of its samples."""
        groups = {rule.id: rule.group for rule in self.rules if rule.group}
        group = groups.get(rule_id)
        if group is None:
            return ""
        if not any(groups.get(other) == group for other, _ in self.active):
            self.firsts[group] = at
            return "first"
        [rule] = [rule for rule in self.rules if rule.id == rule_id]
        slowest = 0
        here = {asset.id for asset in self.unit.assets}
        for asset in here & set(rule.assets):
            for signal, of in [pair for term in rule.terms for pair in term.signals(asset)]:
                if signal.op == "point":
                    slowest = max(slowest, self.site.points[signal.points[of]].period_ns)
                elif of in self.site.gpu_sources:
                    slowest = max(slowest, self.site.gpu_sources[of].period_ns)
        return "possibly" if at - slowest < self.firsts.setdefault(group, at) else ""

    # causes

    def name(self, key: Key) -> str:
        unit = self.site.assets[key[1]].unit if key[1] in self.site.assets else self.unit.id
        return f"{unit}:{key[0]}:{key[1]}"

    def above(self, asset: str, anywhere: bool) -> set[str]:
        """The asset, what it is part of, and what feeds any of these: in its unit, or anywhere."""
        name = f"{asset}:{anywhere}"
        if name in self.known_above:
            return self.known_above[name]
        found, todo = {asset}, [asset]
        while todo:
            one = todo.pop()
            for other in self.site.assets.values():
                holds = self.site.assets[one].part_of == other.id or one in other.feeds
                if holds and (anywhere or other.unit == self.unit.id) and other.id not in found:
                    found.add(other.id)
                    todo.append(other.id)
        self.known_above[name] = found
        return found

    def explains(self, cause: Key, key: Key) -> bool:
        if key[1] not in self.site.assets or cause[1] not in self.site.assets:
            return False
        if not any(rule.id == cause[0] and key[0] in rule.suppresses for rule in self.rules):
            return False
        above = self.above(key[1], self.site.assets[cause[1]].unit != self.unit.id)
        return cause[1] in above or self.site.assets[cause[1]].part_of in above

    def cause_of(self, key: Key) -> Key | None:
        return min(
            (cause for cause in {*self.active, *self.believed} if self.explains(cause, key)), default=None
        )

    def others_of(self, cause: Key) -> list[str]:
        """The other units in which an alarm may explain something."""
        if not any(rule.id == cause[0] and rule.suppresses for rule in self.rules) or self.needs_facts(
            cause[0]
        ):
            return []
        near = {cause[1], self.site.assets[cause[1]].part_of}
        return sorted(
            {one.unit for one in self.site.assets.values() if near & self.above(one.id, True)}
            - {self.unit.id}
        )

    def let_others_know(self, key: Key, at: int, is_true: bool) -> None:
        if is_true == (key in self.telling):
            return
        for to in self.others_of(key):
            self.tell_fact(to, key, at, is_true)
            self.telling |= {key}
        if not is_true:
            self.telling.discard(key)

    def told_elsewhere(self, cause: Key, at: int, is_true: bool) -> None:
        if not is_true:
            if self.believed.pop(cause, None) is not None:
                self.let_go(at, self.id_of)
            return
        is_new = cause not in self.believed
        self.believed[cause] = at + 3 * self.site.fact_period_ns
        if is_new:
            self.suppress_all(cause, at, self.id_of)

    def lapse(self, at: int) -> None:
        for cause in sorted(cause for cause, until in self.believed.items() if until <= at):
            del self.believed[cause]
            self.let_go(at, numbered(self.unit.id, f"{cause[0]}@lapsed", cause[1], at))

    def suppress(self, rule: Rule, asset: str, at: int, ids: Ids) -> None:
        """What a new alarm explains is heard no more."""
        if rule.suppresses:
            self.let_others_know((rule.id, asset), at, True)
            self.suppress_all((rule.id, asset), at, ids)

    def suppress_all(self, cause: Key, at: int, ids: Ids) -> None:
        for key in sorted(key for key in self.active if self.explains(cause, key)):
            own = self.not_before_the_last(key, at)
            if self.active[key].suppressed_by:
                continue
            self.holds.pop(key, None)
            alarm = replace(
                self.active[key], id=ids(), state="suppressed", at_ns=own,
                suppressed_by=self.name(cause),
            )  # fmt: skip
            self.stands(key, alarm, "alarm-suppressed", ids)

    def let_go(self, at: int, ids: Ids) -> None:
        """What no alarm explains any more is heard; what another one explains has that one as its cause."""
        for key in sorted(self.active):
            by = self.active[key].suppressed_by
            if not by:
                continue
            _, rule, asset = by.split(":", 2)
            if rule == FLOOD and self.is_in_flood(by, key[0]):
                continue
            if (rule, asset) in {*self.active, *self.believed} and self.explains((rule, asset), key):
                continue
            own = self.not_before_the_last(key, at)
            cause = self.cause_of(key)
            if cause is None:
                self.hear(key, own, ids)
                continue
            name = self.name(cause)
            alarm = replace(self.active[key], id=ids(), state="suppressed", at_ns=own, suppressed_by=name)
            self.stands(key, alarm, "alarm-suppressed", ids)

    def hear(self, key: Key, at: int, ids: Ids) -> None:
        """No alarm explains it: it is heard, or folded in a flood."""
        own, was = max(at, self.moved.get(key, 0)), self.active[key]
        flood = self.folds_under(key[0], was.severity, at)
        state: Any = "suppressed" if flood else "unacknowledged"
        alarm = replace(was, id=ids(), state=state, at_ns=own, suppressed_by=flood)
        self.stands(key, alarm, "alarm-suppressed" if flood else "alarm-unsuppressed", ids)
        if flood:
            self.one_more_folded(key[0], at)

    def end_holds(self, at: int) -> None:
        for _, key in sorted((end, key) for key, end in self.holds.items() if end <= at):
            self.end_hold(key)

    def end_hold(self, key: Key) -> None:
        """Its cause did not come: it is heard."""
        end = self.holds.pop(key)
        ids = numbered(self.unit.id, f"{key[0]}@suppressed", key[1], end)
        self.hear(key, end, ids)
