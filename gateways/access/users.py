"""Who somebody at an edge is: the one place that every edge asks. What they may do, `User.may` and the engine say.

Rules: a wrong name takes as long as a wrong password; who guesses has to wait (`passwords.Attempts`); the file is read
again when it has changed, and one that is wrong then changes nothing and is logged.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gateways.access.passwords import LENGTH_MAX, Attempts, hashed, is_right
from gateways.access.users_file import USERS_FILE, User, UsersFile, read_users_file, shared_hashes
from rules.errors import ConfigurationError

log = logging.getLogger("headrace.access")


class Users:
    """The users of a site. `is_open`: it has none, and its edges know nobody."""

    def __init__(self, site_dir: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError where `users.yaml` is there and wrong."""
        self._dir = site_dir
        self._clock_s = clock_s
        self._seen = self._stamp()
        self._file = read_users_file(site_dir)
        for finding in shared_hashes(site_dir, self._file):
            log.warning("%s", finding)
        self._attempts = Attempts()
        self._nobody = ""

    @property
    def is_open(self) -> bool:
        """Whether the site has no users."""
        return not self.file().users

    def get(self, name: str) -> User | None:
        """By name."""
        return self.file().users.get(name)

    def authenticate(self, name: str, password: str, peer: str = "") -> User | None:
        """Who gives this name and password, None where they are wrong or too many were.

        `peer`: the caller's address, so that guesses from one lock out nobody else. Takes about 30 ms of a core: call
        it by `asyncio.to_thread`.
        """
        if len(password) > LENGTH_MAX or not self._attempts.may_try(name, peer, self._clock_s()):
            return None
        user = self.get(name)
        if not self._nobody:
            self._nobody = hashed("nobody has this one")
        known = user.password if user is not None and user.password else ""
        is_his = is_right(password, known or self._nobody)
        if user is None or not known or not is_his:
            return None
        self._attempts.succeeded(name, peer)
        return user

    def of_certificate(self, der: bytes) -> User | None:
        """Whose certificate it is. Whoever asks has seen that the caller holds its private key."""
        digest = hashlib.sha256(der).hexdigest()
        return self._one(lambda user: digest in user.certificates)

    def of_key(self, public_key: str) -> User | None:
        """Whose Ed25519 public key (hex) it is."""
        return self._one(lambda user: public_key in user.keys)

    def of_proxy(self, peer: str, headers: Mapping[str, str]) -> User | None:
        """Whom a proxy has let in (OIDC); None unless the file trusts `peer`, the address of the connection.

        `headers`: names in any letters; one that comes twice has to be refused by the caller, as here only one is seen.
        """
        file = self.file()
        if file.proxy is None:
            return None
        try:
            address = str(ipaddress.ip_address(peer))
        except ValueError:
            return None
        logins = [text for name, text in headers.items() if name.lower() == file.proxy.header.lower()]
        if address not in file.proxy.addresses or len(logins) != 1 or not logins[0]:
            return None
        return self._one(lambda user: user.login == logins[0])

    def file(self) -> UsersFile:
        """All that is in the file."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._file = read_users_file(self._dir)
            except ConfigurationError as error:
                log.error("the users stay those of before: %s", error)
        return self._file

    def _one(self, is_it: Callable[[User], bool]) -> User | None:
        return next((user for user in self.file().users.values() if is_it(user)), None)

    def _stamp(self) -> tuple[int, int]:
        try:
            found = (self._dir / USERS_FILE).stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_size
