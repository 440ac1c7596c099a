"""Who acts at the command line or an edge, and the private key with which they sign: everything is signed here.

Rules: from a file that only its owner may read (an edge's: its group, too), or from the environment; never from the
command line itself, and nothing of it is ever said.
"""

from __future__ import annotations

import dataclasses
import getpass
import os
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways.access.users import Users
from gateways.access.users_file import USERS_FILE
from rules.access.rights import Right
from rules.access.signatures import signed
from rules.access.users import is_name
from rules.engine.inputs import AccessList, Action, Activation
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Site
from streams.keys import private_of, public_text, read_private
from streams.settings import KEY_VARIABLE, Settings

OWN_KEY: Final = Path("~/.config/headrace/key.pem")
"""A person's key, where no option names another."""
_Said = TypeVar("_Said", Action, AccessList, Activation)


class Who(NamedTuple):
    """Who acts: the name that was given, and the file of a key, as they were typed."""

    by: str | None
    key: Path | None


class Acting(NamedTuple):
    """Who acts, as it was found out: `key` None where nothing is signed.

    `is_known`: the key is a user's, or there are no users, or there is no key.
    """

    name: str
    key: Ed25519PrivateKey | None
    is_known: bool


def acting(site_dir: Path, who: Who, right: Right | None = None) -> Acting:
    """Who acts: the owner of the key; without one, or where nobody has it, the name that was given, or the account's.

    ConfigurationError: it is no name, the key can't be read, it is somebody else's, or `users.yaml` says that its owner
    has not this `right`. What the units' access list says is another matter, and the engine's.
    """
    key, users = own_key(who.key), Users(site_dir)
    owner = None if key is None else users.of_key(public_text(key.public_key()))
    if owner is not None and who.by not in (None, owner.name):
        text = f"the key is that of '{owner.name}'"
        raise ConfigurationError([Finding("--by", 0, 0, text, "leave --by out, or name another --key")])
    if owner is not None and right is not None and not owner.may(right):
        text = f"'{owner.name}' may not do that: no {right} for role {owner.role}"
        raise ConfigurationError([Finding(str(site_dir / USERS_FILE), 0, 0, text, "name another --key")])
    name = owner.name if owner is not None else who.by or getpass.getuser()
    if not is_name(name):
        text = f"'{name}' is no name: printable, without ':' and '/', 64 characters at most"
        raise ConfigurationError([Finding("--by", 0, 0, text, "")])
    return Acting(name, key, key is None or owner is not None or users.is_open)


def unknown_key(site_dir: Path, key: Ed25519PrivateKey) -> str:
    """What to say where something was refused that a key has signed which is no user's."""
    return f"{site_dir / USERS_FILE}: no user of this site has the key {public_text(key.public_key())}"


def said_by(signer: str, key: Ed25519PrivateKey | None, value: _Said, site: Site) -> _Said:
    """The same as the word of `signer`, signed; as it is without a key."""
    if key is None:
        return value
    return signed(dataclasses.replace(value, signer=signer), site.name, key)


def own_key(option: Path | None) -> Ed25519PrivateKey | None:
    """That of `--key`, of the environment (a PEM text) or of `OWN_KEY`, the first there is. ConfigurationError."""
    if option is not None:
        return read_private(option)
    if text := os.environ.get(KEY_VARIABLE):
        return private_of(text.encode(), KEY_VARIABLE)
    path = OWN_KEY.expanduser()
    return read_private(path) if path.exists() else None


def edge_key(settings: Settings, name: str) -> Ed25519PrivateKey | None:
    """That of an edge (`scada`, `alerts`): `access.keys` of the settings names its file; None where it does not."""
    path = settings.access.keys.get(name)
    return None if path is None else read_private(path, group_may_read=True)


def needed_edge_key(settings: Settings, name: str) -> Ed25519PrivateKey:
    """The same where the site has users: without a key nothing that the edge says would be taken."""
    key = edge_key(settings, name)
    if key is None:
        text = f"the site has users, and '{name}' has no key to sign with"
        hint = f"make one (headrace users key), and name its file: access: {{keys: {{{name}: FILE}}}}"
        raise ConfigurationError([Finding("headrace.yaml", 0, 0, text, hint)])
    return key
