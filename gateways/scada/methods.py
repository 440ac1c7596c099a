"""What operators do to conditions: methods of OPC UA as actions on the log, the engine's answers as status codes.

Rules: nothing is decided here that the engine decides. What it would refuse in any case (an event of an occurrence
that is over, a time that is none) is refused at once; the rest it answers through the journal, who may do what
included. A refresh is the client's own affair and goes past no filter but its item's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.common.utils import ServiceError

from gateways.actions import ActionSender, Wanted
from gateways.scada.condition_fields import is_acknowledged, is_confirmed
from gateways.scada.conditions import Condition, Conditions
from gateways.scada.event import server_event
from gateways.scada.hub import Hub
from gateways.scada.names import alarm_of, text_of
from rules.access.access import ACTION_TEXT_MAX
from rules.engine.inputs import ActionKind
from rules.errors import UnreachableError
from rules.site.model import Site

log = logging.getLogger("headrace.scada")

ANSWER_S: Final = 5.0
"""Clients give up a call after 10 s or so: they get an answer before, if only that there is none."""
UNSAID: Final = "no reason was given to the OPC UA server"
"""Of methods that take no comment; the engine wants a reason for every silence."""
_JOURNALED_EACH_NS: Final = 1_000_000_000

_CODES: Final = ua.StatusCodes
_IDS: Final = ua.ObjectIds


class Method(NamedTuple):
    """`arguments`: `event` an EventId, `comment` a LocalizedText, `time` a Duration in ms."""

    kind: ActionKind
    arguments: tuple[str, ...] = ()
    one_shot: bool = False


_SHELVING: Final[Mapping[str, Method]] = {
    "TimedShelve": Method("shelve", ("time",)),
    "TimedShelve2": Method("shelve", ("time", "comment")),
    "OneShotShelve": Method("shelve", (), one_shot=True),
    "OneShotShelve2": Method("shelve", ("comment",), one_shot=True),
    "Unshelve": Method("unshelve"),
    "Unshelve2": Method("unshelve", ("comment",)),
}
_ON_ALARMS: Final[Mapping[str, Method]] = {
    "AcknowledgeableConditionType_Acknowledge": Method("acknowledge", ("event", "comment")),
    "AcknowledgeableConditionType_Confirm": Method("confirm", ("event", "comment")),
    "ConditionType_AddComment": Method("comment", ("event", "comment")),
    "ConditionType_Disable": Method("remove-from-service"),
    "ConditionType_Enable": Method("return-to-service"),
    "AlarmConditionType_RemoveFromService": Method("remove-from-service"),
    "AlarmConditionType_RemoveFromService2": Method("remove-from-service", ("comment",)),
    "AlarmConditionType_PlaceInService": Method("return-to-service"),
    "AlarmConditionType_PlaceInService2": Method("return-to-service", ("comment",)),
    "AlarmConditionType_Reset": Method("reset"),
    "AlarmConditionType_Reset2": Method("reset", ("comment",)),
    **{
        f"{prefix}_{name}": method
        for prefix in ("ShelvedStateMachineType", "AlarmConditionType_ShelvingState")
        for name, method in _SHELVING.items()
    },
}
METHODS: Final = {ua.NodeId(getattr(_IDS, name)): method for name, method in _ON_ALARMS.items()}
_UNSUPPORTED: Final = frozenset(
    ua.NodeId(getattr(_IDS, f"AlarmConditionType_{name}"))
    for name in ("Suppress", "Suppress2", "Unsuppress", "Unsuppress2")
)
"""Suppression is by design: by the rules' causes."""
_REFRESH: Final = ua.NodeId(_IDS.ConditionType_ConditionRefresh)
_REFRESH2: Final = ua.NodeId(_IDS.ConditionType_ConditionRefresh2)

_REASONS: Final = (
    ("went off again", _CODES.BadEventIdUnknown),
    ("nothing of it stands", _CODES.BadEventIdUnknown),
    ("acknowledged already", _CODES.BadConditionBranchAlreadyAcked),
    ("confirmed already", _CODES.BadConditionBranchAlreadyConfirmed),
    ("it is not shelved", _CODES.BadConditionNotShelved),
    ("it is not out-of-service", _CODES.BadConditionAlreadyEnabled),
    ("the site allows", _CODES.BadShelvingTimeOutOfRange),
    ("over already", _CODES.BadShelvingTimeOutOfRange),
    ("nobody says why", _CODES.BadInvalidArgument),
    ("who wants it", _CODES.BadUserAccessDenied),
    ("may not", _CODES.BadUserAccessDenied),
    ("access list", _CODES.BadUserAccessDenied),
    ("sign", _CODES.BadUserAccessDenied),
)
"""What a refusal says, and the status code that says it; every other one is BadInvalidState."""


class Methods:
    """`has_rule`: whether a rule may have an alarm on an asset of a unit. `sender` None: on a replay nobody acts."""

    def __init__(
        self,
        site: Site,
        conditions: Conditions,
        hub: Hub,
        has_rule: Callable[[str, str, str], bool],
        metrics: dict[str, Any],
    ) -> None:
        self._site, self._conditions, self._hub = site, conditions, hub
        self._has_rule = has_rule
        self._metrics = metrics
        self._refusal_ns = 0
        self.sender: ActionSender | None = None
        metrics.update(actions=0, actions_refused=0, actions_unanswered=0, refreshes=0)

    async def call(self, session: Any, request: Any) -> Any:
        """The result of one call."""
        given = [one.Value for one in request.InputArguments or []]
        result = ua.CallMethodResult()
        try:
            if request.MethodId in (_REFRESH, _REFRESH2):
                self._refresh(session, given, 1 if request.MethodId == _REFRESH else 2)
            else:
                await self._act(session, request, given)
            result.StatusCode = ua.StatusCode()
        except ServiceError as error:
            result.StatusCode = ua.StatusCode(error.code)
        except Exception:  # a mistake of ours: the client gets an answer, and the log has it
            log.exception("a method failed: %s of %s", request.MethodId, request.ObjectId)
            result.StatusCode = ua.StatusCode(_CODES.BadInternalError)
        result.InputArgumentResults = [ua.StatusCode() for _ in given]
        return result

    # Refresh.

    def _refresh(self, session: Any, given: list[Any], count: int) -> None:
        _check_count(given, count)
        subscription = session.subscription_service.subscriptions.get(given[0])
        if subscription is None:
            raise ServiceError(_CODES.BadSubscriptionIdInvalid)
        if subscription.session_id != session.session_id:
            raise ServiceError(_CODES.BadUserAccessDenied)
        items = subscription.items.events(None if count == 1 else given[1])
        if count == 2 and not items:
            raise ServiceError(_CODES.BadMonitoredItemIdInvalid)
        if any(item.is_refreshing for item in items):
            raise ServiceError(_CODES.BadRefreshInProgress)
        self._metrics["refreshes"] += 1
        now_ns = self._hub.now_ns()
        begin = server_event(_IDS.RefreshStartEventType, f"refresh:{now_ns}", "refresh begins", now_ns)
        end = server_event(_IDS.RefreshEndEventType, f"refreshed:{now_ns}", "refresh ends", now_ns)
        for item in items:
            item.say(begin)
            item.refresh(chain(self._hub.standing(), [end]))
            subscription.items.wake(item)

    # Actions.

    async def _act(self, session: Any, request: Any, given: list[Any]) -> None:
        method = METHODS.get(request.MethodId)
        if method is None:
            is_known = request.MethodId in _UNSUPPORTED
            raise ServiceError(_CODES.BadNotSupported if is_known else _CODES.BadMethodInvalid)
        unit, rule, asset = alarm_of(text_of(request.ObjectId))
        condition = self._conditions.find(f"{unit}:{rule}:{asset}")
        if condition is None and not self._has_rule(unit, rule, asset):
            raise ServiceError(_CODES.BadNodeIdUnknown)
        arguments = _read(method.arguments, given)
        wanted = Wanted(method.kind, unit, rule, asset, session.user.name, arguments.comment)
        if not session.user.name:
            await self._refuse_nobody(wanted)
        if "event" in method.arguments:
            _check_event(condition, method.kind, arguments.event)
            if method.kind == "comment" and not arguments.comment:
                return  # nothing is said: what there is stays (OPC 10000-9, 5.5.6)
        occurrence = "" if condition is None else condition.word.raised_id
        for_ns = self._silence_ns(method, arguments.time_ms)
        why = arguments.comment or (UNSAID if for_ns else "")
        await self._ask(
            wanted._replace(comment=why, occurrence=occurrence, for_ns=for_ns, one_shot=method.one_shot)
        )

    def _silence_ns(self, method: Method, time_ms: float | None) -> int:
        """How long a silence lasts at the longest; 0 where it is none."""
        if method.kind == "remove-from-service":
            return self._site.out_of_service_max_ns
        if method.kind != "shelve":
            return 0
        if time_ms is None:
            return self._site.shelving_max_ns
        if not math.isfinite(time_ms) or not 0 < time_ms * 1e6 <= self._site.shelving_max_ns:
            raise ServiceError(_CODES.BadShelvingTimeOutOfRange)
        return round(time_ms * 1e6)

    async def _refuse_nobody(self, wanted: Wanted) -> None:
        """Anonymous can't act. The journal has it, once a second at most: nobody shall fill it who has no name."""
        self._metrics["actions_refused"] += 1
        now_ns = self._hub.now_ns()
        if now_ns - self._refusal_ns >= _JOURNALED_EACH_NS and self.sender is not None:
            self._refusal_ns = now_ns
            try:
                await self.sender.act(wanted, ANSWER_S)
            except UnreachableError:
                self._metrics["actions_unanswered"] += 1
        raise ServiceError(_CODES.BadUserAccessDenied)

    async def _ask(self, wanted: Wanted) -> None:
        if self.sender is None:
            raise ServiceError(_CODES.BadNotSupported)
        self._metrics["actions"] += 1
        try:
            answer = await self.sender.act(wanted, ANSWER_S)
        except UnreachableError:
            self._metrics["actions_unanswered"] += 1
            raise ServiceError(_CODES.BadTimeout) from None
        if answer.reason:
            self._metrics["actions_refused"] += 1
            raise ServiceError(code_of(answer.reason))


def code_of(reason: str) -> int:
    """The status code of a refusal."""
    return next((int(code) for part, code in _REASONS if part in reason), int(_CODES.BadInvalidState))


class _Arguments(NamedTuple):
    event: bytes = b""
    comment: str = ""
    time_ms: float | None = None


def _check_count(given: list[Any], count: int) -> None:
    if len(given) < count:
        raise ServiceError(_CODES.BadArgumentsMissing)
    if len(given) > count:
        raise ServiceError(_CODES.BadTooManyArguments)


def _read(names: tuple[str, ...], given: list[Any]) -> _Arguments:
    _check_count(given, len(names))
    read: dict[str, Any] = {}
    for name, value in zip(names, given, strict=True):
        if name == "event" and isinstance(value, bytes):
            read["event"] = value
        elif name == "comment" and (value is None or isinstance(value, ua.LocalizedText)):
            read["comment"] = "" if value is None else value.Text or ""
        elif name == "time" and isinstance(value, float):
            read["time_ms"] = value
        elif not (name == "event" and value is None):
            raise ServiceError(_CODES.BadInvalidArgument)
    if len(read.get("comment", "")) > ACTION_TEXT_MAX:
        raise ServiceError(_CODES.BadInvalidArgument)
    return _Arguments(**read)


def _check_event(condition: Condition | None, kind: ActionKind, event: bytes) -> None:
    """ServiceError: it is of an occurrence that is over, or there is nothing to do about it."""
    if condition is None or event not in condition.event_ids:
        raise ServiceError(_CODES.BadEventIdUnknown)
    if kind == "acknowledge" and is_acknowledged(condition.word):
        raise ServiceError(_CODES.BadConditionBranchAlreadyAcked)
    if kind == "confirm" and is_confirmed(condition.word):
        is_too_early = not is_acknowledged(condition.word)
        raise ServiceError(
            _CODES.BadInvalidState if is_too_early else _CODES.BadConditionBranchAlreadyConfirmed
        )
