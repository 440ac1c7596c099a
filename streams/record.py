"""A record of a topic as a bus hands it over: the same for Kafka, memory and a recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Record:
    """As it stands in the log. `timestamp_ms` is the producer's clock."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What a producer hands to a bus: a record without its place in the log."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default=())


def headers_of(given: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Headers as a client of Kafka brings them: it lets one be without a value, which is empty here."""
    return tuple((name, b"" if value is None else value) for name, value in given)


def length_of(headers: Headers) -> int:
    """Bytes of headers in a record, at least: one that is empty has two, and there may be half a million of them."""
    return sum(len(name.encode()) + len(value) + 2 for name, value in headers)


def header(headers: Headers, name: str) -> bytes | None:
    """The first header called `name`, or None."""
    for key, value in headers:
        if key == name:
            return value
    return None
