"""Node ids of the site's own nodes: texts, from which everything else is worked out.

/                            the site
/row-a                       a unit; /row-a/3 its third group of assets, where it has many
R01                          an asset; R01/2 its second group
R01.RackLiquidFlow           a point, or a field of a GPU; R01.RackLiquidFlow/EURange a property of it
row-a:rack-flow-low:R01      a condition; row-a:rack-flow-low:R01/ShelvingState its shelving
//heartbeat                  the dead-man signal; //heartbeat/Counter and so on
"""

from __future__ import annotations

from typing import Any, Final

from asyncua import ua

NAMESPACE: Final = "urn:headrace:scada"
INDEX: Final = 2
"""Of the namespace: 0 is the standard's, 1 the server's own."""

SITE: Final = "/"
HEARTBEAT: Final = "//heartbeat"
SHELVING: Final = "/ShelvingState"


def node(text: str) -> Any:
    """The node id of a text."""
    return ua.NodeId(text, INDEX)


def text_of(node_id: Any) -> str:
    """The text of one of our node ids; '' for every other one."""
    if node_id.NamespaceIndex != INDEX or not isinstance(node_id.Identifier, str):
        return ""
    return node_id.Identifier


def unit_node(unit: str) -> Any:
    """Of a unit."""
    return node(f"/{unit}")


def alarm_of(text: str) -> tuple[str, str, str]:
    """Unit, rule and asset of the alarm that a condition, or its shelving, is of; three times '' where it is none."""
    parts = text.removesuffix(SHELVING).split(":", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", "")
