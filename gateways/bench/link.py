"""A wire between processes that can be held or cut: a TCP relay on the loopback address.

Rules: held, it carries nothing in either direction and says nothing: to both ends the other one is slow. Cut, it
breaks what is open, and takes nothing new until it is mended. A new connection waits while it is held.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

_CHUNK_BYTES = 65_536


class Link:
    """From `port` to a port of the same machine. Make it with `open`."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._carries = asyncio.Event()
        self._carries.set()
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @classmethod
    async def open(cls, to_port: int) -> Self:
        """A link that carries."""
        link = cls(to_port)
        link._server = await asyncio.start_server(link._serve, "127.0.0.1", 0)
        link.port = link._server.sockets[0].getsockname()[1]
        return link

    def hold(self) -> None:
        """Carry nothing until `mend`."""
        self._carries.clear()

    def cut(self) -> None:
        """Break everything, and whatever comes, until `mend`."""
        self._is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """Carry again."""
        self._is_cut = False
        self._carries.set()

    async def close(self) -> None:
        """Break everything for good."""
        self.cut()
        self._carries.set()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._carries.wait()
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, far_writer)
        self._open.update(ends)
        try:
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        finally:
            self._open.difference_update(ends)
            for end in ends:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._carries.wait()
                writer.write(data)
                await writer.drain()
            writer.close()
