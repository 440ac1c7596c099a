"""The actuators as a role on the in-memory bus, against a real OPC UA server and the simulated NVML."""

import asyncio
import contextlib
import math
import time

import pytest

from gateways.actuators import actuators, opcua_target, role
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.nvml_target import NvmlTarget
from gateways.listen import free_port
from gateways.nvml.library import LibraryNvml
from gateways.nvml.state import GPU_IS_LOST, NO_PERMISSION, NvmlState
from streams.record import Message
from streams.topics import COMMANDS, DEAD_LETTERS
from tests.gateways.actuators.plant import (
    PlantServer,
    by_command,
    command,
    make_site,
    receipts,
    running,
    send,
)
from tests.gateways.nvml.hosts import GPUS, make_context, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def settled(bus, *commands):
    """Wait for a receipt of each command; their statuses."""
    await until(lambda: all(value.id in by_command(bus) for value in commands))
    return [by_command(bus)[value.id][-1].status for value in commands]


async def restart(context):
    """The same machine and log, a new process."""
    return await make_context(context.settings.run_dir, context.site, "actuators", context.bus)


async def test_a_set_point_and_a_limit_are_written_and_read_back(context, server, state):
    speed, limit = command("P1.PumpSpeed", 80.0), command("R1-T2-G1.power_limit", 700.0)
    await send(context.bus, speed, limit)
    async with running(context):
        assert await settled(context.bus, speed, limit) == ["done", "done"]
    assert await server.value("P1.PumpSpeed") == 80.0
    assert state.field("power_limit_mw")[4] == 700_000
    first, second = by_command(context.bus)[speed.id], by_command(context.bus)[limit.id]
    assert (len(first), len(second)) == (1, 1)
    assert (first[0].read_back, second[0].read_back) == (80.0, 700.0)
    assert first[0].actuator == "P1.PumpSpeed"
    assert first[0].identity.source == "actuators"
    assert context.metrics["done"] == 2
    assert context.metrics["face"] == "simulated"
    assert context.metrics["latency_ms"]["p99"] is not None


async def test_values_take_the_type_of_the_node(context, server):
    wanted = {"V1.Float": 12.7, "V1.Whole": 17.0, "V1.Open": 1.0}
    commands = [command(name, value) for name, value in wanted.items()]
    await send(context.bus, *commands)
    async with running(context):
        assert await settled(context.bus, *commands) == ["done"] * 3
    assert await server.value("V1.Float") == pytest.approx(12.7, rel=1e-6)
    assert await server.value("V1.Whole") == 17
    assert await server.value("V1.Open") is True


async def test_many_at_once_all_get_one_receipt_and_the_last_value_stands(context, server, state):
    limits = [command(f"{gpu}.power_limit", 500.0 + step) for step in range(10) for gpu in GPUS]
    speeds = [command(f"P{pump}.PumpSpeed", step) for step in range(3) for pump in range(1, 21)]
    await send(context.bus, *limits, *speeds)
    async with running(context):
        assert set(await settled(context.bus, *limits, *speeds)) == {"done"}
    assert len(receipts(context.bus)) == len(limits) + len(speeds)
    assert state.field("power_limit_mw").tolist() == [509_000] * len(GPUS)
    assert await server.value("P20.PumpSpeed") == 2


async def test_a_repeat_is_dropped_and_counted(context, state):
    once = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, once, once)
    async with running(context):
        await settled(context.bus, once)
        await until(lambda: context.metrics.get("repeats") == 1)
        await send(context.bus, once)
        await until(lambda: context.metrics.get("repeats") == 2)
    again = await restart(context)
    async with running(again):
        await until(lambda: again.metrics.get("repeats") == 3)
        await send(context.bus, other := command("R1-T1-G2.power_limit", 900.0))
        await settled(context.bus, other)
    assert state.field("limit_writes").tolist()[:2] == [1, 1]
    assert len(by_command(context.bus)[once.id]) == 1


@pytest.mark.parametrize(
    ("actuator", "value", "extra", "status", "detail"),
    [
        ("R1-T1-G1.power_limit", 900.0, {"expires_s": -0.5}, "expired", "after its expiry"),
        ("R1-T1-G1.power_limit", 9000.0, {"expires_s": -0.5}, "expired", "after its expiry"),
        ("R1-T1-G1.power_limit", 499.0, {}, "refused", "out of range 500 to 1600 W"),
        ("R1-T1-G1.power_limit", 1601.0, {}, "refused", "out of range 500 to 1600 W"),
        ("P1.PumpSpeed", -1.0, {}, "refused", "out of range 0 to 100 percent"),
        ("P1.PumpSped", 50.0, {}, "refused", "did you mean 'P1.PumpSpeed'?"),
        ("R1-T1-G1.power_limit", 900.0, {"unit": "kW"}, "refused", "unit 'kW', the actuator's is 'W'"),
        ("P1.NotAtTheServer", 50.0, {}, "failed", "BadNodeIdUnknown"),
        ("P1.ReadOnly", 60.0, {}, "failed", "Bad"),
    ],
)
async def test_what_must_not_be_done_is_not_done_and_says_why(
    context, server, state, actuator, value, extra, status, detail
):
    wrong = command(actuator, value, **extra)
    await send(context.bus, wrong)
    async with running(context):
        assert await settled(context.bus, wrong) == [status]
    receipt = by_command(context.bus)[wrong.id][0]
    assert detail in receipt.detail
    assert receipt.read_back is None
    assert context.metrics[status] == 1
    assert state.field("limit_writes").sum() == 0
    assert await server.value("P1.PumpSpeed") == 50.0


async def test_a_value_that_is_no_number_is_refused():
    # The wire can't carry it; a judge that trusts the wire is one decoder away from writing it.
    site = make_site(1)
    worker = object.__new__(actuators.Actuators)
    worker._context = type("C", (), {"site": site})
    verdict = worker._judge(command("P1.PumpSpeed", math.nan), False, time.time_ns())
    assert verdict.status == "refused"


async def test_a_process_that_ends_between_mark_and_act_acts_after_its_restart(context, state, monkeypatch):
    lost = command("R1-T1-G1.power_limit", 900.0)

    async def die(self, tasks):
        raise RuntimeError("killed between mark and act")

    with monkeypatch.context() as patched:
        patched.setattr(NvmlTarget, "write", die)
        await send(context.bus, lost)
        with pytest.raises(RuntimeError, match="between mark and act"):
            await asyncio.wait_for(role.run(context), 60)
    assert receipts(context.bus) == []
    again = await restart(context)
    async with running(again):
        assert await settled(context.bus, lost) == ["done"]
    assert again.metrics["again"] == 1
    assert state.field("power_limit_mw")[0] == 900_000


async def test_after_its_expiry_a_marked_command_is_unknown(context, state):
    old = command("R1-T1-G1.power_limit", 900.0, expires_s=-1.0)
    ledger = CommandLedger(context.settings.run_dir / "actuators.sqlite")
    ledger.mark([(old.id, old.expires_ns)])
    ledger.close()
    await send(context.bus, old)
    async with running(context):
        assert await settled(context.bus, old) == ["unknown"]
    assert state.field("limit_writes").sum() == 0


async def test_a_receipt_that_the_log_never_had_is_said_again(context, state):
    done = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, done)
    context.bus.hold_acknowledgements()
    task = asyncio.create_task(role.run(context))
    await settled(context.bus, done)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    ledger = CommandLedger(context.settings.run_dir / "actuators.sqlite")
    known = ledger.known([done.id])
    ledger.close()
    # The publisher put it into its spool when it closed: then it is safe on disk, and may be told.
    assert known == {done.id: True}
    context.bus.release_acknowledgements()


async def test_the_log_starts_anew_and_nothing_is_done_twice(context, state):
    before = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, before)
    async with running(context):
        await settled(context.bus, before)
        context.bus.replace_log()
        after = command("R1-T1-G2.power_limit", 800.0)
        await send(context.bus, before, after)
        await settled(context.bus, after)
        await until(lambda: context.metrics.get("repeats") == 1)
    assert state.field("limit_writes").tolist()[:2] == [1, 1]


@pytest.mark.parametrize("foreign", ["product", "namespace"])
async def test_a_foreign_server_is_refused_in_words(context, server, monkeypatch, foreign):
    if foreign == "product":
        await server.say_product("urn:somebody:else")
    else:
        monkeypatch.setattr(opcua_target, "NAMESPACE_URI", "urn:a:namespace:that:it:lacks")
    wanted = command("P1.PumpSpeed", 80.0)
    await send(context.bus, wanted)
    async with running(context):
        assert await settled(context.bus, wanted) == ["refused"]
        await until(lambda: context.metrics["refuses"])
    assert list(context.metrics["refuses"].values()) == [receipts(context.bus)[0].detail]
    assert "is not Headrace's simulated plant" in receipts(context.bus)[0].detail
    assert await server.value("P1.PumpSpeed") == 50.0


async def test_a_real_driver_is_refused_in_words(context, monkeypatch):
    monkeypatch.setattr(role, "open_nvml", lambda run_dir: LibraryNvml(None))
    wanted = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, wanted)
    async with running(context):
        assert await settled(context.bus, wanted) == ["refused"]
        await until(lambda: context.metrics["refuses"])
    assert context.metrics["refuses"]["nvml"] == receipts(context.bus)[0].detail
    assert "no limits on real GPUs yet" in receipts(context.bus)[0].detail


async def test_a_gpu_that_fails_is_a_failed_command_for_it_alone(context, state):
    state.field("return_code")[0] = GPU_IS_LOST
    state.field("set_return_code")[1] = NO_PERMISSION
    commands = [command(f"{gpu}.power_limit", 900.0) for gpu in GPUS[:3]]
    await send(context.bus, *commands)
    async with running(context):
        assert await settled(context.bus, *commands) == ["failed", "failed", "done"]
    found = by_command(context.bus)
    assert "lost" in found[commands[0].id][0].detail
    assert "permission" in found[commands[1].id][0].detail


async def test_a_plant_of_another_site_is_not_limited(context, state, tmp_path):
    state = NvmlState.create(tmp_path / "nvml.state", [f"X{number}" for number in range(8)])
    wanted = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, wanted)
    async with running(context):
        assert await settled(context.bus, wanted) == ["failed"]
    assert "is not R1-T1-G1" in receipts(context.bus)[0].detail
    assert state.field("limit_writes").sum() == 0


async def test_a_server_that_comes_late_and_comes_back_is_written(tmp_path, state, monkeypatch):
    monkeypatch.setattr(opcua_target, "WAIT_FOR_SERVER_NS", 60_000_000_000)  # however slowly it comes
    port = free_port()
    first, second = await PlantServer(port).init(), await PlantServer(port).init()
    context = await make_context(tmp_path, make_site(port), "actuators")
    async with running(context):
        early = command("P1.PumpSpeed", 70.0)
        await send(context.bus, early)
        async with first as server:
            assert await settled(context.bus, early) == ["done"]
            assert await server.value("P1.PumpSpeed") == 70.0
        between = command("P1.PumpSpeed", 75.0)
        await send(context.bus, between)
        async with second as server:
            assert await settled(context.bus, between) == ["done"]
            assert await server.value("P1.PumpSpeed") == 75.0


async def test_a_server_that_stays_away_is_a_failed_command_and_holds_up_no_other(
    tmp_path, state, monkeypatch
):
    monkeypatch.setattr(opcua_target, "WAIT_FOR_SERVER_NS", 300_000_000)
    context = await make_context(tmp_path, make_site(free_port()), "actuators")
    away, limit = command("P1.PumpSpeed", 70.0), command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, away, limit)
    async with running(context):
        assert await settled(context.bus, limit, away) == ["done", "failed"]
    assert [receipt.command for receipt in receipts(context.bus)] == [limit.id, away.id]


async def test_what_cannot_be_read_goes_to_dead_letters_once(context):
    producer = await context.bus.producer("worker")
    for value in (b"garbage", b"garbage", b"{}"):
        headers = (("schema", b"command/1"),)
        await producer.send(Message(COMMANDS.name, 0, b"row-a", value, headers))
    good = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, good)
    async with running(context):
        assert await settled(context.bus, good) == ["done"]
    again = await restart(context)
    async with running(again):
        await until(lambda: again.metrics.get("repeats") == 1)
    letters = context.bus.records(DEAD_LETTERS.name)
    assert [letter.value for letter in letters] == [b"garbage", b"{}"]


async def test_a_broker_that_is_away_at_the_start_is_waited_for(context):
    wanted = command("R1-T1-G1.power_limit", 900.0)
    await send(context.bus, wanted)
    context.bus.go_away()
    async with running(context):
        await until(lambda: context.state == "degraded")
        context.bus.come_back()
        assert await settled(context.bus, wanted) == ["done"]
        assert context.state == "ready"
