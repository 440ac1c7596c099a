"""A publisher on a bus in memory, a clock that a test sets, and what the log has of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from rules.engine.inputs import Input
from rules.gpu_fields import FIELD_COUNT
from streams.bus.memory import MemoryBus
from streams.publisher import publisher as publisher_module
from streams.publisher.publisher import Publisher
from streams.settings import Settings, SpoolSettings
from streams.topics import EVENTS
from streams.wire import decode_input

SECOND = 1_000_000_000


class Clock:
    """Time as the test has it; `steady_s` is not set back."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * SECOND
        self.forward_s = 0.0

    def __call__(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)
        self.forward_s += max(0.0, seconds)

    def steady_s(self) -> float:
        return self.forward_s


class Running(Clock):
    """Time as a machine has it: no two looks say the same."""

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


async def until(condition: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Let the loop run until it holds; fail when it never does."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.002)


def inputs(bus: MemoryBus) -> list[Input]:
    return [decode_input(r.key, r.headers, r.value) for r in bus.records(EVENTS.name)]


def of(found: list[Input], source: str, unit: str = "row-a") -> list[Input]:
    return [value for value in found if value.identity.source == source and value.unit == unit]


def sequences(found: list[Input]) -> list[int]:
    return [value.identity.sequence for value in found]


class Bench:
    """A bus, a clock and as many publishers as a test wants; all are closed at its end."""

    def __init__(self, folder: Path, bus: MemoryBus, clock: Clock) -> None:
        self.folder, self.bus, self.clock = folder, bus, clock
        self.publishers: list[Publisher] = []
        self.value = 0.0

    async def publisher(self, source: str = "plant", **spool: Any) -> Publisher:
        settings = Settings(spool=SpoolSettings(**{"drain_records_per_s": 2000, **spool}))
        publisher = Publisher(self.bus, source, settings, self.folder, 1, self.clock, self.clock.steady_s)
        self.publishers.append(publisher)
        await publisher.start()
        return publisher

    def reading(self, publisher: Publisher, unit: str = "row-a", size: int = 1) -> float:
        self.value += 1
        publisher.publish_readings(
            unit,
            tuple(f"p{i}" for i in range(size)),
            np.full(size, self.clock()),
            np.zeros(size, np.int64),
            np.full(size, self.value),
            np.zeros(size, np.uint8),
            np.zeros(size, np.uint32),
        )
        return self.value

    def frame(self, publisher: Publisher, gpus: int = 1) -> None:
        publisher.publish_frame(
            "row-a",
            "R01",
            np.array([self.clock()]),
            np.arange(gpus, dtype=np.uint16),
            np.zeros((1, gpus, FIELD_COUNT), np.float32),
            np.zeros((1, gpus), np.uint8),
            np.zeros((1, gpus), np.int64),
        )

    async def drop(self, publisher: Publisher) -> None:
        """As kill -9 leaves it: nothing is flushed, only the file's lock goes."""
        for task in publisher._tasks:
            task.cancel()
        await asyncio.gather(*publisher._tasks, return_exceptions=True)
        publisher._spool._database.close()
        self.publishers.remove(publisher)


async def outage(bench: Bench, publisher: Publisher, seconds: int) -> None:
    bench.bus.go_away()
    for _ in range(seconds):
        bench.reading(publisher)
        bench.clock.forward(1)


async def end(bench: Bench, publisher: Publisher) -> None:
    """Without patience for what is on its way."""
    bench.publishers.remove(publisher)
    with patch.object(publisher_module, "CLOSE_PATIENCE_S", 0.0):
        await publisher.close()


async def all_sent(publisher: Publisher) -> None:
    await until(lambda: publisher.metrics["spool_records"] == 0 and publisher.metrics["unsent"] == 0)


def full(publisher: Publisher, is_full: bool) -> None:
    publisher._spool._database.execute(f"pragma query_only = {'on' if is_full else 'off'}")
