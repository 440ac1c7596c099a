"""Virtual time: nothing waits, nothing comes from the machine, and what stands still says so."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from gateways.whole.loop import EXECUTOR_S, guarded
from rules.errors import InvariantError
from tests.gateways.whole.conftest import Simulated


def test_a_day_passes_at_once_and_in_order(simulated: Simulated[Any]) -> None:
    seen: list[tuple[float, str]] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        seen.append((asyncio.get_running_loop().time(), name))

    async def day() -> None:
        await asyncio.gather(after(86_400.0, "day"), after(0.25, "soon"), after(3600.0, "hour"))

    began_s = time.process_time()
    simulated(day())
    assert seen == [(0.25, "soon"), (3600.0, "hour"), (86_400.0, "day")]
    assert time.process_time() - began_s < 5.0


def test_a_time_out_is_of_virtual_time(simulated: Simulated[Any]) -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(50.0):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert simulated(work()) == 50.0


def test_another_thread_is_this_one_and_answers_later(simulated: Simulated[Any]) -> None:
    async def work() -> tuple[bool, float]:
        asked = asyncio.to_thread(threading.current_thread)
        return await asked is threading.current_thread(), asyncio.get_running_loop().time()

    assert simulated(work()) == (True, EXECUTOR_S)

    async def failing() -> None:
        await asyncio.to_thread(int, "no number")

    with pytest.raises(ValueError, match="no number"):
        simulated(failing())


def test_what_stands_still_says_so(simulated: Simulated[Any]) -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(InvariantError, match="stands still"):
        simulated(for_ever())


@pytest.mark.parametrize(
    "asked",
    [
        lambda: time.time_ns(),
        lambda: time.monotonic(),
        lambda: time.sleep(0.0),
        lambda: uuid.uuid4(),
        lambda: random.uniform(0.0, 1.0),
        lambda: threading.Thread(target=print).start(),
    ],
)
def test_the_machine_is_not_asked(asked: Callable[[], object]) -> None:
    with guarded(), pytest.raises(InvariantError, match="in a simulated run"):
        asked()
    assert time.time_ns() > 0
    assert random.Random(1).random() == random.Random(1).random()


def test_no_socket(simulated: Simulated[Any]) -> None:
    async def work() -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    with pytest.raises(NotImplementedError):
        simulated(work())
