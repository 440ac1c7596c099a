"""What people do about alarms: why an action is refused, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rules.alarms.life_cycle import Event, Silence
from rules.alarms.standing import NO_END_NS, Reason, Standing
from rules.engine.inputs import Action
from rules.site.model import Site

_ASKED: Final[Mapping[str, Event]] = {"acknowledge": Event.ACKNOWLEDGE, "reset": Event.RESET}
_BEGINS: Final[Mapping[str, Silence]] = {
    "shelve": Silence.SHELVED,
    "remove-from-service": Silence.OUT_OF_SERVICE,
}
_ENDS: Final[Mapping[str, Silence]] = {
    "unshelve": Silence.SHELVED,
    "return-to-service": Silence.OUT_OF_SERVICE,
}
ENDED: Final = {
    Silence.SHELVED: "alarm-unshelved",
    Silence.OUT_OF_SERVICE: "alarm-in-service",
    Silence.SUPPRESSED: "alarm-unsuppressed",
}
"""What the journal calls the end of a silence."""
JOURNALED: Final[Mapping[str, str]] = {
    "confirm": "alarm-confirmed",
    "acknowledge": "alarm-acknowledged",
    "reset": "alarm-reset",
    "shelve": "alarm-shelved",
    "unshelve": ENDED[Silence.SHELVED],
    "remove-from-service": "alarm-out-of-service",
    "return-to-service": ENDED[Silence.OUT_OF_SERVICE],
    "comment": "alarm-commented",
}
"""What the journal calls an action that is done."""
REFUSED: Final = "action-refused"


def refusal(action: Action, alarm: Standing | None, at_ns: int, site: Site) -> str:
    """Why an action is not taken; '' where it is. `alarm` None: it is simply normal."""
    kind, alarm = action.action, alarm or Standing("")
    if not action.by:
        return "nobody says who wants it"
    if kind in _ASKED or kind == "confirm":
        reason = _not_confirmed(alarm) if kind == "confirm" else alarm.refusal(_ASKED[kind])
        if not reason and action.occurrence != alarm.raised_id:
            return f"it went off again: the last occurrence is {alarm.raised_id}"
        return reason
    if kind in _ENDS:
        return "" if _ENDS[kind] in alarm.silences else f"it is not {_ENDS[kind]}"
    if not action.comment.strip():
        return "nobody says why"
    if kind in _BEGINS:
        limit_ns = site.shelving_max_ns if kind == "shelve" else site.out_of_service_max_ns
        if action.until_ns <= at_ns:
            return "it would be over already"
        if action.until_ns > at_ns + limit_ns:
            return f"the site allows {limit_ns / 3.6e12:g} h at most"
    return ""


def _not_confirmed(alarm: Standing) -> str:
    """Why an occurrence can't be confirmed. ISA-18.2 knows no such thing, OPC UA does (part 9, 5.7.3): somebody has
    done what there was to do. It changes no state.
    """
    if alarm.acknowledged_ns is None:
        return "it is not acknowledged yet" if alarm.raised_id else "nothing of it stands"
    return "" if alarm.confirmed_ns is None else "it is confirmed already"


def do(alarm: Standing, action: Action, at_ns: int, re_alarm_ns: int) -> str:
    """An action that is not refused; what the journal calls it. `re_alarm_ns`: of its rule, 0 for never."""
    kind = action.action
    alarm.by, alarm.comment = action.by, action.comment
    if kind in _ASKED:
        alarm.move(_ASKED[kind])
        if kind == "acknowledge":
            alarm.acknowledged_ns = at_ns
            alarm.re_alarm_ns = at_ns + re_alarm_ns if re_alarm_ns else NO_END_NS
    elif kind == "confirm":
        alarm.confirmed_ns = at_ns
    elif kind in _BEGINS:
        alarm.silence(_BEGINS[kind], Reason(action.until_ns, action.by, action.comment, action.one_shot))
    elif kind in _ENDS:
        alarm.sound(_ENDS[kind])
    return JOURNALED[kind]
