"""Where clauses of event filters (OPC 10000-4, 7.7.3), on the plain values of an event's fields.

Rules: three values, as the standard has them: what is compared with null, or with what can't be compared, is null,
and only true passes. `OfType` is true for subtypes as well. Every operand is checked when the filter is made: an
element may only refer to one behind it, so that no filter runs in a circle.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakValueDictionary

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.ua_binary import struct_to_binary

from gateways.opcua.convert import time_ns
from gateways.scada.event import path_of

if TYPE_CHECKING:
    from gateways.scada.event import Event
    from gateways.scada.event_types import EventTypes

ELEMENTS_MAX: Final = 200
_Operand = Callable[["Event"], Any]

_COMPARES: Final[dict[Any, Callable[[Any, Any], Any]]] = {
    ua.FilterOperator.Equals: operator.eq,
    ua.FilterOperator.GreaterThan: operator.gt,
    ua.FilterOperator.LessThan: operator.lt,
    ua.FilterOperator.GreaterThanOrEqual: operator.ge,
    ua.FilterOperator.LessThanOrEqual: operator.le,
    ua.FilterOperator.BitwiseAnd: operator.and_,
    ua.FilterOperator.BitwiseOr: operator.or_,
}
_COUNTS: Final = {
    ua.FilterOperator.IsNull: 1,
    ua.FilterOperator.Not: 1,
    ua.FilterOperator.OfType: 1,
    ua.FilterOperator.Like: 2,
    ua.FilterOperator.And: 2,
    ua.FilterOperator.Or: 2,
    ua.FilterOperator.Between: 3,
    **dict.fromkeys(_COMPARES, 2),
}
"""How many operands; `InList` has any number above one."""


class Where:
    """A where clause: the same object for the same clause, whoever has sent it."""

    _known: ClassVar[WeakValueDictionary[bytes, Where]] = WeakValueDictionary()

    def __init__(self, elements: Sequence[Any], types: EventTypes) -> None:
        if len(elements) > ELEMENTS_MAX:
            raise ServiceError(ua.StatusCodes.BadEventFilterInvalid)
        self._types = types
        # from the last: what an element refers to is made already
        made: dict[int, _Operand] = {}
        for index in range(len(elements) - 1, -1, -1):
            made[index] = self._element(index, elements[index], made)
        self._first = made[0]

    @classmethod
    def of(cls, clause: Any, types: EventTypes) -> Where | None:
        """That of a ContentFilter, None for an empty one. ServiceError: what it says makes no sense."""
        if clause is None or not clause.Elements:
            return None
        key = struct_to_binary(clause)
        where = cls._known.get(key)
        if where is None:
            where = cls._known[key] = cls(clause.Elements, types)
        return where

    def passes(self, event: Event) -> bool:
        """Whether it is true of an event."""
        return self._first(event) is True

    def _element(self, index: int, element: Any, made: dict[int, _Operand]) -> _Operand:
        kind, operands = element.FilterOperator, element.FilterOperands or []
        enough = len(operands) > 1 if kind == ua.FilterOperator.InList else len(operands) == _COUNTS.get(kind)
        if kind != ua.FilterOperator.InList and kind not in _COUNTS:
            raise ServiceError(ua.StatusCodes.BadFilterOperatorUnsupported)
        if not enough:
            raise ServiceError(ua.StatusCodes.BadFilterOperandCountMismatch)
        given = [_operand(index, operand, made) for operand in operands]
        return self._operation(kind, given)

    def _operation(self, kind: Any, given: list[_Operand]) -> _Operand:
        operators = ua.FilterOperator
        if kind == operators.IsNull:
            return lambda event: given[0](event) is None
        if kind == operators.Not:
            return lambda event: _negated(_truth(given[0](event)))
        if kind == operators.OfType:
            return lambda event: self._types.is_subtype(event.kind, given[0](event))
        if kind == operators.And:
            return lambda event: _both(_truth(given[0](event)), _truth(given[1](event)))
        if kind == operators.Or:
            return lambda event: _negated(
                _both(_negated(_truth(given[0](event))), _negated(_truth(given[1](event))))
            )
        if kind == operators.InList:
            return lambda event: any(
                _compared(operator.eq, given[0](event), one(event)) is True for one in given[1:]
            )
        if kind == operators.Between:
            return lambda event: _both(
                _compared(operator.ge, given[0](event), given[1](event)),
                _compared(operator.le, given[0](event), given[2](event)),
            )
        if kind == operators.Like:
            return lambda event: _compared(_like, given[0](event), given[1](event))
        compare = _COMPARES[kind]
        return lambda event: _compared(compare, given[0](event), given[1](event))


def _operand(index: int, operand: Any, made: dict[int, _Operand]) -> _Operand:
    if isinstance(operand, ua.ElementOperand):
        if operand.Index <= index or operand.Index not in made:
            raise ServiceError(ua.StatusCodes.BadFilterOperandInvalid)
        return made[operand.Index]
    if isinstance(operand, ua.LiteralOperand):
        value = _plain(operand.Value)
        return lambda _event: value
    if isinstance(operand, ua.SimpleAttributeOperand):
        path = path_of(operand)
        return lambda event: event.value(path)
    raise ServiceError(ua.StatusCodes.BadFilterOperandInvalid)


def _plain(value: Any) -> Any:
    """A literal as the fields of events are kept."""
    if isinstance(value, ua.Variant):
        value = value.Value
    if isinstance(value, ua.LocalizedText):
        return value.Text
    if isinstance(value, ua.QualifiedName):
        return value.Name
    if isinstance(value, ua.StatusCode):
        return value.value
    if isinstance(value, datetime):
        return time_ns(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _compared(compare: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    if one is None or other is None:
        return None
    try:
        return compare(one, other)
    except TypeError:
        return None


def _like(value: Any, pattern: Any) -> bool | None:
    r"""OPC 10000-4, table 119: `%` any text, `_` any one character, `[…]` and `[^…]` one of a set, `\` escapes."""
    if not isinstance(value, str) or not isinstance(pattern, str):
        return None
    parts, place = [], 0
    while place < len(pattern):
        letter = pattern[place]
        end = pattern.find("]", place + 1) if letter == "[" else -1
        if letter == "\\" and place + 1 < len(pattern):
            parts.append(re.escape(pattern[place + 1]))
            place += 1
        elif end > 0:
            inside = pattern[place + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[{inside}]")
            place = end
        else:
            parts.append({"%": ".*", "_": "."}.get(letter, re.escape(letter)))
        place += 1
    try:
        return re.fullmatch("".join(parts), value, re.DOTALL) is not None
    except re.error:
        return None
