"""An acknowledgement over a link, as an action of the edge `alerts`: the one place where notifications act.

Rules: it acts for the subscription's `user`, or for itself where that names none, and the journal has over whose link;
where the site has users, it signs with its key (`access.keys`), and the engine asks whether it may speak for them.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateways.access.signing import needed_edge_key
from gateways.access.users import Users
from gateways.actions import Wanted, action_sender
from gateways.alerts.links import Claim
from gateways.alerts.model import Subscriptions
from streams.role import RoleContext

EDGE: Final = "alerts"
ANSWER_S: Final = 5.0


class Acknowledger:
    """Of the role. ConfigurationError: the site has users, and the edge has no key."""

    def __init__(self, context: RoleContext, subscriptions: Subscriptions) -> None:
        self._context = context
        self._subscriptions = subscriptions.subscriptions
        is_open = Users(context.site_dir).is_open
        self._key = None if is_open else needed_edge_key(context.settings, EDGE)
        self._turn = asyncio.Lock()
        """Actions of one edge reach the log in the order of their epochs."""

    async def acknowledge(self, claim: Claim) -> str:
        """What the engine answers: 'alarm-acknowledged', or the reason of its refusal.

        UnreachableError: the log takes nothing, or nobody answers.
        """
        unit, rule, asset = claim.key.split(":", 2)
        subscription = self._subscriptions.get(claim.subscription)
        by = EDGE if subscription is None else subscription.user or EDGE
        comment = f"over a link of {claim.subscription}"
        wanted = Wanted("acknowledge", unit, rule, asset, by, comment, claim.occurrence)
        context = self._context
        async with (
            self._turn,
            action_sender(context.bus, context.site, EDGE, self._key, context.clock) as sender,
        ):
            answer = await sender.act(wanted, ANSWER_S)
        return answer.reason or answer.kind
