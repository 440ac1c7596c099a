"""Heads of the journal: a signed word on how far a unit's chain goes, so that a tail that was cut shows.

Rules: a head is no output of the engine. It stands on `journal` behind the line that it names. What is signed (Ed25519)
is the head's JSON with sorted keys, without `signature`. A head without key and signature closes an exported copy.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rules.engine.chain import ChainEnd
from rules.errors import UndecodableError
from rules.json_bytes import json_bytes
from streams.keys import key_id, read_private
from streams.record import Message
from streams.topics import JOURNAL, partition_of
from streams.wire import HEAD_SCHEMA


@dataclass(frozen=True, slots=True)
class Head:
    """`hash`: SHA-256 of line `number`, the unit's last one at `at_ns` (event time). `key`: id of the public key."""

    unit: str
    number: int
    hash: str
    at_ns: int
    key: str = ""
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature is of."""
        fields = asdict(self)
        del fields["signature"]
        return json_bytes({"schema": HEAD_SCHEMA, **fields})

    def as_bytes(self) -> bytes:
        """The record's value."""
        return json_bytes({"schema": HEAD_SCHEMA, **asdict(self)})


def head_message(head: Head, partitions: int) -> Message:
    """A head for `journal`."""
    schema = (("schema", HEAD_SCHEMA.encode()),)
    unit = head.unit
    return Message(JOURNAL.name, partition_of(unit, partitions), unit.encode(), head.as_bytes(), schema)


def looks_like_head(value: bytes) -> bool:
    """Whether these bytes call themselves a head; in a line of the journal the mark could only stand in its body."""
    return _MARK in value and b'"body":' not in value


_MARK: Final = orjson.dumps({"schema": HEAD_SCHEMA})[1:-1]
_HASH: Final = re.compile("[0-9a-f]{64}")
_FIELDS: Final = {"unit": str, "number": int, "hash": str, "at_ns": int, "key": str, "signature": str}


def head_of(value: bytes) -> Head:
    """The head that these bytes are. Raises UndecodableError, also for other bytes than `as_bytes` gives."""
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UndecodableError("bad-json", str(error)) from None
    if not isinstance(said, dict) or any(type(said.get(name)) is not kind for name, kind in _FIELDS.items()):
        raise UndecodableError("bad-envelope", "no head")
    head = Head(**{name: said[name] for name in _FIELDS})
    if head.number < 1 or _HASH.fullmatch(head.hash) is None or head.as_bytes() != value:
        raise UndecodableError("bad-envelope", "a head in other bytes than it is written in")
    return head


class Signer:
    """Signs heads with a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    def head(self, unit: str, end: ChainEnd, at_ns: int) -> Head:
        """A signed head."""
        head = Head(unit, end.number, end.hash, at_ns, self.key_id)
        return replace(head, signature=self._key.sign(head.signed_bytes()).hex())


def is_signed(head: Head, key: Ed25519PublicKey) -> bool:
    """Whether the signature is the key's."""
    try:
        key.verify(bytes.fromhex(head.signature), head.signed_bytes())
    except (InvalidSignature, ValueError):
        return False
    return True


def read_signer(path: Path) -> Signer:
    """Signs with the private key of a PEM file that others may not read. Raises ConfigurationError."""
    return Signer(read_private(path, group_may_read=True))
