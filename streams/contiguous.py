"""Records without a hole, from a broker that may show a record before the one in front of it.

Tansu, the embedded broker, does when several producers append at once: a reader at the end of the log is handed
offset 936 while 935 is still on its way in, and would never see it (decision 0030). What lies behind a hole is left
out, and read again from the hole. Not for a compacted or transactional log, where holes are no mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class HasOffset(Protocol):
    """A record of a client."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...


R = TypeVar("R", bound=HasOffset)


def before_hole(records: Sequence[R], position: int) -> Sequence[R]:
    """The first of `records` (ascending) that follow `position` without a hole; all, when there is none."""
    if not records or (
        records[0].offset <= position and records[-1].offset - records[0].offset == len(records) - 1
    ):
        return records
    for count, record in enumerate(records):
        if record.offset > position:
            return records[:count]
        position = record.offset + 1
    return records
