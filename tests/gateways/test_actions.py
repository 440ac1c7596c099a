"""The sender of actions: answers to many at once, signed and not, and what is never answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways import actions
from gateways.actions import ActionSender, Wanted, action_sender
from rules.engine.engine import Engine
from rules.engine.inputs import Input
from rules.engine.outputs import Alarm
from rules.errors import UnreachableError
from streams.bus.memory import MemoryBus, MemoryReader
from streams.replay_mark import Mark, mark_log
from streams.topics import EVENTS, TOPICS
from streams.wire import decode_input, encode_output
from tests.rules.access.people import key_of, listing
from tests.rules.engine.plant import START, UNIT, flow, program, site, tick

RULES = """
  low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    message: "{asset}"
"""


class Plant:
    """A log, and an engine that answers while `works`."""

    def __init__(self, *first: Input) -> None:
        self.bus = MemoryBus()
        self.engine = Engine(program(RULES), site(), UNIT)
        self.raised = {
            one.asset: one.raised_id
            for one in self.engine.step(
                [tick(START), *first, flow(1, START, 60), flow(2, START, 60, point="R2.RackLiquidFlow")]
            )
            if isinstance(one, Alarm)
        }

    async def work(self) -> None:
        reader, producer = await self.bus.reader([EVENTS.name]), await self.bus.producer("worker")
        while True:
            for record in await reader.read(0.01):
                value = decode_input(record.key, record.headers, record.value)
                for output in self.engine.step([value]):
                    await producer.send(encode_output(output, 3))

    @asynccontextmanager
    async def sender(
        self, name: str = "eva", key: Ed25519PrivateKey | None = None, works: bool = True
    ) -> AsyncIterator[ActionSender]:
        await self.bus.create_topics(TOPICS, 3)
        working = asyncio.create_task(self.work()) if works else None
        async with action_sender(self.bus, site(), name, key, lambda: START) as sender:
            yield sender
        if working is not None:
            working.cancel()


def wanted(plant: Plant, asset: str = "R1", by: str = "eva") -> Wanted:
    return Wanted("acknowledge", UNIT, "low", asset, by, "seen", plant.raised[asset])


async def test_each_of_many_at_once_has_its_own_answer() -> None:
    plant = Plant()
    async with plant.sender() as sender:
        asked = [
            *(wanted(plant, asset) for asset in ("R1", "R2")),
            *[wanted(plant)._replace(kind="comment")] * 20,
        ]
        answers = await asyncio.gather(
            *map(sender.act, asked), sender.act(wanted(plant)._replace(rule="other"))
        )
    assert [one.kind for one in answers] == ["alarm-acknowledged"] * 2 + ["alarm-commented"] * 20 + [
        "action-refused"
    ]
    assert [one.alarm for one in answers[:2]] == [f"{UNIT}:low:R1", f"{UNIT}:low:R2"]
    assert answers[-1].reason == "there is no such alarm"
    assert plant.engine.counters["repeats"] == plant.engine.counters["gaps"] == 0


async def test_an_edge_signs_for_others_and_what_it_may_not_is_refused() -> None:
    plant = Plant(listing())
    async with plant.sender("scada", key_of("scada")) as sender:
        assert (await sender.act(wanted(plant))).kind == "alarm-acknowledged"
        assert (await sender.act(wanted(plant, by="vic"))).reason.startswith("'vic' may not do that")
        assert (await sender.act(wanted(plant, by=""))).reason == "'' is not on the access list"


@pytest.mark.parametrize(("name", "key"), [("eva", None), ("eva", "otto"), ("mallory", "mallory")])
async def test_the_answer_to_what_is_not_believed_is_heard_as_well(name: str, key: str | None) -> None:
    plant = Plant(listing())
    async with plant.sender(name, None if key is None else key_of(key)) as sender:
        answer = await sender.act(wanted(plant))
    assert answer.kind == "action-refused"
    assert answer.reason in (
        "it is not signed",
        "its signature is of no key of 'eva', or it was altered",
        "its signer is not on the access list",
    )


async def test_without_a_worker_nobody_answers() -> None:
    plant = Plant()
    async with plant.sender(works=False) as sender:
        with pytest.raises(UnreachableError, match="no answer within 0 s on row:low:R1"):
            await sender.act(wanted(plant), within_s=0.05)
        assert sender._waiting == {}


async def test_a_journal_that_could_not_be_read_is_heard_again(monkeypatch: pytest.MonkeyPatch) -> None:
    plant, away = Plant(), AsyncMock(side_effect=UnreachableError("the broker is away"))
    monkeypatch.setattr(actions, "AGAIN_S", 0.0)
    monkeypatch.setattr(actions, "_READ_S", 0.001)
    words = "the journal can't be read now: the broker is away"
    async with asyncio.timeout(120), plant.sender(works=False) as sender:
        with monkeypatch.context() as broken:
            broken.setattr(MemoryReader, "read", away)
            for _ in range(2):
                with pytest.raises(UnreachableError, match=words):
                    await sender.act(wanted(plant))
            broken.setattr(MemoryBus, "reader", away)
            with pytest.raises(UnreachableError, match=words):
                await sender.act(wanted(plant))
        while sender._failure is not None:
            await asyncio.sleep(0)
        working = asyncio.create_task(plant.work())
        assert (await sender.act(wanted(plant)._replace(kind="comment"))).kind == "alarm-commented"
        working.cancel()


async def test_on_the_log_of_a_replay_nobody_acts() -> None:
    plant = Plant()
    await plant.bus.create_topics(TOPICS, 3)
    await mark_log(plant.bus, Mark("run", False))
    with pytest.raises(UnreachableError, match="a replay of run runs there"):
        async with plant.sender():
            pass
