"""Connections that nobody uses: how many there may be, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateways.scada import channel
from gateways.scada.channel import UNUSED_S, Channel, _address_of, _Protocol
from gateways.whole.loop import VirtualLoop
from tests.gateways.scada.live import Live, client, hello, live, site_folder

FEW = 3


@pytest.fixture
async def served(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Live]:
    monkeypatch.setattr(channel, "UNUSED_MAX", FEW)
    async with live(site_folder(tmp_path / "site", with_users=False), unused_tcp_port) as made:
        yield made


async def parked(served: Live, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, Any]:
    """A connection that says nothing."""
    port = int(served.endpoint.rpartition(":")[2].partition("/")[0])
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def is_ended(reader: asyncio.StreamReader) -> bool:
    """Once the server has ended it; the time-out only ends a test that has failed."""
    try:
        async with asyncio.timeout(60):
            return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_one_address_does_not_take_all_there_are(served: Live) -> None:
    async with client(served.endpoint) as other:
        waiting = [await parked(served) for _ in range(FEW)]
        reader, writer = await parked(served)
        assert await is_ended(reader)
        assert served.context.metrics["channels_refused"] == 1
        assert await other.nodes.server_state.read_value() is not None, "who has a session keeps it"
        elsewhere = await parked(served, "127.0.0.2")
        elsewhere[1].write(hello())
        assert (await elsewhere[0].readexactly(3)) == b"ACK"
        for _, each in (*waiting, (reader, writer), elsewhere):
            each.close()


async def test_many_clients_behind_one_address_are_not_too_many(served: Live) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(served.endpoint)) for _ in range(2 * FEW)]
        for one in clients:
            assert await one.nodes.server_state.read_value() is not None
    assert served.context.metrics["channels_refused"] == 0


async def test_what_nobody_uses_does_not_last(served: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "UNUSED_S", 0.2)
    for reader, writer in [await parked(served) for _ in range(FEW)]:
        assert await is_ended(reader)
        writer.close()
    monkeypatch.undo()
    async with client(served.endpoint) as one:
        assert await one.nodes.server_state.read_value() is not None


def test_a_connection_without_a_session_has_some_seconds_at_any_time() -> None:
    """On a clock of its own."""
    ended: list[float] = []

    async def goes() -> None:
        loop = asyncio.get_running_loop()
        one: Any = _Protocol.__new__(_Protocol)
        one.peer_name, one.processor = "somebody", SimpleNamespace(is_used=True)
        one.transport = SimpleNamespace(abort=lambda: ended.append(loop.time()))
        watching = asyncio.create_task(one._activation_watchdog())
        await asyncio.sleep(100 * UNUSED_S)
        assert not ended
        one.processor.is_used, since_s = False, loop.time()
        await watching
        assert len(ended) == 1
        assert ended[0] - since_s <= UNUSED_S

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(goes())


def test_a_connection_is_used_as_long_as_its_own_session_is() -> None:
    one: Any = Channel.__new__(Channel)
    one.session = None
    assert not one.is_used
    state = {"activated": False}
    one.session = SimpleNamespace(channel=one, is_open=True, is_activated=lambda: state["activated"])
    assert not one.is_used
    state["activated"] = True
    assert one.is_used
    one.session.channel = None
    assert not one.is_used, "it has gone over to another one"
    one.session.channel, one.session.is_open = one, False
    assert not one.is_used


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8:0:1:2::3", 5, 0, 0), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        (None, ""),
    ],
)
def test_the_address_of_a_client(peer: Any, address: str) -> None:
    transport = SimpleNamespace(get_extra_info=lambda _: peer)
    assert _address_of(transport) == address
