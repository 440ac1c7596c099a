"""Actuators of a silent Headrace go to their fallback: the whole role above its ports, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateways.actuators import actuators, dead_man, fallback_store
from gateways.actuators.fallback_store import FILE
from gateways.actuators.outcome import Outcome
from rules.engine.inputs import Readings
from streams.bus.memory import MemoryBus
from streams.replay_mark import Mark, mark_log
from tests.gateways.actuators.silent_plant import SECOND, START_NS, Plant, simulated, takes_nothing, virtual
from tests.gateways.nvml.hosts import inputs


@simulated
async def test_while_everything_speaks_nothing_is_written_and_the_watchdog_counts(plant: Plant) -> None:
    await asyncio.sleep(120.0)
    assert plant.plc.written == plant.host.written == plant.receipts == []
    numbers = [number for _, number in plant.plc.numbers]
    assert len(numbers) > 100
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert plant.context.state == "ready"
    assert plant.fallback["actuators"] == 0


@simulated
async def test_a_dead_worker_sends_each_actuator_to_its_fallback_after_its_own_time(plant: Plant) -> None:
    await asyncio.sleep(30.0)
    plant.speaks -= {"worker"}
    await asyncio.sleep(8.0)
    assert plant.plc.written == []
    await asyncio.sleep(4.0)
    assert [(name, value) for _, name, value in plant.plc.written] == [
        ("P1.PumpSpeed", 90.0),
        ("P3.PumpSpeed", 90.0),
    ]
    assert plant.host.written == []
    await asyncio.sleep(5.0)
    assert [(name, value) for _, name, value in plant.host.written] == [("R1-G1.power_limit", 500.0)]
    await asyncio.sleep(120.0)
    assert len(plant.plc.written) + len(plant.host.written) == 3, "once for each silence"
    assert {status for _, status in plant.told} == {"done"}
    first = plant.receipts[0]
    assert first.command.startswith("fallback:P1.PumpSpeed:")
    assert (first.value, first.read_back) == (90.0, 90.0)
    assert first.detail.endswith("worker")
    assert plant.context.state == "fallback"
    assert plant.fallback["actuators"] == 3
    assert plant.fallback["names"] == ["P1.PumpSpeed", "P3.PumpSpeed", "R1-G1.power_limit"]
    assert plant.fallback["silent"].keys() == {"row-a", "row-b"}
    assert 0 <= plant.fallback["since_ns"] - (START_NS + 29 * SECOND) <= 2 * SECOND


@simulated
async def test_only_the_unit_that_nobody_works_on_falls_back(plant: Plant) -> None:
    await asyncio.sleep(30.0)
    plant.speaks -= {"row-b"}
    await asyncio.sleep(60.0)
    assert [name for _, name, _ in plant.plc.written] == ["P3.PumpSpeed"]
    assert plant.plc.numbers[-1][0] > plant.now_s() - 2, "a unit of the server lives, and nothing is owed"


@pytest.mark.parametrize(
    ("gone", "part"),
    [({"ticker", "row-a", "row-b"}, "ticker"), ({"worker"}, "worker")],
    ids=["ticker", "worker"],
)
def test_the_part_that_is_silent_is_named(tmp_path: Path, gone: set[str], part: str) -> None:
    async def test(plant: Plant) -> None:
        await asyncio.sleep(20.0)
        plant.speaks -= gone
        await asyncio.sleep(20.0)
        assert plant.fallback["part"] == part

    simulated(test)(tmp_path)


@simulated
async def test_a_log_that_is_away_is_silent_and_is_told_when_it_is_back(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.bus.go_away()
    await asyncio.sleep(30.0)
    assert len(plant.plc.written) + len(plant.host.written) == 3
    assert plant.fallback["part"] == "log"
    plant.bus.come_back()
    await asyncio.sleep(30.0)
    assert sorted(plant.told) == [
        (name, "done") for name in ("P1.PumpSpeed", "P3.PumpSpeed", "R1-G1.power_limit")
    ]
    assert plant.context.state == "ready"
    assert plant.fallback["actuators"] == 3, "nothing is restored by itself"
    assert inputs(plant.bus, Readings)[-1].values[0] == 3.0


@simulated
async def test_where_nothing_is_heard_from_the_start_they_fall_back_too_and_the_watchdog_never_counts(
    plant: Plant,
) -> None:
    plant.speaks.clear()
    await asyncio.sleep(9.0)
    assert plant.plc.written == []
    await asyncio.sleep(3.0)
    assert len(plant.plc.written) == 2
    await asyncio.sleep(60.0)
    assert plant.plc.numbers == []


def test_a_unit_on_which_headrace_has_never_worked_is_left_to_others_until_it_has(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path, is_new=True)
        plant.speaks -= {"row-a", "row-b"}
        await plant.begin()
        await asyncio.sleep(60.0)
        assert plant.plc.written == plant.plc.numbers == plant.receipts == []
        assert plant.context.state == "ready"
        plant.speaks |= {"row-b"}
        await asyncio.sleep(5.0)
        plant.speaks -= {"row-b"}
        await asyncio.sleep(8.0)
        assert plant.plc.written == []
        await asyncio.sleep(4.0)
        assert [name for _, name, _ in plant.plc.written] == ["P3.PumpSpeed"]
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


def test_a_process_that_is_started_in_a_silence_on_an_empty_log_remembers_that_headrace_had_worked(
    tmp_path: Path,
) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path, is_new=True)
        await plant.begin()
        await asyncio.sleep(5.0)
        await plant.end()
        plant.speaks.clear()
        plant.bus = MemoryBus(plant.now_ns)
        await plant.begin()
        await asyncio.sleep(12.0)
        assert len(plant.plc.written) == 2
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


@simulated
async def test_a_log_that_is_away_from_the_start(plant: Plant) -> None:
    plant.bus.go_away()
    await asyncio.sleep(12.0)
    assert len(plant.plc.written) == 2


def test_a_log_that_is_away_is_said_seldom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Though it is asked for twice a second."""
    for module in (actuators, dead_man):
        for limit in module.log_again.filters:
            limit._seen.clear()  # type: ignore[union-attr]

    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        plant.bus.go_away()  # before the role had its first turn
        await asyncio.sleep(12.0)
        await plant.end()

    with virtual() as runner:
        runner.run(whole())
    said = [line for line in caplog.messages if "can't be read" in line]
    assert said == [
        "commands can't be read: the broker is away",
        "the words of roles can't be read: the broker is away",
    ]


@simulated
async def test_on_a_replays_log_never(plant: Plant) -> None:
    await mark_log(plant.bus, Mark("run.mcap", has_facts=True))
    await asyncio.sleep(7.0)
    plant.speaks.clear()
    await asyncio.sleep(100.0)
    plant.bus.go_away()
    await asyncio.sleep(100.0)
    assert plant.plc.written == plant.host.written == plant.plc.numbers == []
    plant.bus.come_back()
    await asyncio.sleep(20.0)
    assert inputs(plant.bus, Readings) == plant.receipts == []
    assert plant.fallback["actuators"] == 0


@simulated
async def test_what_fails_is_tried_again_and_said_once(plant: Plant) -> None:
    plant.speaks -= {"worker"}
    plant.plc.answers = [Outcome("failed", None, "BadTimeout"), *[Outcome("done", 90.0)], Outcome("unknown")]
    await asyncio.sleep(11.0)
    assert plant.told_of("P1.PumpSpeed") == ["failed"]
    assert plant.told_of("P3.PumpSpeed") == ["done"]
    assert plant.fallback["owed"] == 1
    await asyncio.sleep(2.5)
    assert plant.told_of("P1.PumpSpeed") == ["failed", "unknown"]
    await asyncio.sleep(60.0)
    assert plant.told_of("P1.PumpSpeed") == ["failed", "unknown", "done"]
    assert [name for _, name, _ in plant.plc.written].count("P1.PumpSpeed") == 3
    assert plant.fallback["owed"] == 0


@simulated
async def test_the_watchdog_stands_still_while_a_fallback_is_owed(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.plc.answers = [Outcome("failed")] * 1000
    plant.speaks -= {"row-b"}
    await asyncio.sleep(60.0)
    assert plant.fallback["watchdogs"] == {"plc": "stands still"}
    assert plant.plc.numbers[-1][0] < plant.now_s() - 40


@simulated
async def test_what_was_never_written_is_not_written_after_life_has_returned(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.plc.answers = [Outcome("failed")] * 1000
    plant.speaks -= {"row-b"}
    await asyncio.sleep(30.0)
    plant.speaks |= {"row-b"}
    await asyncio.sleep(5.0)
    tries = len(plant.plc.written)
    assert plant.fallback["actuators"] == plant.fallback["owed"] == 0
    await asyncio.sleep(60.0)
    assert len(plant.plc.written) == tries


@simulated
async def test_a_second_silence_is_another_one(plant: Plant) -> None:
    for _ in range(2):
        await asyncio.sleep(20.0)
        plant.speaks -= {"row-b"}
        await asyncio.sleep(20.0)
        plant.speaks |= {"row-b"}
    assert [name for _, name, _ in plant.plc.written] == ["P3.PumpSpeed"] * 2
    assert len({one.command for one in plant.receipts}) == 2


@simulated
async def test_a_command_that_was_decided_before_does_not_undo_it_and_a_later_one_ends_it(
    plant: Plant,
) -> None:
    await asyncio.sleep(20.0)
    decided_ns = plant.now_ns()
    plant.speaks -= {"worker"}
    await asyncio.sleep(12.0)
    old = plant.command("P1.PumpSpeed", 40.0, decided_ns)
    await asyncio.sleep(1.0)
    refused = [one for one in plant.receipts if one.command == old.id]
    assert [one.status for one in refused] == ["refused"]
    assert "decided before the fallback" in refused[0].detail
    plant.speaks |= {"worker"}
    await asyncio.sleep(5.0)
    assert plant.fallback["actuators"] == 2
    new = plant.command("P1.PumpSpeed", 50.0)
    await asyncio.sleep(1.0)
    assert [one.status for one in plant.receipts if one.command == new.id] == ["done"]
    assert plant.fallback["names"] == ["P3.PumpSpeed"]
    late = plant.command("P1.PumpSpeed", 40.0, decided_ns)
    await asyncio.sleep(1.0)
    assert [one.status for one in plant.receipts if one.command == late.id] == ["refused"]


@simulated
async def test_a_command_that_hung_at_the_device_does_not_end_it(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.plc.hangs.clear()
    plant.command("P1.PumpSpeed", 40.0)
    await asyncio.sleep(1.0)
    plant.speaks -= {"worker"}
    await asyncio.sleep(15.0)
    plant.plc.hangs.set()
    await asyncio.sleep(15.0)
    assert [value for _, name, value in plant.plc.written if name == "P1.PumpSpeed"] == [40.0, 90.0]
    assert "P1.PumpSpeed" in plant.fallback["names"]


def test_a_process_that_is_started_again_knows_what_is_in_its_fallback(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        await asyncio.sleep(20.0)
        decided_ns = plant.now_ns()
        plant.speaks -= {"row-b"}
        await asyncio.sleep(12.0)
        await plant.end()
        plant.speaks |= {"row-b"}
        await plant.begin()
        await asyncio.sleep(5.0)
        assert plant.fallback["names"] == ["P3.PumpSpeed"]
        old = plant.command("P3.PumpSpeed", 40.0, decided_ns)
        await asyncio.sleep(2.0)
        assert [one.status for one in plant.receipts if one.command == old.id] == ["refused"]
        plant.command("P3.PumpSpeed", 40.0)
        await asyncio.sleep(2.0)
        await plant.end()
        await plant.begin()
        await asyncio.sleep(2.0)
        assert plant.fallback["actuators"] == 0
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


def test_a_disk_that_takes_nothing_keeps_no_actuator_from_its_safe_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # another test may have had it said a moment ago
    monkeypatch.setattr(fallback_store.log_again, "filters", [])

    async def test(plant: Plant) -> None:
        await asyncio.sleep(12.0)
        assert len(plant.plc.written) == 2, "whether Headrace has ever worked there, nobody knows"
        assert plant.fallback["disk_failures"] > 0

    async def whole() -> None:
        (tmp_path / FILE).write_bytes(b"this is no database" * 100)
        plant = Plant(tmp_path)
        await plant.begin()
        plant.speaks.clear()
        await test(plant)
        await plant.end()

    with virtual() as runner:
        runner.run(whole())
    assert "not kept on disk" in caplog.text


# What the process itself, its clock and its disk do.


@simulated
async def test_a_process_that_stood_still_reads_first_what_was_said_meanwhile(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    loop: Any = asyncio.get_running_loop()
    speaks, plant.speaks = plant.speaks, set()
    loop._now_s += 30.0  # stopped: the others went on, and what they said is about to be read
    decided_ns = plant.now_ns() - 2 * SECOND

    def arrive() -> None:
        plant.speaks = speaks
        now_ns = plant.now_ns()
        plant.say("worker", now_ns={"row-a": now_ns, "row-b": now_ns})
        plant.command("P1.PumpSpeed", 55.0, decided_ns)

    loop.call_later(0.05, arrive)
    await asyncio.sleep(30.0)
    assert [value for _, _, value in plant.plc.written] == [55.0]


@simulated
async def test_a_stall_is_no_life(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    loop: Any = asyncio.get_running_loop()
    plant.speaks.clear()
    loop._now_s += 30.0
    await asyncio.sleep(12.0)
    assert len(plant.plc.written) == 2


@simulated
async def test_a_clock_that_was_ahead_for_a_while_refuses_nothing_later(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.ahead_ns = 3600 * SECOND
    await asyncio.sleep(15.0)
    assert plant.fallback["actuators"] == 3
    assert abs(plant.fallback["since_ns"] - (START_NS + 19 * SECOND)) < 2 * SECOND
    plant.ahead_ns = 0
    await asyncio.sleep(5.0)
    plant.command("P1.PumpSpeed", 60.0)
    await asyncio.sleep(1.0)
    assert plant.told_of("P1.PumpSpeed") == ["done", "done"]
    assert plant.fallback["names"] == ["P3.PumpSpeed", "R1-G1.power_limit"]


def test_nor_where_nothing_was_heard_before_it_fell_back(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        speaks, plant.speaks = plant.speaks, set()
        plant.ahead_ns = 3600 * SECOND
        await plant.begin()
        await asyncio.sleep(20.0)
        await plant.end()
        plant.ahead_ns, plant.speaks = 0, speaks
        await plant.begin()
        await asyncio.sleep(5.0)
        plant.command("P1.PumpSpeed", 60.0)
        await asyncio.sleep(1.0)
        assert plant.told_of("P1.PumpSpeed") == ["done", "done"]
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


@simulated
async def test_who_is_no_worker_keeps_no_fallback_away(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.speaks.clear()
    for _ in range(20):
        plant.say("alerts", now_ns={"row-a": plant.now_ns(), "row-b": plant.now_ns()})
        await asyncio.sleep(1.0)
    assert len(plant.plc.written) == 2


def test_who_is_no_worker_begins_no_unit(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path, is_new=True)
        plant.speaks.clear()
        await plant.begin()
        for _ in range(2):
            plant.say("alerts", now_ns={"row-a": plant.now_ns()})
            await asyncio.sleep(20.0)
            await plant.end()
            await plant.begin()
        assert plant.plc.written == []
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


@simulated
async def test_a_fallback_that_is_tried_again_does_not_follow_the_command_that_ended_it(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.plc.answers = [Outcome("failed")]
    plant.speaks -= {"worker"}
    await asyncio.sleep(11.0)
    plant.plc.hangs.clear()
    plant.command("P1.PumpSpeed", 60.0)
    await asyncio.sleep(3.0)  # the fallback is tried again, behind the command that hangs
    plant.plc.hangs.set()
    await asyncio.sleep(10.0)
    assert [value for _, name, value in plant.plc.written if name == "P1.PumpSpeed"] == [90.0, 60.0]
    assert "P1.PumpSpeed" not in plant.fallback["names"]


def test_what_was_owed_when_the_process_ended_is_over_when_life_is_heard(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path / "run")
        await plant.begin()
        await asyncio.sleep(20.0)
        speaks, plant.speaks = plant.speaks, set()
        plant.plc.hangs.clear()
        await asyncio.sleep(11.5)
        await plant.kill()
        plant.plc.hangs.set()
        plant.speaks = speaks
        await plant.begin()
        await asyncio.sleep(10.0)
        assert plant.plc.written == []
        assert plant.fallback["actuators"] == 0
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


def test_a_process_that_ends_again_and_again_in_a_silence_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path / "run")
        await plant.begin()
        await asyncio.sleep(20.0)
        plant.speaks.clear()
        for _ in range(4):
            await asyncio.sleep(5.0)
            assert plant.plc.written == [] or plant.now_s() > 30.0
            await plant.kill()
            await plant.begin()
        assert len(plant.plc.written) >= 2
        await plant.kill()
        plant.speaks |= {"ticker", "worker", "row-a", "row-b"}
        before = len(plant.plc.written)
        await asyncio.sleep(30.0)
        await plant.begin()
        await asyncio.sleep(20.0)
        assert len(plant.plc.written) == before, "it hears life before it falls back"
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


def test_one_that_was_told_to_end_in_a_silence_counts_anew(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        await asyncio.sleep(20.0)
        plant.speaks.clear()
        await asyncio.sleep(7.0)
        await plant.end()
        await asyncio.sleep(3600.0)
        await plant.begin()
        await asyncio.sleep(9.0)
        assert plant.plc.written == []
        await asyncio.sleep(3.0)
        assert len(plant.plc.written) == 2
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


def test_what_the_disk_did_not_take_is_saved_when_it_has_room_again(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path / "run")
        await plant.begin()
        await asyncio.sleep(20.0)
        takes_nothing(plant.store._database)
        speaks, plant.speaks = plant.speaks, set()
        await asyncio.sleep(20.0)
        assert plant.fallback["disk_failures"] > 0
        takes_nothing(plant.store._database, False)
        plant.speaks = speaks
        await asyncio.sleep(10.0)
        await plant.kill()
        await plant.begin()
        await asyncio.sleep(5.0)
        assert plant.fallback["names"] == ["P1.PumpSpeed", "P3.PumpSpeed", "R1-G1.power_limit"]
        await plant.end()

    with virtual() as runner:
        runner.run(whole())


def test_a_count_whose_publisher_fails_as_it_closes_keeps_no_role_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tell(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1.0)
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(dead_man, "tell_count", tell)

    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        await asyncio.sleep(5.0)
        plant.context.stop.set()
        await asyncio.sleep(30.0)
        assert plant.has_ended()

    with virtual() as runner:
        runner.run(whole())


def test_a_count_that_cannot_be_told_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(dead_man, "tell_count", tell)

    async def test(plant: Plant) -> None:
        plant.speaks.clear()
        await asyncio.sleep(12.0)
        assert len(plant.plc.written) == 2

    simulated(test)(tmp_path)
