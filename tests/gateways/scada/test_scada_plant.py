"""The plant as a client browses and reads it, its history, and the dead-man signal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asyncua import ua

from gateways.scada import heartbeat
from gateways.scada.model import CHILDREN_MAX, Model
from gateways.scada.names import node
from rules.engine.inputs import Frame, Identity
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from streams.site_folder import load_site
from tests.gateways.scada.live import Live, client, live, site_folder, until

ROOT = Path(__file__).parents[3]
FLOW = node("R1.RackLiquidFlow")


@pytest.fixture
async def plant(tmp_path: Path, unused_port: int) -> AsyncIterator[Live]:
    async with live(site_folder(tmp_path / "site", with_users=False), unused_port) as made:
        yield made


async def browsed(session: Any, wanted: Any, limit: int = 0) -> list[Any]:
    """All references forward of a node; `limit`: as many at once."""
    description = ua.BrowseDescription(
        NodeId=wanted,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
        IncludeSubtypes=True,
        ResultMask=ua.BrowseResultMask.All,
    )
    params = ua.BrowseParameters(RequestedMaxReferencesPerNode=limit, NodesToBrowse=[description])
    (result,) = await session.uaclient.browse(params)
    found = list(result.References)
    while result.ContinuationPoint:
        assert len(result.References) == limit
        following = ua.BrowseNextParameters(
            ReleaseContinuationPoints=False, ContinuationPoints=[result.ContinuationPoint]
        )
        request = ua.BrowseNextRequest(Parameters=following)
        data = await session.uaclient._send_request(request)
        response = ua.ua_binary.struct_from_binary(ua.BrowseNextResponse, data)
        (result,) = response.Parameters.Results
        found += result.References
    return found


async def test_every_point_is_found_by_browsing_and_says_its_unit_and_range(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        variables, waiting, seen = set(), [ua.NodeId(ua.ObjectIds.ObjectsFolder)], set()
        while waiting:
            for reference in await browsed(one, waiting.pop()):
                if reference.NodeId.NamespaceIndex != 2 or reference.NodeId in seen:
                    continue
                seen.add(reference.NodeId)
                waiting.append(reference.NodeId)
                if reference.NodeClass == ua.NodeClass.Variable:
                    variables.add(reference.NodeId.Identifier)
        assert set(plant.site.points) <= variables
        gpus = [asset.id for asset in plant.site.assets.values() if asset.type == "GPU"]
        assert {f"{gpu}.{name}" for gpu in gpus for name in FIELD_INDEX} <= variables
        flow = one.get_node(FLOW)
        assert (await flow.read_browse_name()).Name == "RackLiquidFlow"
        assert await flow.read_type_definition() == ua.NodeId(ua.ObjectIds.AnalogItemType)
        unit = await (await flow.get_child("0:EngineeringUnits")).read_value()
        limits = await (await flow.get_child("0:EURange")).read_value()
        assert (unit.DisplayName.Text, limits.Low, limits.High) == ("L/min", 0.0, 300.0)
        parent = await flow.get_parent()
        assert parent.nodeid == node("R1")
        assert (await parent.get_parent()).nodeid == node("/row")


async def test_references_come_in_the_pages_that_the_client_wants(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        whole = [reference.NodeId for reference in await browsed(one, node("R1-T1-G1"))]
        assert len(whole) == FIELD_COUNT
        assert [reference.NodeId for reference in await browsed(one, node("R1-T1-G1"), 7)] == whole
        (result,) = await one.uaclient.browse(
            ua.BrowseParameters(NodesToBrowse=[ua.BrowseDescription(NodeId=node("R9"))])
        )
        assert result.StatusCode.is_bad()


async def test_what_is_no_condition_has_no_node(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        shelving = one.get_node(node("row:rack-low:R1/ShelvingState"))
        assert (await shelving.get_parent()).nodeid == node("row:rack-low:R1")
        assert (await one.get_node(node("row:rack-low:R1")).read_browse_name()).Name == "rack-low"
        for text in ("row:rack-low", "nothing:rack-low:R1", ":rack-low:R1", "::"):
            with pytest.raises(ua.uaerrors.BadNodeIdUnknown):
                await one.get_node(node(text)).read_browse_name()


def test_of_a_large_site_no_node_has_too_many_children_and_none_is_left_out() -> None:
    site = load_site(ROOT / "examples" / "narvik-full")
    model = Model(site)
    waiting, seen = ["/"], set()
    while waiting:
        place = model.place(waiting.pop())
        assert place is not None
        assert len(place.children) <= CHILDREN_MAX, place.text
        assert place.text not in seen
        seen.add(place.text)
        waiting.extend(place.children)
        for child in place.children:
            below = model.place(child)
            assert below is not None
            assert below.parent == place.text, child
    assert set(site.points) | set(site.assets) <= seen


async def test_a_value_has_the_time_and_the_status_of_its_source(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        flow = one.get_node(FLOW)
        waiting = await flow.read_data_value(raise_on_bad_status=False)
        assert waiting.StatusCode.name == "BadWaitingForInitialData"
        before = datetime.now(UTC)
        await plant.flow(91.5)
        await until(lambda: plant.context.metrics["readings"])
        value = await flow.read_data_value()
        assert (value.Value.Value, value.StatusCode.value) == (91.5, 0)
        assert timedelta(0) <= value.SourceTimestamp.replace(tzinfo=UTC) - before < timedelta(seconds=5)


class Changes:
    """What a client is told of a value."""

    def __init__(self) -> None:
        self.all: list[tuple[float, str]] = []

    def datachange_notification(self, _node: Any, value: float, data: Any) -> None:
        """Keep it with its status."""
        self.all.append((value, data.monitored_item.Value.StatusCode.name))


async def test_a_value_is_told_when_it_changes_and_when_it_has_grown_old(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        changes = Changes()
        subscription = await one.create_subscription(50, changes)
        await subscription.subscribe_data_change(one.get_node(FLOW), queuesize=10)
        await plant.flow(91.5)
        await plant.flow(92.5)
        await until(lambda: (92.5, "Good") in changes.all)
        # nothing comes for three periods of a second
        await until(lambda: changes.all[-1] == (92.5, "UncertainLastUsableValue"))
        values = [value for value, status in changes.all if status == "Good"]
        assert values == [91.5, 92.5]


@pytest.mark.parametrize("node", [FLOW, ua.NodeId(ua.ObjectIds.Server_NamespaceArray)])
@pytest.mark.parametrize("attribute", [ua.AttributeIds.Value, ua.AttributeIds.DisplayName])
async def test_what_is_enabled_again_is_told_as_it_is_now(
    plant: Live, node: ua.NodeId, attribute: Any
) -> None:
    """OPC 10000-4, 5.13.4: as if it had been created."""
    async with client(plant.endpoint) as one:
        changes = Changes()
        subscription = await one.create_subscription(50, changes)
        watched = one.get_node(node)
        await subscription.subscribe_data_change(watched, attribute)
        await until(lambda: len(changes.all) == 1)
        await subscription.set_monitoring_mode(ua.MonitoringMode.Disabled)
        await subscription.set_monitoring_mode(ua.MonitoringMode.Reporting)
        await until(lambda: len(changes.all) == 2)
        assert changes.all[0] == changes.all[1]


async def test_a_gpu_s_fields_are_those_of_the_last_frame(plant: Live) -> None:
    values = np.full((2, 2, FIELD_COUNT), np.nan, np.float32)
    values[:, :, FIELD_INDEX["temperature"]] = [[40, 41], [50, 51]]
    values[:, :, FIELD_INDEX["energy"]] = 1.0
    now_ns = time.time_ns()
    frame = Frame(
        "row", Identity("gpus", now_ns, 1), now_ns, "R1", np.array([now_ns - 1, now_ns]), np.array([0, 3], np.uint16),
        values, np.array([[0, 0], [0, 1]], np.uint8), np.full((2, 2), 123_456_789, np.int64),
    )  # fmt: skip
    await plant.send(frame)
    await until(lambda: plant.context.metrics["frames"])
    async with client(plant.endpoint) as one:
        read = one.get_node

        async def said(field: str) -> tuple[Any, str]:
            value = await read(node(field)).read_data_value(raise_on_bad_status=False)
            return None if value.Value is None else value.Value.Value, value.StatusCode.name

        assert await said("R1-T1-G1.temperature") == (50.0, "Good")
        assert await said("R1-T2-G2.temperature") == (51.0, "Uncertain")
        assert await said("R1-T1-G1.energy") == (pytest.approx(123.456789), "Good")
        assert await said("R1-T1-G1.xid") == (None, "BadNotSupported")
        assert await said("R1-T1-G2.temperature") == (None, "BadWaitingForInitialData")
        assert await said("R1-T1-G1.nothing") == (None, "BadNodeIdUnknown")


async def test_history_in_both_directions_and_what_is_worked_out_of_it(plant: Live) -> None:
    begin = datetime.now(UTC) - timedelta(seconds=1)
    for value in (10.0, 20.0, 60.0):
        await plant.flow(value)
    await until(lambda: plant.context.metrics["readings"] == 3)
    end = datetime.now(UTC) + timedelta(seconds=1)
    async with client(plant.endpoint) as one:
        flow = one.get_node(FLOW)

        async def raw(start: Any, stop: Any, count: int = 0) -> list[float]:
            return [value.Value.Value for value in await flow.read_raw_history(start, stop, count)]

        assert await raw(begin, end) == [10.0, 20.0, 60.0]
        assert await raw(end, begin) == [60.0, 20.0, 10.0]
        assert await raw(begin, None, 2) == [10.0, 20.0]
        assert await raw(None, end, 2) == [60.0, 20.0]
        assert await raw(end, end + timedelta(seconds=9)) == []
        kept = await flow.read_raw_history(begin, end)
        second = kept[1].SourceTimestamp
        assert await raw(second, kept[2].SourceTimestamp) == [20.0], "the start is within, the end is not"
        for name, expected in (("Average", 30.0), ("Minimum", 10.0), ("Maximum", 60.0), ("Count", 3.0)):
            assert await processed(one, FLOW, begin, end, name) == ("Good", [expected])
        assert await processed(one, FLOW, begin, end, "Variance") == ("BadAggregateNotSupported", [])
        status, values = await processed(one, FLOW, end, end + timedelta(seconds=1), "Average")
        assert (status, values) == ("Good", [None])
        assert (await processed(one, node("R1"), begin, end, "Count"))[0] == "BadHistoryOperationUnsupported"
        assert (await processed(one, node("R7"), begin, end, "Count"))[0] == "BadNodeIdUnknown"


async def processed(session: Any, wanted: Any, begin: Any, end: Any, name: str) -> tuple[str, list[Any]]:
    """Status and values of one interval."""
    details = ua.ReadProcessedDetails(
        StartTime=begin,
        EndTime=end,
        ProcessingInterval=(end - begin).total_seconds() * 1000,
        AggregateType=[ua.NodeId(getattr(ua.ObjectIds, f"AggregateFunction_{name}", 11426))],
    )
    params = ua.HistoryReadParameters(
        HistoryReadDetails=details,
        ReleaseContinuationPoints=False,
        NodesToRead=[ua.HistoryReadValueId(NodeId=wanted)],
    )
    (result,) = await session.uaclient.history_read(params)
    values = getattr(result.HistoryData, "DataValues", None) or []
    return result.StatusCode.name, [None if one.Value is None else one.Value.Value for one in values]


async def test_the_heartbeat_stands_still_when_a_part_is_silent(
    plant: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "SILENT_NS", 500_000_000)
    async with client(plant.endpoint) as one:
        level = one.get_node(ua.ObjectIds.Server_ServiceLevel)

        async def said(name: str) -> Any:
            return await one.get_node(node(f"//heartbeat/{name}")).read_value()

        async def until_said(name: str, wanted: Any) -> None:
            for _ in range(2400):
                if await said(name) == wanted:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(f"{name} never was {wanted}: {await said(name)}")

        await until_said("Healthy", True)
        async with asyncio.timeout(120):
            while await said("Counter") < 2 or await level.read_value() != 255:  # a beat may be missed
                await asyncio.sleep(0.05)
        plant.ticks = False
        await until_said("Silent", "ticks of row, ticks of hall, worker")  # one after the other, at times
        assert await said("Healthy") is False
        counter = one.get_node(node("//heartbeat/Counter"))
        stands = await counter.read_data_value()
        while (now := await counter.read_data_value()).SourceTimestamp == stands.SourceTimestamp:
            await asyncio.sleep(0.02)  # until the next beat
        assert now.Value.Value == stands.Value.Value
        assert await level.read_value() == 1
        plant.ticks = True
        await until_said("Healthy", True)
        await until_said("Silent", "")
