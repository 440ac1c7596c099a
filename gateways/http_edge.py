"""What every HTTP edge asks of a request before it is answered, and says with every answer (docs/security.md).

Rules: all edges are served here, so that none can leave a limit out; of a request nothing is read but its head, and of
what is none, nothing is said again in the answer or the log; a client is its address (of IPv6 the network of 64 bits,
where it holds an IPv4 address that), behind a proxy of `edges.proxies` the one that this has added to
`X-Forwarded-For`; what is refused is counted by its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final, Literal, TypeVar, get_args

from aiohttp import web

from gateways.client_address import client_of, ip_address_of
from rules.errors import UnreachableError
from streams.settings import EdgeSettings

HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every answer that does not set them itself."""
LINGER_S: Final = 1.0
"""So long a body that was refused may still come, before the connection is closed."""
CLIENTS_MAX: Final = 65_536
"""Of whom the rate is known; beyond, the one that was longest away has its burst again."""

Reason = Literal["bad", "body", "origin", "rate", "slow", "streams", "token"]
Refusal = TypeVar("Refusal", bound=web.HTTPException)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rates:
    """A token bucket for each client, as the time at which it will be full again (GCRA)."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._period_s = 1 / per_s
        self._burst_s = burst / per_s
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, client: str, now_s: float) -> float:
        """0.0, and one token is taken; or how long it takes until there is one."""
        full_at = max(self._full_at.get(client, now_s), now_s) + self._period_s
        if full_at - now_s > self._burst_s + 1e-9:
            return full_at - now_s - self._burst_s
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        while len(self._full_at) > CLIENTS_MAX or next(iter(self._full_at.values())) <= now_s:
            self._full_at.popitem(last=False)
        return 0.0


class _Connection(web.RequestHandler):
    """A client's. `refuse` makes the answer to what is no request, of which there is neither route nor head."""

    __slots__ = ("_refuse",)

    def __init__(
        self, manager: web.Server, refuse: Callable[[web.BaseRequest], web.Response], **limits: Any
    ) -> None:
        super().__init__(manager, **limits)
        self._refuse = refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Of aiohttp, which would say in answer and log what it could not read."""
        # an Expect that it does not know it would say again, and can't where that is no text
        if status == 400 or isinstance(exc, UnicodeEncodeError):
            return self._refuse(request)
        return super().handle_error(request, status, exc, message)


class HttpServer:
    """An edge that listens, until `close`. `streams`: paths of answers that never end.

    `metrics`: the role's; what was refused is counted there.
    """

    def __init__(
        self,
        routes: Iterable[web.RouteDef],
        settings: EdgeSettings,
        metrics: dict[str, Any],
        streams: Collection[str] = (),
    ) -> None:
        self._settings = settings
        self._refused = metrics.setdefault("http_refused", dict.fromkeys(get_args(Reason), 0))
        self._streams = frozenset(streams)
        self._open: Counter[str] = Counter()
        self._rates = Rates(settings.requests_per_s, settings.burst)
        app = web.Application(middlewares=[self._guard])
        app.add_routes(routes)
        app.on_response_prepare.append(_add_headers)
        # a stream never ends by itself, so nobody waits for it
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        self._listening: asyncio.Server | None = None

    async def listen(self, host: str, port: int, wanted_by: str) -> str:
        """The address. UnreachableError: the port is taken."""
        await self._runner.setup()
        try:
            self._listening = await asyncio.get_running_loop().create_server(self._connection, host, port)
        except OSError as error:
            await self.close()
            raise UnreachableError(f"{host}:{port}, at which {wanted_by}: {error.strerror}") from None
        named, port = self._listening.sockets[0].getsockname()[:2]
        return f"http://{f'[{named}]' if ':' in named else named}:{port}"

    async def close(self) -> None:
        """Let go of everybody."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

    def _connection(self) -> _Connection:
        server = self._runner.server
        assert server is not None
        # no access log: a link is in the address
        return _Connection(
            server,
            self._refuse,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=self._settings.idle_s,
            lingering_time=LINGER_S,
        )

    def _refuse(self, request: web.BaseRequest) -> web.Response:
        """The answer to bytes that are no request: no middleware and no signal of the application sees them."""
        error: web.HTTPException
        client = _client_of(request.remote, (), self._settings)
        if wait_s := self._rates.wait_s(client, asyncio.get_running_loop().time()):
            error = self._too_many("rate", wait_s)
        else:
            self._count("bad")
            error = web.HTTPBadRequest()
        answer = web.Response(
            status=error.status, reason=error.reason, text=error.text, headers=error.headers
        )
        _set_headers(answer)
        answer.force_close()
        return answer

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        forwarded = request.headers.getall("x-forwarded-for", ())
        client = _client_of(request.remote, forwarded, self._settings)
        if wait_s := self._rates.wait_s(client, asyncio.get_running_loop().time()):
            raise self._too_many("rate", wait_s)
        if request.body_exists:
            self._count("body")
            raise _closing(web.HTTPRequestEntityTooLarge(0, request.content_length or 1))
        if not _is_of_same_origin(request):
            self._count("origin")
            raise web.HTTPForbidden(text="a page of another site may not open this\n")
        try:
            if request.path in self._streams:
                return await self._stream(request, handler, client)
            return await self._answer(request, handler)
        except web.HTTPUnauthorized:
            self._count("token")
            raise

    async def _stream(self, request: web.Request, handler: Handler, client: str) -> web.StreamResponse:
        if self._open[client] >= self._settings.streams_per_client:
            raise self._too_many("streams", self._settings.idle_s)
        self._open[client] += 1
        try:
            return await handler(request)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Made in time, and taken by the client in time; else the connection is cut."""
        try:
            async with asyncio.timeout(self._settings.answer_s):
                response = await handler(request)
        except TimeoutError:
            self._count("slow")
            raise _closing(web.HTTPServiceUnavailable(text="no answer in time\n")) from None
        try:
            # who has gone is the business of aiohttp, which tries again
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(self._settings.answer_s):
                    await response.prepare(request)
                    await response.write_eof()
        except TimeoutError:
            self._count("slow")
            if request.transport is not None:
                request.transport.abort()
        return response

    def _count(self, reason: Reason) -> None:
        self._refused[reason] += 1

    def _too_many(self, reason: Reason, wait_s: float) -> web.HTTPTooManyRequests:
        self._count(reason)
        return _closing(web.HTTPTooManyRequests(headers={"retry-after": str(math.ceil(wait_s))}))


def _closing(error: Refusal) -> Refusal:
    error.force_close()
    return error


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    _set_headers(response)


def _set_headers(response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["server"] = "headrace"


def _is_of_same_origin(request: web.Request) -> bool:
    """A browser lets pages of every site open a WebSocket to anywhere, and says whose page it is."""
    origin = request.headers.get("origin")
    if origin is None or request.headers.get("upgrade", "").lower() != "websocket":
        return True
    return origin.partition("://")[2].lower() == request.host.lower()


def _client_of(remote: str | None, forwarded: Iterable[str], settings: EdgeSettings) -> str:
    said = ",".join(forwarded).split(",")
    client = None
    for hop in (remote or "", *reversed(said)):
        address = ip_address_of(hop)
        if address is None:
            break
        client = address
        if not any(address in network for network in settings.proxies):
            break
    return client_of(client)
