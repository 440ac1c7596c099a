"""Transitions to outputs: alarms, commands and journal entries, with ids that come from their cause.

Rules: an output's bytes depend on its cause alone (an input or a deadline) and on the program, never on the
batch, the density of ticks or the moment; a journal entry's `number` and `previous` on the entries before it as well.
Commands are said at once. An alarm that hangs on others, or on which others hang, waits for the tick that passes it, so
that what is decided among alarms is decided in the order of event time; the others are said at once too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from operator import itemgetter
from typing import Any, Final

from rules.alarms import actions
from rules.alarms.abroad import PERIODS, Abroad, name_of
from rules.alarms.actions import ENDED, REFUSED
from rules.alarms.causes import Causes, Key
from rules.alarms.first_up import Groups
from rules.alarms.flood import EDGE_NS, Flood
from rules.alarms.life_cycle import Event, Silence, State
from rules.alarms.standing import NO_END_NS, Reason, Standing
from rules.engine.cause import ENDS, Cause, deadline_cause
from rules.engine.chain import ChainEnd
from rules.engine.facts import Told
from rules.engine.inputs import Action, Fact
from rules.engine.outputs import Command, Output, Severity
from rules.engine.register import Detail, Register
from rules.engine.tables import Spoken
from rules.engine.waiting import Transition, Waiting
from rules.language.message import render
from rules.language.program import ALARM_FLOOD, OWN_RULES
from rules.site.model import Site, Unit

FLOOD_SEVERITY: Final[Severity] = "medium"
"""Of a fold's alarm: what it stands for is no more."""
VALUE: Final = "value"
"""Of what a message shows, the number that the alarm carries."""
_OF_ALARM: Final = 2
"""How many ids a transition of an alarm takes: its own and its journal entry's."""


def _edge_ns(behind_ns: int, step_ns: int, is_wanted: bool) -> int:
    """The next multiple of a step, where something has to be done at it."""
    return (behind_ns // step_ns + 1) * step_ns if is_wanted else NO_END_NS


Tell = Callable[[Told, int, float, float], Fact]
"""Makes a fact of what is told, its time, the number and of how many members it is made."""


class Statements(Register):
    """The engine's word on its alarms, and why (`rules/alarms`).

    `orphans`: active alarms of rules that a restore found changed or gone; `settle` ends them. `causes`: which alarm
    explains which, by the rules. `waiting`: what no tick has passed yet. `passed_ns`: all up to here is said. `tell`
    makes facts for other units.
    """

    def __init__(self, unit: Unit, site: Site, counters: Counter[str], tell: Tell) -> None:
        super().__init__(unit.id, counters)
        self._unit = unit
        self.site = site
        self.causes = Causes(site, unit, {})
        self.abroad = Abroad(site, unit, self.causes, ())
        self.groups = Groups({}, {})
        self.flood = Flood(site.flood_limit)
        self.orphans: list[Key] = []
        self.waiting = Waiting(unit)
        self.passed_ns = 0
        self._unsettled = False
        self._tell = tell

    # -- conditions

    def raise_alarm(
        self,
        out: list[Output],
        cause: Cause,
        rule: str,
        asset: str,
        severity: Severity,
        at_ns: int,
        value: float | None,
        message: str,
    ) -> None:
        """A condition became true: another occurrence of its alarm, and the journal says so."""
        key = rule, asset
        alarm, said_ns = self._at(out, key, severity, at_ns)
        self._expect_cause(alarm, key, severity, at_ns)
        alarm.move(Event.RAISE)
        name = cause.next_id()
        alarm.severity, alarm.raised_id, alarm.raised_ns = severity, name, at_ns
        alarm.cleared_ns = alarm.unknown_ns = alarm.acknowledged_ns = alarm.confirmed_ns = None
        alarm.by = alarm.comment = ""
        alarm.first_up = self.groups.raised(rule, at_ns)
        is_folded = not alarm.silences and self._folds(key, alarm, at_ns)
        if key not in self.active:
            self.groups.count(rule, 1)
        self.active[key] = alarm
        self.counters["alarms_raised"] += 1
        self.say(out, cause, "alarm-raised", key, said_ns, value, message, name)
        if is_folded:
            self._fold(out, key, at_ns)

    def clear_alarm(
        self,
        out: list[Output],
        cause: Cause,
        rule: str,
        asset: str,
        at_ns: int,
        value: float | None,
        message: str,
        latches: bool = False,
    ) -> None:
        """A condition returned; a shelving for this once ends with it."""
        key = rule, asset
        alarm, said_ns = self._at(out, key, self.active[key].severity, at_ns)
        alarm.move(Event.LATCH if latches else Event.CLEAR)
        self._no_longer_true(key, alarm, at_ns)
        if Silence.SUPPRESSED in alarm.silences and not latches:
            alarm.sound(Silence.SUPPRESSED)  # nothing is left to explain
        self.say(out, cause, "alarm-cleared", key, said_ns, value, message)
        self._let_others_know(out, key, at_ns)
        shelving = alarm.silences.get(Silence.SHELVED)
        if shelving is not None and shelving.one_shot:
            self._sound(out, cause, key, Silence.SHELVED, at_ns)

    def _no_longer_true(self, key: Key, alarm: Standing, at_ns: int) -> None:
        del self.active[key]
        self.groups.count(key[0], -1)
        alarm.cleared_ns, alarm.unknown_ns = at_ns, None
        self.counters["alarms_cleared"] += 1

    def hear(self, out: list[Output], cause: Cause | None, by_deadline: bool, what: Transition) -> None:
        """A transition of a condition, of an input (`cause`) or, None, of the time that has come.

        Its commands are said now: who does not hear an alarm is helped by its action all the same.
        """
        own = deadline_cause(self.unit, what.rule.id, what.asset, what.at_ns)
        if cause is None or (what.at_ns > self.passed_ns and self._waits(what.rule)):
            if what.kind == "raised":
                self._command(out, own.skip(_OF_ALARM) if cause is None or by_deadline else cause, what)
            self.waiting.add(what)
            return
        cause = own if by_deadline else cause
        self._take(out, cause, what)
        if what.kind == "raised":
            self._command(out, cause, what)
            self._suppress(out, cause, (what.rule.id, what.asset), what.at_ns)

    def _waits(self, rule: Spoken) -> bool:
        """Whether what becomes of its alarms hangs on others, or others hang on them."""
        return bool(rule.group or self.flood.limit) or self.causes.relates(rule.id)

    def advance(self, out: list[Output], until_ns: int) -> None:
        """What waits, and ends of silences, up to `until_ns`, in the order of time; of one time, ends come last."""
        telling_ns = flood_ns = self.passed_ns
        self.passed_ns = max(self.passed_ns, until_ns)
        if self._is_quiet(until_ns):
            return
        of: dict[tuple[int, str, str], Cause] = {}
        while True:
            lapses_ns = min(self.abroad.believed.values(), default=NO_END_NS)
            tells_ns = _edge_ns(telling_ns, self.abroad.period_ns, bool(self.abroad.told))
            looks_ns = _edge_ns(flood_ns, EDGE_NS, self.flood.is_busy)
            ends_ns, ended = self.next_end()
            at_ns = min(until_ns, ends_ns, lapses_ns, tells_ns, looks_ns)
            if self.waiting.first_ns(NO_END_NS) <= at_ns:
                at_ns = self.waiting.first_ns(NO_END_NS)
                self._take_waiting(out, of)
            elif ends_ns <= at_ns:
                self._expire(out, at_ns, ended)
            elif lapses_ns <= at_ns:
                self._lapse(out, at_ns)
            elif tells_ns <= at_ns:
                self._tell_again(out, at_ns)
                telling_ns = at_ns
            elif looks_ns <= at_ns:
                self._see_to_flood(out, at_ns)
                flood_ns = at_ns
            else:
                return
            # an edge comes behind all that is of its own time
            telling_ns, flood_ns = max(telling_ns, at_ns - 1), max(flood_ns, at_ns - 1)

    def _is_quiet(self, until_ns: int) -> bool:
        """Whether none of that is due: so it is at nearly every tick."""
        if self.abroad.believed or self.abroad.told or self.flood.is_busy:
            return False
        return self.waiting.first_ns(NO_END_NS) == NO_END_NS and self.next_end()[0] > until_ns

    def take_all(self, out: list[Output]) -> None:
        """What waits, whatever its time: its rules are about to go."""
        of: dict[tuple[int, str, str], Cause] = {}
        while self.waiting.first_ns(NO_END_NS) < NO_END_NS:
            self._take_waiting(out, of)

    def _take_waiting(self, out: list[Output], of: dict[tuple[int, str, str], Cause]) -> None:
        what = self.waiting.take()
        rule, asset, at_ns = what.rule, what.asset, what.at_ns
        cause = of.setdefault((at_ns, rule.id, asset), deadline_cause(self.unit, rule.id, asset, at_ns))
        self._take(out, cause, what)
        if what.kind == "raised":
            self._suppress(out, cause.skip(len(rule.targets.get(asset, ()))), (rule.id, asset), at_ns)

    def _take(self, out: list[Output], cause: Cause, what: Transition) -> None:
        at_ns, rule, asset, kind, shown = what
        message, value = render(rule.message, asset, shown), shown.get(VALUE)
        if kind == "raised":
            self.raise_alarm(out, cause, rule.id, asset, rule.severity, at_ns, value, message)
        elif kind == "cleared":  # what it commanded stays: nothing is released yet
            self.clear_alarm(out, cause, rule.id, asset, at_ns, value, message, rule.latches)
            if rule.id in self.causes.suppresses:
                self._let_go(out, cause, at_ns)
        else:
            alarm, said_ns = self._at(out, (rule.id, asset), rule.severity, at_ns)
            self.counters["alarms_unknown"] += kind == "unknown"
            alarm.unknown_ns = at_ns if kind == "unknown" else None
            self.say(out, cause, f"alarm-{kind}", (rule.id, asset), said_ns, value, message)

    def _command(self, out: list[Output], cause: Cause, what: Transition) -> None:
        targets = what.rule.targets.get(what.asset, ())
        if not targets:
            return
        self.counters["commands"] += len(targets)
        message = render(what.rule.message, what.asset, what.shown)
        for target in targets:
            out.append(
                Command(
                    cause.next_id(),
                    self.unit,
                    what.rule.id,
                    what.asset,
                    target.actuator,
                    target.value,
                    target.engineering_unit,
                    what.at_ns,
                    what.at_ns + target.expiry_ns,
                    message,
                )
            )

    # -- people

    def act(
        self,
        out: list[Output],
        cause: Cause,
        action: Action,
        rule: Spoken | None,
        at_ns: int,
        denied: str,
        signers: Detail,
    ) -> None:
        """What a person wants done, or why not. `rule`: the alarm's, None where no such alarm can be.

        `denied`: why they have no right to it; `signers`: whose word it is, for the journal (`rules/access`).
        """
        key = action.rule, action.asset
        known = self.standing.get(key)
        refusal = denied or "there is no such alarm"
        if not denied and (rule is not None or known is not None):
            refusal = actions.refusal(action, known, at_ns, self.site)
        if refusal:
            self.counters["actions_refused"] += 1
            detail: Detail = {
                "action": action.action,
                "rule": action.rule,
                "asset": action.asset,
                "by": action.by,
                "reason": refusal,
                **signers,
            }
            self.entry(out, cause, REFUSED, at_ns, detail)
            return
        alarm, at_ns = self._at(out, key, rule.severity if rule else "low", at_ns)
        kind = actions.do(alarm, action, at_ns, rule.re_alarm_ns if rule else 0)
        self.say(out, cause, kind, key, at_ns, alarm.value, alarm.message, more=signers)
        if action.action == "remove-from-service":
            self._let_others_know(out, key, at_ns)
            self._let_go(out, cause, at_ns)
        elif action.action == "return-to-service":
            self._suppress(out, cause, key, at_ns)

    # -- causes and consequences

    def _expect_cause(self, alarm: Standing, key: Key, severity: str, at_ns: int) -> None:
        """What goes off and has a cause is not heard; what may have one waits for it a moment, unless it is urgent."""
        if not self.causes.is_consequence(key[0]):
            return
        by = self._cause_of(key)
        if by is not None:
            alarm.silence(Silence.SUPPRESSED, Reason(NO_END_NS, self._name(by), ""))
        elif severity != "urgent" and self.site.hold_off_ns:
            alarm.silence(Silence.SUPPRESSED, Reason(at_ns + self.site.hold_off_ns, "", ""))

    def _is_believed(self, key: Key) -> bool:
        """Whether an alarm may explain others: it is true, and in service."""
        alarm = self.active.get(key)
        return alarm is not None and Silence.OUT_OF_SERVICE not in alarm.silences

    def _cause_of(self, key: Key) -> Key | None:
        """What explains an alarm now: the first by rule, then by asset, here or in another unit."""
        found = [self.causes.of(key, self._is_believed), self.abroad.of(key)]
        return min((by for by in found if by is not None), default=None)

    def _explains(self, by: Key, key: Key) -> bool:
        if by[0] == ALARM_FLOOD:
            return by[1] in self.flood.folded and by[1] == self._group(key[0])
        if by in self.abroad.believed:
            return self.abroad.explains(by, key)
        return self._is_believed(by) and self.causes.explains(by, key)

    def _name(self, key: Key) -> str:
        unit = self.unit if key[1] not in self.site.assets else self.site.assets[key[1]].unit
        return f"{unit}:{key[0]}:{key[1]}"

    def _let_others_know(self, out: list[Output], key: Key, at_ns: int) -> None:
        """Units in which an alarm may explain something are told when it becomes true, and when it is over."""
        is_true = self._is_believed(key)
        if is_true == (key in self.abroad.told):
            return
        units = self.abroad.concerns(key) if is_true else self.abroad.told.pop(key)
        if is_true and units:
            self.abroad.told[key] = units
        for unit in units:
            out.append(self._tell(Told(unit, name_of(key), key[1]), at_ns, float(is_true), 1))

    def _tell_again(self, out: list[Output], at_ns: int) -> None:
        for key, units in sorted(self.abroad.told.items()):
            for unit in units:
                out.append(self._tell(Told(unit, name_of(key), key[1]), at_ns, 1.0, 1))

    def told(self, out: list[Output], cause: Cause, by: Key, at_ns: int, is_true: bool) -> None:
        """An alarm of another unit that may explain some here is true, or it is over."""
        if not is_true:
            if self.abroad.believed.pop(by, None) is not None:
                self._let_go(out, cause, at_ns)
            return
        is_new = by not in self.abroad.believed
        self.abroad.believed[by] = at_ns + PERIODS * self.abroad.period_ns
        if is_new:
            self._suppress_all(out, cause, by, at_ns)

    def _lapse(self, out: list[Output], at_ns: int) -> None:
        """What another unit does not tell any more explains nothing."""
        for by in sorted(by for by, until_ns in self.abroad.believed.items() if until_ns <= at_ns):
            del self.abroad.believed[by]
            self._let_go(out, Cause(self.unit, f"{by[0]}{ENDS}lapsed", by[1], at_ns), at_ns)

    def _suppress(self, out: list[Output], cause: Cause, by: Key, at_ns: int) -> None:
        """An alarm that may be a cause is true: what it explains is heard no more."""
        if by[0] in self.causes.suppresses and self._is_believed(by):
            self._let_others_know(out, by, at_ns)
            self._suppress_all(out, cause, by, at_ns)

    def _suppress_all(self, out: list[Output], cause: Cause, by: Key, at_ns: int) -> None:
        for key in sorted(key for key in self.active if self._explains(by, key)):
            alarm, own_ns = self._at(out, key, self.active[key].severity, at_ns)
            known = alarm.silences.get(Silence.SUPPRESSED)
            if known is None or not known.by:
                alarm.silence(Silence.SUPPRESSED, Reason(NO_END_NS, self._name(by), ""))
                alarm.by = alarm.comment = ""
                self.say(out, cause, "alarm-suppressed", key, own_ns, alarm.value, alarm.message)

    def _is_without_cause(self, key: Key, alarm: Standing) -> bool:
        """Whether it is not heard because of an alarm that does not explain it any more."""
        reason = alarm.silences.get(Silence.SUPPRESSED)
        if reason is None or not reason.by:
            return False
        _, rule, asset = reason.by.split(":", 2)
        return not self._explains((rule, asset), key)

    @property
    def is_settled(self) -> bool:
        """Whether all that stands is of the rules that rule, and has its cause among them."""
        return not self.orphans and not self._unsettled

    def _let_go(self, out: list[Output], cause: Cause, at_ns: int) -> None:
        """What no alarm explains any more is heard again; what another one explains has that one as its cause."""
        for key, one in sorted(self.standing.items(), key=itemgetter(0)):
            if not self._is_without_cause(key, one):
                continue
            alarm, own_ns = self._at(out, key, one.severity, at_ns)
            by = self._cause_of(key)
            alarm.by = alarm.comment = ""
            if by is None:
                self._hear(out, cause, key, own_ns)
            else:
                alarm.silence(Silence.SUPPRESSED, Reason(NO_END_NS, self._name(by), ""))
                self.say(out, cause, "alarm-suppressed", key, own_ns, alarm.value, alarm.message)

    # -- floods

    def _group(self, rule: str) -> str:
        """Under what it folds: its group, or the unit's rest."""
        return self.groups.of.get(rule, self.unit)

    def _flood_of(self, key: Key) -> str:
        return f"{self.unit}:{ALARM_FLOOD}:{self._group(key[0])}"

    def _folds(self, key: Key, alarm: Standing, at_ns: int) -> bool:
        """Whether an alarm that is to be heard is folded instead, as there is a flood; then it is silent."""
        if key[0] in OWN_RULES:
            return False
        is_folded = self.flood.folds(alarm.severity, at_ns)
        self.flood.count(at_ns, not is_folded)
        if is_folded:
            alarm.silence(Silence.SUPPRESSED, Reason(NO_END_NS, self._flood_of(key), ""))
        return is_folded

    def _fold(self, out: list[Output], key: Key, at_ns: int) -> None:
        """One more of its group: with the first the group's alarm goes off."""
        group = self._group(key[0])
        if self.flood.fold(group):
            self._say_flood(out, group, 1, at_ns)

    def _say_flood(self, out: list[Output], group: str, stand: int, at_ns: int) -> None:
        folded, key = self.flood.folded[group], (ALARM_FLOOD, group)
        cause = Cause(self.unit, ALARM_FLOOD, group, at_ns)
        are = "alarm is" if stand == 1 else "alarms are"
        text = f"{group}: {stand} {are} folded in a flood, {folded} since it began"
        self.flood.said[group] = folded
        if key in self.active:
            at_ns = self._at(out, key, FLOOD_SEVERITY, at_ns)[1]
            self.say(out, cause, "alarm-flood", key, at_ns, float(folded), text)
        else:
            self.raise_alarm(out, cause, *key, FLOOD_SEVERITY, at_ns, float(folded), text)

    def _see_to_flood(self, out: list[Output], at_ns: int) -> None:
        """A flood may be over: what stands of a group is heard again once it fits into the rate."""
        self.flood.pass_edge(at_ns)
        for group in sorted(self.flood.folded):
            by = f"{self.unit}:{ALARM_FLOOD}:{group}"
            reasons = [one.silences.get(Silence.SUPPRESSED) for one in self.standing.values()]
            stand = sum(reason is not None and reason.by == by for reason in reasons)
            folded = self.flood.folded[group]
            if self.flood.has_room(stand, at_ns):
                self.flood.unfold(group)
                cause = Cause(self.unit, ALARM_FLOOD, group, at_ns)
                text = f"{group}: {folded} {'alarm was' if folded == 1 else 'alarms were'} folded in a flood"
                self.clear_alarm(out, cause, ALARM_FLOOD, group, at_ns, float(folded), text)
                self._let_go(out, cause, at_ns)
            elif folded != self.flood.said[group]:
                self._say_flood(out, group, stand, at_ns)

    # -- time

    def _expire(self, out: list[Output], at_ns: int, key: Key) -> None:
        alarm = self.standing[key]
        if alarm.state is State.ACKNOWLEDGED:
            self._re_alarm(out, at_ns, key, alarm)
            return
        why = next(one for one in Silence if one in alarm.silences and alarm.silences[one].until_ns == at_ns)
        rule, asset = key
        cause = Cause(self.unit, f"{rule}{ENDS}{why}", asset, at_ns)
        alarm.by = alarm.comment = ""
        if why is Silence.SUPPRESSED:
            self._hear(out, cause, key, at_ns)
            return
        self._sound(out, cause, key, why, at_ns)
        if why is Silence.OUT_OF_SERVICE:
            self._suppress(out, cause, key, at_ns)

    def _re_alarm(self, out: list[Output], at_ns: int, key: Key, alarm: Standing) -> None:
        rule, asset = key
        alarm.hear_anew(Event.RE_ALARM)
        alarm.by = alarm.comment = ""
        cause = Cause(self.unit, f"{rule}{ENDS}{Event.RE_ALARM}", asset, at_ns)
        self.say(out, cause, "alarm-re-alarmed", key, max(at_ns, alarm.last_ns), alarm.value, alarm.message)

    def _hear(self, out: list[Output], cause: Cause, key: Key, at_ns: int) -> None:
        """No alarm explains it: it is heard, or folded in a flood."""
        alarm = self.standing[key]
        if alarm.is_true and len(alarm.silences) == 1 and self._folds(key, alarm, at_ns):
            own_ns = max(at_ns, alarm.last_ns)
            self.say(out, cause, "alarm-suppressed", key, own_ns, alarm.value, alarm.message)
            self._fold(out, key, at_ns)
        else:
            self._sound(out, cause, key, Silence.SUPPRESSED, at_ns)

    def _sound(self, out: list[Output], cause: Cause, key: Key, why: Silence, at_ns: int) -> None:
        alarm = self.standing[key]
        alarm.sound(why)
        self.say(out, cause, ENDED[why], key, max(at_ns, alarm.last_ns), alarm.value, alarm.message)

    def _at(self, out: list[Output], key: Key, severity: str, at_ns: int) -> tuple[Standing, int]:
        """An alarm as it is at a time, and the time that its next transition has: none goes back.

        When its condition became true, false or unknown is the condition's own time all the same.
        """
        alarm = self.standing.get(key)
        if alarm is None:
            alarm = self.standing[key] = Standing(severity)
            return alarm, at_ns
        while alarm.ends_ns < at_ns:
            self._expire(out, alarm.ends_ns, key)
            alarm = self.standing.setdefault(key, Standing(severity))
        return alarm, max(at_ns, alarm.last_ns)

    def begin_with(self, rules: Sequence[Spoken], suppresses: Mapping[str, Sequence[str]]) -> None:
        """Go on with these rules of the unit, and with what those of all units explain."""
        self.causes = Causes(self.site, self._unit, suppresses)
        self.waiting.rank = self.causes.rank
        believed = self._saved_believed()
        self.abroad = Abroad(
            self.site, self._unit, self.causes, (rule.id for rule in rules if rule.needs_facts)
        )
        self._restore_believed(believed)
        self.abroad.told = self._told_of()
        first_ns = self.groups.first_ns
        self.groups = Groups(
            {rule.id: rule.group for rule in rules}, {rule.id: rule.sampled_ns for rule in rules}
        )
        self.groups.begin_with(first_ns, (rule for rule, _ in self.active))

    def _saved_believed(self) -> list[list[Any]]:
        return [[*key, until_ns] for key, until_ns in sorted(self.abroad.believed.items())]

    def _restore_believed(self, saved: Iterable[list[Any]]) -> None:
        keys = {(rule, asset): until_ns for rule, asset, until_ns in saved}
        may = self.abroad.may_believe
        self.abroad.believed = {key: until_ns for key, until_ns in keys.items() if may(key)}

    def _told_of(self) -> dict[Key, tuple[str, ...]]:
        """Our causes that are true, with the units that must know."""
        true = [key for key in self.active if key[0] in self.causes.suppresses and self._is_believed(key)]
        return {key: units for key in true if (units := self.abroad.concerns(key))}

    def saved(self) -> dict[str, Any]:
        """For a snapshot: plain values."""
        return {
            "standing": [[*key, *alarm.saved()] for key, alarm in sorted(self.standing.items())],
            "orphans": self.orphans,
            "first_ns": self.groups.first_ns,
            "flood": self.flood.saved(),
            "believed": self._saved_believed(),
            "waiting": self.waiting.saved(),
            "passed_ns": self.passed_ns,
            "chain_end": [*self.chain_end],
        }

    def restore(self, saved: Mapping[str, Any], rules: Iterable[Spoken]) -> None:
        """Take over what `saved` gave; alarms of rules that are not among `rules` become orphans."""
        kept = {rule.id: rule for rule in rules}
        self.standing = {(rule, asset): Standing.restored(*rest) for rule, asset, *rest in saved["standing"]}
        self.active = {key: alarm for key, alarm in self.standing.items() if alarm.is_true}
        self.groups.begin_with(saved["first_ns"], (rule for rule, _ in self.active))
        self.flood.adopt(saved["flood"])
        self.abroad.told = self._told_of()
        self._restore_believed(saved["believed"])
        self.waiting.restore(saved["waiting"], kept)
        self.passed_ns = saved["passed_ns"]
        self.chain_end = ChainEnd(*saved["chain_end"])
        for key in self.standing:
            self.expect_end(key)
        self.orphans = [(rule, asset) for rule, asset in saved["orphans"]]
        self.leave(kept.keys() | OWN_RULES)

    def leave(self, kept: Set[str]) -> None:
        """Rules that are not `kept` are gone: what stands of them is an orphan."""
        self.orphans = sorted({*self.orphans, *(key for key in self.standing if key[0] not in kept)})
        self._unsettled = any(self._is_without_cause(*item) for item in self.standing.items())

    def settle(self, out: list[Output], cause: Cause, at_ns: int) -> None:
        """End alarms whose rule has changed or is gone, as nothing else would, and let go of what they explained."""
        for key in self.orphans:
            alarm, own_ns = self.standing[key], max(at_ns, self.standing[key].last_ns)
            alarm.silences.clear()
            alarm.move(Event.CLOSE)
            alarm.by = alarm.comment = ""
            kind = "alarm-closed"
            if key in self.active:
                self._no_longer_true(key, alarm, max(at_ns, alarm.raised_ns))
                kind = "alarm-cleared"
            text = f"{key[1]}: closed, the rule has changed or is gone"
            self.say(out, cause, kind, key, own_ns, None, text)
            self._let_others_know(out, key, own_ns)
        self.orphans, self._unsettled = [], False
        self._let_go(out, cause, at_ns)
