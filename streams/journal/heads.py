"""Heads of the journal: a signed word on how far a unit's chain goes, so that a tail that was cut shows.

Rules: a head is no output of the engine. It stands on `journal` behind the line that it names. What is signed (Ed25519)
is the head's JSON with sorted keys, without `signature`. A head without key and signature closes an exported copy.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from rules.engine.chain import ChainEnd
from rules.errors import ConfigurationError, UndecodableError
from rules.findings import Finding
from streams.record import Message
from streams.topics import JOURNAL, partition_of
from streams.wire import HEAD_SCHEMA

_HINT: Final = "make one with: headrace journal key -o FILE"


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
        return orjson.dumps({"schema": HEAD_SCHEMA, **fields}, option=orjson.OPT_SORT_KEYS)

    def as_bytes(self) -> bytes:
        """The record's value."""
        return orjson.dumps({"schema": HEAD_SCHEMA, **asdict(self)}, option=orjson.OPT_SORT_KEYS)


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


# -- keys


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


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


def make_key(path: Path) -> Path:
    """A new private key in `path` (PEM, readable by its owner only); the public one in the file that is returned.

    Raises ConfigurationError where either is there already or can't be written.
    """
    key, public = Ed25519PrivateKey.generate(), path.with_name(f"{path.name}.pub")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    of_public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for file, text, mode in ((path, pem, 0o600), (public, of_public, 0o644)):
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise ConfigurationError(
                [Finding(str(file), 0, 0, f"can't be written: {error.strerror}")]
            ) from None
        with os.fdopen(descriptor, "wb") as out:
            out.write(text)
    return public


def read_signer(path: Path) -> Signer:
    """The private key of a PEM file. Raises ConfigurationError."""
    try:
        key = load_pem_private_key(_pem(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            [Finding(str(path), 0, 0, "no private Ed25519 key (PEM, no password)", _HINT)]
        )
    return Signer(key)


def read_public(path: Path) -> Ed25519PublicKey:
    """The public key of a PEM file. Raises ConfigurationError."""
    try:
        key = load_pem_public_key(_pem(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        hint = "`headrace journal key` has written it beside the private one, as FILE.pub"
        raise ConfigurationError([Finding(str(path), 0, 0, "no public Ed25519 key (PEM)", hint)])
    return key


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            [Finding(str(path), 0, 0, f"can't be read: {error.strerror}", _HINT)]
        ) from None
