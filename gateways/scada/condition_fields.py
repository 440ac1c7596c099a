"""A word on an alarm as the fields of an OPC UA condition (OPC 10000-9): the table of docs/scada.md, as code.

Rules: what is true is ActiveState, whether the alarm is heard or not; an alarm that is latched is not active, and
LatchedState says that it stands, heard or not. What nobody heard needs no acknowledgement, so it counts as
acknowledged. Everything that is not simply normal has Retain. There are no branches: an alarm has one occurrence at a
time, and what clients had not acknowledged of the one before, they acknowledge with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from asyncua import ua

from gateways.scada import encoding
from gateways.scada.alarm_kinds import AlarmKind
from gateways.scada.encoding import Field
from gateways.scada.event import CONDITION_ID, event_id
from rules.alarms.life_cycle import NEEDS_ACKNOWLEDGEMENT
from rules.engine.outputs import Alarm

SEVERITIES: Final[Mapping[str, int]] = {"urgent": 900, "high": 700, "medium": 500, "low": 200}
"""Of 1 to 1000 (OPC 10000-5, 6.4.2, table of ranges: 801 and above is high, 200 and below low)."""

_OBJECTS: Final = ua.ObjectIds
_SHELVES: Final = {
    name: ua.NodeId(getattr(_OBJECTS, f"ShelvedStateMachineType_{name}"))
    for name in ("Unshelved", "TimedShelved", "OneShotShelved")
}
_SHELF_NAMES: Final = {
    "Unshelved": "Unshelved",
    "TimedShelved": "Timed Shelved",
    "OneShotShelved": "One Shot Shelved",
}
_LIMITS: Final = {
    side: ua.NodeId(getattr(_OBJECTS, f"ExclusiveLimitStateMachineType_{side}"))
    for side in ("HighHigh", "High", "Low", "LowLow")
}
_SHELF: Final = "ShelvingState/CurrentState"
_LIMIT: Final = "LimitState/CurrentState"
_NO_NODE: Final = ua.NodeId()


class Source(NamedTuple):
    """What of a condition does not change: its node, its source's node and name, its kind, its point.

    `latches`: its rule's alarms stand until a person resets them.
    """

    condition: Any
    node: Any
    name: str
    rule: str
    kind: AlarmKind
    input_node: Any
    limit: float | None
    shelving_max_ns: int
    latches: bool


def is_active(word: Alarm) -> bool:
    """Whether its condition holds, as far as anybody knows."""
    return bool(word.raised_id) and word.cleared_ns is None and word.state != "normal"


def is_acknowledged(word: Alarm) -> bool:
    """Whether nobody needs to acknowledge it."""
    return word.state not in NEEDS_ACKNOWLEDGEMENT


def fields_of(word: Alarm, source: Source, last_severity: str, received_ns: int) -> dict[str, Field]:
    """By path. `last_severity`: before this word; `received_ns`: when the word came here."""
    active, acknowledged, severity = (
        is_active(word),
        is_acknowledged(word),
        encoding.uint16(SEVERITIES[word.severity]),
    )
    shelf = shelf_of(word)
    is_suppressed = bool(word.suppressed_by) or word.state == "suppressed"
    is_out = word.out_of_service_until_ns is not None
    changed = encoding.moment(word.at_ns)
    turned = encoding.moment(word.raised_ns if active or word.cleared_ns is None else word.cleared_ns)
    fields = {
        CONDITION_ID: encoding.node(source.condition),
        "EventId": encoding.byte_string(event_id(word.id)),
        "EventType": encoding.node(ua.NodeId(source.kind.type_id)),
        "SourceNode": encoding.node(source.node),
        "SourceName": encoding.text(source.name),
        "Time": changed,
        "ReceiveTime": encoding.moment(received_ns),
        "LocalTime": encoding.UTC_FIELD,
        "Message": encoding.words(word.message or _unsaid(word)),
        "Severity": severity,
        "ConditionClassId": encoding.node(_class_of(source.kind)),
        "ConditionClassName": encoding.state(_class_name(source.kind)),
        "ConditionName": encoding.text(source.rule),
        "BranchId": encoding.node(_NO_NODE),
        "Retain": encoding.boolean(word.state != "normal"),
        "SupportsFilteredRetain": encoding.boolean(False),
        "EnabledState": encoding.state("Enabled"),
        "EnabledState/Id": encoding.boolean(True),
        "Quality": encoding.status(0 if word.unknown_ns is None else ua.StatusCodes.UncertainLastUsableValue),
        "Quality/SourceTimestamp": changed if word.unknown_ns is None else encoding.moment(word.unknown_ns),
        "LastSeverity": encoding.uint16(SEVERITIES[last_severity]),
        "LastSeverity/SourceTimestamp": changed,
        "Comment": encoding.words(word.comment),
        "Comment/SourceTimestamp": changed,
        "ClientUserId": encoding.text(word.by),
        "AckedState/TransitionTime": encoding.moment(word.acknowledged_ns or word.raised_ns or word.at_ns),
        "ActiveState/TransitionTime": turned,
        "ActiveState/EffectiveTransitionTime": changed,
        "ActiveState/EffectiveDisplayName": encoding.state(word.state),
        "InputNode": encoding.node(source.input_node),
        "SuppressedOrShelved": encoding.boolean(is_suppressed or is_out or shelf != "Unshelved"),
        "FirstInGroupFlag": encoding.boolean(word.first_up == "first"),
        "MaxTimeShelved": encoding.double(source.shelving_max_ns / 1e6),
        _SHELF: encoding.state(_SHELF_NAMES[shelf]),
        f"{_SHELF}/Id": encoding.node(_SHELVES[shelf]),
        "ShelvingState/UnshelveTime": encoding.double(unshelve_ms(word, word.at_ns)),
        **_two_states("AckedState", acknowledged, "Acknowledged", "Unacknowledged"),
        **_two_states("ConfirmedState", is_confirmed(word), "Confirmed", "Unconfirmed"),
        **_two_states("ActiveState", active, "Active", "Inactive"),
        **_two_states("SuppressedState", is_suppressed, "Suppressed", "Unsuppressed"),
        **_two_states("OutOfServiceState", is_out, "Out of Service", "In Service"),
        **_two_states("LatchedState", is_latched(word, source.latches), "Latched", "Unlatched"),
    }
    if source.limit is not None:
        fields |= _limit_fields(source, active)
    return fields


def is_latched(word: Alarm, latches: bool) -> bool:
    """Whether it waits for a reset. Of one that is not heard its state says why not: whether its rule latches, then."""
    is_quiet_and_over = word.state != "normal" and word.cleared_ns is not None
    return word.state.startswith("latched") or (latches and is_quiet_and_over)


def is_confirmed(word: Alarm) -> bool:
    """False between the acknowledgement and somebody's word that it was acted upon."""
    if word.acknowledged_ns is None or not is_acknowledged(word) or word.state == "normal":
        return True
    return word.confirmed_ns is not None


def shelf_of(word: Alarm) -> str:
    """The state of its ShelvedStateMachine."""
    if word.shelved_until_ns is None:
        return "Unshelved"
    return "OneShotShelved" if word.one_shot else "TimedShelved"


def unshelve_ms(word: Alarm, now_ns: int) -> float:
    """How long it stays shelved."""
    return 0.0 if word.shelved_until_ns is None else max(0.0, (word.shelved_until_ns - now_ns) / 1e6)


def _two_states(name: str, value: bool, true: str, false: str) -> dict[str, Field]:
    return {name: encoding.state(true if value else false), f"{name}/Id": encoding.boolean(value)}


def _limit_fields(source: Source, active: bool) -> dict[str, Field]:
    limit = encoding.double(source.limit)
    if source.kind.type_id == _OBJECTS.DiscrepancyAlarmType:
        return {"Tolerance": limit}
    side = source.kind.side
    fields = {f"{side}Limit": limit}
    if active:
        fields |= {_LIMIT: encoding.state(side), f"{_LIMIT}/Id": encoding.node(_LIMITS[side])}
    return fields


def _is_own(kind: AlarmKind) -> bool:
    return kind.type_id in (_OBJECTS.SystemDiagnosticAlarmType, _OBJECTS.InstrumentDiagnosticAlarmType)


def _class_of(kind: AlarmKind) -> Any:
    return ua.NodeId(
        _OBJECTS.SystemConditionClassType if _is_own(kind) else _OBJECTS.ProcessConditionClassType
    )


def _class_name(kind: AlarmKind) -> str:
    return "System" if _is_own(kind) else "Process"


def _unsaid(word: Alarm) -> str:
    """Of one that never went off and is shelved or out of service."""
    return f"{word.asset}: {word.state}"
