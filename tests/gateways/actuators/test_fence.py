"""Commands of a worker that has lost the unit: refused, counted, and no obstacle to the owner's."""

import pytest

from gateways.actuators.fence import Fence
from gateways.actuators.ledger import CommandLedger
from streams.record import Message
from streams.topics import COMMANDS, DEAD_LETTERS
from streams.wire import encode_output
from tests.gateways.actuators.plant import by_command, command, running, send
from tests.gateways.nvml.hosts import make_context, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = "R1-T1-G1.power_limit"


async def statuses(bus, *commands):
    await until(lambda: all(value.id in by_command(bus) for value in commands))
    return [[receipt.status for receipt in by_command(bus)[value.id]] for value in commands]


async def test_a_lower_epoch_is_refused_with_its_reason_and_writes_nothing(context, state):
    owners, zombies = command(LIMIT, 900.0), command(LIMIT, 600.0)
    await send(context.bus, owners, epoch=8)
    await send(context.bus, zombies, epoch=7)
    async with running(context):
        assert await statuses(context.bus, owners, zombies) == [["done"], ["refused"]]
    text = by_command(context.bus)[zombies.id][0].detail
    assert text == "of a worker that has lost row-a: its epoch is 7, the owner's 8"
    assert state.field("power_limit_mw")[0] == 900_000
    assert (context.metrics["fenced"], context.metrics["refused"], context.metrics["repeats"]) == (1, 1, 0)


async def test_an_epoch_is_of_one_unit_and_one_without_is_the_lowest(context, state):
    other = command("R1-T1-G2.power_limit", 800.0)
    await send(context.bus, command(LIMIT, 900.0), epoch=8)
    await send(context.bus, none := command(LIMIT, 600.0))
    object.__setattr__(other, "unit", "row-b")
    await send(context.bus, other, epoch=3)
    async with running(context):
        assert await statuses(context.bus, none, other) == [["refused"], ["done"]]


async def test_what_was_fenced_is_done_when_the_owner_says_it(context, state):
    first, same = command(LIMIT, 900.0), command(LIMIT, 600.0)
    await send(context.bus, first, epoch=8)
    await send(context.bus, same, epoch=7)
    await send(context.bus, same, epoch=8)
    await send(context.bus, same, epoch=7)
    async with running(context):
        await until(lambda: len(by_command(context.bus).get(same.id, [])) == 2)
        await until(lambda: context.metrics["fenced"] == 2)
    assert sorted(receipt.status for receipt in by_command(context.bus)[same.id]) == ["done", "refused"]
    assert state.field("power_limit_mw")[0] == 600_000
    assert state.field("limit_writes")[0] == 2


async def test_a_reader_from_the_beginning_sees_old_epochs_first_and_refuses_nothing_again(context, state):
    old, new, zombies = command(LIMIT, 900.0), command(LIMIT, 700.0), command(LIMIT, 600.0)
    await send(context.bus, old, epoch=7)
    await send(context.bus, new, epoch=8)
    await send(context.bus, zombies, epoch=7)
    async with running(context):
        assert await statuses(context.bus, old, new, zombies) == [["done"], ["done"], ["refused"]]
    again = await make_context(context.settings.run_dir, context.site, "actuators", context.bus)
    await send(again.bus, last := command(LIMIT, 650.0), epoch=8)
    async with running(again):
        assert await statuses(again.bus, old, new, zombies, last) == [
            ["done"],
            ["done"],
            ["refused"],
            ["done"],
        ]
    assert (again.metrics["repeats"], again.metrics["fenced"], again.metrics["refused"]) == (2, 1, 0)
    assert state.field("limit_writes")[0] == 3


async def test_the_highest_epoch_outlives_the_commands_that_showed_it(context, state):
    await send(context.bus, shown := command(LIMIT, 900.0), epoch=8)
    async with running(context):
        await statuses(context.bus, shown)
    fresh = await make_context(
        context.settings.run_dir, context.site, "actuators"
    )  # retention has taken them all
    await send(fresh.bus, late := command(LIMIT, 600.0), epoch=7)
    async with running(fresh):
        assert await statuses(fresh.bus, late) == [["refused"]]
    assert state.field("power_limit_mw")[0] == 900_000


async def test_an_epoch_that_is_no_number_goes_to_dead_letters(context, state):
    message = encode_output(command(LIMIT, 600.0), 3)
    producer = await context.bus.producer("worker")
    headers = (*message.headers, ("owner-epoch", b"-5"))
    await producer.send(Message(COMMANDS.name, message.partition, message.key, message.value, headers))
    async with running(context):
        await until(lambda: context.bus.records(DEAD_LETTERS.name))
    assert state.field("limit_writes")[0] == 0


async def test_the_ledger_keeps_the_highest(tmp_path):
    ledger = CommandLedger(tmp_path / "ledger.sqlite")
    ledger.mark([], {"row-a": 5, "row-b": 2})
    ledger.mark([("x", 9)], {"row-a": 4})
    ledger.close()
    ledger = CommandLedger(tmp_path / "ledger.sqlite")
    assert ledger.epochs() == {"row-a": 5, "row-b": 2}
    fence = Fence()
    fence.begin(ledger.epochs())
    ledger.close()
    value = command(LIMIT, 600.0)
    assert fence.is_fenced(value, 4, was_taken=False)
    assert not fence.is_fenced(value, 4, was_taken=True)  # it was taken before the higher one was heard
    assert fence.raised() == {}
    assert not fence.is_fenced(value, 6, was_taken=False)
    assert fence.raised() == {"row-a": 6}
    fence.keep({"row-a": 6})
    assert fence.raised() == {}
    assert fence.is_fenced(value, 4, was_taken=True)
