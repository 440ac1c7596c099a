"""The private key with which somebody at the command line, or an edge, signs what they ask for.

Rules: from a file that only its owner may read (an edge's: its group, too), or from the environment; never from the
command line itself, and nothing of it is ever said.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.keys import private_of, read_private, refuse_shared
from streams.settings import KEY_VARIABLE, Settings

OWN_KEY: Final = Path("~/.config/headrace/key.pem")
"""A person's key, where no option names another."""


def own_key(option: Path | None) -> Ed25519PrivateKey | None:
    """That of `--key`, of the environment (a PEM text) or of `OWN_KEY`, the first there is. ConfigurationError."""
    if option is not None:
        return key_of_file(option)
    if text := os.environ.get(KEY_VARIABLE):
        return private_of(text.encode(), KEY_VARIABLE)
    path = OWN_KEY.expanduser()
    return key_of_file(path) if path.exists() else None


def edge_key(settings: Settings, name: str) -> Ed25519PrivateKey | None:
    """That of an edge (`scada`, `alerts`): `access.keys` of the settings names its file; None where it does not."""
    path = settings.access.keys.get(name)
    return None if path is None else key_of_file(path, group_may_read=True)


def needed_edge_key(settings: Settings, name: str) -> Ed25519PrivateKey:
    """The same where the site has users: without a key nothing that the edge says would be taken."""
    key = edge_key(settings, name)
    if key is None:
        text = f"the site has users, and '{name}' has no key to sign with"
        hint = f"make one (headrace users key), and name its file: access: {{keys: {{{name}: FILE}}}}"
        raise ConfigurationError([Finding("headrace.yaml", 0, 0, text, hint)])
    return key


def key_of_file(path: Path, group_may_read: bool = False) -> Ed25519PrivateKey:
    """The private key of a file that only its owner (and its group) may read. Raises ConfigurationError."""
    key = read_private(path)
    refuse_shared(path, group_may_read)
    return key
