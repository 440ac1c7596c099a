"""Edges that listen, and answers of others: bytes over sockets, with a server in the same loop.

Rules: a server is well when it still answers a good request of somebody else afterwards; what it logs as an exception
of its own, and what nobody caught, is a finding.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError
from asyncua import ua
from asyncua.common.connection import MessageChunk
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from gateways.alerts import role as alerts
from gateways.alerts.delivery import DeliveryError
from gateways.alerts.links import Claim, sign
from gateways.alerts.model import Channel, Secret
from gateways.alerts.notification import Notification
from gateways.alerts.webhook import Webhook
from gateways.opcua.stack import Client
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import EdgeSettings, Settings
from streams.topics import TOPICS
from tests.gateways.scada.live import Live, site_folder
from tests.rules.engine.plant import site
from tools.fuzz.mutate import among, of_bytes, of_text
from tools.fuzz.runner import Case

_ANSWER_S: Final = 0.02
_WELL_S: Final = 30.0
_WELL_EVERY: Final = 25


class UnwellError(Exception):
    """The server no longer does what it should, or said something of its own went wrong."""


class _Heard(logging.Handler):
    """Keeps exceptions that a program logs, but for those that `is_fine` passes by."""

    def __init__(self, is_fine: Callable[[BaseException], bool]) -> None:
        super().__init__()
        self.all: list[str] = []
        self._is_fine = is_fine

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not self._is_fine(error):
            self.all.append(
                f"{record.name}: {record.getMessage()[:100]}: {type(error).__name__}: {error}"[:300]
            )


class _Edge:
    """A loop with a server in it."""

    def __init__(self, is_fine: Callable[[BaseException], bool], *loggers: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._uncaught)
        self.heard = _Heard(is_fine)
        self._is_fine = is_fine
        self.count = 0
        logging.disable(logging.NOTSET)
        logging.getLogger().setLevel(logging.CRITICAL)
        for name in loggers:
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [self.heard], False
            logger.setLevel(logging.ERROR)

    def _uncaught(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or not self._is_fine(error):
            self.heard.all.append(f"nobody caught: {context.get('message')}: {error!r}"[:300])

    def run(self, work: Awaitable[None], well: Callable[[], Awaitable[None]]) -> None:
        """One input; now and then somebody else's good request. UnwellError."""
        self.count += 1
        self.loop.run_until_complete(self._run(work, well))
        if self.heard.all:
            said, self.heard.all = self.heard.all[0], []
            raise UnwellError(said)

    async def _run(self, work: Awaitable[None], well: Callable[[], Awaitable[None]]) -> None:
        await work
        if self.count % _WELL_EVERY == 0:
            try:
                async with asyncio.timeout(_WELL_S):
                    await well()
            except TimeoutError:
                raise UnwellError("others had no answer") from None


async def _send(port: int, *parts: bytes, is_ended: bool = True) -> bytes:
    """What a server answers to these bytes in a moment; the connection is reset."""
    answer = b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
        if is_ended:
            writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                answer = await reader.read(4096)
    except ConnectionError:
        pass
    finally:
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
        await asyncio.sleep(0)
    return answer


_SERVED: Final = """
serve:
  listen: 127.0.0.1:0
  token: {file: token}
  links: {base_url: "http://127.0.0.1:1"}
channels: {log: {kind: file, path: log.jsonl}}
subscriptions:
  duty: {to: log, asset: R1}
"""


def http_edge(work: Path) -> Case:
    """The HTTP edge of the role `alerts`: streams, sockets and links."""
    edge = _Edge(
        lambda error: isinstance(error, HttpProcessingError | RequestPayloadError | ConnectionError),
        "aiohttp",
        "headrace",
        "asyncio",
    )
    (work / "token").write_text("t0ken\n")
    (work / "subscriptions.yaml").write_text(_SERVED)
    # all inputs are one client's
    unlimited = EdgeSettings(requests_per_s=1e6, burst=10**6, streams_per_client=10**6)
    settings = Settings(run_dir=work / "run", edges=unlimited)
    context = RoleContext("alerts", site(), work, settings, MemoryBus(), asyncio.Event())

    async def start() -> int:
        await context.bus.create_topics(TOPICS, 3)
        task = asyncio.create_task(alerts.run(context))
        context.options["task"] = task  # type: ignore[assignment]  # kept from the collector
        while context.state != "ready":
            await asyncio.sleep(0.01)
        return int(str(context.metrics["serves"]).rpartition(":")[2])

    port = edge.loop.run_until_complete(start())
    link = sign(Claim("row:low:R1", "row:plant:1:1:1", "duty", 4_000_000_000), b"k" * 32)
    head = b"Host: 127.0.0.1\r\n"
    key = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    token = b"Authorization: Bearer t0ken\r\n"
    seeds = [
        b"GET /alarms/events HTTP/1.1\r\n" + head + token + b"Last-Event-ID: 1-5\r\n\r\n",
        b"GET /alarms/events?subscription=duty&last_event_id=1-2 HTTP/1.1\r\n" + head + token + b"\r\n",
        b"GET /alarms/socket?last_event_id=x HTTP/1.1\r\n" + head + key + token + b"\r\n\x81\x85\x01\x02\x03\x04abcde\x88\x80\0\0\0\0",
        b"GET /acknowledge/" + link.encode() + b" HTTP/1.1\r\n" + head + b"\r\n",
        b"POST /acknowledge/" + link.encode() + b" HTTP/1.1\r\n" + head + b"Content-Length: 5\r\n\r\nhello",
        b"POST /acknowledge/x HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST /acknowledge/x HTTP/1.1\r\n" + head + b"Content-Encoding: gzip\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n" + b"x" * 20,
    ]  # fmt: skip
    words = (b"\r\n", b"\r\n\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"X: " + b"a" * 9000 + b"\r\n",
             b"%00", b"%ff", b"/../", b"?" + b"a=1&" * 2000, b"Bearer \xff\xfe", b"Host: \r\n", b"HTTP/9.9", b"FFFFFFFFFFFFFFFF\r\n", b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", token)  # fmt: skip

    async def well() -> None:
        answer = await _send(port, b"GET /acknowledge/x HTTP/1.1\r\nHost: a\r\n\r\n", is_ended=False)
        if answer and not answer.startswith(b"HTTP/1.1 410"):
            raise UnwellError(answer[:80].decode(errors="replace"))

    async def one(data: bytes) -> None:
        await _send(port, data, is_ended=edge.count % 2 == 0)

    return Case(among(of_bytes(seeds, words), of_text(seeds, words)), lambda data: edge.run(one(data), well))


def webhook_answers(_: Path) -> Case:
    """What a webhook's receiver answers."""
    edge = _Edge(lambda _: False, "aiohttp", "asyncio")
    answer = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.write_eof()
            await writer.drain()
        writer.close()

    async def start() -> tuple[asyncio.Server, int]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return server, server.sockets[0].getsockname()[1]

    server, port = edge.loop.run_until_complete(start())
    channel = Channel("hook", "webhook", Secret(f"http://127.0.0.1:{port}/x"), Secret("s"), timeout_s=10.0)
    notification = Notification("duty/1", "duty", b'{"id":"duty/1"}')
    seeds = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\n\r\nxx",
        b"HTTP/1.1 429 Slow\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection: close\r\n\r\n",
    ]
    words = (b"\r\n", b"Retry-After: " + "²".encode() + b"\r\n", b"Retry-After: " + b"9" * 400 + b"\r\n", b"Content-Length: 9\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
             b"A: " + b"b" * 9000 + b"\r\n", b"Set-Cookie: " + b"=;" * 200 + b"\r\n", b"HTTP/1.1 99999 x", b"HTTP/1.1 101 x")  # fmt: skip

    async def one(data: bytes) -> None:
        nonlocal answer
        answer = data
        hook = Webhook(channel, lambda: 10**18)
        try:
            await hook.send(notification)
        finally:
            await hook.close()

    async def well() -> None:
        await asyncio.sleep(0)

    assert server.is_serving()
    return Case(
        among(of_bytes(seeds, words), of_text(seeds, words)), lambda data: edge.run(one(data), well), (DeliveryError,)
    )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class _Scada:
    """The role `scada` on a bus in memory, with a client who is always well."""

    def __init__(self, work: Path) -> None:
        self.edge = _Edge(lambda _: False, "headrace.scada", "asyncio")
        self.port = _free_port()
        self.live = Live(site_folder(work / "site", with_users=False), self.port)
        self.tasks = self.edge.loop.run_until_complete(self.live.start())
        # asyncua's own words of what others have sent are no findings: what we did not catch comes through it too
        logging.getLogger("asyncua").handlers = [self.edge.heard]
        logging.getLogger("asyncua").propagate = False
        self.edge.heard._is_fine = _is_theirs
        self.good = Client(self.live.endpoint, timeout=_WELL_S)
        self.edge.loop.run_until_complete(self.good.connect())

    async def well(self) -> None:
        """Somebody else, who is connected, reads a value, and a newcomer gets in."""
        await self.good.nodes.server_state.read_value()
        async with Client(self.live.endpoint, timeout=_WELL_S) as newcomer:
            await newcomer.nodes.server_state.read_value()


def _is_theirs(error: BaseException) -> bool:
    """What is said of bytes that can't be read, by asyncua and ours."""
    return not isinstance(error, MemoryError | RecursionError | AssertionError | SystemError)


def opcua_bytes(work: Path) -> Case:
    """The OPC UA server: heads, chunks and messages before anybody has logged in."""
    scada = _Scada(work)
    hello = uatcp_to_binary(ua.MessageType.Hello, _hello())
    opened = _message(_open_request(), ua.MessageType.SecureOpen, 0)
    asked = _message(struct_to_binary(ua.GetEndpointsRequest()), ua.MessageType.SecureMessage, 2)
    created = _message(struct_to_binary(ua.CreateSessionRequest()), ua.MessageType.SecureMessage, 3)
    valued = [
        _message(struct_to_binary(_with_value(one)), ua.MessageType.SecureMessage, 2) for one in _VALUES
    ]
    part = bytearray(asked)
    part[3:4] = b"C"
    small = bytearray(hello)
    struct.pack_into("<II", small, 12, 0, 0)
    seeds = [hello, hello + opened, hello + opened + asked, hello + opened + bytes(part) * 20, hello + opened + created,
             *(hello + opened + one for one in valued), bytes(small) + opened, b"ACKF" + hello[4:], b"ERRF\x10\0\0\0" + bytes(8), b"MSGF\xff\xff\xff\xff" + bytes(500)]  # fmt: skip

    async def one(data: bytes) -> None:
        await _send(scada.port, data[:40], data[40:], is_ended=False)

    return Case(of_bytes(seeds), lambda data: scada.edge.run(one(data), scada.well))


def opcua_requests(work: Path) -> Case:
    """The OPC UA server: requests of a client that is logged in, whose contents are wrong."""
    scada = _Scada(work)
    run = scada.edge.loop.run_until_complete
    client = Client(scada.live.endpoint, timeout=_WELL_S)
    run(client.connect())
    requests = [struct_to_binary(one) for one in _requests()]

    def make(rng: random.Random) -> bytes:
        request = rng.choice(requests)
        return of_bytes([request], keep=rng.choice((0, 4, 34)))(rng)

    async def one(data: bytes) -> None:
        protocol = client.uaclient.protocol
        if protocol is None or protocol.transport is None or protocol.transport.is_closing():
            with contextlib.suppress(Exception):
                await client.disconnect()
            await client.connect()
            protocol = client.uaclient.protocol
        header = ua.RequestHeader(AuthenticationToken=protocol.authentication_token, RequestHandle=7)
        body = data[:4] + struct_to_binary(header) + data[4 + len(struct_to_binary(ua.RequestHeader())) :]
        protocol.transport.write(protocol._connection.message_to_binary(body, request_id=9_000_000))
        for _ in range(6):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)

    return Case(make, lambda data: scada.edge.run(one(data), scada.well))


_VALUES: Final = (
    ua.Variant([b"", b"x", None], ua.VariantType.ByteString), ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int32),
    ua.Variant([ua.Variant(1), ua.Variant("x")], ua.VariantType.Variant), ua.Variant([], ua.VariantType.Null, is_array=True),
    ua.Variant([ua.DataValue(), ua.DataValue(ua.Variant([1.0]))], ua.VariantType.DataValue),
)  # fmt: skip


def _with_value(value: Any) -> Any:
    """A request that anybody may ask, with a value of any type in its header."""
    request = ua.GetEndpointsRequest()
    request.RequestHeader.AdditionalHeader = ua.LiteralOperand(value)
    return request


def _hello() -> Any:
    hello = ua.Hello()
    hello.EndpointUrl, hello.ReceiveBufferSize, hello.SendBufferSize = "opc.tcp://127.0.0.1:1/", 65535, 65535
    return hello


def _open_request() -> bytes:
    request = ua.OpenSecureChannelRequest()
    request.Parameters.ClientNonce = b""
    request.Parameters.RequestedLifetime = 60_000
    return bytes(struct_to_binary(request))


def _message(body: bytes, kind: Any, number: int) -> bytes:
    chunks = MessageChunk.message_to_chunks(
        SecurityPolicyNone(), body, 65535, message_type=kind, channel_id=1, request_id=number, token_id=1
    )
    for chunk in chunks:
        chunk.SequenceHeader.SequenceNumber = number + 1
    return b"".join(chunk.to_binary() for chunk in chunks)


def _requests() -> list[Any]:
    node, server = ua.NodeId("R1.RackLiquidFlow", 2), ua.NodeId(ua.ObjectIds.Server)
    read = ua.ReadRequest()
    read.Parameters.NodesToRead = [
        ua.ReadValueId(node, ua.AttributeIds.Value),
        ua.ReadValueId(server, ua.AttributeIds.DisplayName),
    ]
    write = ua.WriteRequest()
    write.Parameters.NodesToWrite = [
        ua.WriteValue(node, ua.AttributeIds.Value, None, ua.DataValue(ua.Variant([1.0, 2.0])))
    ]
    browse = ua.BrowseRequest()
    browse.Parameters.NodesToBrowse = [
        ua.BrowseDescription(server, ua.BrowseDirection.Both, ua.NodeId(), True, 0, 63)
    ]
    translate = ua.TranslateBrowsePathsToNodeIdsRequest()
    path = ua.RelativePath([ua.RelativePathElement(ua.NodeId(33), False, True, ua.QualifiedName("x", 2))])
    translate.Parameters.BrowsePaths = [ua.BrowsePath(server, path)]
    history = ua.HistoryReadRequest()
    history.Parameters.HistoryReadDetails = ua.ReadRawModifiedDetails()
    history.Parameters.NodesToRead = [ua.HistoryReadValueId(node)]
    subscribe = ua.CreateSubscriptionRequest()
    items = ua.CreateMonitoredItemsRequest()
    element = ua.ContentFilterElement(
        ua.FilterOperator.Equals, [ua.LiteralOperand(ua.Variant(1)), ua.ElementOperand(0)]
    )
    wanted = ua.EventFilter(
        SelectClauses=[
            ua.SimpleAttributeOperand(ua.NodeId(2041), [ua.QualifiedName("Severity")], ua.AttributeIds.Value)
        ],
        WhereClause=ua.ContentFilter([element, element]),
    )
    items.Parameters.SubscriptionId = 1
    items.Parameters.ItemsToCreate = [
        ua.MonitoredItemCreateRequest(ua.ReadValueId(server, ua.AttributeIds.EventNotifier), ua.MonitoringMode.Reporting,
                                      ua.MonitoringParameters(1, 100.0, wanted, 10, True)),
        ua.MonitoredItemCreateRequest(ua.ReadValueId(node, ua.AttributeIds.Value), ua.MonitoringMode.Reporting,
                                      ua.MonitoringParameters(2, 100.0, ua.DataChangeFilter(), 10, True)),
    ]  # fmt: skip
    publish, call = ua.PublishRequest(), ua.CallRequest()
    call.Parameters.MethodsToCall = [
        ua.CallMethodRequest(
            ua.NodeId("row:rack-low:R1", 2),
            ua.NodeId(9111),
            [ua.Variant(b"x"), ua.Variant(ua.LocalizedText("y")), *_VALUES],
        )
    ]
    delete = ua.DeleteSubscriptionsRequest()
    delete.Parameters.SubscriptionIds = [1, 2]
    again = ua.BrowseNextRequest()
    again.Parameters.ContinuationPoints = [b"abc"]
    return [read, write, browse, translate, history, subscribe, items, items, publish, call, delete, again, ua.GetEndpointsRequest(),
            ua.FindServersRequest(), ua.RegisterNodesRequest(), ua.RepublishRequest(), ua.TransferSubscriptionsRequest(),
            ua.SetMonitoringModeRequest(), ua.ModifySubscriptionRequest(), ua.CloseSessionRequest()]  # fmt: skip


EDGE_TARGETS: Final = {
    "http": http_edge,
    "webhook": webhook_answers,
    "opcua-bytes": opcua_bytes,
    "opcua-requests": opcua_requests,
}
