"""Lengths in a message that cost its sender no bytes (decision 0121), and the bounds of a client (decision 0123)."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import UaError
from asyncua.ua.ua_binary import (
    struct_from_binary,
    struct_to_binary,
    uatcp_to_binary,
    variant_from_binary,
    variant_to_binary,
)

from gateways.opcua import stack
from tests.gateways.opcua.wrong_lengths import WITHOUT_BYTES, header_with

KINDS = ua.VariantType
NOW = datetime.now(UTC)


@pytest.mark.parametrize("name", WITHOUT_BYTES)
def test_what_costs_no_bytes_is_no_message(name: str) -> None:
    with pytest.raises(UaError, match=r"a length of -4 bytes|an array of 5000000 Null|dimensions"):
        header_with(WITHOUT_BYTES[name])


@pytest.mark.parametrize(
    "value",
    [
        ua.Variant([1.0, 2.0], KINDS.Double),
        ua.Variant([], KINDS.Double),
        ua.Variant(None, KINDS.String, is_array=True),
        ua.Variant([[1, 2, 3], [4, 5, 6]], KINDS.Int32),
        ua.Variant([], KINDS.Int32, Dimensions=[0], is_array=True),
        ua.Variant([], KINDS.Int32, Dimensions=[0, 3], is_array=True),
        ua.Variant([b"", b"x", None], KINDS.ByteString),
        ua.Variant([], KINDS.Null, is_array=True),
        ua.Variant(),
    ],
    ids=str,
)
def test_what_is_there_is_read(value: ua.Variant) -> None:
    read = variant_from_binary(Buffer(variant_to_binary(value)))
    assert (read.Value, read.VariantType, read.Dimensions) == (
        value.Value,
        value.VariantType,
        value.Dimensions,
    )


def test_fewer_elements_than_there_are_is_what_some_servers_say_of_any_length() -> None:
    said = b"\xc6" + struct.pack("<iii", 2, 7, 8) + struct.pack("<ii", 1, 0)
    assert variant_from_binary(Buffer(said)).Value == [7, 8]


class Socket:
    """What a client's protocol takes for its socket."""

    def __init__(self) -> None:
        self.sent = b""
        self.is_open = True

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.is_open = False

    abort = close


async def greeted(**acknowledge: int) -> tuple[Any, Socket, asyncio.Future[Any]]:
    """A client's protocol to which the server has said these limits, its socket, and a request that waits."""
    client = stack.Client("opc.tcp://127.0.0.1:4840")
    protocol, socket = client.uaclient._make_protocol(), Socket()
    protocol.connection_made(socket)
    hello = asyncio.create_task(client.send_hello())
    await asyncio.sleep(0)
    said = struct_from_binary(ua.Hello, Buffer(socket.sent[8:]))
    assert (said.ReceiveBufferSize, said.MaxMessageSize, said.MaxChunkCount) == (65_536, 2 << 20, 256)
    protocol.data_received(uatcp_to_binary(ua.MessageType.Acknowledge, ua.Acknowledge(**acknowledge)))
    await hello
    return protocol, socket, protocol._send_request(ua.GetEndpointsRequest())


NO_LIMITS = {"ReceiveBufferSize": 2**31, "SendBufferSize": 2**31}


def chunks(body: bytes, last: bytes = b"C") -> Callable[[int], bytes]:
    """Chunk by number, of an answer to the request that waits."""

    def chunk(number: int) -> bytes:
        return b"MSG" + last + struct.pack("<IIIII", 24 + len(body), 0, 0, number, 1) + body

    return chunk


@pytest.mark.parametrize("body", [60_000, 0], ids=["large chunks", "many chunks"])
async def test_a_message_without_an_end_ends_the_connection(body: int) -> None:
    protocol, socket, answer = await greeted(**NO_LIMITS)
    chunk, sent = chunks(bytes(body)), 0
    while socket.is_open and sent < 1000:
        sent += 1
        protocol.data_received(chunk(sent))
    assert not socket.is_open
    assert sent == (35 if body else 257)
    with pytest.raises(ua.uaerrors.BadResponseTooLarge):
        await answer


async def test_a_chunk_that_says_it_is_longer_than_one_may_be_is_not_waited_for() -> None:
    protocol, socket, answer = await greeted(**NO_LIMITS)
    protocol.data_received(chunks(bytes(65_536 - 24))(1))
    assert socket.is_open
    protocol.data_received(b"MSGC" + struct.pack("<I", 65_537))
    assert not socket.is_open
    with pytest.raises(ua.uaerrors.BadResponseTooLarge):
        await answer


async def test_an_answer_as_large_as_any_that_is_asked_for_is_taken() -> None:
    protocol, socket, answer = await greeted(ReceiveBufferSize=8192, SendBufferSize=8192)
    body = bytes(8192 - 24)
    for number in range(1, 256):
        protocol.data_received(chunks(body)(number))
    protocol.data_received(chunks(body, b"F")(256))
    assert socket.is_open
    assert len(await answer) == 256 * len(body)


async def test_a_request_goes_in_chunks_as_the_server_takes_them() -> None:
    protocol, socket, _ = await greeted(ReceiveBufferSize=10_000, SendBufferSize=2**31)
    assert protocol._connection._limits.max_send_buffer == 10_000
    protocol, socket, _ = await greeted(ReceiveBufferSize=0, SendBufferSize=0)
    assert protocol._connection._limits.max_send_buffer == 8192
    assert socket.is_open


def test_a_poll_of_all_points_is_well_inside_what_a_message_may_have() -> None:
    value = ua.DataValue(ua.Variant(1.0), SourceTimestamp=NOW, ServerTimestamp=NOW)
    assert 6 * 10_000 * len(struct_to_binary(value)) < stack.MESSAGE_BYTES_MAX


def connected(disconnect: Callable[[], Awaitable[None]]) -> tuple[stack.Client, Socket]:
    """A client that says good-bye like this."""
    client, socket = stack.Client("opc.tcp://127.0.0.1:4840"), Socket()
    client.uaclient._make_protocol().connection_made(socket)
    client.disconnect = disconnect
    return client, socket


async def fails() -> None:
    raise ua.UaError("no session")


@pytest.mark.parametrize("disconnect", [asyncio.Event().wait, fails], ids=["hangs", "fails"])
async def test_a_client_that_leaves_leaves_no_socket_behind(
    disconnect: Callable[[], Awaitable[None]],
) -> None:
    client, socket = connected(disconnect)
    await client.leave(0.0)
    assert not socket.is_open


@pytest.mark.parametrize("turns", range(6))
async def test_whoever_waits_for_a_client_to_leave_can_be_cancelled(turns: int) -> None:
    gone = asyncio.Event()

    async def disconnect() -> None:
        with contextlib.suppress(asyncio.CancelledError):  # as asyncua does
            await gone.wait()

    client, socket = connected(disconnect)

    async def run() -> None:
        await client.leave(60.0)
        await asyncio.Event().wait()

    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    gone.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=30.0)
    assert done
    assert running.cancelled()
    assert not socket.is_open
