"""Ed25519 keys in files (PEM), of journal heads and of people and edges that act.

Rules: a private key is written readable by its owner only; nothing of it is ever said.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from rules.errors import ConfigurationError
from rules.findings import Finding

_OF_OTHERS: Final = 0o077
_BUT_READ_BY_GROUP: Final = 0o037
_HINT: Final = "make one with: headrace journal key -o FILE, or headrace users key -o FILE"


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def public_text(key: Ed25519PublicKey) -> str:
    """The raw public key as hex: how users files, access lists and site files have it."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


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


def read_private(path: Path, group_may_read: bool = False) -> Ed25519PrivateKey:
    """The private key of a PEM file that only its owner may read; `group_may_read` as in `is_shared`.

    Raises ConfigurationError.
    """
    key = private_of(_pem(path), str(path))
    if is_shared(path, group_may_read):
        text = "others than its owner may read this private key"
        mode = 640 if group_may_read else 600
        raise ConfigurationError([Finding(str(path), 0, 0, text, f"chmod {mode} {path}")])
    return key


def private_of(pem: bytes, where: str) -> Ed25519PrivateKey:
    """The private key of a PEM text; `where` it stood. Raises ConfigurationError."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError([Finding(where, 0, 0, "no private Ed25519 key (PEM, no password)", _HINT)])
    return key


def is_shared(path: Path, group_may_read: bool = False) -> bool:
    """Whether others than its owner may read or change a file with a secret.

    `group_may_read`: of a service, to which a secret is mounted so (Kubernetes, systemd's credentials).
    """
    return bool(path.stat().st_mode & (_BUT_READ_BY_GROUP if group_may_read else _OF_OTHERS))


def read_public(path: Path) -> Ed25519PublicKey:
    """The public key of a PEM file. Raises ConfigurationError."""
    try:
        key = load_pem_public_key(_pem(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        hint = "it was written beside the private one, as FILE.pub"
        raise ConfigurationError([Finding(str(path), 0, 0, "no public Ed25519 key (PEM)", hint)])
    return key


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            [Finding(str(path), 0, 0, f"can't be read: {error.strerror}", _HINT)]
        ) from None
