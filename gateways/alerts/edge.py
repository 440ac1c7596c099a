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
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any, Final

import orjson
from aiohttp import WSCloseCode, web

from gateways.alerts.intake import Intake
from gateways.alerts.links import PATH, Claim, read
from gateways.alerts.model import Edge, Subscription, Subscriptions
from gateways.alerts.outbox import Outbox
from gateways.alerts.streams import Event, Streams
from gateways.listen import UNAUTHORIZED, has_token
from rules.errors import UnreachableError

SAID_BYTES_MAX: Final = 4096
"""Of a message of a client's over a WebSocket, none of which is read."""
WRITE_S: Final = 30.0
"""A client that takes nothing for so long is let go of; it goes on where it was when it comes again."""

Acknowledge = Callable[[Claim], Awaitable[str]]
"""What became of an acknowledgement. UnreachableError: nobody knows."""

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<style>body{{font:1.1rem sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem}}
button{{font:inherit;padding:.5rem 1rem}}</style>
<h1>{title}</h1>{body}</html>"""


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
        clock: Callable[[], int],
    ) -> None:
        self._edge = edge
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._intake = intake
        self._streams = streams
        self._key = key
        self._acknowledge = acknowledge
        self._clock = clock
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; the address. UnreachableError: the port is taken."""
        app = web.Application()
        app.router.add_get("/alarms/events", self._events)
        app.router.add_get("/alarms/socket", self._socket)
        app.router.add_get(PATH + "{link}", self._ask)
        app.router.add_post(PATH + "{link}", self._do)
        # no access log: a link is in the address; a stream never ends by itself, so nobody waits for it
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._edge.host, self._edge.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise UnreachableError(
                f"{self._edge.host}:{self._edge.port}, at which subscriptions.yaml wants alarms to be served: "
                f"{error.strerror}"
            ) from None
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def close(self) -> None:
        """Let go of everybody."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _authorize(self, request: web.Request) -> None:
        if self._edge.token is not None and not has_token(request, self._edge.token.text):
            raise web.HTTPUnauthorized(text=UNAUTHORIZED)

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
            headers={
                "content-type": "text/event-stream",
                "cache-control": "no-store",
                "x-accel-buffering": "no",
            }
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
            raise web.HTTPGone(
                text=_page("Nothing was done", f"<p>{escape(found)}"), content_type="text/html"
            )
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
        return web.Response(text=_page("Acknowledge an alarm", body), content_type="text/html")

    async def _do(self, request: web.Request) -> web.Response:
        claim = self._claim(request)
        try:
            answer = await self._acknowledge(claim)
        except UnreachableError:
            answer = ""
        if answer == "alarm-acknowledged":
            with self._outbox.transaction():
                self._outbox.use_link(claim.id, self._clock())
            return web.Response(
                text=_page("Acknowledged", f"<p>{escape(claim.key)}"), content_type="text/html"
            )
        if answer:
            page = _page("It was not acknowledged", f"<p>{escape(claim.key)}<p>{escape(answer)}")
            return web.Response(status=409, text=page, content_type="text/html")
        page = _page(
            "Nobody answers", "<p>Whether it was acknowledged is not known: look again, or try again."
        )
        return web.Response(status=503, text=page, content_type="text/html")


async def _begun(response: web.StreamResponse, request: web.Request) -> bool:
    """Whether the client is still there."""
    try:
        await response.prepare(request)
    except ConnectionError:
        return False
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


def _page(title: str, body: str) -> str:
    return _PAGE.format(title=escape(title), body=body)
