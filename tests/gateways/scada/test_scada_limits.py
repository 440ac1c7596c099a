"""How much one request may ask for: what is said of it, what is refused, and what stays possible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.address_space import ViewService

from gateways.scada import history_read, monitored
from gateways.scada.aggregates import INTERVALS_MAX
from gateways.scada.history import History
from gateways.scada.history_read import HistoryReader
from gateways.scada.limits import BROWSES_MAX, HISTORIES_MAX, OPERATION_LIMITS, OPERATIONS_MAX
from gateways.scada.names import node
from gateways.scada.server import Core
from gateways.scada.view import PATH_MAX
from tests.gateways.scada.live import Events, Live, client, live, site_folder

FLOW = node("R1.RackLiquidFlow")
SCHEMA = ua.NodeId(ua.ObjectIds.OpcUa_XmlSchema)
"""The longest value of the standard."""


@pytest.fixture
async def plant(tmp_path: Path, unused_port: int) -> AsyncIterator[Live]:
    async with live(site_folder(tmp_path / "site", with_users=False), unused_port) as made:
        yield made


async def subscription(one: Any) -> int:
    params = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=1000, RequestedLifetimeCount=600, RequestedMaxKeepAliveCount=20
    )
    return int((await one.uaclient.create_subscription(params, lambda _: None)).SubscriptionId)


def item(wanted: Any = FLOW, attribute: Any = ua.AttributeIds.DisplayName, given: Any = None) -> Any:
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(wanted, attribute),
        MonitoringMode=ua.MonitoringMode.Disabled,
        RequestedParameters=ua.MonitoringParameters(ClientHandle=1, QueueSize=1, Filter=given),
    )


async def test_the_limits_are_said_and_what_is_above_them_is_refused(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        for name, most in OPERATION_LIMITS.items():
            place = getattr(ua.ObjectIds, f"Server_ServerCapabilities_OperationLimits_{name}")
            assert await one.get_node(place).read_value() == most
        number, ask = await subscription(one), one.uaclient
        reading = ua.ReadValueId(NodeId=FLOW, AttributeId=ua.AttributeIds.BrowseName)
        browsing = ua.BrowseDescription(NodeId=FLOW)
        path = ua.BrowsePath(
            FLOW, ua.RelativePath([ua.RelativePathElement(TargetName=ua.QualifiedName("EURange"))])
        )
        calling = ua.CallMethodRequest(ObjectId=FLOW, MethodId=FLOW)
        writing = ua.WriteValue(NodeId=FLOW, AttributeId=ua.AttributeIds.Value)
        history = ua.ReadRawModifiedDetails(StartTime=datetime.now(UTC), NumValuesPerNode=1)
        services: list[tuple[int, Callable[[int], Awaitable[Any]]]] = [
            (OPERATIONS_MAX, lambda count: ask.read(ua.ReadParameters(NodesToRead=[reading] * count))),
            (BROWSES_MAX, lambda count: ask.browse(ua.BrowseParameters(NodesToBrowse=[browsing] * count))),
            (OPERATIONS_MAX, lambda count: ask.translate_browsepaths_to_nodeids([path] * count)),
            (OPERATIONS_MAX, lambda count: ask.write(ua.WriteParameters(NodesToWrite=[writing] * count))),
            (
                HISTORIES_MAX,
                lambda count: ask.history_read(
                    ua.HistoryReadParameters(
                        HistoryReadDetails=history,
                        ReleaseContinuationPoints=False,
                        NodesToRead=[ua.HistoryReadValueId(NodeId=FLOW)] * count,
                    )
                ),
            ),
            (
                OPERATIONS_MAX,
                lambda count: ask.create_monitored_items(
                    ua.CreateMonitoredItemsParameters(SubscriptionId=number, ItemsToCreate=[item()] * count)
                ),
            ),
            (
                OPERATIONS_MAX,
                lambda count: ask.set_monitoring_mode(
                    ua.SetMonitoringModeParameters(SubscriptionId=number, MonitoredItemIds=[1] * count)
                ),
            ),
            (
                OPERATIONS_MAX,
                lambda count: ask.delete_monitored_items(
                    ua.DeleteMonitoredItemsParameters(SubscriptionId=number, MonitoredItemIds=[1] * count)
                ),
            ),
            (OPERATIONS_MAX, lambda count: ask.delete_subscriptions([0] * count)),
            (OPERATIONS_MAX, lambda count: ask.call([calling] * count)),
        ]  # fmt: skip
        for most, service in services:
            assert len(await service(most)) == most
            with pytest.raises(ua.uaerrors.BadTooManyOperations):
                await service(most + 1)


async def test_what_is_long_is_read_a_few_times_and_not_watched(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        value = ua.ReadValueId(NodeId=SCHEMA, AttributeId=ua.AttributeIds.Value)
        assert len(await one.uaclient.read(ua.ReadParameters(NodesToRead=[value] * 2))) == 2
        with pytest.raises(ua.uaerrors.BadResponseTooLarge):
            await one.uaclient.read(ua.ReadParameters(NodesToRead=[value] * 100))
        asked = ua.CreateMonitoredItemsParameters(
            SubscriptionId=await subscription(one), ItemsToCreate=[item(SCHEMA, ua.AttributeIds.Value)]
        )
        (made,) = await one.uaclient.create_monitored_items(asked)
        assert made.StatusCode.name == "BadNotSupported"


async def test_of_items_that_look_at_every_event_there_are_fewer(
    plant: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitored, "EVENT_ITEMS_MAX", 2)
    server = ua.NodeId(ua.ObjectIds.Server)
    watching = item(server, ua.AttributeIds.EventNotifier, Events().filter())
    async with client(plant.endpoint) as one:
        number = await subscription(one)
        asked = ua.CreateMonitoredItemsParameters(SubscriptionId=number, ItemsToCreate=[watching] * 3)
        made = await one.uaclient.create_monitored_items(asked)
        assert [each.StatusCode.name for each in made] == ["Good", "Good", "BadTooManyMonitoredItems"]
        gone = ua.DeleteMonitoredItemsParameters(
            SubscriptionId=number, MonitoredItemIds=[made[0].MonitoredItemId]
        )
        await one.uaclient.delete_monitored_items(gone)
        made = await one.uaclient.create_monitored_items(asked)
        assert [each.StatusCode.name for each in made] == [
            "Good",
            "BadTooManyMonitoredItems",
            "BadTooManyMonitoredItems",
        ]


NOW = datetime(2026, 6, 1, tzinfo=UTC)
COUNT = ua.NodeId(ua.ObjectIds.AggregateFunction_Count)


def aggregates(count: int, intervals: float, interval_ms: float = 1000.0) -> Any:
    """HistoryRead of so many nodes."""
    return ua.HistoryReadParameters(
        HistoryReadDetails=ua.ReadProcessedDetails(
            StartTime=NOW,
            EndTime=NOW + timedelta(milliseconds=intervals * interval_ms),
            ProcessingInterval=interval_ms,
            AggregateType=[COUNT] * count,
        ),
        ReleaseContinuationPoints=False,
        NodesToRead=[ua.HistoryReadValueId(NodeId=FLOW)] * count,
    )


@pytest.fixture
def reader() -> HistoryReader:
    points: Any = [SimpleNamespace(period_ns=1_000_000_000)]
    return HistoryReader(History(points, 1.0, 1.0), {"R1.RackLiquidFlow": 0}, {})


async def test_intervals_are_counted_over_all_nodes(
    reader: HistoryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = 10
    monkeypatch.setattr(history_read, "ALL_INTERVALS_MAX", each * HISTORIES_MAX)
    results = await reader.read(aggregates(HISTORIES_MAX, each))
    assert {one.StatusCode.name for one in results} == {"Good"}
    for asked in (aggregates(HISTORIES_MAX, each + 1), aggregates(HISTORIES_MAX + 1, 1)):
        with pytest.raises(ServiceError) as refused:
            await reader.read(asked)
        assert refused.value.code == ua.StatusCodes.BadTooManyOperations


async def test_one_node_has_a_share_of_the_intervals(reader: HistoryReader) -> None:
    (alone,) = await reader.read(aggregates(1, INTERVALS_MAX + 1))
    assert alone.StatusCode.name == "BadTooManyOperations"


@pytest.mark.parametrize("interval_ms", [float("nan"), float("inf"), -1.0])
async def test_an_interval_that_is_none_is_refused(reader: HistoryReader, interval_ms: float) -> None:
    asked = aggregates(2, 1)
    asked.HistoryReadDetails.ProcessingInterval = interval_ms
    assert {one.StatusCode.name for one in await reader.read(asked)} == {"BadInvalidArgument"}


async def test_others_have_their_turn_between_two_nodes(reader: HistoryReader) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await reader.read(aggregates(5, 1))
    task.cancel()
    assert turns >= 5


async def test_kinds_of_references_are_those_of_the_stack() -> None:
    nothing: Any = None
    core = Core(nothing, nothing, True, {})
    await core.load_standard_address_space()
    space = core.aspace
    ours, theirs = core.view_service, ViewService(space)
    kinds = [
        key
        for key, one in space._nodes.items()
        if one.attributes[ua.AttributeIds.NodeClass].value.Value.Value == ua.NodeClass.ReferenceType
    ]
    assert len(kinds) > 70
    for wanted in (ua.NodeId(ua.ObjectIds.Null), ua.NodeId(ua.ObjectIds.BaseObjectType), *kinds):
        for found in kinds:
            for subtypes in (False, True):
                expected = bool(theirs._suitable_reftype(wanted, found, subtypes))
                assert ours._suitable_reftype(wanted, found, subtypes) is expected


def step(name: str, index: int = 2, is_inverse: bool = False) -> Any:
    return ua.RelativePathElement(IsInverse=is_inverse, TargetName=ua.QualifiedName(name, index))


async def test_a_path_arrives_once_however_many_ways_there_are(plant: Live) -> None:
    """From a unit to its rack two references lead, and one back."""
    there_and_back = [step("R1"), step("row", is_inverse=True)]
    async with client(plant.endpoint) as one:

        async def arrives(*path: Any) -> tuple[str, list[Any]]:
            asked = ua.BrowsePath(node("/row"), ua.RelativePath(list(path)))
            (result,) = await one.uaclient.translate_browsepaths_to_nodeids([asked])
            return result.StatusCode.name, [target.TargetId for target in result.Targets]

        assert await arrives(step("R1")) == ("Good", [node("R1")])
        assert await arrives(*there_and_back * (PATH_MAX // 2)) == ("Good", [node("/row")])
        assert await arrives(step("R1"), step("RackLiquidFlow"), step("EURange", 0)) == (
            "Good",
            [node("R1.RackLiquidFlow/EURange")],
        )
        assert (await arrives(*there_and_back * (PATH_MAX // 2), step("R1")))[0] == "BadQueryTooComplex"
        assert (await arrives())[0] == "BadNothingToDo"
        assert (await arrives(step("R9")))[0] == "BadNoMatch"
