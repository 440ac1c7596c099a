"""Python's garbage collector in a process that runs for months: seldom, and never over what stays.

Rules: called by a process for itself, first thing and once its site and rules are there.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLD: Final = 20_000
"""New objects before the collector looks for cycles; Python's own 700 are made some ten times a second in a worker, and
thousands of times while a site is read."""


def run_seldom() -> None:
    """Before anything is loaded."""
    gc.set_threshold(THRESHOLD)


def keep_all() -> None:
    """What is loaded lives as long as the process: the collector need not walk it again and again.

    That took the worker a tenth of its time; and a full collection is a pause that a command would have to wait for.
    """
    gc.freeze()
