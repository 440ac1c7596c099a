"""A recorder that records segments into a folder, for tests, and a log for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from streams.bus.memory import MemoryBus
from streams.record import Message, Record
from streams.recorder.recorder import run
from streams.recording.recording import Recording
from streams.role import RoleContext
from streams.settings import BrokerSettings, RecorderSettings, Settings
from streams.site_folder import load_site
from streams.snapshots import log_ids
from streams.topics import TOPICS
from tests.support.small_sites import HALL

SITE = HALL.replace("rules: [rules]\n", "")


class Recorder:
    """A recorder that was started on a folder."""

    def __init__(
        self,
        folder: Path,
        bus: MemoryBus,
        runs: Callable[[RoleContext], Coroutine[Any, Any, None]] = run,
        site: str = SITE,
        **settings: float,
    ) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "site.yaml").write_text(site)
        self.folder = folder / "kept"
        self.context = RoleContext(
            "recorder", load_site(folder), folder,
            Settings(
                _env_file=None, recorder=RecorderSettings(**settings), broker=BrokerSettings(partitions=2)
            ),
            bus, asyncio.Event(),
            options={"folder": str(self.folder)},
        )  # fmt: skip
        self._task = asyncio.create_task(runs(self.context))

    async def until(self, records: int) -> None:
        async with asyncio.timeout(60):
            while self.context.metrics.get("records", 0) < records and not self._task.done():
                await asyncio.sleep(0)

    async def stop(self) -> None:
        self.context.stop.set()
        await self._task


async def bus_with_topics() -> MemoryBus:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 2)
    await log_ids(bus, await bus.producer("worker"))
    return bus


async def send(bus: MemoryBus, count: int) -> None:
    producer = await bus.producer("test")
    for number in range(count):
        value = b'{"n":"%s"}' % hashlib.sha512(b"%d" % number).hexdigest().encode()
        await producer.send(Message("events", number % 2, b"hall", value, (("schema", b"odd/1"),)))
    await producer.flush()


def events_of(files: list[Path]) -> list[Record]:
    return [record for file in files for record in Recording(file).records({"events"})]


def in_partitions(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.partition, record.offset))
