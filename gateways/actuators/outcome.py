"""What a target is asked and what it answers; the face of every kind of target."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rules.engine.inputs import ReceiptStatus
from rules.engine.outputs import Command
from rules.site.model import Actuator


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task. `done`: written, and the device says the same value; `unknown`: written perhaps."""

    status: ReceiptStatus
    read_back: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A command that was found sound, with its actuator. `settle`: who hears its outcome, None for a receipt.

    `is_wanted`: asked right before it is written; one that is not wanted any more is dropped without a word.
    """

    command: Command
    actuator: Actuator
    settle: Callable[[Outcome], None] | None = None
    is_wanted: Callable[[], bool] = lambda: True


class Target(Protocol):
    """A device or server. One batch at a time; it never raises for what a device does.

    `refusal`: why it writes nothing, whatever it is asked; "" where it does.
    """

    refusal: str

    async def write(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Write and read back, one outcome for each task, in order."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class TaskQueue:
    """Tasks that wait for one target, in order."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._arrived = asyncio.Event()

    def put(self, task: Task) -> None:
        """Add one at the end."""
        self._tasks.append(task)
        self._arrived.set()

    async def take(self, limit: int) -> list[Task]:
        """Wait for the next tasks: all that wait, up to `limit`, no actuator twice.

        The read-back of a batch must be of the value that was written last.
        """
        await self._arrived.wait()
        batch: list[Task] = []
        names: set[str] = set()
        while self._tasks and len(batch) < limit and self._tasks[0].actuator.id not in names:
            task = self._tasks.popleft()
            names.add(task.actuator.id)
            batch.append(task)
        if not self._tasks:
            self._arrived.clear()
        return batch


def agrees(wanted: float, read_back: float) -> bool:
    """Whether a device that keeps float32, or whole watts, has taken the value."""
    return abs(read_back - wanted) <= 1e-6 * max(1.0, abs(wanted))
