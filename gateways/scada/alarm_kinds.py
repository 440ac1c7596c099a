"""What kind of condition a rule's alarm is in OPC UA's terms: its type, its limits, and the point that it watches.

By the first comparison of `when` (of `A and B` that of A, which by habit is the thing itself):

- a number against a limit is an ExclusiveLevelAlarm, its rate of change an ExclusiveRateOfChangeAlarm, what is
  worked out of several signals an ExclusiveLimitAlarm; of severity urgent its limit is HighHigh or LowLow;
- the difference of two signals against a limit is a DiscrepancyAlarm, and the limit its tolerance;
- a state, or a number that is equal or not to another, is an OffNormalAlarm;
- no data is an InstrumentDiagnosticAlarm, and what the engine says of its own sources a SystemDiagnosticAlarm;
- all else is an AlarmCondition.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from asyncua import ua

from rules.language.program import OWN_RULES, Rule
from rules.language.terms import Limit, Term

_TYPES: Final = ua.ObjectIds
_TURNED: Final = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_SIDES: Final = {"gt": "High", "ge": "High", "lt": "Low", "le": "Low"}


class AlarmKind(NamedTuple):
    """`type_id`: number of the event type. `side`: High, HighHigh, Low or LowLow where it has a limit.

    `points`: by asset the point that it watches.
    """

    type_id: int
    side: str = ""
    limit: Limit | None = None
    watched: Term | None = None

    def point_of(self, asset: str) -> str:
        """The point that it watches on an asset; '' where that is none, or not one."""
        if self.watched is None:
            return ""
        points = {term.points[at] for term, at in self.watched.signals(asset) if term.op == "point"}
        return points.pop() if len(points) == 1 else ""


def kind_of_own(rule: str) -> AlarmKind:
    """Of a rule that no file has: the engine's own, or one that is gone."""
    return AlarmKind(_TYPES.SystemDiagnosticAlarmType if rule in OWN_RULES else _TYPES.AlarmConditionType)


def kind_of(rule: Rule, states: frozenset[str]) -> AlarmKind:
    """`states`: the points without a unit, whose values are states."""
    if rule.silent is not None:
        return AlarmKind(_TYPES.InstrumentDiagnosticAlarmType, watched=rule.silent)
    found = None if rule.when is None else _comparison(rule.when)
    if found is None:
        return AlarmKind(_TYPES.AlarmConditionType, watched=rule.when)
    op, watched, limit = found
    if op not in _SIDES or _is_state(watched, states):
        return AlarmKind(_TYPES.OffNormalAlarmType, watched=watched)
    if _is_difference(watched):
        return AlarmKind(_TYPES.DiscrepancyAlarmType, "", limit, watched)
    side = _SIDES[op] * (2 if rule.severity == "urgent" else 1)
    if watched.op in ("point", "field"):
        type_id = _TYPES.ExclusiveLevelAlarmType
    elif watched.op == "rate":
        type_id = _TYPES.ExclusiveRateOfChangeAlarmType
    else:
        type_id = _TYPES.ExclusiveLimitAlarmType
    return AlarmKind(type_id, side, limit, watched)


def _comparison(term: Term) -> tuple[str, Term, Limit] | None:
    """Operator, what is compared, and with which number; None where there is no such thing."""
    while term.op == "and":
        term = term.args[0]
    if term.op not in _TURNED:
        return None
    one, other = term.args
    if other.op == "number":
        return term.op, one, other.number
    if one.op == "number":
        return _TURNED[term.op], other, one.number
    return None


def _is_state(term: Term, states: frozenset[str]) -> bool:
    return term.op == "point" and next(iter(term.points.values()), "") in states


def _is_difference(term: Term) -> bool:
    while term.op in ("abs", "avg", "twa", "ewma"):
        term = term.args[0]
    return term.op == "sub" and all(part.op in ("point", "field") for part in term.args)
