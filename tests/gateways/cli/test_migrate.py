"""What `headrace migrate --check` says of what another version left: on the log, as state, on the disk."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from gateways.actuators import ledger
from gateways.actuators.ledger import CommandLedger
from gateways.cli.migrate import check_files, check_snapshots, check_topic, differences
from rules.engine.engine import Engine
from rules.engine.inputs import Gap, Identity, Tick
from streams.bus.memory import MemoryBus
from streams.publisher.spool import Spool
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site
from streams.snapshots import Snapshot, snapshot_messages
from streams.topics import EVENTS, OWNERS, TOPICS
from streams.wire import encode_input

SITE = Path("examples/narvik-small")


@pytest.fixture
async def bus() -> MemoryBus:
    made = MemoryBus()
    await made.create_topics(TOPICS, 3)
    return made


async def test_what_can_be_read_is_fine(bus: MemoryBus) -> None:
    bus.append(encode_input(Tick("row-a", Identity("ticker", 0, 5), 5_000_000_000), 3))
    found = await check_topic(bus, EVENTS)
    assert (found.word, found.found) == ("ok", "1 newest records can be read")


async def test_records_of_a_later_version_are_counted_and_named(bus: MemoryBus) -> None:
    good = encode_input(Tick("row-a", Identity("ticker", 0, 5), 5_000_000_000), 3)
    later = (good.value or b"").replace(b"tick/1", b"tick/9")
    bus.append(good)
    bus.append(dataclasses.replace(good, value=later, headers=(("schema", b"tick/9"), *good.headers[1:])))
    found = await check_topic(bus, EVENTS)
    assert found.word == "wrong"
    assert found.found.startswith("1 of 2: schema tick/9: ")
    assert "dead letters" in found.advice


async def test_a_topic_that_a_later_version_has_is_missed(bus: MemoryBus) -> None:
    less = MemoryBus()
    await less.create_topics([topic for topic in TOPICS if topic is not OWNERS], 3)
    found = await check_topic(less, OWNERS)
    assert (found.word, found.advice) == ("wrong", "headrace topics apply")


async def test_a_state_of_another_format_is_named_by_its_unit(bus: MemoryBus) -> None:
    site = load_site(SITE)
    state = Engine(load_program(SITE, site), site, "row-a").snapshot()
    for unit, image in (("row-a", state), ("row-b", b"HRSNAP99" + state[8:])):
        chunks, manifest = snapshot_messages(Snapshot(unit, 1, 7, "log", "rules", "site", image), 3)
        for message in (*chunks, manifest):
            bus.append(message)
    words = {check.name: check for check in await check_snapshots(bus, site)}
    assert words["state of row-a"].word == "ok"
    assert words["state of row-b"].word == "wrong"
    assert "no snapshot of this version" in words["state of row-b"].found
    assert {check.word for name, check in words.items() if name not in {"state of row-b"}} == {"ok"}


def test_a_folder_without_files_is_no_role_s(tmp_path: Path) -> None:
    [found] = check_files(tmp_path)
    assert (found.name, found.word) == ("run folder", "ok")
    assert str(tmp_path) in found.found


def test_files_of_this_version_are_fine(tmp_path: Path) -> None:
    CommandLedger(tmp_path / "actuators.sqlite").close()
    assert [(check.name, check.word) for check in check_files(tmp_path)] == [("actuators.sqlite", "ok")]


def test_a_spool_of_an_earlier_version_is_taken_and_one_of_a_later_is_not(tmp_path: Path) -> None:
    file = tmp_path / "spool" / "plant.sqlite"
    spool = Spool(file, "plant", 10**6, 1)
    spool.put(Gap("row-a", Identity("", 0, 0), "disconnected", 1, 2, 3))
    spool.close()
    found = []
    for change in (
        None,
        "alter table records drop column epoch",
        "alter table records add column later text",
    ):
        with sqlite3.connect(file) as database:
            database.execute(change or "select 1")
        found += check_files(tmp_path)
    assert [(check.name, check.word) for check in found] == [
        ("spool/plant.sqlite", word) for word in ("ok", "ok", "wrong")
    ]


def test_a_file_with_other_columns_is_named_with_both(tmp_path: Path) -> None:
    file = tmp_path / "actuators.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("create table commands (id text primary key, expires_ns integer not null)")
    [found] = check_files(tmp_path)
    assert found.word == "wrong"
    assert "table 'commands' has columns id TEXT, expires_ns INTEGER, not id TEXT, " in found.found


def test_a_spooled_record_that_cannot_be_sent_is_told(tmp_path: Path) -> None:
    file = tmp_path / "spool" / "plant.sqlite"
    spool = Spool(file, "plant", 1_000_000, 5)
    for number in range(3):
        spool.put(Gap("row-a", Identity("plant", 5, number), "disconnected", 0, 1, 1))
    spool.close()
    assert [check.word for check in check_files(tmp_path)] == ["ok"]
    with sqlite3.connect(file) as database:
        database.execute("update records set value = substr(value, 2) where id = 2")
        database.execute("update records set headers = substr(headers, 2) where id = 3")
    [found] = check_files(tmp_path)
    assert (found.name, found.word) == ("spool/plant.sqlite", "warning"), "no version would read them"
    bad_json, damaged = sorted(found.found.split("; "))
    assert bad_json.startswith("1 records: bad-json: ")
    assert damaged.startswith("1 records: damaged: ")
    with sqlite3.connect(file) as database:
        database.execute("update records set headers = replace(headers, 'gap/1', 'gap/9') where id = 1")
    [found] = check_files(tmp_path)
    assert found.word == "wrong"
    assert "1 records: unknown-schema: gap/9" in found.found
    assert "bad-json" in found.found
    assert "let the version that wrote it go on" in found.advice


@pytest.mark.parametrize("folder", ["a?b", "a%41b", "a#b"])
def test_a_path_means_what_it_says(tmp_path: Path, folder: str) -> None:
    for name, change in (("aAb", "select 1"), ("a", "select 1"), (folder, "create table commands (id text)")):
        (tmp_path / name).mkdir()
        with sqlite3.connect(tmp_path / name / "actuators.sqlite") as database:
            database.execute(change)
    [found] = check_files(tmp_path / folder)
    assert (found.word, "table 'commands' has columns id TEXT, not" in found.found) == ("wrong", True)


def test_a_table_that_lacks_is_made_at_a_start(tmp_path: Path) -> None:
    file = tmp_path / "old.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("create table other (id text)")
    assert differences(file, ledger.SCHEMA) == []
