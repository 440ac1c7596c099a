"""The HTTP endpoint of every role: `/metrics`, `/livez`, `/readyz` (docs/observability.md).

Rules: GET and HEAD alone; beyond the loopback address a token has to be set. Probes need none: without it they are told
yes or no, and with it which part and why. Nothing here changes the role.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from gateways.http_edge import HttpServer
from gateways.listen import UNAUTHORIZED, address_of, has_token
from gateways.observability.certificate_ends import certificate_ends
from gateways.observability.exposition import exposition
from gateways.observability.health import is_ready, parts_of
from gateways.observability.progress import Progress
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.loopback import is_loopback
from streams.role import RoleContext, Status, status_body
from streams.text_file import read_text

LOOK_S: Final = 1.0
CERTIFICATES_S: Final = 60.0

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def serving(context: RoleContext) -> AsyncIterator[None]:
    """Serve while the role runs, where `http.listen` says so; the address stands in the status as `http`.

    ConfigurationError: the address is none, or needs a token. UnreachableError: the port is taken.
    """
    settings = context.settings.http
    if not settings.listen:
        yield
        return
    host, port = _address(settings.listen, settings.token)
    token = "" if settings.token is None else _token(settings.token)
    progress = Progress(str(context.kind or context.name))
    watches = [
        asyncio.create_task(_watch(context, progress), name="progress"),
        asyncio.create_task(_watch_certificates(context), name="certificates"),
    ]
    server = HttpServer(_routes(context, token, progress), context.settings.edges, context.metrics)
    try:
        wanted_by = "http.listen wants metrics to be served"
        context.metrics["http"] = address = await server.listen(host, port, wanted_by)
        log.info("metrics and health are at %s", address)
        yield
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await server.close()


def _address(listen: str, token: Path | None) -> tuple[str, int]:
    found = address_of(listen)
    if found is None:
        raise _wrong(f"'{listen}' is no address to listen at", "HOST:PORT, such as 127.0.0.1:9464")
    if token is None and not is_loopback(found[0]):
        raise _wrong(f"{found[0]} can be reached from elsewhere: a token is needed", "http.token: FILE")
    return found


def _token(file: Path) -> str:
    token = read_text(file, f"http.token {file}").strip()
    if not token:
        raise _wrong(f"http.token {file}: the file is empty", "put a long random word into it")
    return token


def _wrong(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding("http.listen", 0, 0, message, hint)])


async def _watch(context: RoleContext, progress: Progress) -> None:
    loop = asyncio.get_running_loop()
    while True:
        progress.look(context.metrics, loop.time())
        await asyncio.sleep(LOOK_S)


async def _watch_certificates(context: RoleContext) -> None:
    """They may be made, renewed and put in place while the role runs."""
    while True:
        context.metrics["certificates"] = await asyncio.to_thread(certificate_ends, context)
        await asyncio.sleep(CERTIFICATES_S)


def _routes(context: RoleContext, token: str, progress: Progress) -> list[web.RouteDef]:
    def knows(request: web.Request) -> bool:
        return not token or has_token(request, token)

    async def metrics(request: web.Request) -> web.Response:
        if not knows(request):
            raise web.HTTPUnauthorized(text=UNAUTHORIZED, headers={"www-authenticate": "Bearer"})
        # of a worker with many units it takes longer than a command may wait
        status, accept = _copy(status_body(context)), request.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(exposition, status, context.clock(), accept)
        return web.Response(body=body, headers={"content-type": content_type})

    async def livez(request: web.Request) -> web.Response:
        # that it is answered says that the loop turns
        stuck = progress.stuck(asyncio.get_running_loop().time())
        return _said("live", not stuck, {"stuck": stuck}, knows(request))

    async def readyz(request: web.Request) -> web.Response:
        status = status_body(context)
        parts = parts_of(status, context.clock())
        about = {
            "role": status["kind"],
            "name": status["role"],
            "state": status["state"],
            "parts": [
                {"part": part.name, "works": part.works, "own": part.is_own, "why": part.why}
                for part in parts
            ],
        }
        return _said("ready", is_ready(parts), about, knows(request))

    return [web.get("/metrics", metrics), web.get("/livez", livez), web.get("/readyz", readyz)]


def _copy(status: Status) -> dict[str, Any]:
    """As it is now, while the role goes on changing its own."""
    copied: dict[str, Any] = orjson.loads(
        orjson.dumps(status, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    )
    return copied


def _said(word: str, is_so: bool, about: dict[str, Any], in_full: bool) -> web.Response:
    body = {word: is_so} | (about if in_full else {})
    return web.Response(
        status=200 if is_so else 503, body=orjson.dumps(body) + b"\n", content_type="application/json"
    )
