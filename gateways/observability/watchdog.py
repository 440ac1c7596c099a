"""What a role tells systemd: that it has started, and then that it lives. It is `/livez` for hosts without a kubelet.

Rules: one datagram a word, to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); without it nothing is said. A loop
that does not turn says nothing, and the unit's `WatchdogSec` ends the process; a role that is stuck says so itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import Final

from gateways.observability.progress import Progress
from streams.role import RoleContext

EVERY_S: Final = 1.0

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def watched(context: RoleContext) -> AsyncIterator[None]:
    """Say while the block runs what systemd needs to hear; the role need not be ready, as a broker may be away."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        task = asyncio.create_task(_tell(context, out, address), name="watchdog")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _tell(context: RoleContext, out: socket.socket, address: str) -> None:
    place = f"\0{address[1:]}" if address.startswith("@") else address
    progress, word = Progress(context.kind or context.name), "READY=1"
    while True:
        with contextlib.suppress(OSError):  # systemd is being started anew: the next word comes in a second
            out.sendto(word.encode(), place)
        await asyncio.sleep(EVERY_S)
        now_s = asyncio.get_running_loop().time()
        progress.look(context.metrics, now_s)
        if stuck := progress.stuck(now_s):
            log.error("the role is stuck, and systemd is asked to start it again: %s", stuck)
        word = f"WATCHDOG=trigger\nSTATUS={stuck}" if stuck else "WATCHDOG=1"
