"""What becomes of commands when something goes wrong in between: a crash, a full disk, a record that nobody foresaw."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways.actuators import role
from gateways.actuators.actuators import Actuators, _forged_name
from gateways.actuators.burial import Burial
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.receipts import Receipts
from rules.engine.outputs import Command
from rules.errors import ConfigurationError
from streams.command_signatures import CommandSigner
from streams.publisher.publisher import Publisher
from streams.replay_mark import HEADER
from streams.topics import COMMANDS, DEAD_LETTERS, TOPICS
from streams.wire import encode_output
from tests.gateways.actuators.silent_plant import SECOND, SITE, Plant, simulated, takes_nothing, virtual

KEY = Ed25519PrivateKey.generate()
assert SITE is not None
SIGNER = CommandSigner(KEY, SITE.name)
DAY_NS = 86_400 * SECOND


def values(plant: Plant) -> list[float]:
    """What was written at the server, in order."""
    return [value for _, _, value in plant.plc.written]


def statuses(plant: Plant, command: Command) -> list[str]:
    return [one.status for one in plant.receipts if one.command == command.id]


def _run(test: Callable[[], Any]) -> None:
    with virtual() as runner:
        runner.run(test())


# A process that ends in between.


def test_an_older_command_is_not_written_again_over_a_newer_one(tmp_path: Path) -> None:
    """The older receipt waits for the log in memory, the newer one is in the spool: and the process is killed."""

    async def whole() -> None:
        plant = Plant(tmp_path / "run")
        await plant.begin()
        await asyncio.sleep(5.0)
        plant.bus.hold_acknowledgements()
        older = plant.command("P2.PumpSpeed", 40.0)
        await asyncio.sleep(15.0)
        newer = plant.command("P2.PumpSpeed", 70.0)
        await asyncio.sleep(2.0)
        assert values(plant) == [40.0, 70.0]
        assert plant.context.publishers[0].metrics["spooled"] == 1
        await plant.kill()
        plant.bus.release_acknowledgements()
        await plant.begin()
        await asyncio.sleep(5.0)
        assert values(plant) == [40.0, 70.0, 70.0]
        assert statuses(plant, older)[-1] == "unknown"
        assert statuses(plant, newer)[-1] == "done"
        await plant.end()

    _run(whole)


def test_nor_over_a_newer_one_that_has_expired_since(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.bus.create_topics(TOPICS, 3)
        older, newer = plant.decided("P2.PumpSpeed", 40.0, 1000), plant.decided("P2.PumpSpeed", 70.0, 2000)
        older = replace(older, expires_ns=plant.now_ns() + 60 * SECOND)
        newer = replace(newer, expires_ns=plant.now_ns() - SECOND)
        for command in (older, newer):
            plant.bus.append(encode_output(command, 3))
        ledger = CommandLedger(tmp_path / "ledger.sqlite")
        marks = [(command.id, command.expires_ns) for command in (older, newer)]
        ledger.mark(marks, latest={"P2.PumpSpeed": newer.cause_ns})
        ledger.close()
        await plant.begin()
        await asyncio.sleep(5.0)
        assert values(plant) == []
        assert statuses(plant, older) == statuses(plant, newer) == ["unknown"]
        await plant.end()

    _run(whole)


def test_a_forgery_whose_receipt_was_lost_is_refused_again(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        plant.keys = (KEY.public_key(),)
        await plant.bus.create_topics(TOPICS, 3)
        plant.command("P2.PumpSpeed", 40.0)
        (record,) = plant.bus.records(COMMANDS.name)
        ledger = CommandLedger(tmp_path / "ledger.sqlite")
        ledger.mark([(_forged_name(record), plant.now_ns())])
        ledger.close()
        for _ in range(2):
            await plant.begin()
            await asyncio.sleep(5.0)
            await plant.end()
        assert [one.command for one in plant.receipts] == [_forged_name(record)]

    _run(whole)


def test_a_clock_that_is_wrong_at_the_start_empties_no_ledger(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        for ahead_ns in (0, 2 * DAY_NS, 0):
            plant.ahead_ns = ahead_ns
            await plant.begin()
            if not plant.plc.written:
                plant.command("P2.PumpSpeed", 40.0)
            await asyncio.sleep(3.0)
            await plant.end()
        assert values(plant) == [40.0]

    _run(whole)


# Records that are not what they seem.


@simulated
async def test_a_copy_on_another_partition_goes_to_dead_letters(plant: Plant) -> None:
    message = encode_output(plant.decided("P2.PumpSpeed", 95.0), 3)
    plant.bus.append(replace(message, partition=(message.partition + 1) % 3))
    await asyncio.sleep(1.0)
    assert values(plant) == []
    plant.bus.append(message)
    await asyncio.sleep(1.0)
    assert values(plant) == [95.0]
    (letter,) = plant.bus.records(DEAD_LETTERS.name)
    assert ("dead-letter-reason", b"wrong-partition") in letter.headers


@simulated
async def test_a_replays_header_spends_no_commands_id(plant: Plant) -> None:
    command = plant.decided("P2.PumpSpeed", 95.0)
    message = encode_output(command, 3, 8)
    plant.bus.append(replace(message, headers=(*message.headers, (HEADER, b"run.mcap"))))
    plant.bus.append(message)
    await asyncio.sleep(1.0)
    assert sorted(statuses(plant, command)) == ["done", "refused"]
    assert values(plant) == [95.0]


def test_a_record_that_nobody_foresaw_is_buried_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Actuators._judge

    def fail(self: Actuators, command: Command, *rest: Any) -> Any:
        if command.value == 13.0:
            raise ZeroDivisionError("thirteen")
        return judge(self, command, *rest)

    monkeypatch.setattr(Actuators, "_judge", fail)

    async def test(plant: Plant) -> None:
        plant.command("P2.PumpSpeed", 12.0)
        plant.command("P2.PumpSpeed", 13.0)
        plant.command("P2.PumpSpeed", 14.0)
        await asyncio.sleep(2.0)
        assert values(plant) == [12.0, 14.0]
        (letter,) = plant.bus.records(DEAD_LETTERS.name)
        assert ("dead-letter-detail", b"ZeroDivisionError: thirteen") in letter.headers
        assert plant.context.metrics["undecodable"] == 1

    simulated(test)(tmp_path)


@simulated
async def test_long_names_are_refused_and_said_in_short(plant: Plant) -> None:
    message = encode_output(plant.decided("P2.PumpSpeed", 50.0), 3)
    body = orjson.loads(message.value or b"")
    body["body"]["actuator"] = "a" * 9_000
    plant.bus.append(replace(message, value=orjson.dumps(body)))
    await asyncio.sleep(2.0)
    (receipt,) = plant.receipts
    assert (receipt.status, receipt.actuator) == ("refused", "a" * 200)


def test_what_is_believed_does_not_wait_for_the_refusal_of_forgeries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Actuators, "_refuse_forged", hang)

    async def whole() -> None:
        plant = Plant(tmp_path / "run")
        plant.keys = (KEY.public_key(),)
        await plant.begin()
        await asyncio.sleep(1.0)
        plant.command("P2.PumpSpeed", 12.0)
        plant.bus.append(SIGNER.signed(encode_output(plant.decided("P2.PumpSpeed", 60.0), 3, 8)))
        await asyncio.sleep(2.0)
        assert values(plant) == [60.0]
        await plant.kill()

    _run(whole)


def test_what_is_believed_does_not_wait_for_the_burial_of_what_nobody_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Burial, "bury", hang)

    async def whole() -> None:
        plant = Plant(tmp_path / "run")
        await plant.begin()
        await asyncio.sleep(1.0)
        garbage(plant, 3)
        plant.command("P2.PumpSpeed", 60.0)
        await asyncio.sleep(2.0)
        assert values(plant) == [60.0]
        await plant.kill()

    _run(whole)


@simulated
async def test_what_nobody_can_read_is_buried_by_the_batch(plant: Plant) -> None:
    await asyncio.sleep(1.0)
    calls = []
    for name in ("known", "mark"):
        setattr(plant.ledger, name, _noting(calls, name, getattr(plant.ledger, name)))
    garbage(plant, 300)
    await asyncio.sleep(2.0)
    assert len(plant.bus.records(DEAD_LETTERS.name)) == plant.context.metrics["undecodable"] == 300
    assert calls == ["known", "mark", "known", "mark"]


def _noting(calls: list[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*given: Any) -> Any:
        calls.append(name)
        return call(*given)

    return noted


def garbage(plant: Plant, count: int) -> None:
    message = encode_output(plant.decided("P2.PumpSpeed", 50.0), 3)
    for number in range(count):
        plant.bus.append(replace(message, value=f"garbage {number}".encode()))


# Disks that take nothing.


@simulated
async def test_while_the_ledger_takes_nothing_commands_wait_and_the_dead_man_does_not(plant: Plant) -> None:
    await asyncio.sleep(20.0)
    plant.command("P2.PumpSpeed", 30.0)
    await asyncio.sleep(1.0)
    takes_nothing(plant.ledger._database)
    waiting = plant.command("P2.PumpSpeed", 60.0)
    await asyncio.sleep(5.0)
    assert values(plant) == [30.0]
    assert plant.context.state == "degraded"
    takes_nothing(plant.ledger._database, False)
    await asyncio.sleep(3.0)
    assert values(plant) == [30.0, 60.0]
    assert statuses(plant, waiting) == ["done"]
    assert plant.context.state == "ready"
    takes_nothing(plant.ledger._database)
    plant.command("P1.PumpSpeed", 60.0)
    plant.speaks.clear()
    await asyncio.sleep(20.0)
    assert sorted(values(plant)[2:]) == [90.0, 90.0]


@simulated
async def test_an_epoch_that_the_ledger_did_not_take_fences_nothing_before_it(plant: Plant) -> None:
    await asyncio.sleep(1.0)
    plant.command("P2.PumpSpeed", 30.0)
    await asyncio.sleep(1.0)
    takes_nothing(plant.ledger._database)
    old, new = plant.decided("P2.PumpSpeed", 40.0), plant.decided("P2.PumpSpeed", 50.0)
    plant.bus.append(encode_output(old, 3, 7))
    plant.bus.append(encode_output(new, 3, 8))
    await asyncio.sleep(3.0)
    takes_nothing(plant.ledger._database, False)
    await asyncio.sleep(3.0)
    assert values(plant) == [30.0, 40.0, 50.0]
    assert plant.ledger.epochs() == {"row-a": 8}


@simulated
async def test_what_is_told_while_the_ledger_takes_nothing_is_told_later(plant: Plant) -> None:
    await asyncio.sleep(1.0)
    plant.bus.hold_acknowledgements()
    command = plant.command("P2.PumpSpeed", 30.0)
    await asyncio.sleep(1.0)
    takes_nothing(plant.ledger._database)
    plant.bus.release_acknowledgements()
    await asyncio.sleep(2.0)
    assert plant.ledger.known([command.id]) == {command.id: False}
    takes_nothing(plant.ledger._database, False)
    await asyncio.sleep(2.0)
    assert plant.ledger.known([command.id]) == {command.id: True}


def test_a_dead_letter_that_the_ledger_did_not_take_is_sent_once(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        await asyncio.sleep(1.0)
        plant.command("P2.PumpSpeed", 30.0)
        await asyncio.sleep(1.0)
        takes_nothing(plant.ledger._database)
        garbage(plant, 1)
        await asyncio.sleep(10.0)
        assert len(plant.bus.records(DEAD_LETTERS.name)) == 1
        takes_nothing(plant.ledger._database, False)
        await asyncio.sleep(5.0)
        await plant.end()
        await plant.begin()
        await asyncio.sleep(5.0)
        assert len(plant.bus.records(DEAD_LETTERS.name)) == 1
        await plant.end()

    _run(whole)


def test_a_disk_that_is_full_at_the_first_start_keeps_no_actuator_from_its_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def whole() -> None:
        plant = Plant(tmp_path / "run")
        plant.speaks.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Path, "touch", full)
            patched.setattr(Path, "mkdir", full)
            await plant.begin()
            await asyncio.sleep(20.0)
            assert sorted(values(plant)) == [90.0, 90.0]
            assert plant.told_of("P1.PumpSpeed") == ["done"]
            assert plant.context.state == "fallback"
            waits = plant.command("P2.PumpSpeed", 40.0)
            await asyncio.sleep(5.0)
            assert statuses(plant, waits) == []
        await asyncio.sleep(5.0)
        assert statuses(plant, waits) == ["done"]
        assert sorted(held.actuator for held in plant.store.load()) == [
            "P1.PumpSpeed", "P3.PumpSpeed", "R1-G1.power_limit",
        ]  # fmt: skip
        await plant.end()

    _run(whole)


def test_a_publisher_whose_start_fails_is_begun_again_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Publisher) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async def whole() -> None:
        plant = Plant(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(Publisher, "_report_dropped", fail)
            await plant.begin()
            command = plant.command("P2.PumpSpeed", 40.0)
            await asyncio.sleep(20.0)
            assert values(plant) == [40.0]
            assert plant.receipts == plant.context.publishers == []
        await asyncio.sleep(20.0)
        assert statuses(plant, command) == ["done"]
        assert len(plant.context.publishers) == 2
        await plant.end()
        assert plant.context.publishers == []

    _run(whole)


def test_no_call_of_the_ledger_holds_up_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_beside = False
    calls: list[bool] = []

    async def to_thread(call: Callable[..., Any], *given: Any) -> Any:
        nonlocal is_beside
        is_beside = True
        try:
            return call(*given)
        finally:
            is_beside = False

    opened = CommandLedger._opened

    def noted(self: CommandLedger) -> Any:
        calls.append(is_beside)
        return opened(self)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    monkeypatch.setattr(CommandLedger, "_opened", noted)

    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        await asyncio.sleep(1.0)
        plant.bus.append(encode_output(plant.decided("P2.PumpSpeed", 40.0), 3, 8))
        await asyncio.sleep(1.0)
        plant.bus.go_away()  # then it is read from its beginning
        await asyncio.sleep(3.0)
        plant.bus.come_back()
        plant.bus.append(encode_output(fenced := plant.decided("P2.PumpSpeed", 50.0), 3, 7))
        await asyncio.sleep(3.0)
        assert statuses(plant, fenced) == ["refused"]
        await plant.end()

    _run(whole)
    assert len(calls) > 5
    assert all(calls)


def test_a_spool_that_another_process_has_ends_the_role(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        await plant.begin()
        await asyncio.sleep(1.0)
        with pytest.raises(ConfigurationError, match="another process running as this source"):
            await role.carry(plant.context, Receipts())
        await plant.end()

    _run(whole)


def test_of_a_flood_of_forgeries_one_a_second_is_said_with_the_number_of_the_others(tmp_path: Path) -> None:
    async def whole() -> None:
        plant = Plant(tmp_path)
        plant.keys = (KEY.public_key(),)
        await plant.begin()
        await asyncio.sleep(1.0)
        for _ in range(5):
            for _ in range(50):
                plant.command("P2.PumpSpeed", 12.0)
            await asyncio.sleep(0.1)
        await asyncio.sleep(5.0)
        assert plant.context.metrics["forged"] == 250
        first, second = plant.receipts
        assert {one.status for one in (first, second)} == {"refused"}
        assert first.detail.endswith("'row-a:test:1:1:0'; and 49 others like it")
        assert second.detail.endswith("'row-a:test:1:51:0'; and 199 others like it")
        await plant.end()
        await plant.begin()
        await asyncio.sleep(5.0)
        assert len(plant.receipts) == 2
        assert (plant.context.metrics["forged"], plant.context.metrics["repeats"]) == (0, 250)
        await plant.end()

    _run(whole)
