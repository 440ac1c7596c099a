"""What every edge asks: where it listens, who can come from there, and whether a client has the token.

Rules: aiohttp is imported by who has an HTTP edge, and not by this module.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

_LISTEN: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:]+):(\d{1,5})")


def address_of(text: str) -> tuple[str, int] | None:
    """(host, port) of HOST:PORT; None where it is none."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[2]) > 65_535:
        return None
    return match[1].strip("[]"), int(match[2])


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address, is this machine and nobody else reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def has_token(request: web.Request, token: str) -> bool:
    """Whether the header `Authorization: Bearer TOKEN` is there, compared in constant time."""
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(errors="replace"), f"Bearer {token}".encode())


UNAUTHORIZED: Final = "needs the header Authorization: Bearer TOKEN\n"
