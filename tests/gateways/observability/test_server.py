"""The HTTP endpoint of a role: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateways.http_edge import HEADERS
from gateways.observability.server import serving
from rules.errors import ConfigurationError, UnreachableError
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import HttpSettings, Settings
from tests.gateways.observability.filled import NOW_NS
from tests.rules.engine.plant import site

PATHS = ("/metrics", "/livez", "/readyz")


def context_of(listen: str, token: Path | None = None) -> RoleContext:
    settings = Settings(http=HttpSettings(listen=listen, token=token))
    context = RoleContext("worker-2", site(), Path(), settings, MemoryBus(), asyncio.Event(), kind="worker")
    context.clock = lambda: NOW_NS
    context.metrics.update(now_ns={"row-a": NOW_NS}, records=5)
    return context


@contextlib.asynccontextmanager
async def client(context: RoleContext) -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(context), aiohttp.ClientSession(context.metrics["http"]) as session:
        yield session


async def test_ready_and_then_not() -> None:
    context = context_of("127.0.0.1:0")
    async with client(context) as session:
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["parts"][0] == {
                "part": "role", "works": False, "own": True, "why": "its state is 'starting'",
            }  # fmt: skip
        context.ready()
        async with session.get("/readyz") as answer:
            assert answer.status == 200
            body = await answer.json()
            assert (body["ready"], body["role"], body["name"]) == (True, "worker", "worker-2")
        context.metrics["now_ns"]["row-a"] -= 3_000_000_000
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["parts"][1]["why"] == "the last tick was 3.0 s ago"
        async with session.get("/livez") as answer:
            assert (answer.status, await answer.json()) == (200, {"live": True, "stuck": ""})


async def test_metrics_in_the_format_that_is_asked_for() -> None:
    async with client(context_of("127.0.0.1:0")) as session:
        async with session.get("/metrics") as answer:
            assert answer.content_type == "text/plain"
            assert "headrace_worker_records_total 5.0" in await answer.text()
        async with session.get("/metrics", headers={"accept": "application/openmetrics-text"}) as answer:
            assert answer.content_type == "application/openmetrics-text"
            assert (await answer.text()).endswith("# EOF\n")


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_but_get_and_head_and_no_body(path: str) -> None:
    async with client(context_of("127.0.0.1:0")) as session:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            async with session.request(method, path) as answer:
                assert answer.status == 405
        async with session.head(path) as answer:
            assert answer.status in (200, 503)
            assert await answer.read() == b""
        async with session.get(path, data=b"x") as answer:
            assert answer.status == 413
        async with session.get("/metrics") as answer:
            assert 'headrace_http_refused_requests_total{reason="body"} 1.0' in await answer.text()
        async with session.get("/other") as answer:
            assert answer.status == 404


@pytest.mark.parametrize("path", [*PATHS, "/other"])
async def test_every_answer_has_the_headers(path: str) -> None:
    async with client(context_of("127.0.0.1:0")) as session, session.get(path) as answer:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


async def test_with_a_token_probes_hear_yes_or_no_and_nobody_else_more(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    async with client(context_of("127.0.0.1:0", token)) as session:
        async with session.get("/metrics") as answer:
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        async with session.get("/metrics", headers={"authorization": "Bearer other"}) as answer:
            assert answer.status == 401
        async with session.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"ready": False})
        async with session.get("/livez") as answer:
            assert (answer.status, await answer.json()) == (200, {"live": True})
        known = {"authorization": "Bearer secret"}
        async with session.get("/metrics", headers=known) as answer:
            assert answer.status == 200
        async with session.get("/readyz", headers=known) as answer:
            assert "parts" in await answer.json()


@pytest.mark.parametrize(
    ("listen", "says"),
    [("0.0.0.0:0", "a token is needed"), ("here", "no address"), ("127.0.0.1:99999", "no address")],
)
async def test_an_address_that_can_not_be(listen: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        async with serving(context_of(listen)):
            pass


async def test_an_empty_token_is_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ConfigurationError, match="the file is empty"):
        async with serving(context_of("0.0.0.0:0", tmp_path / "token")):
            pass


async def test_a_port_that_is_taken() -> None:
    context = context_of("127.0.0.1:0")
    async with serving(context):
        taken = context.metrics["http"].removeprefix("http://")
        with pytest.raises(UnreachableError, match="wants metrics to be served"):
            async with serving(context_of(taken)):
                pass


async def test_nothing_is_served_where_nothing_is_set() -> None:
    context = context_of("")
    async with serving(context):
        assert "http" not in context.metrics
