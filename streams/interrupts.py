"""Ctrl-C, which a terminal sends to every process of a command: those that are started to help do not hear it.

Rules: the first process alone hears it, and ends the others. From their start on: one that is interrupted while it
starts lacks what it needs, and says so in a traceback.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.resource_tracker import ensure_running


@contextmanager
def unheard() -> Iterator[None]:
    """Processes that are started within it do not hear Ctrl-C: they inherit the mask."""
    ensure_running()  # or the first start would begin the tracker, which lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
