"""Links by which an alarm is acknowledged: signed, for one occurrence and one subscription, until they expire, once.

Rules: what a link says is signed with HMAC-SHA256 by a key of this role's own (`alerts.key` in the run folder); who has
a link may acknowledge that one occurrence and nothing else, and the journal says over whose link it was.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateways.alerts.model import Edge
from gateways.alerts.notification import Link
from rules.engine.outputs import Alarm
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.output_file import write_beside

KEY_FILE: Final = "alerts.key"
PATH: Final = "/acknowledge/"
_SIGNATURE_BYTES: Final = 16


class Claim(NamedTuple):
    """What a link allows: to acknowledge an occurrence of an alarm, for a subscription, until a time in s."""

    key: str
    occurrence: str
    subscription: str
    expires_s: int

    @property
    def id(self) -> str:
        """By which it is remembered that it was used."""
        return f"{self.subscription}/{self.occurrence}"


def link_key(run_dir: Path) -> bytes:
    """The key, made on the first start. ConfigurationError: it can't be read or made."""
    file = run_dir / KEY_FILE
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            # a part of it, where the disk is full, would be a key that others can guess
            write_beside(file, secrets.token_bytes(32), 0o600).replace(file)
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError([Finding(str(file), 0, 0, f"no key for links: {error.strerror}")]) from None


def sign(claim: Claim, key: bytes) -> str:
    """The last part of a link's address."""
    body = orjson.dumps(list(claim))
    return _text(body) + "." + _text(_signature(body, key))


def read(token: str, key: bytes, now_s: float) -> Claim | str:
    """What a link allows, or why it allows nothing."""
    body_text, _, signature_text = token.partition(".")
    try:
        body, signature = _bytes(body_text), _bytes(signature_text)
    except (binascii.Error, ValueError):
        return "this is no link of Headrace"
    if not hmac.compare_digest(signature, _signature(body, key)):
        return "this is no link of Headrace, or of another one"
    claim = Claim(*orjson.loads(body))
    return claim if now_s < claim.expires_s else "this link has expired"


def links(edge: Edge | None, key: bytes, clock: Callable[[], int]) -> Link:
    """Makes addresses; '' where none are wanted."""

    def link(alarm: Alarm, subscription: str) -> str:
        if edge is None or not edge.base_url:
            return ""
        expires_s = (clock() + edge.link_ns) // 1_000_000_000
        return edge.base_url + PATH + sign(Claim(alarm.key, alarm.raised_id, subscription, expires_s), key)

    return link


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:_SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
