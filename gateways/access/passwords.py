"""Password hashes (Argon2id, as PHC strings), and how often somebody may guess.

Parameters are those that OWASP's Password Storage Cheat Sheet names for Argon2id: 19 MiB, 2 passes, 1 lane; about 30 ms
of a core for each check.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from threading import Lock
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

LENGTH_MIN: Final = 12
LENGTH_MAX: Final = 1024
ATTEMPTS: Final = 5
WINDOW_S: Final = 60.0
_CALLERS_MAX: Final = 4096


def hashed(password: str) -> str:
    """A PHC string with a salt of its own."""
    made = Argon2id(salt=os.urandom(16), length=32, iterations=2, lanes=1, memory_cost=19 * 1024)
    return made.derive_phc_encoded(password.encode())


def is_hash(text: str) -> bool:
    """Whether it looks like what `hashed` gives."""
    return text.startswith("$argon2id$v=19$") and text.count("$") == 5


def is_right(password: str, phc: str) -> bool:
    """Whether it is the password of a hash. False as well where the hash is none."""
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), phc)
    except (InvalidKey, ValueError):
        return False
    return True


class Attempts:
    """Counts tries of each (name, peer): after `ATTEMPTS` in `WINDOW_S` without a right one, none is looked at.

    By peer as well, so that who guesses locks out nobody but themselves. A try is counted before it is looked at, so
    that many at once, in threads, are no way around.
    """

    def __init__(self) -> None:
        self._tries: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._lock = Lock()

    def may_try(self, name: str, peer: str, now_s: float) -> bool:
        """Whether this one may be looked at; it is counted then."""
        with self._lock:
            tries = self._tries.setdefault((name, peer), deque())
            while tries and tries[0] <= now_s - WINDOW_S:
                tries.popleft()
            if len(tries) >= ATTEMPTS:
                return False
            tries.append(now_s)
            self._tries.move_to_end((name, peer))
            if len(self._tries) > _CALLERS_MAX:
                self._tries.popitem(last=False)
            return True

    def succeeded(self, name: str, peer: str) -> None:
        """What was before is forgotten."""
        with self._lock:
            self._tries.pop((name, peer), None)
