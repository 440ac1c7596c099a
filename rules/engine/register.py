"""The alarms of a unit that are not simply normal, and the one way to say what has become of one.

Rules: an alarm and its line in the journal are said together; a line has its number and the hash of the line before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Final, cast

from rules.alarms.causes import Key
from rules.alarms.life_cycle import Silence
from rules.alarms.standing import NO_END_NS, Standing
from rules.engine.cause import Cause
from rules.engine.chain import ChainEnd, entry_bytes, hash_of
from rules.engine.outputs import Alarm, AlarmState, Entry, Output, Severity

Detail = Mapping[str, str | int | float | bool | None]
_NOTHING: Final[Detail] = {}


class Register:
    """`standing` by (rule, asset): all that are not simply normal. `active`: those of them whose condition holds.
    `chain_end`: the last line of the journal. All is part of a snapshot.
    """

    def __init__(self, unit: str, counters: Counter[str]) -> None:
        self.unit = unit
        self.standing: dict[Key, Standing] = {}
        self.active: dict[Key, Standing] = {}
        self.chain_end = ChainEnd()
        self._ends: list[tuple[int, Key]] = []
        """When time changes an alarm next: a heap that also has ends which no longer are."""
        self.counters = counters

    def entry(self, out: list[Output], cause: Cause, kind: str, at_ns: int, detail: Detail) -> None:
        """A line of the journal."""
        number, previous = self.chain_end
        line = Entry(cause.next_id(), self.unit, kind, at_ns, detail, number + 1, previous)
        self.chain_end = ChainEnd(line.number, hash_of(entry_bytes(line)))
        out.append(line)

    def say(
        self,
        out: list[Output],
        cause: Cause,
        kind: str,
        key: Key,
        at_ns: int,
        value: float | None,
        message: str,
        name: str | None = None,
        more: Detail = _NOTHING,
    ) -> None:
        """The alarm as it is now, and its line in the journal, which has `more`."""
        alarm, (rule, asset) = self.standing[key], key
        alarm.value, alarm.message, alarm.last_ns = value, message, at_ns
        shelving, service = alarm.silences.get(Silence.SHELVED), alarm.silences.get(Silence.OUT_OF_SERVICE)
        suppression = alarm.silences.get(Silence.SUPPRESSED)
        severity, state = cast("Severity", alarm.severity), cast("AlarmState", alarm.shown_state)
        out.append(
            Alarm(
                name or cause.next_id(), self.unit, rule, asset, severity, state, alarm.raised_id, alarm.raised_ns,
                alarm.cleared_ns, value, message, alarm.unknown_ns, alarm.acknowledged_ns, alarm.confirmed_ns,
                None if shelving is None else shelving.until_ns,
                shelving is not None and shelving.one_shot,
                None if service is None else service.until_ns,
                "" if suppression is None else suppression.by,
                alarm.first_up, alarm.by, alarm.comment, at_ns,
            )
        )  # fmt: skip
        detail: dict[str, str | float | None] = {
            "rule": rule, "asset": asset, "severity": severity, "state": state, "value": value, "message": message,
        }  # fmt: skip
        if alarm.first_up and kind == "alarm-raised":
            detail["first_up"] = alarm.first_up
        if alarm.by:
            detail |= {"by": alarm.by, "comment": alarm.comment, **more}
        self.entry(out, cause, kind, at_ns, detail)
        self.expect_end(key)
        if alarm.is_forgettable:
            del self.standing[key]

    def expect_end(self, key: Key) -> None:
        """Time may change an alarm: see when."""
        ends_ns = self.standing[key].ends_ns
        if ends_ns < NO_END_NS:
            heappush(self._ends, (ends_ns, key))

    def next_end(self) -> tuple[int, Key]:
        """When time changes an alarm next, and which: exactly, the first by (time, rule, asset)."""
        while self._ends:
            ends_ns, key = self._ends[0]
            alarm = self.standing.get(key)
            if alarm is not None and alarm.ends_ns == ends_ns:
                return ends_ns, key
            heappop(self._ends)
        return NO_END_NS, ("", "")
