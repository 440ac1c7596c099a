"""The types of events in the standard's address space: which is a kind of which."""

from __future__ import annotations

from typing import Any, Final

from asyncua import ua

_HAS_SUBTYPE: Final = ua.NodeId(ua.ObjectIds.HasSubtype)


class EventTypes:
    """Subtypes, looked up once each."""

    def __init__(self, address_space: Any) -> None:
        self._space = address_space
        self._chains: dict[Any, frozenset[Any]] = {}

    def is_subtype(self, kind: Any, of: Any) -> bool | None:
        """Whether a type is `of`, or a subtype of it. None where `of` is no node id."""
        if not isinstance(of, ua.NodeId):
            return None
        chain = self._chains.get(kind)
        if chain is None:
            chain = self._chains[kind] = self._above(kind)
        return of in chain

    def _above(self, kind: Any) -> frozenset[Any]:
        found = []
        while kind is not None and kind not in found:
            found.append(kind)
            node = self._space.get(kind)
            references = () if node is None else node.references
            above = (
                one.NodeId for one in references if one.ReferenceTypeId == _HAS_SUBTYPE and not one.IsForward
            )
            kind = next(above, None)
        return frozenset(found)
