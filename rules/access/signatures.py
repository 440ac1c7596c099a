"""What a signature of an action, an activation or an access list is of, and whether it is right.

Rules: Ed25519 over JSON with sorted keys: the schema, the site, unit and identity, and the body without `signature`. So
nothing that is signed can be taken for another thing, another unit's or another site's. Fields that have their default
are left out: one that is added later changes no older signature.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rules.access.users import plain_users, public_keys, read_users
from rules.engine.inputs import AccessList, Action, Activation, Signed

_OUTSIDE: Final = frozenset({"unit", "identity", "signature"})
_SCHEMAS: Final = {Action: "action/1", AccessList: "access/1", Activation: "activation/1"}
"""As the wire calls them."""
_Signed = TypeVar("_Signed", Action, AccessList, Activation)


def signed_bytes(value: Signed, site: str) -> bytes:
    """What the signature is of; `site`: the name of the site. The users of a list have to be readable."""
    body: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if field.name not in _OUTSIDE and item != field.default:
            body[field.name] = item
    if isinstance(value, AccessList):
        users = read_users(value.users)
        if isinstance(users, str):
            raise ValueError(users)
        body["users"] = plain_users(users)
    said = {
        "schema": _SCHEMAS[type(value)],
        "site": site,
        "unit": value.unit,
        "source": value.identity.source,
        "epoch": value.identity.epoch,
        "sequence": value.identity.sequence,
        "body": body,
    }
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def signed(value: _Signed, site: str, key: Ed25519PrivateKey) -> _Signed:
    """The same with its signature. `signer` has to be in it, and the users of a list have to be readable."""
    return dataclasses.replace(value, signature=key.sign(signed_bytes(value, site)).hex())


def is_signed(value: Signed, site: str, keys: Iterable[str]) -> bool:
    """Whether the signature is of one of these public keys."""
    try:
        signature, text = bytes.fromhex(value.signature), signed_bytes(value, site)
    except ValueError:
        return False
    for key in public_keys(keys):
        try:
            key.verify(signature, text)
        except InvalidSignature:
            continue
        return True
    return False
