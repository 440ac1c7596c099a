"""An event loop whose time is virtual, and a guard over what would make two runs of one seed differ.

Rules: nothing waits: where nothing is to do, time jumps to the next timer; timers of one moment go off in the order in
which they were set, so that one more or less moves no other. No thread, no socket, no child process; what
is asked of an executor is done at once, in the loop, and its answer comes `EXECUTOR_S` later. Within `guarded()`,
whoever asks the machine for a clock or for randomness gets an error that names the way round.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, TypeVar
from unittest.mock import patch

from rules.errors import InvariantError

T = TypeVar("T")

EXECUTOR_S: Final = 0.001
"""What a call in another thread takes: long enough that the loop goes on beside it."""

REFUSED: Final[Mapping[object, tuple[str, ...]]] = {
    time: ("time_ns", "monotonic", "monotonic_ns", "sleep"),
    os: ("urandom",),
    uuid: ("uuid1", "uuid4"),
    random: ("random", "uniform", "choice", "randint", "randrange", "shuffle"),
    threading.Thread: ("start",),
}


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` is in seconds since the loop was made."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self._ready: deque[asyncio.Handle]

    def time(self) -> float:
        """Virtual."""
        return self._now_s

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As the base class, whose heap has no order for timers of one moment, and compares them in Python."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays where it is until its time comes."""

    def _run_once(self) -> None:
        """What the base class does between two looks at its sockets: what is to do now, and no wait."""
        timers, ready = self._timers, self._ready
        if not ready:
            while timers and timers[0][2].cancelled():
                heappop(timers)
            if not timers:
                raise InvariantError(
                    "the simulation stands still: no task has anything to do, and no timer runs"
                )
            self._now_s = max(self._now_s, timers[0][0])
        while timers and timers[0][0] <= self._now_s:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _write_to_self(self) -> None:
        """It need not be woken: it never sleeps. Other threads there are none."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """The call, here and now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            self.call_later(EXECUTOR_S, _settle, future, None, error)
        else:
            self.call_later(EXECUTOR_S, _settle, future, result, None)
        return future


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


@contextmanager
def guarded() -> Iterator[None]:
    """Refuses the machine's clocks, randomness and threads; `perf_counter` stays, for what only measures cost."""

    def refusal(name: str) -> Callable[..., Any]:
        def refused(*_: object, **__: object) -> Any:
            raise InvariantError(f"{name} in a simulated run: take the role's clock, loop.time() or a seed")

        return refused

    patches = [
        patch.object(place, name, refusal(f"{getattr(place, '__name__', place)}.{name}"))
        for place, names in REFUSED.items()
        for name in names
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
