"""A Kafka that is there already, in the place of the embedded broker: `headrace up --bootstrap`.

Nothing of it is started, ended, or rolled here. What it costs is measured where it is one process of this machine
and of this user.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

import psutil

from gateways.listen import address_of
from streams.bus.kafka import KafkaBus
from streams.loopback import is_loopback
from streams.settings import BrokerSettings
from streams.topics import TOPICS


class GivenBroker:
    """`pid`: of the broker, where that can be measured."""

    pid: int | None = None

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    async def start(self) -> None:
        """Return when every topic exists. UnreachableError: nobody answers. ConfigurationError: other partitions."""
        bus = KafkaBus(self._settings, "--bootstrap")
        try:
            await bus.create_topics(TOPICS, self._settings.partitions)
        finally:
            await bus.close()
        self.pid = _pid_of(self._settings.bootstrap)

    async def stop(self) -> None:
        """It goes on."""

    async def wait(self) -> int:
        """For ever: whoever needs it says that it is away, and goes on when it is back."""
        await asyncio.Event().wait()
        return 0


def _pid_of(bootstrap: str) -> int | None:
    """Who listens there, if that is one address of this machine, and a process of this user."""
    address = address_of(bootstrap)
    if address is None or not is_loopback(address[0]):
        return None
    with contextlib.suppress(psutil.Error):  # other users' connections may be nobody else's business
        for found in psutil.net_connections("tcp"):
            is_it = found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == address[1]
            if is_it and found.pid and psutil.Process(found.pid).uids().real == os.getuid():
                return found.pid
    return None
