"""Journals as bytes, for tests: chained by hand, as docs/journal.md says it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from rules.engine.chain import entry_bytes
from rules.engine.outputs import Entry
from streams.journal.chain import Finding, Verifier
from streams.journal.heads import Head


def journal(count: int, unit: str = "row-a") -> list[bytes]:
    """So many lines of a unit."""
    lines: list[bytes] = []
    for number in range(1, count + 1):
        previous = hashlib.sha256(lines[-1]).hexdigest() if lines else ""
        entry = Entry(
            f"{unit}:plc:1:{number}:0", unit, "gap", number * 10, {"missing": number, "text": "p Ω"}
        )
        lines.append(entry_bytes(replace(entry, number=number, previous=previous)))
    return lines


def head(lines: list[bytes], number: int, unit: str = "row-a") -> Head:
    return Head(unit, number, hashlib.sha256(lines[number - 1]).hexdigest(), number * 10)


def verified(values: list[bytes]) -> tuple[Verifier, list[Finding]]:
    verifier = Verifier()
    for place, value in enumerate(values):
        verifier.take(value, str(place))
    return verifier, verifier.finish({})


def first(values: list[bytes]) -> Finding | None:
    """The first finding."""
    return next(iter(verified(values)[1]), None)
