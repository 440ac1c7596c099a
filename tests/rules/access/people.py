"""People with keys, and what they sign, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rules.access.signatures import signed
from rules.access.users import User, plain_users
from rules.engine.inputs import AccessList, Action, ActionKind, Activation, Identity
from tests.rules.engine.plant import START, UNIT, site


@cache
def key_of(name: str) -> Ed25519PrivateKey:
    """The same one for a name in every run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public_of(name: str) -> str:
    return key_of(name).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def user(name: str, role: Any, *speaks_for: str) -> User:
    return User(role, (public_of(name),), speaks_for)


PEOPLE: Mapping[str, User] = {
    "ada": user("ada", "admin"),
    "eng": user("eng", "engineer"),
    "eva": user("eva", "operator"),
    "otto": user("otto", "operator"),
    "vic": user("vic", "viewer"),
    "scada": user("scada", "operator", "*"),
    "panel": user("panel", "engineer", "eva"),
}


def listing(
    epoch: int = START,
    users: Mapping[str, User] = PEOPLE,
    signer: str = "ada",
    key: str = "",
    at_ns: int = START,
    identity: Identity | None = None,
    **changed: Any,
) -> AccessList:
    """A list as its admin signs it, with `changed` fields afterwards."""
    own = identity or Identity("access", epoch, 1)
    value = AccessList(UNIT, own, plain_users(users), at_ns, signer)
    return replace(signed(value, site().name, key_of(key or signer)), **changed)


def action(
    kind: ActionKind,
    signer: str = "eva",
    by: str = "",
    epoch: int = START,
    key: str = "",
    at_ns: int = START,
    identity: Identity | None = None,
    rule: str = "low",
    asset: str = "R1",
    site_name: str = "",
    **given: Any,
) -> Action:
    """An action as `signer` signs it, with `given` fields."""
    own = identity or Identity(f"action:{signer}", epoch, 1)
    value = Action(UNIT, own, kind, rule, asset, by or signer, at_ns, signer=signer, comment="why")
    return signed(replace(value, **given), site_name or site().name, key_of(key or signer))


def activation(
    digest: str,
    signer: str = "eng",
    epoch: int = START,
    key: str = "",
    at_ns: int = START,
    identity: Identity | None = None,
    site_name: str = "",
) -> Activation:
    """An activation as `signer` signs it."""
    value = Activation(UNIT, identity or Identity("activation", epoch, 1), "a", digest, at_ns, signer)
    return signed(value, site_name or site().name, key_of(key or signer))
