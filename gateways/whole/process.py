"""A process of the simulation: the tasks of one role, its disk, and how it ends.

Rules: `kill` is kill -9: from that moment nothing of it reaches a port (bus, disk, device), whatever its tasks still do
while they are cancelled; its disk stays as it was committed. A task is of the process in whose context it was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Protocol

PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Closes(Protocol):
    """What a process has of its disk."""

    def close(self) -> None:
        """It ends: whatever it does from here on reaches no disk."""
        ...


class Process:
    """One life of a role, from its start to its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.disk: list[Closes] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start its main task."""
        token = PROCESS.set(self)
        try:
            return asyncio.get_running_loop().create_task(work(), name=self.name)
        finally:
            PROCESS.reset(token)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """A task of its own has begun."""
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def kill(self) -> None:
        """End it here: open transactions are rolled back, what it had in memory or on its way is gone."""
        self.is_alive = False
        for held in self.disk:
            held.close()
        for task in list(self._tasks):
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not self.is_alive and not task.cancelled():
            task.exception()  # nobody hears what a dead process says


def task_factory(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **given: Any
) -> asyncio.Task[Any]:
    """For `loop.set_task_factory`: every task is its process's."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **given)
    process = PROCESS.get()
    if process is not None:
        process.adopt(task)
    return task
