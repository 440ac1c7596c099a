"""Keeps a library's log readable while a broker is away: a line per template and period, the rest counted.

aiokafka and Faust log some 100 error lines a second during an outage; what they say is said once by us.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

AIOKAFKA_LOGGERS = (
    "aiokafka",
    "aiokafka.client",
    "aiokafka.conn",
    "aiokafka.cluster",
    "aiokafka.consumer.consumer",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.producer",
    "aiokafka.producer.sender",
)
"""A filter on a parent sees no record of its children, so each is named."""

SAID_BY_US = ("Unexpected error during InitProducerIdRequest",)
"""The embedded broker takes no idempotent producers: `bus/kafka.py` finds that out and says so in its own words."""


class LogLimit(logging.Filter):
    """Lets one record per logger and template through in `period_s`, with the number held back before it."""

    def __init__(self, period_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._period_s = period_s
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a repeat within the period."""
        if str(record.msg).startswith(SAID_BY_US):
            return False
        key = (record.name, str(record.msg))
        now = self._clock()
        since, held_back = self._seen.get(key, (float("-inf"), 0))
        if now - since < self._period_s:
            self._seen[key] = (since, held_back + 1)
            return False
        self._seen[key] = (now, 0)
        if held_back:
            record.msg = f"{record.msg} (and {held_back} times more before)"
        return True


def limit_logs(names: Iterable[str] = AIOKAFKA_LOGGERS, period_s: float = 30.0) -> None:
    """Put a limit on each logger that has none yet; what is below a warning is not for our log."""
    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
        if not any(isinstance(given, LogLimit) for given in logger.filters):
            logger.addFilter(LogLimit(period_s))


def limited(name: str) -> logging.Logger:
    """A logger for what we say again and again ourselves while something is away."""
    logger = logging.getLogger(f"{name}.again")
    if not logger.filters:
        logger.addFilter(LogLimit())
    return logger


def silence_logs(names: Iterable[str] = AIOKAFKA_LOGGERS) -> None:
    """Let nothing through but what is critical: for commands that say in one sentence what a library says in many."""
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
