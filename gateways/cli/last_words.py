"""The last words of the roles on the log: what commands know of how they run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateways.observability.health import silence
from rules.errors import HeadraceError
from streams.bus.kafka import KafkaBus
from streams.log_limit import silence_logs
from streams.role import Status, as_status
from streams.settings import Settings
from streams.topics import STATUS

_LOOK_S: Final = 3.0

Words = Mapping[str, Status]
"""By instance, whose name is given freely, what it said of itself last."""


def last_words(settings: Settings) -> Words:
    """By instance, its last status on the log; {} where none is to be had."""
    try:
        return read_last_words(settings)
    except HeadraceError:
        return {}


def read_last_words(settings: Settings) -> Words:
    """By instance, its last status on the log; {} where nobody has said one. ConfigurationError, UnreachableError."""
    silence_logs()

    async def ask() -> dict[str, Status]:
        bus = KafkaBus(settings.broker)
        try:
            if not await bus.partitions(STATUS.name):
                return {}
            words: dict[str, Status] = {}
            ends = await bus.ends(STATUS.name)
            reader = await bus.reader([STATUS.name])
            try:
                until = time.monotonic() + _LOOK_S
                while time.monotonic() < until and any(
                    reader.positions()[at] < end for at, end in ends.items()
                ):
                    for record in await reader.read(0.2, 5000):
                        if (status := as_status(record.value)) is not None:
                            words[status["role"]] = status
            finally:
                await reader.close()
            return words
        finally:
            await bus.close()

    return asyncio.run(ask())


def running(words: Words) -> Words:
    """Those that still speak: each role does once a second until it ends."""
    now_ns = time.time_ns()
    return {role: word for role, word in words.items() if not silence(word, now_ns)}


def of_kind(words: Words, kind: str) -> list[Status]:
    """Of every instance of a role, the last that has spoken first."""
    found = [word for word in words.values() if word["kind"] == kind]
    return sorted(found, key=lambda word: word["at_ns"], reverse=True)


def alerts_folder(words: Words, settings: Settings) -> Path:
    """Where the role `alerts` has its outbox and writes `file` channels: as it says, else as the settings do.

    `headrace up` gives each run a folder of its own, so the settings alone do not know.
    """
    outboxes = [Path(str(word["metrics"].get("outbox", ""))) for word in of_kind(words, "alerts")]
    return next((outbox.parent for outbox in outboxes if outbox.is_file()), settings.run_dir)
