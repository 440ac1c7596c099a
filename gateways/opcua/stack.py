"""asyncua, with bounds on what it reads: its `Client` and `Server` are taken from here, nowhere else (ruff looks).

asyncua 2.1 believes what a message says of lengths. Three of them cost the sender nothing, and a request's header may
carry a value of any type, before anybody has logged in (docs/decisions/0121-lengths-that-cost-no-bytes.md):
- a text of a negative length goes back in the message, so that an array of some bytes never ends;
- an array of Null has elements without bytes;
- dimensions that are larger than their array are filled up, with a million elements for 8 bytes.
Here each of them is no message, on all connections of the process. So no element is shorter than a byte, and what a
message takes of memory is bounded by its length.

The length of what a client is sent has a bound as well, and the server's first word does not change it: asyncua's
has none, and takes the server's, before any certificate was looked at (docs/decisions/0123-what-a-server-may-send.md).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

import asyncua
from asyncua import Server
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.common.connection import TransportLimits
from asyncua.common.shortcuts import Shortcuts
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua import Acknowledge, Hello, MessageType, StatusCodes, UaError, UaStatusCodeError, ua_binary

__all__ = ["Client", "Server"]

CHUNK_BYTES_MAX: Final = 64 * 1024
CHUNK_BYTES_MIN: Final = 8 * 1024
"""No smaller may a buffer be (OPC 10000-6, 7.1.2.3)."""

CHUNKS_MAX: Final = 256
MESSAGE_BYTES_MAX: Final = CHUNKS_MAX * CHUNK_BYTES_MIN
"""2 MiB: six times 10,000 values with both of their times, which is a poll of all points or a page of a history."""

_read, _reshape = Buffer.read, ua_binary._reshape


class Client(asyncua.Client):  # type: ignore[misc]
    """asyncua's, with bounds on what it is sent. What is larger ends the connection, with BadResponseTooLarge."""

    def __init__(self, url: str, timeout: float = 4, watchdog_intervall: float = 1.0) -> None:
        super().__init__(url, timeout, watchdog_intervall)
        self.uaclient = _UaClient(timeout)
        self.uaclient.pre_request_hook = self._wait_until_ready
        self.nodes = Shortcuts(self.uaclient.session)
        self.max_messagesize, self.max_chunkcount = MESSAGE_BYTES_MAX, CHUNKS_MAX

    async def leave(self, within_s: float) -> None:
        """Let go of the connection, whatever state it is in: after `within_s` without asking the server."""
        protocol = self.uaclient.protocol
        transport = None if protocol is None else protocol.transport
        # In a task of its own: asyncua takes a cancellation, which is meant for whoever waits here, for its own.
        leaving = asyncio.gather(self.disconnect(), return_exceptions=True)  # there is nothing to save
        try:
            await asyncio.wait([leaving], timeout=within_s)
        finally:
            leaving.cancel()
            self.disconnect_socket()
            if transport is not None:  # to a server that does not read it would stay open
                transport.abort()


class _Limits(TransportLimits):  # type: ignore[misc]
    """Of a client's connection."""

    max_send_buffer: int

    def update_client_limits(self, msg: Acknowledge) -> None:
        """The server says how large a chunk it takes; what we take stays (asyncua has the two the wrong way round)."""
        self.max_send_buffer = max(min(self.max_send_buffer, msg.ReceiveBufferSize), CHUNK_BYTES_MIN)

    def is_msg_size_within_limit(self, sz: int) -> bool:
        """UaStatusCodeError: it is not."""
        return _fits(sz, self.max_message_size)

    def is_chunk_count_within_limit(self, sz: int) -> bool:
        """UaStatusCodeError: it is not."""
        return _fits(sz, self.max_chunk_count)


def _fits(size: int, largest: int) -> bool:
    if size > largest:  # asyncua would say that our request was too large
        raise UaStatusCodeError(StatusCodes.BadResponseTooLarge)
    return True


class _Protocol(UASocketProtocol):  # type: ignore[misc]
    """A client's socket."""

    receive_buffer: bytes | None

    async def send_hello(self, url: str, max_messagesize: int = 0, max_chunkcount: int = 0) -> Any:
        """The client's first word, with our bounds: asyncua's says that a chunk may have 2 GiB."""
        hello = Hello(
            ReceiveBufferSize=CHUNK_BYTES_MAX,
            SendBufferSize=CHUNK_BYTES_MAX,
            MaxMessageSize=max_messagesize,
            MaxChunkCount=max_chunkcount,
            EndpointUrl=url,
        )
        answer = self._callbackmap[0] = asyncio.get_running_loop().create_future()
        if self.transport is not None:
            self.transport.write(ua_binary.uatcp_to_binary(MessageType.Hello, hello))
        return await asyncio.wait_for(answer, self.timeout)

    def data_received(self, data: bytes) -> None:
        """asyncua's; a chunk that says it is longer than one may be is not waited for."""
        super().data_received(data)
        begun = self.receive_buffer or b""
        if int.from_bytes(begun[4:8], "little") > CHUNK_BYTES_MAX and self.transport is not None:
            self.receive_buffer = None
            self._fail_all_pending(UaStatusCodeError(StatusCodes.BadResponseTooLarge))
            self.transport.abort()


class _UaClient(UaClient):  # type: ignore[misc]
    """What of a client sends and receives."""

    def _make_protocol(self) -> _Protocol:
        limits = _Limits(CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, CHUNKS_MAX, MESSAGE_BYTES_MAX)
        protocol = self.protocol = _Protocol(self._timeout, self.security_policy, limits)
        protocol.pre_request_hook = self._pre_request_hook
        protocol.on_connection_lost = self._on_transport_lost
        protocol.is_session_closing = self._is_session_closing
        return protocol


def _read_forwards(buffer: Any, size: int) -> Any:
    if size < 0:
        raise NotEnoughData(f"a length of {size} bytes")
    return _read(buffer, size)


def _reshape_what_is_there(flat: list[Any], dimensions: list[int]) -> Any:
    # asyncua takes a 0 behind the first dimension for a 1
    said = math.prod([dimensions[0], *(one or 1 for one in dimensions[1:])]) if dimensions else 1
    if said > len(flat):  # OPC 10000-6, 5.2.2.16: Bad_DecodingError
        raise UaError(f"dimensions {dimensions[:10]} of an array of {len(flat)}")
    return _reshape(flat, dimensions)


class _Nulls:
    """In the place where asyncua looks for the fast way to read and write an array of a type."""

    @staticmethod
    def unpack_array(_data: Any, length: int) -> tuple[()]:
        if length > 0:
            raise UaError(f"an array of {length} Null, which is no type of an array")
        return ()

    @staticmethod
    def pack_array(array: Sequence[None] | None) -> Any:
        return ua_binary.Primitives.Int32.pack(-1 if array is None else len(array))


Buffer.read = _read_forwards
ua_binary._reshape = _reshape_what_is_there
ua_binary.Primitives1.Null = _Nulls
