"""An OPC UA client that counts events and takes nothing apart: what many clients see, for little CPU."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from typing import Any, Final

from asyncua import ua
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary
from asyncua.ua.uatypes import EPOCH_AS_FILETIME

from gateways.opcua.stack import Client

REQUESTS: Final = 4
"""Publish requests that wait at the server."""
FIELDS: Final = (
    "Time", "EventId", "EventType", "SourceNode", "SourceName", "ReceiveTime", "Message", "Severity", "ConditionName",
    "BranchId", "Retain", "EnabledState", "EnabledState/Id", "Quality", "LastSeverity", "Comment", "ClientUserId",
    "AckedState", "AckedState/Id", "ConfirmedState", "ConfirmedState/Id", "ActiveState", "ActiveState/Id", "InputNode",
    "SuppressedState/Id", "SuppressedOrShelved", "ShelvingState/CurrentState", "ShelvingState/UnshelveTime",
)  # fmt: skip
"""As a SCADA asks for; Time is first, so that the age of a message can be read."""
_REFRESH_END: Final = ua.ua_binary.variant_to_binary(ua.Variant(ua.NodeId(ua.ObjectIds.RefreshEndEventType)))


class CountingClient:
    """`count` events so far; `ages_ms` of the first event of each message when it came."""

    def __init__(self, endpoint: str) -> None:
        self._client = Client(endpoint, timeout=60)
        self.count = 0
        self.ages_ms: list[float] = []
        self.refreshed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._subscription = 0
        self._acknowledge: list[int] = []

    async def start(self) -> None:
        """Connect and subscribe to all that is said on Server."""
        await self._client.connect()
        params = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=100, RequestedLifetimeCount=6_000, RequestedMaxKeepAliveCount=100,
            PublishingEnabled=True,
        )  # fmt: skip
        request = ua.CreateSubscriptionRequest(Parameters=params)
        made = struct_from_binary(ua.CreateSubscriptionResponse, await self._send(request))
        self._subscription = made.Parameters.SubscriptionId
        clauses = [
            ua.SimpleAttributeOperand(
                ua.NodeId(ua.ObjectIds.BaseEventType),
                [ua.QualifiedName(part) for part in field.split("/")],
                ua.AttributeIds.Value,
            )
            for field in FIELDS
        ]
        item = ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(ua.NodeId(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=1, Filter=ua.EventFilter(SelectClauses=clauses), QueueSize=0, DiscardOldest=True
            ),
        )
        items = ua.CreateMonitoredItemsParameters(SubscriptionId=self._subscription, ItemsToCreate=[item])
        await self._client.uaclient.create_monitored_items(items)
        self._tasks = [asyncio.create_task(self._publish()) for _ in range(REQUESTS)]

    async def _send(self, request: Any) -> Any:
        return await self._client.uaclient.protocol.send_request(request, 600)

    async def _publish(self) -> None:
        while True:
            given, self._acknowledge = self._acknowledge, []
            request = ua.PublishRequest()
            request.Parameters.SubscriptionAcknowledgements = [
                ua.SubscriptionAcknowledgement(self._subscription, number) for number in given
            ]
            self._take(await self._send(request))

    def _take(self, data: Any) -> None:
        """The response as bytes: how many events are in it, and how old the first one is."""
        nodeid_from_binary(data)
        struct_from_binary(ua.ResponseHeader, data)
        raw = bytes(data.read(len(data)))
        (known,) = struct.unpack_from("<i", raw, 4)
        place = 8 + 4 * max(0, known) + 1
        number, _, parts = struct.unpack_from("<Iqi", raw, place)
        place += 16
        if parts > 0:
            self._acknowledge.append(number)
        for _ in range(max(0, parts)):
            (length,) = struct.unpack_from("<i", raw, place + 5)
            body = place + 9
            self.count += struct.unpack_from("<i", raw, body)[0]
            if raw[body + 12] == 13:
                (ticks,) = struct.unpack_from("<q", raw, body + 13)
                self.ages_ms.append((time.time_ns() - (ticks - EPOCH_AS_FILETIME) * 100) / 1e6)
            if raw.find(_REFRESH_END, body, body + length) >= 0:
                self.refreshed.set()
            place = body + length

    async def refresh(self) -> None:
        """Ask for a refresh, and return when it has ended."""
        self.refreshed.clear()
        request = ua.CallMethodRequest(
            ObjectId=ua.NodeId(ua.ObjectIds.ConditionType),
            MethodId=ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh),
            InputArguments=[ua.Variant(self._subscription, ua.VariantType.UInt32)],
        )
        (result,) = await self._client.uaclient.call([request])
        result.StatusCode.check()
        await self.refreshed.wait()

    def stop_reading(self) -> None:
        """Leave what comes where it is."""
        self._client.uaclient.protocol.transport.pause_reading()

    async def close(self) -> None:
        """Disconnect; who had stopped reads on, as the answer comes behind what it left."""
        transport = self._client.uaclient.protocol.transport
        if not transport.is_reading():
            transport.resume_reading()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._client.disconnect()
