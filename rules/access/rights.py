"""Who may do what: the one table. Engine, OPC UA server, subscriptions, command line and console all ask `may`.

Rule: a role may do all that the roles below it may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from rules.engine.inputs import ActionKind

Role = Literal["viewer", "operator", "engineer", "admin"]
"""From the least to the most."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)

Right = ActionKind | Literal["see", "activate-rules", "change-users"]

NEEDS: Final[Mapping[Right, Role]] = {
    "see": "viewer",
    "acknowledge": "operator",
    "confirm": "operator",
    "reset": "operator",
    "shelve": "operator",
    "unshelve": "operator",
    "comment": "operator",
    "remove-from-service": "engineer",
    "return-to-service": "engineer",
    "activate-rules": "engineer",
    "change-users": "admin",
}
"""The least role that has a right."""


def may(role: Role, right: Right) -> bool:
    """Whether a role has a right."""
    return ROLES.index(role) >= ROLES.index(NEEDS[right])
