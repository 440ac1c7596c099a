"""A wire that can be held and cut, between two ends that know nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateways.bench.link import Link

LIMIT_S = 60.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@pytest.fixture
async def far_port() -> AsyncIterator[int]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def link(far_port: int) -> AsyncIterator[Link]:
    link = await Link.open(far_port)
    yield link
    await link.close()


async def said_back(reader: asyncio.StreamReader, size: int) -> bytes:
    return await asyncio.wait_for(reader.readexactly(size), LIMIT_S)


async def test_it_carries_in_both_directions(link: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"water")
    assert await said_back(reader, 5) == b"water"
    writer.close()


async def test_what_is_said_while_it_is_held_comes_afterwards(link: Link, far_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"a")
    assert await said_back(reader, 1) == b"a"
    link.hold()
    writer.write(b"b")
    answer = asyncio.ensure_future(reader.readexactly(1))
    # what is said to another end in the meantime goes to and fro, and this does not
    other, other_writer = await asyncio.open_connection("127.0.0.1", far_port)
    for _ in range(20):
        other_writer.write(b"x")
        assert await said_back(other, 1) == b"x"
    assert not answer.done()
    other_writer.close()
    link.mend()
    assert await asyncio.wait_for(answer, LIMIT_S) == b"b"
    writer.close()


async def test_cut_it_breaks_what_is_open_and_takes_nothing_new(link: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"a")
    assert await said_back(reader, 1) == b"a"
    link.cut()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await said_back(reader, 1)
    other, other_writer = await asyncio.open_connection("127.0.0.1", link.port)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await said_back(other, 1)
    link.mend()
    third, third_writer = await asyncio.open_connection("127.0.0.1", link.port)
    third_writer.write(b"c")
    assert await said_back(third, 1) == b"c"
    for one in (writer, other_writer, third_writer):
        one.close()
