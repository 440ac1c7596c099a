"""No command of a replay reaches a device: not by its header, not on a log that is a replay's, whoever wrote it."""

import pytest

from rules.errors import UnreachableError
from streams.bus.memory import MemoryBus
from streams.replay_mark import Mark, mark_log, marked
from streams.topics import COMMANDS, EVENTS, REPLAY_MARK
from streams.wire import encode_output
from tests.gateways.actuators.plant import (
    by_command,
    command,
    receipts,
    running,
    send,
)
from tests.gateways.nvml.hosts import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
MARK = Mark("run.mcap", has_facts=True)
START = 50.0


def commands():
    """Sound ones, for both kinds of target; they expire in an hour."""
    return [
        command("P1.PumpSpeed", 80.0, expires_s=3600.0),
        command("R1-T2-G1.power_limit", 700.0, expires_s=3600.0),
    ]


async def send_marked(bus, *values):
    producer = await bus.producer("replay")
    for value in values:
        await producer.send(marked(encode_output(value, 3), MARK))
    await producer.flush()


async def assert_nothing_was_written(server, state):
    assert await server.value("P1.PumpSpeed") == START
    assert state.field("limit_writes").sum() == 0


async def test_the_same_commands_without_a_mark_are_written(context, server, state):
    sound = commands()
    await send(context.bus, *sound)
    async with running(context):
        await until(lambda: context.metrics.get("done") == 2)
    assert await server.value("P1.PumpSpeed") == 80.0
    assert state.field("limit_writes").sum() == 1


@pytest.mark.parametrize("is_marked", [True, False])
@pytest.mark.parametrize("is_there_first", [True, False])
async def test_on_a_replays_log_nothing_is_acted_on(context, server, state, is_marked, is_there_first):
    async def replay():
        await mark_log(context.bus, MARK)
        await (send_marked if is_marked else send)(context.bus, *commands())

    if is_there_first:
        await replay()
    async with running(context):
        if not is_there_first:
            await until(lambda: context.state == "ready")
            await replay()
        await until(lambda: context.metrics.get("replayed") == 2)
        assert context.state == "replay"
        assert context.metrics["replay"] == "run.mcap"
        await send(context.bus, *commands())  # by a worker of another version, say
        await until(lambda: context.metrics.get("replayed") == 4)
    assert context.metrics["seen"] == context.metrics["done"] == 0
    assert context.bus.records(EVENTS.name) == [], "no receipt comes between those of the recording"
    await assert_nothing_was_written(server, state)


async def test_a_marked_command_on_a_plants_log_is_refused_and_its_own_are_not(context, server, state):
    replayed, own = commands(), command("P2.PumpSpeed", 60.0)
    await send_marked(context.bus, *replayed)
    await send(context.bus, own)
    async with running(context):
        await until(lambda: len(receipts(context.bus)) == 3)
    found = by_command(context.bus)
    assert [found[one.id][0].status for one in (*replayed, own)] == ["refused", "refused", "done"]
    assert found[replayed[0].id][0].detail == "a command of a replay"
    await assert_nothing_was_written(server, state)


async def test_a_log_that_does_not_say_whether_it_is_a_replays_is_not_acted_on(
    context, server, state, monkeypatch
):
    says = False

    async def partitions(self, topic):
        if topic == REPLAY_MARK.name and not says:
            raise UnreachableError("no answer")
        return await asked(self, topic)

    asked = MemoryBus.partitions
    monkeypatch.setattr(MemoryBus, "partitions", partitions)
    sound = commands()
    await send(context.bus, *sound)
    async with running(context):
        await until(lambda: context.state == "degraded")
        await assert_nothing_was_written(server, state)
        assert receipts(context.bus) == []
        says = True
        await until(lambda: context.metrics.get("done") == 2)
    assert await server.value("P1.PumpSpeed") == 80.0


async def test_commands_that_were_read_while_nobody_answered_are_not_lost(context, state, monkeypatch):
    answers = 0

    async def partitions(self, topic):
        nonlocal answers
        answers += topic == REPLAY_MARK.name
        if topic == REPLAY_MARK.name and answers == 2:  # between the read of a batch and its first look
            raise UnreachableError("no answer")
        return await asked(self, topic)

    asked = MemoryBus.partitions
    monkeypatch.setattr(MemoryBus, "partitions", partitions)
    wanted = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, wanted)
    async with running(context):
        await until(lambda: context.metrics.get("done") == 1)
    assert len(context.bus.records(COMMANDS.name)) == 1
    assert state.field("limit_writes").sum() == 1
