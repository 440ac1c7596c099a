"""The chain of a unit's journal: every line says its number, and the SHA-256 of the line before it.

Rule: what is hashed is the record's value, byte for byte as it stands on the log, so that `sha256sum` on a line of it
says what the next one has to name. The engine and the wire write it here and nowhere else.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from rules.engine.outputs import Entry
from rules.json_bytes import json_bytes

ENTRY_SCHEMA: Final = "entry/1"


class ChainEnd(NamedTuple):
    """The last line of a unit's journal: its number, and the SHA-256 of its bytes (hex); 0 and "" before any."""

    number: int = 0
    hash: str = ""


def entry_bytes(entry: Entry) -> bytes:
    """A line of the journal as bytes: JSON with sorted keys."""
    body = {
        "at_ns": entry.at_ns,
        "detail": entry.detail,
        "kind": entry.kind,
        "number": entry.number,
        "previous": entry.previous,
    }
    value = {"body": body, "id": entry.id, "schema": ENTRY_SCHEMA, "unit": entry.unit}
    return json_bytes(value)


def hash_of(value: bytes) -> str:
    """What the line after the one with these bytes has as `previous`."""
    return hashlib.sha256(value).hexdigest()
