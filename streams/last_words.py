"""Which word on an alarm wins: that of the highest owner's epoch, and of one owner the one that comes last in the log.

A worker that lost its partitions without noticing (stopped for longer than its session, cut off from the broker) may
still say something when it wakes up: behind what its successor has said. Whoever reads `alarms` asks here.
"""

from __future__ import annotations

from collections.abc import Iterable

from rules.errors import UndecodableError
from streams.record import Record
from streams.wire import owner_epoch_of


class LastWords:
    """The highest epoch that was heard about each alarm."""

    def __init__(self) -> None:
        self._epochs: dict[bytes | None, int] = {}

    def wins(self, record: Record) -> bool:
        """Whether this record of `alarms`, which comes behind all that were asked about before, is the last word."""
        epoch = _epoch(record)
        if epoch < self._epochs.get(record.key, 0):
            return False
        self._epochs[record.key] = epoch
        return True


def buried(records: Iterable[Record]) -> list[Record]:
    """Last words of alarms behind which, in the log, a word of a lower epoch stands."""
    words = LastWords()
    last: dict[bytes | None, Record] = {}
    under: dict[bytes | None, Record] = {}
    for record in records:
        if words.wins(record):
            last[record.key] = record
            under.pop(record.key, None)
        else:
            under[record.key] = last[record.key]
    return list(under.values())


def _epoch(record: Record) -> int:
    """Nobody reads a word whose header can't be read; it must not keep others from being read."""
    try:
        return owner_epoch_of(record.headers)
    except UndecodableError:
        return 0
