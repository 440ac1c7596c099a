"""Where clauses of event filters (OPC 10000-4, 7.7.3), on the plain values of an event's fields.

Rules: three values, as the standard has them: what is compared with null, or with what can't be compared, is null,
and only true passes. `OfType` is true for subtypes as well. Every operand is checked when the filter is made: an
element may only refer to one behind it, so that no filter runs in a circle. Each element is worked out once for an
event, however many refer to it: what a filter costs grows with its length.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakValueDictionary

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.ua_binary import struct_to_binary

from gateways.opcua.convert import time_ns
from gateways.scada.event import path_of
from gateways.scada.like import like

if TYPE_CHECKING:
    from gateways.scada.event import Event
    from gateways.scada.event_types import EventTypes

ELEMENTS_MAX: Final = 200
WHERE_BYTES_MAX: Final = 16 << 10
"""Of a where clause, encoded: it is worked out for each event."""
_Operand = Callable[["Event", list[Any]], Any]
"""Its value of an event, with the results of all elements behind."""
_Operation = Callable[["Event", list[Any]], Any]
"""What an element makes of an event and the values of its operands."""

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
        self._elements = [self._element(index, one, len(elements)) for index, one in enumerate(elements)]

    @classmethod
    def of(cls, clause: Any, types: EventTypes) -> Where | None:
        """That of a ContentFilter, None for an empty one. ServiceError: what it says makes no sense."""
        if clause is None or not clause.Elements:
            return None
        key = struct_to_binary(clause)
        if len(key) > WHERE_BYTES_MAX:
            raise ServiceError(ua.StatusCodes.BadEventFilterInvalid)
        where = cls._known.get(key)
        if where is None:
            where = cls._known[key] = cls(clause.Elements, types)
        return where

    def passes(self, event: Event) -> bool:
        """Whether it is true of an event."""
        results: list[Any] = [None] * len(self._elements)
        for index in range(len(results) - 1, -1, -1):  # what an element refers to is behind it
            operation, operands = self._elements[index]
            results[index] = operation(event, [value(event, results) for value in operands])
        return results[0] is True

    def _element(self, index: int, element: Any, count: int) -> tuple[_Operation, list[_Operand]]:
        kind, operands = element.FilterOperator, element.FilterOperands or []
        enough = len(operands) > 1 if kind == ua.FilterOperator.InList else len(operands) == _COUNTS.get(kind)
        if kind != ua.FilterOperator.InList and kind not in _COUNTS:
            raise ServiceError(ua.StatusCodes.BadFilterOperatorUnsupported)
        if not enough:
            raise ServiceError(ua.StatusCodes.BadFilterOperandCountMismatch)
        return self._operation(kind), [_operand(index, operand, count) for operand in operands]

    def _operation(self, kind: Any) -> _Operation:
        operators = ua.FilterOperator
        if kind == operators.IsNull:
            return lambda _event, given: given[0] is None
        if kind == operators.Not:
            return lambda _event, given: _negated(_truth(given[0]))
        if kind == operators.OfType:
            return lambda event, given: self._types.is_subtype(event.kind, given[0])
        if kind == operators.And:
            return lambda _event, given: _both(_truth(given[0]), _truth(given[1]))
        if kind == operators.Or:
            return lambda _event, given: _negated(
                _both(_negated(_truth(given[0])), _negated(_truth(given[1])))
            )
        if kind == operators.InList:
            return lambda _event, given: any(
                _compared(operator.eq, given[0], one) is True for one in given[1:]
            )
        if kind == operators.Between:
            return lambda _event, given: _both(
                _compared(operator.ge, given[0], given[1]),
                _compared(operator.le, given[0], given[2]),
            )
        if kind == operators.Like:
            return lambda _event, given: _compared(like, given[0], given[1])
        compare = _COMPARES[kind]
        return lambda _event, given: _compared(compare, given[0], given[1])


def _operand(index: int, operand: Any, count: int) -> _Operand:
    if isinstance(operand, ua.ElementOperand):
        behind = operand.Index
        if not index < behind < count:
            raise ServiceError(ua.StatusCodes.BadFilterOperandInvalid)
        return lambda _event, results: results[behind]
    if isinstance(operand, ua.LiteralOperand):
        value = _plain(operand.Value)
        return lambda _event, _results: value
    if isinstance(operand, ua.SimpleAttributeOperand):
        path = path_of(operand)
        return lambda event, _results: event.value(path)
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
    except Exception:  # whatever the values that a client may send say when they are compared
        return None
