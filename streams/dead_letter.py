"""What nobody can read, as a record of `dead-letters`: all that is needed to find out why, and to send it again.

Key, value and headers are as they came, unless they are so long that they would not fit beside the reason; the
reason and the place are headers called `dead-letter-…`.
"""

from __future__ import annotations

from typing import Final

from rules.errors import UndecodableError
from streams.record import Message, Record, length_of
from streams.topics import DEAD_LETTERS

VALUE_BYTES: Final = 900_000
KEY_BYTES: Final = 10_000
HEADER_BYTES: Final = 50_000
PREFIX: Final = "dead-letter-"


def dead_letter(record: Record, error: UndecodableError) -> Message:
    """The record of `dead-letters` for one that could not be read; `dead-letter-cut` names what had to be cut."""
    key, value, headers = record.key, record.value, record.headers
    cut = []
    if value is not None and len(value) > VALUE_BYTES:
        cut.append(f"value of {len(value)} bytes")
        value = value[:VALUE_BYTES]
    if key is not None and len(key) > KEY_BYTES:
        cut.append(f"key of {len(key)} bytes")
        key = key[:KEY_BYTES]
    length = length_of(headers)
    if length > HEADER_BYTES:
        cut.append(f"headers of {length} bytes")
        headers = ()
    said = {
        "reason": error.reason,
        "detail": error.detail[:1000],
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
    }
    if cut:
        said["cut"] = ", ".join(cut)
    own = tuple((PREFIX + name, text.encode("utf-8", "replace")) for name, text in said.items())
    return Message(DEAD_LETTERS.name, record.partition, key, value, (*own, *headers))
