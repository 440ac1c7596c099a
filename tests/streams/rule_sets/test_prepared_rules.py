"""What a worker has ready when an activation asks for it; the process aside is a real one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rules.engine.tables import Compiled
from rules.errors import HeadraceError, InvariantError
from streams.bus_memory import MemoryBus
from streams.kept_rules import KeptRules
from streams.prepare_rules import prepare_aside
from streams.prepared_rules import KEPT, PreparedRules
from streams.rule_set import UNKNOWN, RuleSet, rule_set_message
from streams.topics import TOPICS
from tests.streams.rule_sets.narrow import SITE, SLOW, rule_set

NOWHERE = Path("/dev/null/tables")
OTHER = rule_set(SLOW.replace("50", "60"))


async def prepared(*published: RuleSet) -> tuple[PreparedRules, MemoryBus]:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 2)
    await publish(bus, *published)
    site = rule_set().load_site()
    return PreparedRules(bus, site, rule_set(), KeptRules(rule_set(), site, NOWHERE), {}), bus


async def publish(bus: MemoryBus, *rule_sets: RuleSet) -> None:
    producer = await bus.producer("test")
    for one in rule_sets:
        await (await producer.send(rule_set_message(one)))


async def test_an_activation_waits_for_what_was_not_ready_and_is_counted() -> None:
    rules, _ = await prepared(OTHER)
    made = await rules.rules_of(OTHER.digest, "hall")
    assert isinstance(made, Compiled)
    assert made.rules[0].definition == OTHER.load()[1].rules[0].definition
    assert await rules.rules_of(OTHER.digest, "hall") is made
    assert rules.waits == 1


async def test_what_is_published_gets_ready_by_itself() -> None:
    rules, bus = await prepared()
    failures: list[BaseException] = []
    following = asyncio.create_task(rules.follow(failures.append))
    await publish(bus, OTHER)
    async with asyncio.timeout(60):
        while OTHER.digest not in rules.ready:
            await asyncio.sleep(0.01)
    following.cancel()
    assert isinstance(await rules.rules_of(OTHER.digest, "hall"), Compiled)
    assert (rules.waits, failures) == (0, [])


async def test_what_can_not_rule_is_refused_with_its_reason() -> None:
    wrong = rule_set(SLOW.replace("PumpSpeed <", "PumpSped <"))
    elsewhere = rule_set(site=SITE.replace("P-1", "P-2"))
    rules, _ = await prepared(wrong, elsewhere)
    assert str(await rules.rules_of(wrong.digest, "hall")).startswith("rules/pumps.yaml:")
    assert str(await rules.rules_of(elsewhere.digest, "hall")).startswith("it is for another site file")
    assert await rules.rules_of("nowhere", "hall") == UNKNOWN


async def test_an_engine_of_a_snapshot_has_the_rules_of_then() -> None:
    rules, _ = await prepared(OTHER)
    await rules.rules_of(OTHER.digest, "hall")
    assert rules.new_engine("hall", OTHER.digest).rules_digest == OTHER.digest
    assert rules.new_engine("hall").rules_digest == rule_set().digest
    with pytest.raises(HeadraceError, match=UNKNOWN):
        rules.new_engine("hall", "nowhere")


async def test_only_the_last_ones_are_kept() -> None:
    rules, _ = await prepared()
    for number in range(KEPT + 1):
        await rules.prepare(f"unknown-{number}")
    assert rules.ready == sorted([rule_set().digest, *(f"unknown-{n}" for n in range(1, KEPT + 1))])


async def test_a_process_that_fails_is_no_refusal() -> None:
    with pytest.raises(InvariantError, match="ended"):
        await prepare_aside(rule_set(), rule_set().load()[0].digest, ["no such unit"])
