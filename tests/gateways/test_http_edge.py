"""Every HTTP edge: each limit refuses, is counted, and leaves others alone; streams go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateways.http_edge import CLIENTS_MAX, HEADERS, HttpServer, Rates
from rules.errors import ConfigurationError
from streams.settings import EdgeSettings, load_settings

LOOPBACK = ("127.0.0.0/8",)


class Edge:
    """A server with an answer, one that takes as long as it is let, a page for those with a token, and streams."""

    def __init__(self, **limits: Any) -> None:
        self.metrics: dict[str, Any] = {}
        self.may_answer = asyncio.Event()
        routes = [
            web.get("/", self._say),
            web.post("/", self._say),
            web.get("/slow", self._wait),
            web.get("/large", self._say_much),
            web.get("/page", self._show),
            web.get("/secret", self._refuse),
            web.get("/broken", self._fail),
            web.get("/stream", self._stream),
            web.get("/socket", self._socket),
        ]
        settings = EdgeSettings(**limits)
        self.server = HttpServer(routes, settings, self.metrics, ("/stream", "/socket"))

    @property
    def refused(self) -> dict[str, int]:
        return {reason: count for reason, count in self.metrics["http_refused"].items() if count}

    async def _say(self, _: web.Request) -> web.Response:
        return web.Response(text="yes")

    async def _wait(self, _: web.Request) -> web.Response:
        await self.may_answer.wait()
        return web.Response(text="at last")

    async def _say_much(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(50_000_000))

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(text="page", headers={"content-security-policy": "default-src 'self'"})

    async def _refuse(self, _: web.Request) -> web.Response:
        raise web.HTTPUnauthorized

    async def _fail(self, _: web.Request) -> web.Response:
        raise ZeroDivisionError

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun\n")
        await self.may_answer.wait()
        await response.write(b"more\n")
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("begun")
        async for _ in socket:
            pass
        return socket


@contextlib.asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[tuple[Edge, aiohttp.ClientSession]]:
    edge = Edge(**limits)
    address = await edge.server.listen("127.0.0.1", 0, "a test wants it")
    try:
        async with aiohttp.ClientSession(address) as http:
            yield edge, http
    finally:
        await edge.server.close()


def from_(address: str) -> dict[str, str]:
    return {"x-forwarded-for": address}


async def test_who_asks_too_often_waits_and_nobody_else() -> None:
    async with serving(requests_per_s=0.01, burst=3, proxies=LOOPBACK) as (edge, http):
        said = [await http.get("/", headers=from_("192.0.2.1")) for _ in range(5)]
        assert [one.status for one in said] == [200, 200, 200, 429, 429]
        assert 90 < int(said[-1].headers["retry-after"]) <= 100
        assert edge.refused == {"rate": 2}
        assert (await http.get("/", headers=from_("192.0.2.2"))).status == 200


def test_a_bucket_fills_up_again_and_is_forgotten_then() -> None:
    rates = Rates(2.0, 3)
    assert [rates.wait_s("a", 10.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert [rates.wait_s("a", 10.5), rates.wait_s("a", 10.5)] == [0.0, 0.5]
    assert [rates.wait_s("a", 99.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    for number in range(CLIENTS_MAX + 10):
        assert rates.wait_s(f"b{number}", 99.0) == 0.0
    assert len(rates._full_at) == CLIENTS_MAX
    assert rates.wait_s("b", 200.0) == 0.0
    assert len(rates._full_at) == 1


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("10.9.9.9, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 127.0.0.9", "192.0.2.1"),
        ("192.0.2.1, nobody", "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, ::ffff:127.0.0.9", "192.0.2.1"),
    ],
)
async def test_a_client_is_who_the_last_trusted_proxy_says(said: str, client: str) -> None:
    async with serving(requests_per_s=0.01, burst=1, proxies=LOOPBACK) as (edge, http):
        assert (await http.get("/", headers=from_(said) if said else {})).status == 200
        assert list(edge.server._rates._full_at) == [client]


async def test_nobody_is_believed_who_is_no_proxy() -> None:
    async with serving(requests_per_s=0.01, burst=1) as (_, http):
        assert (await http.get("/", headers=from_("192.0.2.1"))).status == 200
        assert (await http.get("/", headers=from_("192.0.2.2"))).status == 429


async def test_no_body_is_read() -> None:
    async with serving() as (edge, http):
        assert (await http.post("/")).status == 200
        assert (await http.post("/", data=b"x")).status == 413
        answer = await http.post("/", data=chunks())
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert edge.refused == {"body": 2}


async def chunks() -> AsyncIterator[bytes]:
    yield b"x"


async def test_an_answer_that_is_not_made_in_time() -> None:
    async with serving(answer_s=0.05) as (edge, http):
        assert (await http.get("/slow")).status == 503
        assert edge.refused == {"slow": 1}
        assert (await http.get("/")).status == 200


async def test_an_answer_that_is_not_taken_in_time() -> None:
    async with serving(answer_s=0.2) as (edge, http):
        answer = await http.get("/large")
        assert answer.status == 200
        while edge.refused != {"slow": 1}:
            await asyncio.sleep(0.01)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
        assert (await http.get("/")).status == 200


async def test_half_of_a_head_is_not_waited_for() -> None:
    async with serving(idle_s=0.3) as (_, http):
        assert http._base_url is not None
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /"):
            reader, writer = await asyncio.open_connection("127.0.0.1", http._base_url.port)
            writer.write(begun)
            said = await asyncio.wait_for(reader.read(), 60)
            assert said.startswith(b"HTTP/1.1 200") == begun.endswith(b"GET /")
            writer.close()


async def test_a_client_has_so_many_streams_and_another_one_when_it_ends_one() -> None:
    async with serving(streams_per_client=2, proxies=LOOPBACK) as (edge, http):
        assert (await http.get("/stream")).status == 200
        async with http.ws_connect("/socket") as socket:
            assert await socket.receive_str() == "begun"
            third = await http.get("/stream")
            assert (third.status, "retry-after" in third.headers, edge.refused) == (429, True, {"streams": 1})
            assert (await http.get("/stream", headers=from_("192.0.2.1"))).status == 200
            assert (await http.get("/")).status == 200, "what is no stream"
        edge.may_answer.set()
        while edge.server._open:
            await asyncio.sleep(0.01)
        assert (await http.get("/stream")).status == 200


async def test_streams_have_no_end() -> None:
    """Neither the time of an answer nor that of a connection that is idle."""
    async with serving(answer_s=0.05, idle_s=0.05) as (edge, http):
        stream = await http.get("/stream")
        assert await stream.content.readline() == b"begun\n"
        slow = await http.get("/slow")
        assert slow.status == 503, "the time is over"
        edge.may_answer.set()
        assert await stream.content.readline() == b"more\n"
        assert edge.refused == {"slow": 1}


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [("http://127.0.0.1:{port}", True), ("http://other.example", False), ("null", False)],
)
async def test_a_page_of_another_site_opens_no_socket(origin: str, is_let_in: bool) -> None:
    async with serving() as (edge, http):
        assert http._base_url is not None
        headers = {"origin": origin.format(port=http._base_url.port)}
        if is_let_in:
            async with http.ws_connect("/socket", headers=headers) as socket:
                assert await socket.receive_str() == "begun"
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await http.ws_connect("/socket", headers=headers)
        assert edge.refused == ({} if is_let_in else {"origin": 1})


NO_REQUESTS = {
    "a line that is too long": b"GET / HTTP/1.1\r\nHost: a\r\nX-Secret: " + b"s" * 9000 + b"\r\n\r\n",
    "too many lines": b"GET / HTTP/1.1\r\n" + b"X-Secret: s\r\n" * 200 + b"\r\n",
    "no method": b"<secret> / HTTP/1.1\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000001fc0303") + bytes(500),
    "a bad version": b"GET /secret HTTP/nine\r\n\r\n",
    "a bad length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: secret\r\n\r\n",
    "an Expect that is no text": b"GET / HTTP/1.1\r\nHost: a\r\nExpect: secret\xff\r\n\r\n",
    "behind a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n<secret>\r\n\r\n",
}


async def answer_to(http: aiohttp.ClientSession, sent: bytes) -> str:
    """All that comes until the other side closes."""
    assert http._base_url is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", http._base_url.port)
    writer.write(sent)
    said = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return said.decode()


@pytest.mark.parametrize("sent", NO_REQUESTS.values(), ids=NO_REQUESTS)
async def test_what_is_no_request_is_refused_as_all_is(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (edge, http):
        answer = await answer_to(http, sent)
        head, _, body = answer[answer.rindex("HTTP/1.") :].partition("\r\n\r\n")
        assert body == "400: Bad Request"
        first, *lines = head.lower().split("\r\n")
        said = dict(line.split(": ", 1) for line in lines)
        assert first.endswith(" 400 bad request")
        assert {name: said.get(name) for name in HEADERS} == {
            name: value.lower() for name, value in HEADERS.items()
        }
        assert said["server"] == "headrace"
        assert edge.refused == {"bad": 1}
        assert (await http.get("/")).status == 200
    assert "secret" not in answer
    assert not caplog.records


async def test_who_sends_no_requests_too_often_waits_as_well() -> None:
    async with serving(requests_per_s=0.01, burst=2) as (edge, http):
        said = [await answer_to(http, NO_REQUESTS["no method"]) for _ in range(4)]
        assert [one.split()[1] for one in said] == ["400", "400", "429", "429"]
        assert "retry-after: 1" in said[-1].lower()
        assert edge.refused == {"bad": 2, "rate": 2}
        assert (await http.get("/")).status == 429


async def test_what_fails_here_is_logged_with_where(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (edge, http):
        answer = await http.get("/broken")
        assert (answer.status, answer.headers["server"], edge.refused) == (500, "headrace", {})
    assert "Traceback" in caplog.text


async def test_who_has_no_token_is_counted() -> None:
    async with serving() as (edge, http):
        assert (await http.get("/secret")).status == 401
        assert edge.refused == {"token": 1}


@pytest.mark.parametrize("path", ["/", "/secret", "/stream", "/nowhere"])
async def test_every_answer_has_the_headers(path: str) -> None:
    async with serving() as (_, http):
        answer = await http.get(path)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.headers["server"] == "headrace"
        answer.close()


async def test_a_page_says_for_itself_what_it_needs() -> None:
    async with serving() as (_, http):
        answer = await http.get("/page")
        assert answer.headers["content-security-policy"] == "default-src 'self'"


def test_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_EDGES__PROXIES", '["10.1.0.0/16", "::1"]')
    monkeypatch.setenv("HEADRACE_EDGES__BURST", "7")
    edges = load_settings().edges
    assert (edges.burst, [str(one) for one in edges.proxies]) == (7, ["10.1.0.0/16", "::1/128"])
    monkeypatch.setenv("HEADRACE_EDGES__BURST", "0")
    with pytest.raises(ConfigurationError, match="burst"):
        load_settings()
