"""Alarms as conditions: what a client is told, what it may do, and what it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from gateways.scada.names import node
from tests.gateways.scada.live import LOW_R1, LOW_R2, Events, Live, call, client, live, site_folder, until

ACKNOWLEDGE = "AcknowledgeableConditionType_Acknowledge"
COMMENT = "ConditionType_AddComment"
TIMED = "AlarmConditionType_ShelvingState_TimedShelve"
HOUR_MS = 3_600_000.0


@pytest.fixture
async def plant(tmp_path: Path, unused_port: int) -> AsyncIterator[Live]:
    async with live(site_folder(tmp_path / "site"), unused_port) as made:
        yield made


def said(text: str) -> Any:
    return ua.LocalizedText(text, "en")


async def test_an_alarm_is_told_as_it_lives(plant: Live) -> None:
    async with client(plant.endpoint, "eva") as eva:
        events = Events()
        await events.subscribe(eva)
        await plant.flow(60)
        await until(lambda: events.of(LOW_R1))
        raised = events.of(LOW_R1)[0]
        assert raised["EventType"] == ua.NodeId(ua.ObjectIds.ExclusiveLevelAlarmType)
        assert (raised["SourceName"], raised["ConditionName"], raised["Severity"]) == ("R1", "rack-low", 700)
        assert (raised["SourceNode"], raised["InputNode"]) == (node("R1"), node("R1.RackLiquidFlow"))
        assert raised["Message"].Text == "R1: 60 L/min"
        assert (raised["ActiveState/Id"], raised["AckedState/Id"], raised["Retain"]) == (True, False, True)
        assert raised["LowLimit"] == 70.0
        assert raised["LimitState/CurrentState/Id"] == ua.NodeId(
            ua.ObjectIds.ExclusiveLimitStateMachineType_Low
        )
        assert raised["Quality"] == ua.StatusCode(0)
        assert raised["BranchId"] == ua.NodeId()
        assert await call(eva, raised["@NodeId"], ACKNOWLEDGE, raised["EventId"], said("seen")) == "Good"
        await until(lambda: len(events.of(LOW_R1)) == 2)
        acknowledged = events.of(LOW_R1)[1]
        assert (acknowledged["AckedState/Id"], acknowledged["ConfirmedState/Id"]) == (True, False)
        assert (acknowledged["Comment"].Text, acknowledged["ClientUserId"]) == ("seen", "eva")
        await plant.flow(100)
        await until(lambda: len(events.of(LOW_R1)) == 3)
        over = events.of(LOW_R1)[2]
        assert (over["ActiveState/Id"], over["Retain"], over["LimitState/CurrentState/Id"]) == (
            False,
            False,
            None,
        )
        assert len({one["EventId"] for one in events.of(LOW_R1)}) == 3


async def test_an_event_of_an_occurrence_that_is_over_acknowledges_nothing(plant: Live) -> None:
    async with client(plant.endpoint, "eva") as eva:
        events = Events()
        await events.subscribe(eva)
        await plant.flow(60)
        await until(lambda: events.of(LOW_R1))
        await plant.flow(100)
        await plant.flow(60)
        await until(lambda: len(events.of(LOW_R1)) == 3)
        first, cleared, second = events.of(LOW_R1)
        condition = node(LOW_R1)
        for old in (first, cleared):
            assert await call(eva, condition, ACKNOWLEDGE, old["EventId"], said("")) == "BadEventIdUnknown"
        assert await call(eva, condition, ACKNOWLEDGE, b"nothing", said("")) == "BadEventIdUnknown"
        assert plant.state() == "unacknowledged"
        assert await call(eva, condition, ACKNOWLEDGE, second["EventId"], said("")) == "Good"
        await until(lambda: len(events.of(LOW_R1)) == 4)
        again = await call(eva, condition, ACKNOWLEDGE, second["EventId"], said(""))
        assert again == "BadConditionBranchAlreadyAcked"


async def test_who_has_no_name_or_no_right_sees_and_can_not_act(
    plant: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    # of who has no name one refusal is journaled, however long both take
    monkeypatch.setattr("gateways.scada.methods._JOURNALED_EACH_NS", 600_000_000_000)
    await plant.flow(60)
    await until(lambda: plant.state() == "unacknowledged")
    for name in ("", "vic"):
        async with client(plant.endpoint, name) as one:
            events = Events()
            subscription, _ = await events.subscribe(one)
            refresh = "ConditionType_ConditionRefresh"
            assert (
                await call(one, node(LOW_R1), refresh, ua.Variant(subscription, ua.VariantType.UInt32))
                == "Good"
            )
            seen = (await until(lambda events=events: events.of(LOW_R1)))[0]
            assert (
                await call(one, node(LOW_R1), ACKNOWLEDGE, seen["EventId"], said("")) == "BadUserAccessDenied"
            )
            assert await call(one, node(LOW_R1), TIMED, HOUR_MS) == "BadUserAccessDenied"
    assert plant.state() == "unacknowledged"
    said_by = [(entry.detail["by"], entry.detail["signer"]) for entry in plant.refused]
    assert said_by == [("", "scada"), ("vic", "scada"), ("vic", "scada")]
    assert all(entry.detail["signed"] for entry in plant.refused)


async def test_confirming(plant: Live) -> None:
    confirm = "AcknowledgeableConditionType_Confirm"
    async with client(plant.endpoint, "eva") as eva:
        events = Events()
        await events.subscribe(eva)
        await plant.flow(60)
        raised = (await until(lambda: events.of(LOW_R1)))[0]
        condition, event = node(LOW_R1), raised["EventId"]
        assert raised["ConfirmedState/Id"], "there is nothing to confirm before it is acknowledged"
        assert await call(eva, condition, confirm, event, said("")) == "BadInvalidState"
        assert await call(eva, condition, ACKNOWLEDGE, event, said("")) == "Good"
        await until(lambda: not events.of(LOW_R1)[-1]["ConfirmedState/Id"])
        assert await call(eva, condition, confirm, event, said("pump swapped")) == "Good"
        await until(lambda: events.of(LOW_R1)[-1]["ConfirmedState/Id"])
        assert (events.of(LOW_R1)[-1]["Comment"].Text, plant.state()) == ("pump swapped", "acknowledged")
        assert await call(eva, condition, confirm, event, said("")) == "BadConditionBranchAlreadyConfirmed"


async def test_shelving(plant: Live) -> None:
    async with client(plant.endpoint, "eva") as eva:
        events = Events()
        await events.subscribe(eva)
        shelving = node(f"{LOW_R1}/ShelvingState")
        assert await call(eva, shelving, TIMED, 0.0) == "BadShelvingTimeOutOfRange"
        assert await call(eva, shelving, TIMED, 9 * HOUR_MS) == "BadShelvingTimeOutOfRange"
        assert (
            await call(eva, shelving, "AlarmConditionType_ShelvingState_Unshelve") == "BadConditionNotShelved"
        )
        # one that has never gone off, by the node of its shelving
        assert await call(eva, shelving, TIMED, HOUR_MS) == "Good"
        shelved = (await until(lambda: events.of(LOW_R1)))[0]
        timed = ua.NodeId(ua.ObjectIds.ShelvedStateMachineType_TimedShelved)
        assert (shelved["ShelvingState/CurrentState/Id"], shelved["SuppressedOrShelved"]) == (timed, True)
        assert 0.99 * HOUR_MS < shelved["ShelvingState/UnshelveTime"] <= HOUR_MS
        assert (shelved["ActiveState/Id"], shelved["AckedState/Id"], shelved["Retain"]) == (False, True, True)
        await plant.flow(60)
        await until(lambda: events.of(LOW_R1)[-1]["ActiveState/Id"])
        assert events.of(LOW_R1)[-1]["AckedState/Id"]
        assert await call(eva, node(LOW_R1), "ShelvedStateMachineType_Unshelve2", said("fixed")) == "Good"
        await until(lambda: not events.of(LOW_R1)[-1]["SuppressedOrShelved"])
        assert (events.of(LOW_R1)[-1]["ActiveState/Id"], events.of(LOW_R1)[-1]["AckedState/Id"]) == (
            True,
            False,
        )
        assert await call(eva, node(LOW_R1), "ShelvedStateMachineType_OneShotShelve") == "Good"
        once = ua.NodeId(ua.ObjectIds.ShelvedStateMachineType_OneShotShelved)
        await until(lambda: events.of(LOW_R1)[-1]["ShelvingState/CurrentState/Id"] == once)
        assert await call(eva, node("row:nothing:R1"), TIMED, HOUR_MS) == "BadNodeIdUnknown"


async def test_service_and_reset_and_comment(plant: Live) -> None:
    off = "row:rack-off:R1"
    async with client(plant.endpoint, "eng") as eng, client(plant.endpoint, "eva") as eva:
        events = Events()
        await events.subscribe(eng)
        await plant.flow(5)
        raised = (await until(lambda: events.of(off)))[0]
        assert (raised["Severity"], raised["LowLowLimit"]) == (900, 10.0)
        assert await call(eva, node(off), COMMENT, raised["EventId"], said("pump?")) == "Good"
        await until(lambda: events.of(off)[-1]["Comment"].Text == "pump?")
        assert await call(eva, node(off), ACKNOWLEDGE, raised["EventId"], said("")) == "Good"
        assert await call(eva, node(off), "AlarmConditionType_Reset") == "BadInvalidState"
        await plant.flow(100)
        await until(lambda: events.of(off)[-1]["LatchedState/Id"])
        assert (events.of(off)[-1]["ActiveState/Id"], events.of(off)[-1]["Retain"]) == (False, True)
        assert await call(eva, node(off), "AlarmConditionType_Reset") == "Good"
        await until(lambda: not events.of(off)[-1]["Retain"])
        assert await call(eva, node(off), "ConditionType_Disable") == "BadUserAccessDenied"
        assert await call(eng, node(off), "ConditionType_Enable") == "BadConditionAlreadyEnabled"
        assert await call(eng, node(off), "AlarmConditionType_RemoveFromService2", said("sensor")) == "Good"
        await until(lambda: events.of(off)[-1]["OutOfServiceState/Id"])
        assert await call(eng, node(off), "AlarmConditionType_PlaceInService") == "Good"
        await until(lambda: not events.of(off)[-1]["Retain"])
        assert await call(eng, node(off), "AlarmConditionType_Suppress") == "BadNotSupported"
        assert await call(eng, node(off), "Server_GetMonitoredItems") == "BadMethodInvalid"


async def test_what_latched_says_so_while_it_is_shelved(plant: Live) -> None:
    off = "row:rack-off:R1"
    async with client(plant.endpoint, "eva") as eva:
        events = Events()
        await events.subscribe(eva)
        await plant.flow(5)
        await plant.flow(100)
        await until(lambda: events.of(off) and events.of(off)[-1]["LatchedState/Id"])
        assert await call(eva, node(off), TIMED, HOUR_MS) == "Good"
        await until(lambda: events.of(off)[-1]["SuppressedOrShelved"])
        assert (events.of(off)[-1]["ActiveState/Id"], events.of(off)[-1]["LatchedState/Id"]) == (False, True)


async def test_a_refresh_says_what_stands_between_its_marks(plant: Live) -> None:
    await plant.flow(60)
    await plant.flow(60, "R2")
    await until(lambda: {one.key for one in plant.said} >= {LOW_R1, LOW_R2})
    async with client(plant.endpoint) as one, client(plant.endpoint) as other:
        events, strange = Events(), Events()
        subscription, item = await events.subscribe(one)
        foreign, _ = await strange.subscribe(other)
        await until(lambda: plant.context.metrics["alarms"] >= 2)
        numbers = [ua.Variant(number, ua.VariantType.UInt32) for number in (subscription, item, foreign)]
        whole, part = "ConditionType_ConditionRefresh", "ConditionType_ConditionRefresh2"
        conditions = ua.NodeId(ua.ObjectIds.ConditionType)
        assert await call(one, conditions, whole, numbers[2]) == "BadUserAccessDenied"
        assert await call(one, conditions, part, numbers[0], numbers[0]) == "BadMonitoredItemIdInvalid"
        assert await call(one, conditions, whole, numbers[0]) == "Good"
        end = ua.NodeId(ua.ObjectIds.RefreshEndEventType)
        await until(lambda: events.all and events.all[-1]["EventType"] == end)
        assert events.all[0]["EventType"] == ua.NodeId(ua.ObjectIds.RefreshStartEventType)
        assert {each["@NodeId"].Identifier for each in events.all[1:-1]} == {LOW_R1, LOW_R2}
        first = [each["EventId"] for each in events.all[1:-1]]
        assert await call(one, conditions, part, numbers[0], numbers[1]) == "Good"
        await until(lambda: len(events.all) == 8)
        assert [each["EventId"] for each in events.all[5:-1]] == first
        assert not strange.all


async def test_a_client_hears_the_events_of_the_node_that_it_asked_for(plant: Live) -> None:
    async with client(plant.endpoint) as one:
        rack, unit = Events(), Events()
        await rack.subscribe(one, node("R2"))
        await unit.subscribe(one, node("/row"))
        await plant.flow(60)
        await plant.flow(60, "R2")
        await until(lambda: unit.of(LOW_R1) and unit.of(LOW_R2) and rack.of(LOW_R2))
        assert not rack.of(LOW_R1)
