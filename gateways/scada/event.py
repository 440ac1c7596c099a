"""An event as its subscribers get it: fields by their browse paths, and its bytes for each set of select clauses.

Rules: an event never changes; all who ask for the same fields share the bytes. A path is the names joined by `/`
(`AckedState/Id`); `@NodeId` is the ConditionId, which clients ask for with an empty path and the attribute NodeId
(OPC 10000-9, 5.5.2.13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from asyncua import ua
from asyncua.ua.ua_binary import list_to_binary

from gateways.scada import encoding
from gateways.scada.encoding import INT32, NULL, Field

if TYPE_CHECKING:
    from gateways.scada.where import Where

CONDITION_ID: Final = "@NodeId"
CLAUSES_MAX: Final = 250
SERVER: Final = ua.NodeId(ua.ObjectIds.Server)
_NOTHING: Final = "@nothing"


def path_of(operand: Any) -> str:
    """The path that a SimpleAttributeOperand names; one that no event has, for what we never say."""
    names = operand.BrowsePath or []
    if not names:
        return CONDITION_ID if operand.AttributeId == ua.AttributeIds.NodeId else _NOTHING
    if operand.AttributeId != ua.AttributeIds.Value or any(name.NamespaceIndex for name in names):
        return _NOTHING
    return "/".join(name.Name for name in names)


class Select:
    """Select clauses: the same object for the same clauses, whoever has sent them."""

    _known: ClassVar[WeakValueDictionary[bytes, Select]] = WeakValueDictionary()

    def __init__(self, clauses: Sequence[Any]) -> None:
        self.paths = tuple(path_of(clause) for clause in clauses)
        self.head = INT32.pack(len(self.paths))

    @classmethod
    def of(cls, clauses: Sequence[Any]) -> Select:
        """That of these clauses."""
        key = list_to_binary(ua.SimpleAttributeOperand, clauses)
        select = cls._known.get(key)
        if select is None:
            select = cls._known[key] = cls(clauses)
        return select


class Event:
    """`kind`: its type. `notifiers`: the nodes at which it is heard, Server among them."""

    __slots__ = ("_joined", "_passed", "fields", "kind", "notifiers")

    def __init__(self, kind: Any, fields: Mapping[str, Field], notifiers: frozenset[Any]) -> None:
        self.kind = kind
        self.fields = fields
        self.notifiers = notifiers
        self._joined: WeakKeyDictionary[Select, bytes] = WeakKeyDictionary()
        self._passed: WeakKeyDictionary[Where, bool] = WeakKeyDictionary()

    def value(self, path: str) -> Any:
        """What a filter compares; None for null and for what it has not."""
        field = self.fields.get(path)
        return None if field is None else field.value

    def joined(self, select: Select) -> bytes:
        """Its fields as an array of variants (EventFieldList.EventFields)."""
        encoded = self._joined.get(select)
        if encoded is None:
            get = self.fields.get
            found = [get(path) for path in select.paths]
            encoded = select.head + b"".join(NULL if one is None else one.encoded for one in found)
            self._joined[select] = encoded
        return encoded

    def passes(self, where: Where | None) -> bool:
        """Whether a where clause lets it pass."""
        if where is None:
            return True
        passed = self._passed.get(where)
        if passed is None:
            passed = self._passed[where] = where.passes(self)
        return passed


def event_id(name: str) -> bytes:
    """The EventId of what has a name: the same after a restart, and on a second server."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def server_event(kind: int, name: str, message: str, at_ns: int, severity: int = 100) -> Event:
    """An event of the server itself; `kind` is the number of its type in the standard."""
    type_id = ua.NodeId(kind)
    fields = {
        "EventId": encoding.byte_string(event_id(name)),
        "EventType": encoding.node(type_id),
        "SourceNode": encoding.node(SERVER),
        "SourceName": encoding.text("Server"),
        "Time": encoding.moment(at_ns),
        "ReceiveTime": encoding.moment(at_ns),
        "LocalTime": encoding.UTC_FIELD,
        "Message": encoding.words(message),
        "Severity": encoding.uint16(severity),
    }
    return Event(type_id, fields, frozenset({SERVER}))
