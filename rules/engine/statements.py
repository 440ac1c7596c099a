"""Transitions to outputs: alarms, commands and journal entries, with ids that come from their cause.

Rules: an output's bytes depend on its cause alone (an input or a deadline) and on the program, never on the
batch, the density of ticks or the moment. Of one transition: the alarm, its journal entry, then its commands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from typing import Final, NamedTuple

from rules.engine.inputs import Identity
from rules.engine.outputs import Alarm, Command, Entry, Output, Severity
from rules.engine.tables import Spoken
from rules.language.message import render

Detail = Mapping[str, str | int | float | bool | None]
Shown = Mapping[str, float | None]
"""What a message shows, by name; `value` is the number that the alarm carries."""
VALUE: Final = "value"


class Raised(NamedTuple):
    """What a later transition must know of an alarm that is active."""

    id: str
    at_ns: int
    severity: Severity


class Cause:
    """Numbers the outputs of one cause: `part:part:0`, `part:part:1`, …; most have none."""

    __slots__ = ("_count", "_parts")

    def __init__(self, *parts: str | int) -> None:
        self._parts = parts
        self._count = 0

    def next_id(self) -> str:
        """The id of the next output of this cause."""
        name = ":".join(map(str, (*self._parts, self._count)))
        self._count += 1
        return name


def input_cause(unit: str, identity: Identity) -> Cause:
    """Outputs that an input causes."""
    return Cause(unit, identity.source, identity.epoch, identity.sequence)


def deadline_cause(unit: str, rule: str, asset: str, deadline_ns: int) -> Cause:
    """Outputs that a deadline causes, whichever tick or sample made it fire."""
    return Cause(unit, rule, asset, deadline_ns)


class Statements:
    """The engine's word on its alarms. `active` by (rule, asset) and `orphans` are part of a snapshot.

    Orphans are active alarms of rules that a restore found changed or gone: `close_orphans` ends them.
    """

    def __init__(self, unit: str, counters: Counter[str]) -> None:
        self.unit = unit
        self.active: dict[tuple[str, str], Raised] = {}
        self.orphans: list[tuple[str, str]] = []
        self.counters = counters

    def entry(self, out: list[Output], cause: Cause, kind: str, at_ns: int, detail: Detail) -> None:
        """A line of the journal."""
        out.append(Entry(cause.next_id(), self.unit, kind, at_ns, detail))

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
        """An alarm becomes active, and the journal says so."""
        name = cause.next_id()
        self.active[rule, asset] = Raised(name, at_ns, severity)
        self.counters["alarms_raised"] += 1
        out.append(
            Alarm(name, self.unit, rule, asset, severity, "unacknowledged", name, at_ns, None, value, message)
        )
        self._transition(out, cause, "alarm-raised", rule, asset, severity, at_ns, value, message)

    def clear_alarm(
        self,
        out: list[Output],
        cause: Cause,
        rule: str,
        asset: str,
        at_ns: int,
        value: float | None,
        message: str,
    ) -> None:
        """An active alarm returns to normal, and the journal says so."""
        raised = self.active.pop((rule, asset))
        severity = raised.severity
        self.counters["alarms_cleared"] += 1
        name = cause.next_id()
        out.append(
            Alarm(
                name,
                self.unit,
                rule,
                asset,
                severity,
                "normal",
                raised.id,
                raised.at_ns,
                at_ns,
                value,
                message,
            )
        )
        self._transition(out, cause, "alarm-cleared", rule, asset, severity, at_ns, value, message)

    def _transition(
        self,
        out: list[Output],
        cause: Cause,
        kind: str,
        rule: str,
        asset: str,
        severity: Severity,
        at_ns: int,
        value: float | None,
        message: str,
    ) -> None:
        detail = {"rule": rule, "asset": asset, "severity": severity, "value": value, "message": message}
        self.entry(out, cause, kind, at_ns, detail)

    def condition_raised(
        self, out: list[Output], cause: Cause, rule: Spoken, asset: str, at_ns: int, shown: Shown
    ) -> None:
        """A rule's alarm and its commands."""
        message = render(rule.message, asset, shown)
        self.raise_alarm(out, cause, rule.id, asset, rule.severity, at_ns, shown.get(VALUE), message)
        targets = rule.targets.get(asset, ())
        self.counters["commands"] += len(targets)
        for target in targets:
            out.append(
                Command(
                    cause.next_id(),
                    self.unit,
                    rule.id,
                    asset,
                    target.actuator,
                    target.value,
                    target.engineering_unit,
                    at_ns,
                    at_ns + target.expiry_ns,
                    message,
                )
            )

    def condition_cleared(
        self, out: list[Output], cause: Cause, rule: Spoken, asset: str, at_ns: int, shown: Shown
    ) -> None:
        """A rule's alarm is over. What it commanded stays: nothing is released yet."""
        message = render(rule.message, asset, shown)
        self.clear_alarm(out, cause, rule.id, asset, at_ns, shown.get(VALUE), message)

    def condition_unknown(
        self,
        out: list[Output],
        cause: Cause,
        rule: Spoken,
        asset: str,
        at_ns: int,
        shown: Shown,
        is_unknown: bool,
    ) -> None:
        """Nobody knows any more whether an alarm that stands still holds, or it is known again."""
        raised = self.active[rule.id, asset]
        message, value = render(rule.message, asset, shown), shown.get(VALUE)
        self.counters["alarms_unknown"] += is_unknown
        out.append(
            Alarm(
                cause.next_id(), self.unit, rule.id, asset, raised.severity, "unacknowledged", raised.id,
                raised.at_ns, None, value, message, at_ns if is_unknown else None,
            )
        )  # fmt: skip
        kind = "alarm-unknown" if is_unknown else "alarm-known"
        self._transition(out, cause, kind, rule.id, asset, raised.severity, at_ns, value, message)

    def adopt(
        self, active: Mapping[tuple[str, str], Raised], orphans: list[tuple[str, str]], kept: Set[str]
    ) -> None:
        """Take over what a snapshot holds; alarms of rules that are not `kept` become orphans."""
        self.active = dict(active)
        self.orphans = sorted({*orphans, *(key for key in active if key[0] not in kept)})

    def close_orphans(self, out: list[Output], cause: Cause, at_ns: int) -> None:
        """End alarms whose rule has changed or is gone: nothing would ever clear them."""
        for rule, asset in self.orphans:
            since_ns = self.active[rule, asset].at_ns
            text = f"{asset}: closed, the rule has changed or is gone"
            self.clear_alarm(out, cause, rule, asset, max(at_ns, since_ns), None, text)
        self.orphans = []
