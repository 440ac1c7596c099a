"""`headrace users`: who may do what at a site, in its `users.yaml`, and on its log.

Rules: passwords are typed, or come on stdin, and never stand on the command line; neither they nor their hashes are
printed, but by `hash-password`, whose answer the hash is.
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateways.access.edit import put_user
from gateways.access.lists import apply_users
from gateways.access.passwords import LENGTH_MAX, LENGTH_MIN, hashed
from gateways.access.signing import OWN_KEY, own_key
from gateways.access.users import Users
from gateways.access.users_file import USERS_FILE, User, read_users_file, shared_hashes
from gateways.cli.alarm_list import running_site
from gateways.cli.findings import print_findings
from gateways.cli.tables import print_table
from rules.engine.outputs import Entry
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.keys import make_key, public_text, read_private, read_public
from streams.site_folder import load_site


class NewUser(NamedTuple):
    """What was typed of a user."""

    name: str
    role: str
    public_keys: list[Path]
    certificates: list[Path]
    login: str
    speaks_for: list[str]


def init(site_dir: Path, name: str | None, key_file: Path | None, as_json: bool) -> int:
    """The first admin, and their key."""
    load_site(site_dir)
    if (site_dir / USERS_FILE).exists():
        hint = "add to it with `headrace users add`, or edit it"
        raise ConfigurationError([Finding(str(site_dir / USERS_FILE), 0, 0, "is there already", hint)])
    path = (key_file or OWN_KEY).expanduser()
    is_new = not path.exists()
    if is_new:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_key(path)
    public = public_text(read_private(path).public_key())
    admin = name or getpass.getuser()
    file = put_user(site_dir, admin, {"role": "admin", "keys": [public]})
    said = {"file": str(file), "name": admin, "key": str(path), "made": is_new, "public_key": public}
    _answer(
        said,
        as_json,
        f"{file}: '{admin}' is admin, with the {'new ' if is_new else ''}key {path}\n"
        f"it rules from: headrace users apply {site_dir}\n"
        f"so that nobody else can be the first, name the key in the site file:\n    access: {{root_key: {public}}}",
    )
    return 0


def add(site_dir: Path, user: NewUser, with_password: bool, as_json: bool) -> int:
    """One more user."""
    load_site(site_dir)
    speaks_for: Any = "all" if user.speaks_for == ["all"] else user.speaks_for
    fields = {
        "role": user.role,
        "password": hashed(_typed_password()) if with_password else "",
        "keys": [public_text(read_public(path)) for path in user.public_keys],
        "certificates": [_certificate_digest(path) for path in user.certificates],
        "login": user.login,
        "speaks_for": speaks_for,
    }
    path = put_user(site_dir, user.name, fields)
    file = read_users_file(site_dir)
    added, findings = file.users[user.name], shared_hashes(site_dir, file)
    if not added.is_known_by:
        text = f"nobody can act as '{added.name}', who has no key, password, certificate or login"
        hint = "give one in the file; until then only an edge that speaks for them signs in their name"
        findings.append(Finding(str(path), 0, 0, text, hint, severity="warning"))
    said = {"file": str(path), **_plain(added), "findings": [finding.as_dict() for finding in findings]}
    _answer(
        said, as_json, f"{path}: '{user.name}' is {user.role}; it rules from: headrace users apply {site_dir}"
    )
    if not as_json:
        print_findings(findings)
    return 0


def list_users(site_dir: Path, as_json: bool) -> int:
    """The users of the file, without secrets."""
    load_site(site_dir)
    file = read_users_file(site_dir)
    users = file.users
    if not as_json:
        print_findings(shared_hashes(site_dir, file))
    if as_json:
        for user in users.values():
            print(orjson.dumps(_plain(user)).decode())
    elif not users:
        print(f"no users: everybody who reaches the log may do everything (headrace users init {site_dir})")
    else:
        rows = [
            (
                user.name,
                user.role,
                ", ".join(_ways(user)),
                ", ".join(user.speaks_for).replace("*", "all"),
            )
            for user in users.values()
        ]
        print_table(("name", "role", "known by", "speaks for"), rows)
    return 0


def new_key(output: Path, as_json: bool) -> int:
    """A key pair for a person or an edge."""
    public = make_key(output)
    digits = public_text(read_public(public))
    said = {"private": str(output), "public": str(public), "public_key": digits}
    _answer(said, as_json, f"{output} signs; in users.yaml:\n    keys: [{digits}]")
    return 0


def hash_password(as_json: bool) -> int:
    """The hash of a password that is typed, or comes on stdin."""
    made = hashed(_typed_password())
    _answer({"password": made}, as_json, made)
    return 0


def apply(site_dir: Path, key_file: Path | None, by: str | None, bootstrap: str | None, as_json: bool) -> int:
    """The users of the file rule every unit from now on; 1 where one refuses them."""
    key = own_key(key_file)
    if key is None:
        hint = "name its file with --key"
        raise ConfigurationError([Finding("--key", 0, 0, "an access list needs an admin's key", hint)])
    users = Users(site_dir)
    if users.is_open:
        hint = f"headrace users init {site_dir}"
        raise ConfigurationError([Finding(str(site_dir / USERS_FILE), 0, 0, "there are no users", hint)])
    owner = users.of_key(public_text(key.public_key()))
    if owner is not None and by not in (None, owner.name):
        raise ConfigurationError(
            [Finding("--by", 0, 0, f"the key is that of '{owner.name}'", "leave --by out")]
        )
    signer = by if owner is None else owner.name
    if signer is None:
        hint = "a key that the list before has, and this file not any more: say whose it is with --by"
        raise ConfigurationError([Finding("--key", 0, 0, "the key is no user's", hint)])

    async def applied() -> dict[str, Entry]:
        async with running_site(site_dir, bootstrap) as (site, bus):
            return await apply_users(bus, site, users.file().listed(), signer, key)

    answers = asyncio.run(applied())
    if as_json:
        units = {
            unit: {"kind": entry.kind, "id": entry.id, **entry.detail} for unit, entry in answers.items()
        }
        print(orjson.dumps({"signer": signer, "users": len(users.file().users), "units": units}).decode())
    else:
        print_table(("unit", "answer", ""), [(unit, *_words(entry)) for unit, entry in answers.items()])
    return 1 if any(entry.kind != "access-list" for entry in answers.values()) else 0


def _words(entry: Entry) -> tuple[str, str]:
    if entry.kind != "access-list":
        return "refused", str(entry.detail["reason"])
    first = "the first: this unit is no longer open" if entry.detail["first"] else ""
    return f"{entry.detail['users']} users rule", first


def _ways(user: User) -> list[str]:
    counts = {"key": len(user.keys), "certificate": len(user.certificates)}
    ways = [name if count == 1 else f"{count} {name}s" for name, count in counts.items() if count]
    return [*(["password"] if user.password else []), *ways, *([f"login {user.login}"] if user.login else [])]


def _plain(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role,
        "password": bool(user.password),
        "keys": list(user.keys),
        "certificates": list(user.certificates),
        "login": user.login,
        "speaks_for": list(user.speaks_for),
    }


def _certificate_digest(path: Path) -> str:
    """SHA-256 of the certificate in a DER or PEM file."""
    try:
        data = path.read_bytes()
        made = (
            x509.load_pem_x509_certificate(data)
            if b"-----BEGIN" in data
            else x509.load_der_x509_certificate(data)
        )
    except OSError as error:
        raise ConfigurationError([Finding(str(path), 0, 0, f"can't be read: {error.strerror}")]) from None
    except ValueError:
        raise ConfigurationError([Finding(str(path), 0, 0, "no certificate (DER or PEM)")]) from None
    return hashlib.sha256(made.public_bytes(Encoding.DER)).hexdigest()


def _typed_password() -> str:
    if sys.stdin.isatty():
        password = getpass.getpass("password: ")
        if getpass.getpass("again: ") != password:
            raise ConfigurationError([Finding("password", 0, 0, "the two are not equal")])
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        text = f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters"
        raise ConfigurationError([Finding("password", 0, 0, text)])
    return password


def _answer(said: Mapping[str, Any], as_json: bool, words: str) -> None:
    print(orjson.dumps(said).decode() if as_json else words)
