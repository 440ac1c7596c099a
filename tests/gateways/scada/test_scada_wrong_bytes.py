"""What a client can do to others with bytes alone, before it has logged in (decisions 0113 and 0121)."""

from __future__ import annotations

import asyncio
import resource
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncua import Client, ua
from asyncua.ua.ua_binary import nodeid_to_binary

from gateways.scada import channel
from tests.gateways.opcua.wrong_lengths import WITHOUT_BYTES, additional_header
from tests.gateways.scada.live import Live, client, hello, live, site_folder, until

MEGABYTE = 1 << 20


@pytest.fixture
async def served(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Live]:
    async with live(site_folder(tmp_path / "site", with_users=False), unused_tcp_port) as made:
        yield made


async def answer(served: Live, *parts: bytes) -> bytes:
    """What comes until the server ends the connection."""
    port = int(served.endpoint.rpartition(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(60):
            return await reader.read(-1)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "first",
    [hello(0, 0), hello(8191), hello(65535, 100), b"ACKF" + struct.pack("<I", 28) + hello(0, 0)[8:28]],
)
async def test_nobody_sets_the_limits_of_others(served: Live, first: bytes) -> None:
    async with client(served.endpoint) as other:
        said = await answer(served, first)
        assert said[:3] in (b"ERR", b"")
        assert await other.nodes.server_state.read_value() is not None
        async with client(served.endpoint) as newcomer:
            assert len(await newcomer.nodes.objects.get_children()) > 0


async def test_a_client_with_small_buffers_makes_nobody_elses_smaller(served: Live) -> None:
    port = int(served.endpoint.rpartition(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(hello(8192, 8192))
    assert (await reader.readexactly(8))[:3] == b"ACK"
    assert served.context.state == "ready"
    async with client(served.endpoint) as other:
        assert other.uaclient.protocol._connection._limits.max_recv_buffer == 65535
    writer.close()


@pytest.mark.parametrize("kind", [b"MSGF", b"HELF", b"XYZF"])
async def test_a_message_that_says_it_is_too_long_is_not_waited_for(served: Live, kind: bytes) -> None:
    said = await answer(served, hello(), kind + struct.pack("<I", 0xFFFF_FFFF) + bytes(100))
    assert said[:3] in (b"ACK", b"")  # and then the connection has ended
    async with client(served.endpoint) as other:
        assert await other.nodes.server_state.read_value() is not None


async def test_a_request_in_parts_ends_before_it_fills_the_memory(
    served: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "REQUEST_BYTES_MAX", (50_000, MEGABYTE))
    async with client(served.endpoint) as other:
        protocol = other.uaclient.protocol
        whole = protocol._connection.message_to_binary(bytes(60_000), request_id=1)
        part = bytearray(whole)
        part[3:4] = b"C"
        for _ in range(MEGABYTE // 60_000 + 2):
            if protocol.transport is None:
                break
            protocol.transport.write(bytes(part))
            protocol._connection._sequence_number += 1
            struct.pack_into("<I", part, 16, protocol._connection._sequence_number)
            await asyncio.sleep(0.01)
        await until(lambda: served.context.metrics["channels_refused"])
    assert served.context.metrics["channels_refused"] == 1


async def test_a_few_bytes_take_no_memory_before_anybody_has_logged_in(served: Live) -> None:
    asked = nodeid_to_binary(ua.NodeId(ua.ObjectIds.GetEndpointsRequest_Encoding_DefaultBinary))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    nobody = Client(served.endpoint, timeout=60)
    await nobody.connect_socket()
    try:
        await nobody.send_hello()
        await nobody.open_secure_channel()
        protocol = nobody.uaclient.protocol
        protocol.transport.write(
            protocol._connection.message_to_binary(
                asked + additional_header(WITHOUT_BYTES["twenty of them"]), request_id=9
            )
        )
        await until(lambda: protocol.transport is None or protocol.transport.is_closing())
    finally:
        nobody.disconnect_socket()
    async with client(served.endpoint) as other:
        assert await other.nodes.server_state.read_value() is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 30_000
