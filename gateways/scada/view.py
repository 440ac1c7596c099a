"""Browsing: asyncua's, in a time that grows with what there is to see.

Rules: which reference is a kind of which is looked up once, where asyncua walks through all kinds below the wanted one
for each reference (80 ms for one node). A browse path arrives at a node once, however many ways there are: two
references lead from a unit to its asset, and asyncua followed 2^30 ways along a path of 60 elements.
"""

from __future__ import annotations

from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import ViewService

from gateways.scada.event_types import EventTypes

PATH_MAX: Final = 50
"""Elements of a browse path."""
_ANY: Final = ua.NodeId(ua.ObjectIds.Null)
_CODES: Final = ua.StatusCodes


class View(ViewService):  # type: ignore[misc]
    """`types`: kinds of references have subtypes as types of events have."""

    def __init__(self, address_space: Any, types: EventTypes) -> None:
        super().__init__(address_space)
        self._types = types

    def _suitable_reftype(self, wanted: Any, found: Any, subtypes: bool) -> bool:
        return wanted in (_ANY, found) or bool(subtypes and self._types.is_subtype(found, wanted))

    def _translate_browsepath_to_nodeid(self, path: Any) -> Any:
        count = len(path.RelativePath.Elements or ())
        if 0 < count <= PATH_MAX:
            return super()._translate_browsepath_to_nodeid(path)
        code = _CODES.BadQueryTooComplex if count else _CODES.BadNothingToDo
        return ua.BrowsePathResult(StatusCode=ua.StatusCode(code))

    def _navigate(self, start: Any, elements: list[Any]) -> list[Any]:
        found = [start]
        for element in elements:
            ways = (self._find_elements_in_node(element, node) for node in found if node in self._aspace)
            found = list(dict.fromkeys(node for way in ways for node in way))
        return found
