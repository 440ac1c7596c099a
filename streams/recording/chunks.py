"""The records in the chunks of a recording, as they lie there: what a channel says is said once, not for each record.

Rules: a message is known by its channel; one whose channel nobody has named is counted, not guessed. How channels name
records is said in `recording`.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from typing import Final, NamedTuple

import orjson
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel

from streams.record import Headers, Record
from streams.recording.file import RECORD_HEAD, UNREADABLE

WRAPPED: Final = "wrapped"

# As plain numbers: comparing with an Enum's member costs as much as taking the record apart.
_CHANNEL: Final = int(Opcode.CHANNEL)
_MESSAGE_OPCODE: Final = int(Opcode.MESSAGE)
_MESSAGE = struct.Struct("<HIQQ")
_CHANNEL_ID = struct.Struct("<H")


class Place(NamedTuple):
    """What a channel says about its messages."""

    topic: str
    partition: int
    key: bytes | None
    headers: Headers
    base_offset: int
    is_wrapped: bool
    log: int = 0
    """Which of the logs in the file: one that was rolled to a fresh one starts the next."""


Stored = tuple[int, Place, int, int, bytes | None]
"""The recorder's time (ns), the place, the offset, the record's own timestamp (ms) and its value."""


def record_of(stored: Stored) -> Record:
    """As an object of its own."""
    _, place, offset, timestamp_ms, value = stored
    return Record(place.topic, place.partition, offset, timestamp_ms, place.key, value, place.headers)


class Chunks:
    """Takes chunks apart. `read`: messages of all topics; `homeless`: those whose channel nobody has named.

    `broken`: chunks and channels of which the rest can't be read, though their checksums are right. `known`: the places
    of channels that an index names.
    """

    def __init__(self, topics: Collection[str] | None, known: Mapping[int, Place]) -> None:
        self.read = 0
        self.homeless = 0
        self.broken = 0
        self._topics = topics
        # None for what nobody asks for
        self._places = {channel: self._wanted(place) for channel, place in known.items()}

    def _wanted(self, place: Place) -> Place | None:
        return place if self._topics is None or place.topic in self._topics else None

    def learn(self, body: bytes) -> None:
        """What the messages of a channel (the body of its record) are; the first word on an id stands."""
        try:
            channel = channel_of(body)
            if channel.id not in self._places:
                self._places[channel.id] = self._wanted(place_of(channel))
        except UNREADABLE:
            self.broken += 1

    def stored(self, data: bytes) -> Iterator[Stored]:
        """The records of a chunk, decompressed, up to one that can't be read (`broken`)."""
        try:
            yield from self._stored(data)
        except UNREADABLE:
            self.broken += 1

    def _stored(self, data: bytes) -> Iterator[Stored]:
        """Once for each record of a recording: every line counts."""
        position, end, places = 0, len(data), self._places
        read_head, read_message = RECORD_HEAD.unpack_from, _MESSAGE.unpack_from
        read_channel = _CHANNEL_ID.unpack_from
        head, message_head = RECORD_HEAD.size, _MESSAGE.size
        while position < end:
            opcode, length = read_head(data, position)
            start = position + head
            position = start + length
            if position > end:
                raise ValueError("a record goes on behind its chunk")
            if opcode == _CHANNEL:
                # a file names thousands, and its index has named them already
                if read_channel(data, start)[0] not in places:
                    self.learn(data[start:position])
            elif opcode == _MESSAGE_OPCODE:
                channel, low, log_ns, publish_ns = read_message(data, start)
                place = places.get(channel)
                if place is None:
                    if channel in places:
                        self.read += 1
                    else:
                        self.homeless += 1
                    continue
                offset = place.base_offset + ((low - place.base_offset) & 0xFFFF_FFFF)
                value = data[start + message_head : position]
                if place.is_wrapped:
                    stored = _unwrap(log_ns, place, offset, value)
                    self.read += 1
                    yield stored
                else:
                    self.read += 1
                    yield log_ns, place, offset, publish_ns // 1_000_000, value


def channel_of(body: bytes) -> Channel:
    """A channel record."""
    return Channel.read(ReadDataStream(BytesIO(body)))


def place_of(channel: Channel) -> Place:
    """What a channel says about its messages."""
    metadata = channel.metadata
    key = metadata.get("key")
    names = orjson.loads(metadata.get("headers", "[]"))
    return Place(
        channel.topic,
        int(metadata.get("partition", "0")),
        None if key is None else key.encode(),
        tuple((name, metadata[f"header.{name}"].encode()) for name in names),
        int(metadata.get("base_offset", "0")),
        metadata.get("encoding") == WRAPPED,
        int(metadata.get("segment", "0")),
    )


def _unwrap(log_ns: int, place: Place, offset: int, data: bytes) -> Stored:
    wrapped = orjson.loads(data)

    def raw(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text)

    headers = tuple(
        (base64.b64decode(name).decode("utf-8", "surrogateescape"), base64.b64decode(value))
        for name, value in wrapped["headers"]
    )
    own = place._replace(key=raw(wrapped["key"]), headers=headers)
    timestamp_ms = wrapped["timestamp_ms"]
    if type(timestamp_ms) is not int:
        raise TypeError("a timestamp is a whole number")
    return log_ns, own, offset, timestamp_ms, raw(wrapped["value"])
