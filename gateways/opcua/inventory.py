"""Browse and compare: does the server have what the site file says?

- Every configured node that the server lacks is named; the others go on without it.
- Engineering unit and range there are compared with the site file's: a difference is reported, not corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from gateways.opcua.stack import Client
from gateways.opcua.texts import clean
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.quality import BAD_NODE_ID_UNKNOWN
from rules.site.model import Point

BROWSE_CHUNK = 200
_UNIT_SPELLINGS = {"°C": "degC", "ΔK": "K", "%": "percent", "l/min": "L/min", "m³/h": "m3/h", "m³/s": "m3/s"}


@dataclass(slots=True)
class Inventory:
    """By row: `nodes` for what the server has, `lacking` the status code for what it has not, and `differences`."""

    nodes: dict[int, ua.NodeId] = field(default_factory=dict)
    lacking: dict[int, int] = field(default_factory=dict)
    differences: dict[int, list[str]] = field(default_factory=dict)


def parse_address(point: Point) -> ua.NodeId:
    """A point's node id as written (`ns=…` or `nsu=…`). Raises ConfigurationError for what is none."""
    try:
        return ua.NodeId.from_string(point.address)
    except (ua.UaError, ValueError) as error:
        message = f"point '{point.id}': address '{point.address}' is no OPC UA node id ({error})"
        finding = Finding("site", 0, 0, message, "write nsu=URI;s=NAME or ns=2;i=1234")
        raise ConfigurationError([finding]) from error


def resolve(address: ua.NodeId, namespaces: Sequence[str]) -> ua.NodeId | None:
    """The node id with this server's namespace index; None when the server has no such namespace."""
    uri = getattr(address, "NamespaceUri", None)
    if uri is None:
        return address
    if uri not in namespaces:
        return None
    return ua.NodeId(address.Identifier, namespaces.index(uri), address.NodeIdType)


async def take_inventory(
    client: Client, points: Mapping[int, Point], addresses: Mapping[int, ua.NodeId]
) -> Inventory:
    """Browse the nodes of `points` (by row). Raises what the connection raises."""
    inventory = Inventory()
    namespaces = await client.get_namespace_array()
    for row in points:
        node = resolve(addresses[row], namespaces)
        if node is None:
            inventory.lacking[row] = BAD_NODE_ID_UNKNOWN
        else:
            inventory.nodes[row] = node
    properties: list[tuple[int, str, ua.NodeId]] = []
    rows = list(inventory.nodes)
    for start in range(0, len(rows), BROWSE_CHUNK):
        properties.extend(await _browse(client, inventory, rows[start : start + BROWSE_CHUNK]))
    for start in range(0, len(properties), BROWSE_CHUNK):
        await _compare(client, inventory, points, properties[start : start + BROWSE_CHUNK])
    return inventory


async def _browse(
    client: Client, inventory: Inventory, rows: Sequence[int]
) -> list[tuple[int, str, ua.NodeId]]:
    """Move what the server lacks from `nodes` to `lacking`; the properties of the others come back."""
    parameters = ua.BrowseParameters()
    parameters.NodesToBrowse = [
        ua.BrowseDescription(
            NodeId=inventory.nodes[row],
            BrowseDirection=ua.BrowseDirection.Forward,
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HasProperty),
            IncludeSubtypes=True,
            NodeClassMask=0,
            ResultMask=ua.BrowseResultMask.All,
        )
        for row in rows
    ]
    found: list[tuple[int, str, ua.NodeId]] = []
    for row, result in zip(rows, await client.uaclient.browse(parameters), strict=True):
        if result.StatusCode.is_bad():
            # Servers say BadNodeIdInvalid or BadNodeIdUnknown for the same thing.
            inventory.lacking[row] = BAD_NODE_ID_UNKNOWN
            del inventory.nodes[row]
            continue
        found.extend(
            (row, reference.BrowseName.Name, reference.NodeId)
            for reference in result.References
            if reference.BrowseName.Name in ("EngineeringUnits", "EURange")
        )
    return found


async def _compare(
    client: Client,
    inventory: Inventory,
    points: Mapping[int, Point],
    properties: Sequence[tuple[int, str, ua.NodeId]],
) -> None:
    values = await client.uaclient.read_attributes([node for _, _, node in properties], ua.AttributeIds.Value)
    for (row, name, _), data_value in zip(properties, values, strict=True):
        content = data_value.Value.Value if data_value.Value is not None else None
        difference = _difference(points[row], name, content)
        if difference:
            inventory.differences.setdefault(row, []).append(difference)


def _difference(point: Point, name: str, content: Any) -> str:
    if name == "EngineeringUnits" and isinstance(content, ua.EUInformation):
        there, here = content.DisplayName.Text or "", point.engineering_unit
        same = _spelling(there) == _spelling(here)
        return "" if same else f"{point.id}: unit '{clean(there)}' at the server, '{here}' in the site file"
    if name == "EURange" and isinstance(content, ua.Range):
        same = content.Low == point.low and content.High == point.high
        here, there = f"{point.low:g}…{point.high:g}", f"{content.Low:g}…{content.High:g}"
        return "" if same else f"{point.id}: range {there} at the server, {here} in the site file"
    return ""


def _spelling(unit: str) -> str:
    return _UNIT_SPELLINGS.get(unit.strip(), unit.strip())
