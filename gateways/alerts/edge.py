"""The HTTP edge: streams of alarms, and the pages behind links.

    GET  /alarms/events       Server-Sent Events; `?subscription=NAME` only what that is told of
    GET  /alarms/socket       the same over a WebSocket
    GET  /acknowledge/LINK    a page that asks; POST does it

Rules: it listens on the loopback address unless the file says otherwise; streams need the token where there is one,
in the header `Authorization: Bearer TOKEN`; links need nothing but themselves, and a GET (a mail program that looks at
where a link goes) does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from html import escape
from typing import Any, Final

import orjson
from aiohttp import WSCloseCode, web

from gateways.alerts.intake import Intake
from gateways.alerts.links import PATH, Claim, read
from gateways.alerts.model import Edge, Subscription, Subscriptions
from gateways.alerts.outbox import Outbox
from gateways.alerts.streams import Event, Streams
from gateways.http_edge import HttpServer
from gateways.listen import UNAUTHORIZED, has_token
from rules.errors import UnreachableError
from streams.role import RoleContext

EVENTS: Final = "/alarms/events"
SOCKET: Final = "/alarms/socket"
SAID_BYTES_MAX: Final = 4096
"""Of a message of a client's over a WebSocket, none of which is read."""
WRITE_S: Final = 30.0
"""A client that takes nothing for so long is let go of; it goes on where it was when it comes again."""

Acknowledge = Callable[[Claim], Awaitable[str]]
"""What became of an acknowledgement. UnreachableError: nobody knows."""

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<style>{style}</style>
<h1>{title}</h1>{body}</html>"""
_STYLE: Final = """body{font:1.1rem sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem}
button{font:inherit;padding:.5rem 1rem}"""
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of a page: its own style, and its button."""


class HttpEdge:
    """Serves until it is closed."""

    def __init__(
        self,
        edge: Edge,
        subscriptions: Subscriptions,
        outbox: Outbox,
        intake: Intake,
        streams: Streams,
        key: bytes,
        acknowledge: Acknowledge,
        context: RoleContext,
    ) -> None:
        self._edge = edge
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._intake = intake
        self._streams = streams
        self._key = key
        self._acknowledge = acknowledge
        self._clock = context.clock
        routes = [
            # aiohttp would answer a HEAD with a stream without an end
            web.get(EVENTS, self._events, allow_head=False),
            web.get(SOCKET, self._socket, allow_head=False),
            web.get(PATH + "{link}", self._ask),
            web.post(PATH + "{link}", self._do),
        ]
        self._server = HttpServer(routes, context.settings.edges, context.metrics, (EVENTS, SOCKET))

    async def start(self) -> str:
        """Listen; the address. UnreachableError: the port is taken."""
        wanted_by = "subscriptions.yaml wants alarms to be served"
        return await self._server.listen(self._edge.host, self._edge.port, wanted_by)

    async def close(self) -> None:
        """Let go of everybody."""
        await self._server.close()

    def _authorize(self, request: web.Request) -> None:
        if self._edge.token is not None and not has_token(request, self._edge.token.text):
            raise web.HTTPUnauthorized(text=UNAUTHORIZED, headers={"www-authenticate": "Bearer"})

    def _subscription(self, request: web.Request) -> Subscription | None:
        name = request.query.get("subscription")
        found = self._subscriptions.subscriptions.get(name or "")
        if name is not None and (found is None or found.always_ns):
            raise web.HTTPNotFound(text=f"no subscription to alarms is called {name!r}\n")
        return found

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._authorize(request)
        subscription = self._subscription(request)
        last_id = request.headers.get("last-event-id") or request.query.get("last_event_id", "")
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "x-accel-buffering": "no"}
        )
        if not await _begun(response, request):
            return web.Response()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async for event in self._streams.follow(last_id, subscription):
                async with asyncio.timeout(WRITE_S):
                    await response.write(_as_text(event))
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._authorize(request)
        subscription = self._subscription(request)
        socket = web.WebSocketResponse(heartbeat=30.0, max_msg_size=SAID_BYTES_MAX)
        if not await _begun(socket, request):
            return web.Response()
        listening = asyncio.create_task(_until_closed(socket))
        telling = asyncio.create_task(
            self._tell(socket, request.query.get("last_event_id", ""), subscription)
        )
        try:
            await asyncio.wait((listening, telling), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, telling):
                task.cancel()
            await asyncio.gather(listening, telling, return_exceptions=True)
            await socket.close(code=WSCloseCode.GOING_AWAY)
        return socket

    async def _tell(
        self, socket: web.WebSocketResponse, last_id: str, subscription: Subscription | None
    ) -> None:
        async for event in self._streams.follow(last_id, subscription):
            if event.name:
                data: dict[str, Any] = {
                    "id": event.id,
                    "event": event.name,
                    "data": orjson.Fragment(event.data),
                }
                async with asyncio.timeout(WRITE_S):
                    await socket.send_str(orjson.dumps(data).decode())

    def _claim(self, request: web.Request) -> Claim:
        """HTTPGone with a page that says why a link is of no use."""
        found = read(request.match_info["link"], self._key, self._clock() / 1e9)
        if isinstance(found, Claim) and self._outbox.is_used(found.id):
            found = "this link was used already"
        if isinstance(found, str):
            said = _page("Nothing was done", f"<p>{escape(found)}", 410)
            raise web.HTTPGone(text=said.text, headers=said.headers)
        return found

    async def _ask(self, request: web.Request) -> web.Response:
        claim = self._claim(request)
        last = self._intake.last.get(claim.key)
        about = escape(claim.key)
        if last is not None:
            about += (
                f"<p>{escape(last.alarm.severity)}, {escape(last.alarm.state)}: {escape(last.alarm.message)}"
            )
        body = f"<p>{about}<form method=post><button>I have seen it: acknowledge</button></form>"
        return _page("Acknowledge an alarm", body)

    async def _do(self, request: web.Request) -> web.Response:
        claim = self._claim(request)
        try:
            answer = await self._acknowledge(claim)
        except UnreachableError:
            answer = ""
        if answer == "alarm-acknowledged":
            with self._outbox.transaction():
                self._outbox.use_link(claim.id, self._clock())
            return _page("Acknowledged", f"<p>{escape(claim.key)}")
        if answer:
            return _page("It was not acknowledged", f"<p>{escape(claim.key)}<p>{escape(answer)}", 409)
        unknown = "<p>Whether it was acknowledged is not known: look again, or try again."
        return _page("Nobody answers", unknown, 503)


async def _begun(response: web.StreamResponse, request: web.Request) -> bool:
    """Whether the client is still there. HTTPBadRequest: a key of a WebSocket that is no text."""
    try:
        await response.prepare(request)
    except ConnectionError:
        return False
    except ValueError as error:  # aiohttp's own check of the key takes it for Base64
        raise web.HTTPBadRequest(text=f"{error}\n") from None
    return True


async def _until_closed(socket: web.WebSocketResponse) -> None:
    """What a client says is passed by."""
    async for _ in socket:
        pass


def _as_text(event: Event) -> bytes:
    if not event.name:
        return b": alive\n\n"
    own_id = f"id: {event.id}\n" if event.id else ""
    return f"{own_id}event: {event.name}\ndata: ".encode() + event.data + b"\n\n"


def _page(title: str, body: str, status: int = 200) -> web.Response:
    text = _PAGE.format(title=escape(title), style=_STYLE, body=body)
    policy = {"content-security-policy": _POLICY}
    return web.Response(text=text, status=status, content_type="text/html", headers=policy)
