"""What a worker has ready when an activation asks for it; the process aside is a real one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from rules.engine import kept_tables
from rules.engine.tables import Compiled
from rules.errors import HeadraceError, InvariantError
from streams.bus.memory import MemoryBus
from streams.rule_sets import prepared_rules
from streams.rule_sets.kept_rules import KeptRules
from streams.rule_sets.prepare_rules import prepare_aside
from streams.rule_sets.prepared_rules import KEPT, PreparedRules
from streams.rule_sets.rule_set import UNKNOWN, RuleSet, rule_set_message
from streams.topics import RULE_SETS, TOPICS
from tests.streams.rule_sets.narrow import SITE, SLOW, TWO, rule_set

NOWHERE = Path("/dev/null/tables")
OTHER = rule_set(SLOW.replace("50", "60"))


async def prepared(*published: RuleSet, folder: Path = NOWHERE) -> tuple[PreparedRules, MemoryBus]:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 2)
    await publish(bus, *published)
    site = rule_set().load_site()
    return PreparedRules(bus, site, rule_set(), folder, {}), bus


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


async def nobody(*_: object) -> dict[str, bytes]:
    raise AssertionError("another process was asked")


async def test_who_starts_again_has_what_was_made_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = await prepared(OTHER, folder=tmp_path)
    made = await before.rules_of(OTHER.digest, "hall")
    monkeypatch.setattr(prepared_rules, "prepare_aside", nobody)
    again, _ = await prepared(OTHER, folder=tmp_path)
    found = await again.rules_of(OTHER.digest, "hall")
    assert isinstance(made, Compiled)
    assert isinstance(found, Compiled)
    assert kept_tables.pack(found, {}) == kept_tables.pack(made, {})


def ask_and_end(folder: Path) -> None:
    """The process aside writes its answer to a pipe that nobody reads any more."""
    hears, says = os.pipe()
    os.close(hears)
    asked = {
        "files": dict(OTHER.files),
        "site_digest": OTHER.site_digest,
        "units": ["hall"],
        "folder": str(folder),
    }
    command = [sys.executable, "-m", "streams.rule_sets.prepare_rules"]
    ended = subprocess.run(
        command, input=orjson.dumps(asked), stdout=says, stderr=subprocess.DEVNULL, check=False
    )
    os.close(says)
    assert ended.returncode != 0


async def test_who_asks_may_end_and_what_is_made_is_there_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_and_end(tmp_path)
    monkeypatch.setattr(prepared_rules, "prepare_aside", nobody)
    again, _ = await prepared(OTHER, folder=tmp_path)
    assert isinstance(await again.rules_of(OTHER.digest, "hall"), Compiled)


async def test_ctrl_c_of_who_asked_is_not_for_the_process_aside(tmp_path: Path) -> None:
    """It is sent to the whole group."""
    others = set(psutil.Process().children())  # of other tests
    aside = asyncio.create_task(prepare_aside(OTHER, OTHER.site_digest, ["hall"], tmp_path))
    while not (started := set(psutil.Process().children()) - others):
        await asyncio.sleep(0.01)
    (child,) = started
    assert os.getpgid(child.pid) == child.pid
    aside.cancel()
    with pytest.raises(asyncio.CancelledError):
        await aside
    assert not child.is_running()


async def test_who_asked_may_be_cancelled_before_it_has_begun(tmp_path: Path) -> None:
    """asyncio's own processes wait for ever then: a worker that is told to end would not."""
    aside = asyncio.create_task(prepare_aside(OTHER, OTHER.site_digest, ["hall"], tmp_path))
    await asyncio.sleep(0)
    aside.cancel()
    done, _ = await asyncio.wait([aside], timeout=120)
    assert done == {aside}
    assert aside.cancelled()


def damage(folder: Path, unit: str) -> None:
    [file] = folder.glob(f"*/{unit}.tables")
    file.write_bytes(file.read_bytes()[:-1])


async def test_only_what_is_missing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    async def answers(*of: Any) -> dict[str, bytes] | str:
        asked.append(of[2])
        return await prepare_aside(*of)

    monkeypatch.setattr(prepared_rules, "prepare_aside", answers)
    first, other = rule_set(site=TWO), rule_set(SLOW.replace("50", "60"), TWO)
    for _ in range(2):
        rules = PreparedRules(MemoryBus(), first.load_site(), first, tmp_path, {other.digest: other})
        tables = await rules.rules_of(other.digest, "hall")
        assert isinstance(tables, Compiled)
        assert tables.assets == ("P-1",)
        damage(tmp_path, "hall")
    assert asked == [["hall", "annex"], ["hall"]]


async def test_what_another_site_keeps_there_is_not_taken_for_its_own(tmp_path: Path) -> None:
    elsewhere = rule_set(site=SITE.replace("P-1", "P-2"))
    KeptRules(elsewhere, elsewhere.load_site(), tmp_path).tables("hall")
    rules, _ = await prepared(elsewhere, folder=tmp_path)
    assert str(await rules.rules_of(elsewhere.digest, "hall")).startswith("it is for another site file")


async def test_what_is_published_gets_ready_by_itself() -> None:
    rules, bus = await prepared()
    failures: list[BaseException] = []
    following = asyncio.create_task(rules.follow(failures.append))
    await publish(bus, OTHER)
    async with asyncio.timeout(180):
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


async def refused(*_: object) -> str:
    return "it is refused"


async def test_only_the_last_ones_are_kept_and_what_nobody_has_published_takes_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepared_rules, "prepare_aside", refused)
    others = [rule_set(SLOW.replace("50", str(60 + number))) for number in range(KEPT + 1)]
    rules, _ = await prepared(*others)
    for one in others:
        assert await rules.rules_of(one.digest, "hall") == "it is refused"
    assert await rules.rules_of("nowhere", "hall") == UNKNOWN
    assert rules.ready == sorted([rule_set().digest, *(one.digest for one in others[1:])])


async def test_what_was_unknown_is_ready_when_it_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_rules, "prepare_aside", refused)
    rules, bus = await prepared()
    assert await rules.rules_of(OTHER.digest, "hall") == UNKNOWN
    await publish(bus, OTHER)
    assert await rules.rules_of(OTHER.digest, "hall") == "it is refused"


async def test_a_process_that_fails_is_no_refusal() -> None:
    with pytest.raises(InvariantError, match="ended"):
        await prepare_aside(rule_set(), rule_set().load()[0].digest, ["no such unit"], NOWHERE)


async def test_the_first_rules_are_published_once_and_only_where_the_log_lacks_them() -> None:
    rules, bus = await prepared()
    for _ in range(2):
        await rules.publish_first(await bus.producer("test"))
    assert [record.key for record in bus.records(RULE_SETS.name)] == [rule_set().digest.encode()]
    known = PreparedRules(bus, rule_set().load_site(), rule_set(), NOWHERE, {rule_set().digest: rule_set()})
    await known.publish_first(await bus.producer("test"))
    assert len(bus.records(RULE_SETS.name)) == 1
