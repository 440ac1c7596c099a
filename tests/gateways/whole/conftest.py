"""Work on the simulation's loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from gateways.whole.loop import VirtualLoop
from gateways.whole.process import task_factory

T = TypeVar("T")
Simulated = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture
def simulated() -> Simulated[Any]:
    """Runs a coroutine on a loop of its own, on virtual time."""

    def run(work: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.get_loop().set_task_factory(task_factory)
            return runner.run(work)

    return run


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Roles that are killed by the dozen have much to say."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
