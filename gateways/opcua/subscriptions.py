"""Monitored items: subscriptions in chunks, and a filter that the server accepts for each point.

- The trigger is StatusValueTimestamp, so that a value that stays the same still shows that its sensor lives.
- With a dead-band that trigger means StatusValue (OPC 10000-4, 7.22.2): silent points are confirmed by reading.
- Percent becomes absolute here, from the site file's range: few servers implement percent.
- A filter that the server rejects is replaced by a plainer one, and the dead-band is applied by the gateway.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from gateways.opcua.points import SourcePoints
from gateways.opcua.stack import Client
from rules.site.model import Point

ITEMS_PER_SUBSCRIPTION = 250
NOTIFICATIONS_A_MESSAGE = 10_000
"""0.4 MB: what queued up while we stood still comes in several messages, none larger than the stack takes."""

PUBLISHING_MS = 50.0
KEEP_ALIVE_MS = 1000.0
LIFETIME_MS = 60_000.0

_FILTER_REFUSALS = frozenset(
    {
        ua.StatusCodes.BadFilterNotAllowed,
        ua.StatusCodes.BadMonitoredItemFilterInvalid,
        ua.StatusCodes.BadMonitoredItemFilterUnsupported,
        ua.StatusCodes.BadDeadbandFilterInvalid,
        ua.StatusCodes.BadNotSupported,
    }
)


@dataclass(slots=True)
class Subscription:
    """One subscription at the server: when it was last heard (monotonic, and in ns for people), and its rows."""

    id: int
    keep_alive_s: float
    heard_s: float
    heard_ns: int
    rows: tuple[int, ...]
    next_sequence: int = 1


def band_of(point: Point) -> float:
    """The dead-band in the point's unit; 0 for none. Percent is of the range low…high (OPC 10000-8, 7.2)."""
    if point.deadband_kind == "absolute":
        return point.deadband
    if point.deadband_kind == "percent":
        return point.deadband / 100.0 * (point.high - point.low)
    return 0.0


def filters_of(point: Point) -> list[tuple[ua.DataChangeFilter | None, float]]:
    """What to ask of the server, best first, each with the dead-band that is then left to the gateway."""
    band = band_of(point)
    changes = ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValueTimestamp,
        DeadbandType=ua.DeadbandType.None_,
        DeadbandValue=0.0,
    )
    if band <= 0:
        return [(changes, 0.0), (None, 0.0)]
    absolute = ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValue, DeadbandType=ua.DeadbandType.Absolute, DeadbandValue=band
    )
    return [(absolute, 0.0), (changes, band), (None, band)]


async def open_subscription(
    client: Client,
    rows: Sequence[int],
    callback: Callable[[ua.PublishResult], Any],
    clock_ns: Callable[[], int],
) -> Subscription:
    """Create one subscription whose responses go to `callback`. Raises what the connection raises."""
    parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=PUBLISHING_MS,
        RequestedLifetimeCount=math.ceil(LIFETIME_MS / PUBLISHING_MS),
        RequestedMaxKeepAliveCount=math.ceil(KEEP_ALIVE_MS / PUBLISHING_MS),
        MaxNotificationsPerPublish=NOTIFICATIONS_A_MESSAGE,
        PublishingEnabled=True,
        Priority=0,
    )
    # The session's own call: asyncua's Subscription class would start one task per data change.
    revised = await client.uaclient.create_subscription(parameters, callback)
    keep_alive_s = revised.RevisedPublishingInterval * revised.RevisedMaxKeepAliveCount / 1000
    return Subscription(revised.SubscriptionId, keep_alive_s, time.monotonic(), clock_ns(), tuple(rows))


async def monitor(
    client: Client, subscription_id: int, table: SourcePoints, nodes: Mapping[int, ua.NodeId]
) -> dict[int, int]:
    """Add the rows of `nodes` to a subscription; the status code of each row that the server refuses.

    Sets `table.band` where the dead-band is left to the gateway.
    """
    refused: dict[int, int] = {}
    asked = {row: filters_of(table.points[row]) for row in nodes}
    attempt = 0
    while asked:
        rows = list(asked)
        requests = [_request(table.points[row], row, nodes[row], asked[row][attempt][0]) for row in rows]
        results = await client.uaclient.create_monitored_items(
            ua.CreateMonitoredItemsParameters(
                SubscriptionId=subscription_id,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=requests,
            )
        )
        again: dict[int, list[tuple[ua.DataChangeFilter | None, float]]] = {}
        for row, result in zip(rows, results, strict=True):
            code = int(result.StatusCode.value)
            if result.StatusCode.is_good():
                table.band[row] = asked[row][attempt][1]
            elif code in _FILTER_REFUSALS and attempt + 1 < len(asked[row]):
                table.counts["filters_refused"] += 1
                again[row] = asked[row]
            else:
                refused[row] = code
        asked = again
        attempt += 1
    return refused


def _request(
    point: Point, row: int, node: ua.NodeId, change_filter: ua.DataChangeFilter | None
) -> ua.MonitoredItemCreateRequest:
    parameters = ua.MonitoringParameters(
        ClientHandle=row,
        SamplingInterval=point.sampling_ns / 1e6,
        Filter=change_filter,
        QueueSize=point.queue_size,
        DiscardOldest=point.discard_oldest,
    )
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=parameters,
    )


def chunks(rows: Sequence[int]) -> list[Sequence[int]]:
    """Rows in chunks of one subscription each."""
    return [
        rows[start : start + ITEMS_PER_SUBSCRIPTION] for start in range(0, len(rows), ITEMS_PER_SUBSCRIPTION)
    ]
