"""Which actuators are in their fallback, for `headrace doctor`: by this machine's own file, else by the log."""

from __future__ import annotations

import time
from typing import Any, Final

import orjson

from gateways.actuators.fallback_store import FILE, read_fallbacks
from rules.errors import HeadraceError
from streams.bus import Bus
from streams.bus_kafka import KafkaBus
from streams.record import TopicPartition
from streams.settings import Settings
from streams.times import iso_utc
from streams.topics import STATUS

NAMED: Final = 5
LAST_WORDS: Final = 2_000
"""Each role says one a second: the last words of all are among these."""
LOOK_S: Final = 5.0


async def in_fallback(settings: Settings) -> str | None:
    """How many, which, since when and why, in words; "" for none, None where nobody knows."""
    file = settings.run_dir / FILE
    if file.is_file():
        held = read_fallbacks(file)
        oldest = min(held, key=lambda one: one.since_ns, default=None)
        return (
            ""
            if oldest is None
            else _words(len(held), [one.actuator for one in held], oldest.since_ns, oldest.part)
        )
    bus = KafkaBus(settings.broker)
    try:
        said = await _last_word(bus)
    except HeadraceError:
        return None
    finally:
        await bus.close()
    if said is None:
        return None
    return (
        _words(said["actuators"], said["names"], said["since_ns"], said["part"]) if said["actuators"] else ""
    )


def _words(count: int, names: list[str], since_ns: int, part: str) -> str:
    named = ", ".join(names[:NAMED]) + (f" and {count - NAMED} more" if count > NAMED else "")
    return f"{count} in their fallback since {iso_utc(since_ns)[:19]}Z (silent: {part}): {named}"


async def _last_word(bus: Bus) -> dict[str, Any] | None:
    """What the role said last of its fallbacks. UnreachableError."""
    if not await bus.partitions(STATUS.name):
        return None
    place = TopicPartition(STATUS.name, 0)
    end = (await bus.ends(STATUS.name))[place]
    reader = await bus.reader([STATUS.name], {place: max(0, end - LAST_WORDS)})
    last: dict[str, Any] | None = None
    try:
        until_s = time.monotonic() + LOOK_S
        while time.monotonic() < until_s and reader.positions()[place] < end:
            for record in await reader.read(0.2, LAST_WORDS):
                last = _of(record.value) or last
    finally:
        await reader.close()
    return last


def _of(value: bytes | None) -> dict[str, Any] | None:
    try:
        said = orjson.loads(value or b"{}")
        found = said["metrics"]["fallback"]
        return found if {"actuators", "names", "since_ns", "part"} <= found.keys() else None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None  # the word of another role, or of anybody
