"""A Kafka that is there already, in the place of the embedded broker: `headrace up --bootstrap`."""

from __future__ import annotations

import asyncio

from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from streams.topics import TOPICS


class GivenBroker:
    """Its log is its own affair: nothing of it is started, ended, or rolled here."""

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

    async def stop(self) -> None:
        """It goes on."""

    async def wait(self) -> int:
        """For ever: whoever needs it says that it is away, and goes on when it is back."""
        await asyncio.Event().wait()
        return 0
