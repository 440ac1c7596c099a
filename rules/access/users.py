"""The users of an access list: names, roles, public keys, and for whom they may speak.

Rules: a list comes off the log, and is data of whoever wrote it: it is read strictly, and nothing in it can raise.
Passwords and certificates are no part of it: they are the business of the edges that ask for them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, cast

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rules.access.rights import ROLES, Role

ANYBODY: Final = "*"
"""In `speaks_for`: every user."""
USER_CHARACTERS_MAX: Final = 64
KEYS_MAX: Final = 16
_KEY: Final = re.compile("[0-9a-f]{64}")
_FIELDS: Final = {"role", "keys", "speaks_for"}


class User(NamedTuple):
    """`keys`: raw Ed25519 public keys as hex. `speaks_for`: names, or `ANYBODY`, whose actions it may sign.

    A person speaks for nobody else. An edge that has seen who somebody is (an OPC UA server, a console) does, and its
    own role is the most that it may ask for.
    """

    role: Role
    keys: tuple[str, ...] = ()
    speaks_for: tuple[str, ...] = ()

    def may_speak_for(self, name: str) -> bool:
        """Whether an action of `name` may carry this user's signature, where that is another one."""
        return name in self.speaks_for or ANYBODY in self.speaks_for


Users = Mapping[str, User]


def is_name(text: str) -> bool:
    """Whether a user may be called so: printable, without what ids and sources are put together with."""
    return (
        0 < len(text) <= USER_CHARACTERS_MAX
        and text.isprintable()
        and text != ANYBODY
        and not set(text) & set(":/")
    )


def is_key(text: str) -> bool:
    """Whether it is a public key as a list has it: 64 digits, hexadecimal, in small letters."""
    return _KEY.fullmatch(text) is not None


def read_users(plain: Mapping[str, Any]) -> Users | str:
    """The users of a list as it stands on the log, or what is wrong with it."""
    users = {}
    for name, fields in plain.items():
        if not is_name(name):
            return f"{name[:USER_CHARACTERS_MAX]!r} is no name"
        if not isinstance(fields, dict) or not fields.keys() <= _FIELDS or fields.get("role") not in ROLES:
            return f"'{name}' has no role, or what no user has"
        keys, speaks_for = fields.get("keys", []), fields.get("speaks_for", [])
        if not _are_texts(keys) or len(keys) > KEYS_MAX or not all(map(is_key, keys)):
            return f"'{name}' has a key that is none, or more than {KEYS_MAX}"
        if not _are_texts(speaks_for):
            return f"it is not clear for whom '{name}' speaks"
        users[name] = User(cast("Role", fields["role"]), tuple(keys), tuple(speaks_for))
    if not any(user.role == "admin" and user.keys for user in users.values()):
        return "no admin has a key: nobody could change it again"
    return users


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def plain_users(users: Users) -> dict[str, dict[str, Any]]:
    """Users as a list has them on the log."""
    return {
        name: {"role": user.role, "keys": list(user.keys), "speaks_for": list(user.speaks_for)}
        for name, user in sorted(users.items())
    }


def digest_of(users: Users) -> str:
    """SHA-256 of the users: equal ones mean the same."""
    return hashlib.sha256(orjson.dumps(plain_users(users), option=orjson.OPT_SORT_KEYS)).hexdigest()


def public_keys(keys: Iterable[str]) -> list[Ed25519PublicKey]:
    """Keys that signatures can be held against."""
    return [Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key in keys]
