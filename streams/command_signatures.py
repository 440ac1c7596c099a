"""Signatures of commands (Ed25519): a worker's word that a command is its own, as it stands.

Rules:
- Signed are the bytes of the record's value, the owner's epoch beside them and the site: none can be changed, and what
  is signed for one site is nothing at another.
- It stands in a header, so that the value is the same whoever says it (`streams/wire.py`). That a command is done once,
  and in time, is its id's and its expiry's (`gateways/actuators`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from streams.keys import key_id, read_private, read_public
from streams.record import Headers, Message, Record, header
from streams.wire import OWNER_EPOCH

SIGNATURE: Final = "signature"
"""The header: the key's id (`keys.key_id`), a colon, the signature as hex."""


class CommandSigner:
    """Signs with a worker's key."""

    def __init__(self, key: Ed25519PrivateKey, site: str) -> None:
        self._key = key
        self._site = site
        self._key_id = key_id(key.public_key())

    def signed(self, message: Message) -> Message:
        """The message of a command, with its signature."""
        said = _signed_bytes(self._site, message.headers, message.value)
        text = f"{self._key_id}:{self._key.sign(said).hex()}".encode()
        return replace(message, headers=(*message.headers, (SIGNATURE, text)))


class TrustedKeys:
    """The public keys whose commands are acted on; false where there are none: then every command is."""

    def __init__(self, keys: Iterable[Ed25519PublicKey], site: str) -> None:
        self._site = site
        self._keys = {key_id(key): key for key in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def wrong(self, record: Record) -> str:
        """Why the command of a record is not believed; "" when it is."""
        value = header(record.headers, SIGNATURE)
        if value is None:
            return "it is not signed"
        name, _, signature = value.decode("utf-8", "replace").partition(":")
        key = self._keys.get(name)
        if key is None:
            return f"no trusted key is called {name[:16]!r}"
        try:
            key.verify(bytes.fromhex(signature), _signed_bytes(self._site, record.headers, record.value))
        except (InvalidSignature, ValueError):
            return f"it is not what key {name} signed at site '{self._site}'"
        return ""


def trusted_keys(files: Iterable[Path], site: str) -> TrustedKeys:
    """Those of PEM files. Raises ConfigurationError."""
    return TrustedKeys(map(read_public, files), site)


def command_signer(file: Path, site: str) -> CommandSigner:
    """Signs with the private key of a PEM file that others may not read. Raises ConfigurationError."""
    return CommandSigner(read_private(file, group_may_read=True), site)


def _signed_bytes(site: str, headers: Headers, value: bytes | None) -> bytes:
    epoch = header(headers, OWNER_EPOCH) or b""
    return b"\n".join([b"headrace command/1", site.encode(), epoch, value or b""])
