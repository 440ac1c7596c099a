"""Role `opcua`: every OPC UA source of the site, each in a task of its own, into the log."""

from __future__ import annotations

import logging

from streams.role import RoleContext

STATUS_EVERY_S = 1.0


async def run(context: RoleContext) -> None:
    """Work until `context.stop`. Raises ConfigurationError for a source that can't work as the site has it."""
    # What asyncua logs with a traceback, each refused connection among it, the gateway says in a line of its own.
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    context.ready()
