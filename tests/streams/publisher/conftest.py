"""The bench of these tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.bus.memory import MemoryBus
from streams.topics import EVENTS
from tests.streams.publisher.bench import Bench, Clock


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bus = MemoryBus()
    await bus.create_topics([EVENTS], 1)
    bench = Bench(tmp_path, bus, Clock())
    yield bench
    bus.come_back()
    bus.release_acknowledgements()
    for publisher in bench.publishers:
        await publisher.close()
