"""What every edge asks: where it listens, which port is free, and whether a client has the token.

Rules: aiohttp is imported by who has an HTTP edge, and not by this module.
"""

from __future__ import annotations

import hmac
import re
import socket
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


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether something could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def has_token(request: web.Request, token: str) -> bool:
    """Whether the header `Authorization: Bearer TOKEN` is there, compared in constant time."""
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(errors="replace"), f"Bearer {token}".encode())


UNAUTHORIZED: Final = "needs the header Authorization: Bearer TOKEN\n"
