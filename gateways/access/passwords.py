"""Password hashes (Argon2id, as PHC strings), and how often somebody may guess.

Parameters are those that OWASP's Password Storage Cheat Sheet names for Argon2id: 19 MiB, 2 passes, 1 lane; about 30 ms
of a core for each check.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
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
    """Counts wrong passwords of each (name, peer): after `ATTEMPTS` in `WINDOW_S`, none is looked at until it is over.

    By peer as well, so that who guesses locks out nobody but themselves.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def are_spent(self, name: str, peer: str, now_s: float) -> bool:
        """Whether they have to wait."""
        failures = self._failures.get((name, peer))
        if failures is None:
            return False
        while failures and failures[0] <= now_s - WINDOW_S:
            failures.popleft()
        return len(failures) >= ATTEMPTS

    def failed(self, name: str, peer: str, now_s: float) -> None:
        """One more."""
        self._failures.setdefault((name, peer), deque(maxlen=ATTEMPTS)).append(now_s)
        self._failures.move_to_end((name, peer))
        if len(self._failures) > _CALLERS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, name: str, peer: str) -> None:
        """What was before is forgotten."""
        self._failures.pop((name, peer), None)
