"""`users.yaml` beside the site file: the people and edges of a site, as their admin has written them.

    users:
      eva:
        role: operator
        password: $argon2id$…                 # headrace users hash-password
        keys: [64 digits]                     # headrace users key
        certificates: [64 digits]             # SHA-256 of an OPC UA client's certificate (DER)
        login: eva@example.org                # what the proxy calls her
      scada: {role: engineer, keys: [64 digits], speaks_for: all}
    proxy: {addresses: [127.0.0.1], header: X-Forwarded-Email}

Rules: strict (`rules/strict_yaml.py`), all that is wrong is found at once; the password's hash is in no text that is
made of a user.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from gateways.access.passwords import is_hash
from rules.access import users as listed
from rules.access.rights import ROLES, Right, Role, may
from rules.access.users import ANYBODY, KEYS_MAX, is_key, is_name
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.strict_yaml import Node, load
from streams.keys import is_shared
from streams.text_file import read_text

USERS_FILE: Final = "users.yaml"
_KEYS: Final = ("role", "password", "keys", "certificates", "login", "speaks_for")
_HEADER: Final = re.compile("[A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class User:
    """A person, or an edge that speaks for persons. `certificates`: SHA-256 of their DER, hex."""

    name: str
    role: Role
    password: str = field(default="", repr=False)
    keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    login: str = ""
    speaks_for: tuple[str, ...] = ()

    @property
    def is_known_by(self) -> bool:
        """Whether there is anything by which an edge, or the engine, can know them."""
        return bool(self.password or self.keys or self.certificates or self.login)

    def may(self, right: Right) -> bool:
        """Whether their role has a right. What is done on the log, the engine decides itself."""
        return may(self.role, right)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that has seen who somebody is: where it calls from, and the header with their login."""

    addresses: frozenset[str]
    header: str


@dataclass(frozen=True, slots=True)
class UsersFile:
    """What is in it. Empty: a site that is open."""

    users: Mapping[str, User] = field(default_factory=dict)
    proxy: Proxy | None = None

    def listed(self) -> listed.Users:
        """As an access list has them."""
        return {name: listed.User(user.role, user.keys, user.speaks_for) for name, user in self.users.items()}


def read_users_file(site_dir: Path) -> UsersFile:
    """The users of a site's folder; none where it has no such file. ConfigurationError: it is wrong."""
    file = site_dir / USERS_FILE
    if not file.exists():
        return UsersFile()
    return parse_users(read_text(file, str(file)), str(file))


def shared_hashes(site_dir: Path, file: UsersFile) -> list[Finding]:
    """A warning where others than its owner and group may read hashes of passwords; of a service the group may."""
    path = site_dir / USERS_FILE
    has_any = any(user.password for user in file.users.values())
    if not has_any or not is_shared(path, group_may_read=True):
        return []
    text = "others than its owner and group may read its hashes of passwords"
    return [Finding(str(path), 0, 0, text, f"chmod 600 {path}", severity="warning")]


def parse_users(text: str, name: str) -> UsersFile:
    """The users of a text; `name` is for findings. ConfigurationError with all that is wrong."""
    root, findings = load(text, name, hides=True)
    users: dict[str, User] = {}
    proxy = None
    if root is not None:
        fields = root.fields(("users", "proxy"), required=("users",))
        if "users" in fields:
            users = dict(_users(fields["users"]))
            _refuse_twice(users, fields["users"])
        if "proxy" in fields:
            proxy = _proxy(fields["proxy"])
    if findings:
        raise ConfigurationError(sorted(findings))
    return UsersFile(users, proxy)


def _users(node: Node) -> Iterator[tuple[str, User]]:
    for name, entry in node.as_mapping().items():
        if not is_name(name):
            node.keys[name].report(
                f"'{name}' is no name", "printable, without ':' and '/', 64 characters at most, not '*'"
            )
            continue
        fields = entry.fields(_KEYS, required=("role",))
        role = fields["role"].as_choice(ROLES, "role") if "role" in fields else None
        if role is None:
            continue
        yield (
            name,
            User(
                name,
                cast("Role", role),
                _password(fields.get("password")),
                _digits(fields.get("keys"), "public key", "headrace users key -o FILE makes one"),
                _digits(
                    fields.get("certificates"), "certificate", "the SHA-256 of the certificate (DER), in hex"
                ),
                _login(fields.get("login")),
                _speaks_for(fields.get("speaks_for"), node),
            ),
        )


def _password(node: Node | None) -> str:
    if node is not None and not (node.kind == "text" and is_hash(node.scalar)):
        # What stands there is not said: it may be a password.
        node.report("a password stands here as its hash", "headrace users hash-password")
    return "" if node is None else node.scalar


def _digits(node: Node | None, what: str, hint: str) -> tuple[str, ...]:
    texts = []
    for one in node.as_list_or_one() if node is not None else ():
        text = one.scalar
        if one.kind not in ("text", "number") or not is_key(text):
            one.report(f"no {what}: 64 digits (hex, small letters)", hint)
        texts.append(text)
    if node is not None and len(texts) > KEYS_MAX:
        node.report(f"{KEYS_MAX} at most")
    return tuple(texts)


def _login(node: Node | None) -> str:
    return (node.as_text() or "") if node is not None else ""


def _speaks_for(node: Node | None, users: Node) -> tuple[str, ...]:
    if node is None:
        return ()
    if node.kind == "text" and node.scalar == "all":
        return (ANYBODY,)
    names = []
    for one in node.as_list():
        name = one.as_text()
        if name is not None and name not in users.entries:
            one.report(f"there is no user '{name}'")
        names.append(name or "")
    return tuple(names)


def _refuse_twice(users: Mapping[str, User], node: Node) -> None:
    """A key, a certificate or a login is one user's."""
    owners: dict[str, str] = {}
    for name, user in users.items():
        for mark in (*user.keys, *user.certificates, *([user.login] if user.login else [])):
            owner = owners.setdefault(mark, name)
            if owner != name:
                node.keys[name].report(f"has a key, certificate or login that is '{owner}''s as well")


def _proxy(node: Node) -> Proxy | None:
    fields = node.fields(("addresses", "header"), required=("addresses", "header"))
    addresses = set()
    for one in fields["addresses"].as_list_or_one() if "addresses" in fields else ():
        text = one.as_text() or ""
        try:
            addresses.add(str(ipaddress.ip_address(text)))
        except ValueError:
            one.report(f"'{text}' is no address", "such as 127.0.0.1")
    header = (fields["header"].as_text() or "") if "header" in fields else ""
    if header and not _HEADER.fullmatch(header):
        fields["header"].report(f"'{header}' is no name of a header", "such as X-Forwarded-Email")
    return Proxy(frozenset(addresses), header) if addresses and header else None
