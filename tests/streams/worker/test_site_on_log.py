"""A log belongs to one site file: who has another one does not begin, unless it is to follow the one that is there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from rules.errors import ConfigurationError
from streams.bus.memory import MemoryBus
from streams.record import TopicPartition
from streams.role import RoleContext
from streams.rule_sets.rule_set import published_rule_sets, rule_set_message, taken_up
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.snapshots import Snapshot, last_snapshots, log_ids, read_snapshots
from streams.topics import EVENTS, JOURNAL, OWNERS, partition_of
from streams.worker import role as worker
from streams.worker.site_on_log import SiteOnLog
from tests.streams.rule_sets.narrow import SITE, rule_set
from tests.streams.worker.scenario import (
    PARTITIONS,
    UNITS,
    Plant,
    activation,
    bus_with,
    inputs,
    readings,
    small_site,
)
from tests.streams.worker.test_snapshots import snapshot, written
from tests.streams.worker.test_two_units import TwoUnits, a_day, two_units

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"


async def worked(folder: Path) -> Plant:
    """A log on which a worker has stopped, and the site file changed since."""
    plant = await Plant(folder).ready()
    await plant.send(*inputs(10))
    await plant.run()
    plant.site = small_site("site-2")
    return plant


def records(bus: MemoryBus) -> int:
    return sum(len(bus.records(topic)) for topic in ("events", "snapshots", "journal", "alarms", "rule-sets"))


async def test_a_changed_site_file_does_not_begin(tmp_path: Path) -> None:
    plant = await worked(tmp_path)
    before = records(plant.bus)
    with pytest.raises(
        ConfigurationError, match=r"site-1.* rules on this log, .*site-2.*replaces_site"
    ) as said:
        await plant.worker()
    assert "worker.replaces_site to" in said.value.findings[0].hint
    assert records(plant.bus) == before


async def test_the_one_that_it_is_to_follow_gives_way_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant = await worked(tmp_path)
    plant.replaces_site = "site-1"
    processor = await plant.worker()
    assert processor.metrics()["site_files_replaced"] == len(UNITS)
    assert [one.levelname for one in caplog.records if "replaces_site" in one.getMessage()] == [
        "WARNING"
    ] * len(UNITS)
    ends = {place.partition: end for place, end in (await plant.bus.ends(EVENTS.name)).items()}
    assert plant.starts[-1] == ends, "its state goes on where it was"
    assert {(one.unit, one.site_digest) for one in (await _snapshots(plant.bus)).values()} == {
        (unit, "site-2") for unit in UNITS
    }
    await processor.revoke()
    assert (await plant.worker()).counts.site_files_replaced == 0
    plant.site = small_site("site-1")
    with pytest.raises(ConfigurationError, match=r"site-2.* rules on this log"):
        await plant.worker()


async def test_a_unit_that_is_added_has_nobody_wait_for_the_past_of_its_partition(tmp_path: Path) -> None:
    plant = await worked(tmp_path)
    place = TopicPartition(EVENTS.name, partition_of("row-b", PARTITIONS))
    plant.bus.truncate(place, 5)
    end = plant.bus.end(place)
    added = next(f"x{n}" for n in range(99) if partition_of(f"x{n}", PARTITIONS) == place.partition)
    await plant.send(readings("row-b", 11), readings(added, 1), readings("row-b", 12))
    plant.site = small_site("site-2", [*UNITS, added])
    plant.replaces_site = "site-1"
    processor = await plant.worker()
    assert processor.positions()[place.partition] == end
    await plant.feed(processor)
    assert processor.counts.skipped_offsets == 0
    assert f"{added}:plant:7:1:0" in plant.outputs()
    await processor.finish()
    processor = await plant.worker()
    assert processor.positions()[place.partition] == plant.bus.end(place)
    assert processor.counts.restores == len(UNITS) + 1


async def test_a_partition_without_units_is_read_from_its_end(tmp_path: Path) -> None:
    plant = await worked(tmp_path)
    gone = partition_of("row-b", PARTITIONS)
    units = [unit for unit in UNITS if partition_of(unit, PARTITIONS) != gone]
    plant.site = small_site("site-2", units)
    plant.replaces_site = "site-1"
    for sequence in (11, 12):
        processor = await plant.worker()
        await plant.feed(processor)
        assert len(plant.dead_letters()) == sequence - 11
        await plant.send(readings("row-b", sequence))  # nobody's
        await plant.feed(processor)
        await processor.finish()
        assert plant.dead_letters()[-1][0] == b"unknown-unit"


async def test_another_one_than_was_named_does_not_give_way(tmp_path: Path) -> None:
    plant = await worked(tmp_path)
    plant.replaces_site = "site-0"
    with pytest.raises(ConfigurationError, match=r"site-1.* rules on this log"):
        await plant.worker()


async def test_another_site_is_refused_whatever_is_set() -> None:
    narvik = rule_set(site=SITE.replace("name: small", "name: other"))
    bus = await bus_with(rule_set_message(narvik))
    mine = rule_set().load_site()
    with pytest.raises(ConfigurationError, match=r"this log is of site 'other'.*this is site 'small'"):
        await SiteOnLog(bus, mine, "").look()
    for message in written(snapshot(1, unit="hall", site_digest=narvik.site_digest)):
        await (await (await bus.producer("test")).send(message))
    for on_log in (SiteOnLog(bus, mine, ""), SiteOnLog(bus, mine, narvik.site_digest)):
        with pytest.raises(ConfigurationError, match=r"this log is of site 'other'.*this is site 'small'"):
            await on_log.look()
        with pytest.raises(ConfigurationError, match="this log is of site 'other'"):
            await on_log.is_replaced(narvik.site_digest)
    await SiteOnLog(bus, narvik.load_site(), "").look()


def of(unit: str, number: int, site: str) -> Snapshot:
    return snapshot(number, unit=unit, site_digest=site)


async def test_a_unit_that_the_site_file_has_no_more_says_nothing_of_it() -> None:
    gone = next(
        name
        for n in range(99)
        if partition_of(name := f"x{n}", PARTITIONS) != partition_of("row-a", PARTITIONS)
    )
    site = small_site("site-2", ["row-a"])
    bus = await bus_with(*written(of(gone, 1, "site-1")))
    with pytest.raises(ConfigurationError, match="site-1"):  # nobody of this file has been here
        await SiteOnLog(bus, site, "").look()
    for message in written(of("row-a", 2, "site-2")):
        await (await (await bus.producer("test")).send(message))
    await SiteOnLog(bus, site, "").look()
    assert {one.unit for one in await last_snapshots(bus, ())} == {gone, "row-a"}


async def test_the_last_complete_ones_of_a_partition_are_found_behind_torn_ones_and_nonsense() -> None:
    torn = written(snapshot(2, b"x" * 40 * 900_000))[:-1]
    *_, bad = written(snapshot(3))
    bus = await bus_with(*written(snapshot(1)), *torn, replace(bad, value=b'{"unit": 1}'))
    assert [(one.unit, one.number) for one in await last_snapshots(bus, ())] == [("row-a", 1)]
    assert await last_snapshots(await bus_with(), ()) == []


async def test_a_manifest_that_closes_nothing_keeps_nobody_from_beginning() -> None:
    *_, manifest = written(replace(of("row-a", 2, "another"), state=b"chunks that nobody has"))
    bus = await bus_with(*written(of("row-a", 1, "site-1")), manifest)
    await SiteOnLog(bus, small_site(), "").look()
    for message in written(of("row-a", 2, "another")):  # a complete one is what a worker would go on from
        bus.append(message)
    with pytest.raises(ConfigurationError, match="another"):
        await SiteOnLog(bus, small_site(), "").look()


async def test_a_rule_set_beside_those_of_the_site_keeps_nobody_from_beginning() -> None:
    other = rule_set(site=SITE.replace("name: small", "name: other"))
    mine = rule_set().load_site()
    await SiteOnLog(await bus_with(rule_set_message(rule_set()), rule_set_message(other)), mine, "").look()
    bus = await bus_with(rule_set_message(other))
    with pytest.raises(ConfigurationError, match="this log is of site 'other'"):
        await SiteOnLog(bus, mine, "").look()
    await SiteOnLog(bus, replace(mine, root_key="ab" * 32), "").look()


async def test_a_worker_that_is_refused_takes_no_partition(tmp_path: Path) -> None:
    bus = await bus_with(*written(of("row-a", 1, "5" * 64)))
    settings = load_settings(run_dir=tmp_path)
    context = RoleContext("worker", load_site(NARVIK), NARVIK, settings, bus, asyncio.Event())
    with pytest.raises(ConfigurationError, match="555555555555"):
        await worker.run(context, lambda callbacks: pytest.fail("it has joined"))
    assert bus.records(OWNERS.name) == []


def test_the_setting_is_the_digest_of_a_file() -> None:
    assert load_settings(worker={"replaces_site": "5" * 12}).worker.replaces_site == "5" * 12
    for wrong in ("555", "narvik", "5" * 65):
        with pytest.raises(ConfigurationError, match="replaces_site"):
            load_settings(worker={"replaces_site": wrong})


async def test_a_log_that_begins_with_another_file_is_held_against_it_too(tmp_path: Path) -> None:
    other = rule_set(site=SITE.replace("P-1", "P-2"))
    site = replace(small_site(rule_set().site_digest), name="small")
    plant = Plant(tmp_path, await bus_with(rule_set_message(other)), site)
    await plant.send(*(activation(unit, other.digest) for unit in UNITS))
    await log_ids(plant.bus, await plant.bus.producer("test"))
    before = records(plant.bus)
    with pytest.raises(ConfigurationError, match=f"{other.site_digest[:12]} of 'small' rules on this log"):
        await plant.worker()
    assert records(plant.bus) == before
    plant.replaces_site = other.site_digest
    processor = await plant.worker()
    assert set(processor.metrics()["rules"].values()) == {"rules-1"}
    assert processor.counts.site_files_replaced == len(UNITS)
    assert {one.rules_digest for one in (await _snapshots(plant.bus)).values()} == {"rules-1"}
    await processor.revoke()
    assert (await plant.worker()).counts.site_files_replaced == 0


async def _snapshots(bus: MemoryBus) -> dict[str, Snapshot]:
    return dict((await read_snapshots(bus, UNITS, PARTITIONS, ())).snapshots)


async def changed(folder: Path) -> TwoUnits:
    """A day of two units with real engines, and a changed site file since."""
    plant = await two_units(folder)
    await plant.live(a_day())
    file = plant.run_dir / "site" / "site.yaml"
    await asyncio.to_thread(file.write_text, f"# changed\n{await asyncio.to_thread(file.read_text)}")
    plant.site = load_site(file.parent)
    return plant


async def test_an_open_site_has_the_change_in_its_journal_and_the_rules_on_its_log(tmp_path: Path) -> None:
    plant = await changed(tmp_path)
    (old,) = (await published_rule_sets(plant.bus)).values()
    with pytest.raises(ConfigurationError, match=f"{old.site_digest[:12]} of 'test' rules on this log"):
        await plant.start()
    plant.replaces_site = old.site_digest[:12]
    processor = await plant.start()
    await plant.feed(processor)
    *_, new = (await published_rule_sets(plant.bus)).values()
    assert new.site_digest == plant.site.digest
    said = [one for one in map(taken_up, plant.bus.records(JOURNAL.name)) if one is not None]
    assert dict(said) == dict.fromkeys(plant.site.units, new.digest)
    assert processor.counts.restores_of_other_rules == 0
    await processor.finish()
    plant.replaces_site = ""
    assert (await plant.start()).counts.site_files_replaced == 0
