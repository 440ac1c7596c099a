"""Commands that no trusted key has signed as they stand: refused, said, and no obstacle to those that one has."""

from dataclasses import replace

import orjson
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rules.engine.inputs import Receipt
from streams.command_signatures import SIGNATURE, CommandSigner, command_signer
from streams.keys import make_key
from streams.record import header
from streams.topics import COMMANDS
from streams.wire import OWNER_EPOCH, encode_output
from tests.gateways.actuators.plant import SECOND, by_command, command, receipts, running, send
from tests.gateways.nvml.hosts import make_context, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = "R1-T1-G1.power_limit"
OTHER = "R1-T1-G2.power_limit"


@pytest_asyncio.fixture(loop_scope="module")
async def signer(context, tmp_path):
    """The worker's; the actuators trust its key."""
    make_key(tmp_path / "worker.pem")
    context.settings.commands.trusted = [tmp_path / "worker.pem.pub"]
    return command_signer(tmp_path / "worker.pem", context.site.name)


async def put(bus, message):
    producer = await bus.producer("somebody")
    await producer.send(message)
    await producer.flush()


def forged(bus):
    """What the actuators say of forgeries."""
    return [one for one in receipts(bus) if one.command.startswith("forged:")]


async def test_what_the_workers_key_has_signed_is_done(context, state, signer):
    await send(context.bus, said := command(LIMIT, 600.0), epoch=8, signer=signer)
    async with running(context):
        await until(lambda: said.id in by_command(context.bus))
        assert context.metrics["signed"]
    assert [one.status for one in by_command(context.bus)[said.id]] == ["done"]
    assert state.field("power_limit_mw")[0] == 600_000
    assert context.metrics["forged"] == 0


def changed(headers, name, value):
    return tuple((one, value if one == name else was) for one, was in headers)


def unsigned(message, _):
    return replace(message, headers=tuple(one for one in message.headers if one[0] != SIGNATURE))


def of_another_key(message, site):
    return CommandSigner(Ed25519PrivateKey.generate(), site).signed(unsigned(message, site))


def with_another_value(message, _):
    return replace(message, value=message.value.replace(b"600.0", b"999.0"))


def with_a_later_expiry(message, _):
    said = orjson.loads(message.value)
    said["body"]["expires_ns"] += 3600 * SECOND
    return replace(message, value=orjson.dumps(said, option=orjson.OPT_SORT_KEYS))


def with_a_higher_epoch(message, _):
    return replace(message, headers=changed(message.headers, OWNER_EPOCH, b"4000000000000000000"))


def without_an_epoch(message, _):
    return replace(message, headers=tuple(one for one in message.headers if one[0] != OWNER_EPOCH))


def with_another_name_of_the_key(message, _):
    value = header(message.headers, SIGNATURE)
    return replace(message, headers=changed(message.headers, SIGNATURE, b"0" * 16 + value[16:]))


def with_half_a_signature(message, _):
    return replace(
        message, headers=changed(message.headers, SIGNATURE, header(message.headers, SIGNATURE)[:60])
    )


def with_a_signature_that_is_no_text(message, _):
    return replace(message, headers=changed(message.headers, SIGNATURE, b"\xff\xfe"))


FORGERIES = [
    (unsigned, "it is not signed"),
    (of_another_key, "no trusted key is called"),
    (with_another_name_of_the_key, "no trusted key is called '0000000000000000'"),
    (with_another_value, "it is not what key"),
    (with_a_later_expiry, "it is not what key"),
    (with_a_higher_epoch, "it is not what key"),
    (without_an_epoch, "it is not what key"),
    (with_half_a_signature, "it is not what key"),
    (with_a_signature_that_is_no_text, "no trusted key is called"),
]


@pytest.mark.parametrize(("forge", "reason"), FORGERIES, ids=lambda one: getattr(one, "__name__", ""))
async def test_a_forgery_is_refused_and_stands_in_no_commands_way(context, state, signer, forge, reason):
    genuine = command(LIMIT, 600.0)
    message = signer.signed(encode_output(genuine, 3, 8))
    forgery = forge(message, context.site.name)
    for _ in range(2):
        await put(context.bus, forgery)
    async with running(context):
        await until(lambda: context.metrics.get("repeats") == 1 and forged(context.bus))
        assert context.metrics["forged"] == 1
        assert state.field("limit_writes")[0] == 0
        await put(context.bus, message)
        await until(lambda: genuine.id in by_command(context.bus))
    (said,) = forged(context.bus)
    assert (said.status, said.actuator, said.unit) == ("refused", LIMIT, "row-a")
    assert said.detail.startswith(f"forged: {reason}")
    assert genuine.id in said.detail
    assert [one.status for one in by_command(context.bus)[genuine.id]] == ["done"]
    assert state.field("power_limit_mw")[0] == 600_000


async def test_what_was_signed_for_another_site_is_nothing_here(context, state, signer, tmp_path):
    elsewhere = command_signer(tmp_path / "worker.pem", "elsewhere")
    await send(context.bus, command(LIMIT, 600.0), epoch=8, signer=elsewhere)
    async with running(context):
        await until(lambda: forged(context.bus))
    assert state.field("limit_writes")[0] == 0


async def test_what_comes_again_is_a_repeat_and_what_is_too_old_is_expired(context, state, signer):
    said, late = command(LIMIT, 600.0), command(OTHER, 700.0, expires_s=-1.0)
    for _ in range(3):
        await send(context.bus, said, epoch=8, signer=signer)
    await send(context.bus, late, epoch=8, signer=signer)
    async with running(context):
        await until(lambda: late.id in by_command(context.bus))
        await until(lambda: context.metrics.get("repeats") == 2)
    assert [one.status for one in by_command(context.bus)[said.id]] == ["done"]
    assert [one.status for one in by_command(context.bus)[late.id]] == ["expired"]
    assert state.field("limit_writes").tolist()[:2] == [1, 0]


async def test_a_told_command_under_a_higher_epoch_fences_nobody(context, state, signer):
    """Its id makes it a repeat before anybody looks at its signature, so its epoch counts for nothing."""
    await send(context.bus, told := command(LIMIT, 600.0), epoch=8, signer=signer)
    async with running(context):
        await until(lambda: told.id in by_command(context.bus))
    again = await make_context(context.settings.run_dir, context.site, "actuators", context.bus)
    again.settings.commands.trusted = context.settings.commands.trusted
    await put(again.bus, with_a_higher_epoch(signer.signed(encode_output(told, 3, 8)), None))
    await send(again.bus, next_one := command(OTHER, 700.0), epoch=8, signer=signer)
    async with running(again):
        await until(lambda: next_one.id in by_command(again.bus))
    assert [one.status for one in by_command(again.bus)[next_one.id]] == ["done"]


async def test_a_forgery_for_a_unit_that_there_is_none_is_counted_alone(context, state, signer):
    elsewhere = replace(command(LIMIT, 600.0), unit="nowhere")
    await send(context.bus, elsewhere)
    async with running(context):
        await until(lambda: context.metrics.get("forged") == 1)
        await send(context.bus, said := command(OTHER, 700.0), epoch=8, signer=signer)
        await until(lambda: said.id in by_command(context.bus))
    assert {one.unit for one in receipts(context.bus) if isinstance(one, Receipt)} == {"row-a"}


async def test_a_start_refuses_no_forgery_a_second_time(context, state, signer):
    await send(context.bus, command(LIMIT, 600.0))
    async with running(context):
        await until(lambda: forged(context.bus))
    again = await make_context(context.settings.run_dir, context.site, "actuators", context.bus)
    again.settings.commands.trusted = context.settings.commands.trusted
    async with running(again):
        await send(again.bus, said := command(OTHER, 700.0), epoch=8, signer=signer)
        await until(lambda: said.id in by_command(again.bus))
        assert (again.metrics["forged"], again.metrics["repeats"]) == (0, 1)
    assert len(forged(again.bus)) == 1


async def test_without_keys_every_command_of_the_log_is_believed(context, state):
    await send(context.bus, said := command(LIMIT, 600.0))
    async with running(context):
        await until(lambda: said.id in by_command(context.bus))
    assert state.field("power_limit_mw")[0] == 600_000
    assert not context.metrics["signed"]
    assert context.bus.records(COMMANDS.name)
