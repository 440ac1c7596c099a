"""How much one request may ask for.

Rules: a request that asks for more is refused as a whole with BadTooManyOperations, before anything is done. The
server's OperationLimits say the same numbers (OPC 10000-5, 6.3.11), by which clients split what they want.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from types import MappingProxyType
from typing import Final

from asyncua import ua
from asyncua.common.utils import ServiceError

OPERATIONS_MAX: Final = 1_000
"""Of what takes microseconds each."""
BROWSES_MAX: Final = 100
"""Nodes browsed: all their references are encoded at one go."""
HISTORIES_MAX: Final = 100
"""Nodes whose history is read."""

OPERATION_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "MaxNodesPerRead": OPERATIONS_MAX,
        "MaxNodesPerWrite": OPERATIONS_MAX,
        "MaxNodesPerMethodCall": OPERATIONS_MAX,
        "MaxNodesPerBrowse": BROWSES_MAX,
        "MaxNodesPerTranslateBrowsePathsToNodeIds": OPERATIONS_MAX,
        "MaxNodesPerHistoryReadData": HISTORIES_MAX,
        "MaxMonitoredItemsPerCall": OPERATIONS_MAX,
    }
)
"""By the names of the standard."""


def check_count(asked: Sized | None, most: int = OPERATIONS_MAX) -> None:
    """ServiceError: so many things are too many for one request."""
    if len(asked or ()) > most:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
