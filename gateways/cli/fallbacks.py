"""Which actuators are in their fallback, for `headrace doctor`: by this machine's file, else by the roles' words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateways.actuators.fallback_store import FILE, read_fallbacks
from gateways.cli.last_words import Words, of_kind
from streams.times import iso_utc

NAMED: Final = 5


def in_fallback(run_dir: Path, words: Words) -> str | None:
    """How many, which, since when and why, in words; "" for none, None where nobody knows."""
    file = run_dir / FILE
    if file.is_file():
        held = read_fallbacks(file)
        oldest = min(held, key=lambda one: one.since_ns, default=None)
        return (
            ""
            if oldest is None
            else _words(len(held), [one.actuator for one in held], oldest.since_ns, oldest.part)
        )
    said = [found for word in of_kind(words, "actuators") if (found := _of(word)) is not None]
    if not said:
        return None
    held_by = [one for one in said if one["actuators"]]
    if not held_by:
        return ""
    first = min(held_by, key=lambda one: one["since_ns"])
    count = sum(one["actuators"] for one in held_by)
    return _words(count, [name for one in held_by for name in one["names"]], first["since_ns"], first["part"])


def _words(count: int, names: list[str], since_ns: int, part: str) -> str:
    named = ", ".join(names[:NAMED]) + (f" and {count - NAMED} more" if count > NAMED else "")
    return f"{count} in their fallback since {iso_utc(since_ns)[:19]}Z (silent: {part}): {named}"


def _of(word: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What actuators say of their fallbacks; None where they say nothing that can be read."""
    found = word["metrics"].get("fallback")
    known = isinstance(found, dict) and {"actuators", "names", "since_ns", "part"} <= found.keys()
    return found if known else None
