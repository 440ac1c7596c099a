"""Batches of records whose headers have names that are no UTF-8, which aiokafka can't read past.

Kafka takes such a name from every producer. aiokafka's compiled reader of a batch raises UnicodeDecodeError at it, for
ever at the same record, and nobody may ask it for the bytes. So the rest of such a batch comes as records that hold
nothing: who decodes them calls them unreadable and counts them, and no offset is missing. A batch is of one producer:
nobody else's records are among them. Decision 0124.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from aiokafka.consumer import fetcher

from streams.log_limit import limited

log_again = limited(__name__)

WHY: Final = ("unreadable", b"this record or one before it in its batch has a header whose name is not UTF-8")


class _Unread(NamedTuple):
    """A record of which only its place is known, as aiokafka's reader would hand it on."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None = None
    value: bytes | None = b""
    checksum: int | None = None
    headers: tuple[tuple[str, bytes], ...] = (WHY,)


class _Batch:
    """One of aiokafka's batches, whose iteration reaches its end."""

    def __init__(self, place: Any, batch: Any) -> None:
        self._place = place
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        offset = batch.base_offset
        try:
            for record in batch:
                yield record
                offset = record.offset + 1
        except UnicodeDecodeError as error:
            log_again.error(
                "%s %d:%d to %d can't be read: the name of a header is not UTF-8 (%s)",
                self._place.topic, self._place.partition, offset, batch.next_offset - 1, error.reason,
            )  # fmt: skip
            for unread in range(offset, batch.next_offset):
                yield _Unread(unread, batch.max_timestamp, batch.timestamp_type)


class _Batches:
    """aiokafka's batches of one fetch."""

    def __init__(self, place: Any, records: Any) -> None:
        self._place = place
        self._records = records
        self.has_next = records.has_next

    def next_batch(self) -> _Batch:
        return _Batch(self._place, self._records.next_batch())


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types of its own
    def __init__(self, tp: Any, records: Any, *rest: Any) -> None:
        super().__init__(tp, _Batches(tp, records), *rest)


def tolerate_header_names() -> None:
    """Let every consumer of this process, Faust's as well, go on behind such names."""
    fetcher.PartitionRecords = _PartitionRecords
