"""From one process of a publisher to the next: ends, kills, full disks, copies of the spool."""

import asyncio
import errno
import shutil
import sqlite3
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import pytest

from rules.engine.inputs import Gap, Readings
from rules.errors import ConfigurationError, UnreachableError
from streams.bus.memory import MemoryProducer
from streams.publisher.publisher import Publisher
from streams.record import Message, header
from streams.role import RoleContext
from streams.sequences import SequenceTracker
from streams.settings import Settings
from tests.streams.publisher.bench import (
    Bench,
    all_sent,
    end,
    full,
    inputs,
    of,
    outage,
    sequences,
    until,
)


async def test_a_killed_process_loses_nothing_of_its_spool_and_reports_its_tail(bench: Bench) -> None:
    first = await bench.publisher(memory_s=1)
    sent_ns = bench.clock()
    bench.reading(first)
    await until(lambda: first._spool.sent_until() == {"row-a": sent_ns})
    await outage(bench, first, 10)
    spooled = first.metrics["spooled"]
    assert spooled > 0
    await bench.drop(first)

    bench.bus.come_back()
    second = await bench.publisher(memory_s=1)
    new = bench.reading(second)
    await until(lambda: second.metrics["spool_records"] == 0 and second.metrics["unsent"] == 0)
    found = inputs(bench.bus)
    after = [v for v in of(found, "plant") if v.identity.epoch == second._epoch]
    gap, reading = after
    assert isinstance(gap, Gap)
    assert isinstance(reading, Readings)
    assert (gap.reason, gap.from_ns, gap.to_ns) == ("restart", sent_ns, bench.clock())
    assert sequences(after) == [1, 2]
    assert reading.values[0] == new
    assert sequences(of(found, "plant/backfill")) == list(range(1, spooled + 1))


async def test_a_process_that_is_killed_at_once_is_missed_too(bench: Bench) -> None:
    first = await bench.publisher()
    bench.bus.go_away()
    bench.reading(first)
    await bench.drop(first)
    bench.bus.come_back()
    second = await bench.publisher()
    await until(lambda: second.metrics["acknowledged"] == 1)
    assert [value.reason for value in inputs(bench.bus) if isinstance(value, Gap)] == ["restart"]


async def test_what_a_kill_costs_is_told_although_the_clock_was_set_back(bench: Bench) -> None:
    first = await bench.publisher()
    bench.reading(first)
    await until(lambda: first.metrics["unsent"] == 0)
    bench.bus.go_away()
    bench.clock.forward(-8)
    lost_ns = bench.clock()
    bench.reading(first)
    await bench.drop(first)
    bench.bus.come_back()
    bench.clock.forward(2)
    second = await bench.publisher()
    await until(lambda: second.metrics["acknowledged"] == 1)
    (gap,) = [value for value in inputs(bench.bus) if isinstance(value, Gap)]
    assert gap.from_ns <= lost_ns <= gap.to_ns == bench.clock()


async def test_a_kill_between_sending_and_deleting_repeats_the_same_identities(bench: Bench) -> None:
    first = await bench.publisher(memory_s=1)
    await outage(bench, first, 10)
    bench.bus.come_back()
    bench.bus.hold_acknowledgements()
    taken = [(t.value.identity, t.value.values[0]) for t in first._spool.take(3).records]  # type: ignore[union-attr]
    await bench.drop(first)
    bench.bus.release_acknowledgements()
    second = await bench.publisher(memory_s=1)
    await until(lambda: second.metrics["spool_records"] == 0)
    backfill = of(inputs(bench.bus), "plant/backfill")
    assert [(v.identity, v.values[0]) for v in backfill[:3] if isinstance(v, Readings)] == taken


async def test_a_second_writer_of_a_source_is_refused(bench: Bench) -> None:
    await bench.publisher()
    with pytest.raises(ConfigurationError, match="spool of plant"):
        await bench.publisher()


async def test_an_epoch_never_goes_back(bench: Bench) -> None:
    first = await bench.publisher()
    await bench.drop(first)
    bench.clock.forward(-3600)
    second = await bench.publisher()
    assert second._epoch > first._epoch


async def test_closing_without_a_broker_spools_what_is_left(bench: Bench) -> None:
    first = await bench.publisher(memory_s=60)
    bench.bus.go_away()
    for _ in range(5):
        bench.reading(first)
    bench.publishers.remove(first)
    await first.close()
    assert first.metrics["unsent"] == 0
    bench.bus.come_back()
    second = await bench.publisher()
    await until(lambda: second.metrics["spool_records"] == 0)
    assert len(of(inputs(bench.bus), "plant/backfill")) == 5


async def test_what_is_acknowledged_too_late_is_not_said_under_a_second_identity(bench: Bench) -> None:
    first = await bench.publisher()
    bench.reading(first)
    await until(lambda: first.metrics["acknowledged"] == 1)
    bench.bus.hold_acknowledgements()
    bench.reading(first)
    first.publish_gap("row-a", "disconnected", 1, 2, 500)
    first.publish_receipt("row-a", "c", "a", "done", 1.0, None, bench.clock())
    await until(lambda: len(inputs(bench.bus)) == 4)
    await end(bench, first)
    counts = first.metrics
    assert (counts["unsent"], counts["spool_records"]) == (0, 3)
    assert counts["accepted"] == counts["acknowledged"] + counts["spooled"] == 4
    bench.bus.release_acknowledgements()
    bench.clock.forward(5)
    second = await bench.publisher()
    bench.reading(second)
    await all_sent(second)
    found = inputs(bench.bus)
    assert {value.identity.source for value in found} == {"plant"}
    assert len({value.identity for value in found}) == 6, (
        "four of the first, a restart's gap and one of the second"
    )
    epochs = [value.identity.epoch for value in found]
    assert epochs == sorted(epochs), "behind a new epoch they would be repeats"
    assert second.metrics["units"]["row-a"] == {"accepted": 2, "acknowledged": 2}
    assert (second.metrics["accepted"], second.metrics["acknowledged"], second.metrics["drained"]) == (
        5,
        5,
        3,
    )
    assert second._spool.records == 0


async def test_what_never_reached_the_log_comes_first_at_the_next_start_over_several_ends(
    bench: Bench,
) -> None:
    first = await bench.publisher(memory_s=60)
    bench.reading(first)
    await until(lambda: first.metrics["acknowledged"] == 1)
    bench.bus.go_away()
    bench.reading(first)
    await until(lambda: first.metrics["retried"] > 0)
    await end(bench, first)
    for _ in range(3):
        between = await bench.publisher()
        await end(bench, between)
        assert between.metrics["accepted"] == between.metrics["spooled"] == 0, "its gap is the next one's"
        assert between.metrics["spool_records"] == first.metrics["spool_records"]
    bench.bus.come_back()
    third = await bench.publisher()
    await all_sent(third)
    live = of(inputs(bench.bus), "plant")
    assert [value.values[0] for value in live if isinstance(value, Readings)] == [1, 2]
    assert sequences(live[:2]) == [1, 2]
    assert [value.reason for value in live[2:] if isinstance(value, Gap)] == ["restart"]


async def test_what_a_full_spool_gave_up_is_told_once_over_several_ends(bench: Bench) -> None:
    first = await bench.publisher(memory_s=1, limit_mb=1)
    await outage(bench, first, 5)
    while first.metrics["dropped"] < 3:
        bench.reading(first, size=2000)
    lost = first.metrics["dropped_readings"]
    await end(bench, first)
    unheard = await bench.publisher(limit_mb=1)
    await end(bench, unheard)
    assert unheard.metrics["accepted"] == unheard.metrics["spooled"]
    bench.bus.come_back()
    bench.bus.hold_acknowledgements()
    second = await bench.publisher(limit_mb=1)
    await until(lambda: len(of(inputs(bench.bus), "plant")) >= 2)
    await end(bench, second)
    bench.bus.release_acknowledgements()
    bench.bus.go_away()
    third = await bench.publisher(limit_mb=1)
    await end(bench, third)
    bench.bus.come_back()
    fourth = await bench.publisher(limit_mb=1)
    await all_sent(fourth)
    told = {v.identity: v for v in inputs(bench.bus) if isinstance(v, Gap) and v.reason == "spool-full"}
    assert sum(gap.readings for gap in told.values()) == lost
    assert fourth._spool.dropped() == {}


async def test_nothing_out_of_the_spool_overtakes_what_the_broker_did_not_take(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, failures = MemoryProducer.send, [UnreachableError("for a moment")]

    async def refuse_one(self: MemoryProducer, message: Message) -> Awaitable[int]:
        if failures and header(message.headers, "source") == b"plant/backfill":
            refused: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            refused.set_exception(failures.pop())
            return refused
        return await send(self, message)

    monkeypatch.setattr(MemoryProducer, "send", refuse_one)
    publisher = await bench.publisher(memory_s=1)
    await outage(bench, publisher, 10)
    bench.bus.come_back()
    await all_sent(publisher)
    backfill = of(inputs(bench.bus), "plant/backfill")
    assert sequences(backfill) == list(range(1, publisher.metrics["spooled"] + 1))


async def test_a_spool_of_a_backup_gives_no_identity_twice(bench: Bench) -> None:
    for name, seconds in (("first", 5), ("second", 20), ("restored", 10)):
        if name == "restored":
            shutil.copy(bench.folder / "backup", bench.folder / "plant.sqlite")
        publisher = await bench.publisher(memory_s=1)
        await outage(bench, publisher, seconds)
        bench.bus.come_back()
        await all_sent(publisher)
        await end(bench, publisher)
        if name == "first":
            shutil.copy(bench.folder / "plant.sqlite", bench.folder / "backup")
        bench.clock.forward(60)
    tracker = SequenceTracker()
    for value in inputs(bench.bus):
        tracker.see(value.unit, value.identity)
    assert (tracker.lost, tracker.duplicates) == (0, 0)


async def test_one_that_an_end_kept_and_has_gone_bad_is_given_up_and_told(bench: Bench) -> None:
    first = await bench.publisher()
    bench.bus.hold_acknowledgements()
    for _ in range(3):
        bench.reading(first)
    await until(lambda: len(inputs(bench.bus)) == 3)
    await end(bench, first)
    bench.bus.release_acknowledgements()
    with sqlite3.connect(bench.folder / "plant.sqlite") as database:
        database.execute("update records set value = x'00' where id = 2")
    database.close()
    second = await bench.publisher()
    await all_sent(second)
    found = inputs(bench.bus)
    assert "spool-full" not in {value.reason for value in found if isinstance(value, Gap)}
    assert sequences(found) == [1, 2, 3, 1, 3, 1], "the hole is the report, and it may be on the log already"
    assert (second.metrics["dropped"], second.metrics["drained"]) == (1, 2)
    assert second._spool.dropped() == {}


async def test_a_full_disk_holds_up_no_start_and_is_written_when_it_has_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "touch", no_room)
        publisher = await bench.publisher()
        for number in range(3):
            bench.reading(publisher)
            bench.clock.forward(2)
            await until(lambda wanted=number + 1: publisher.metrics["acknowledged"] == wanted)
        assert publisher.metrics["disk_failures"] >= 3
        assert not (bench.folder / "plant.sqlite").exists()
    bench.clock.forward(2)
    last_ns = bench.clock()
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 4)
    assert publisher._spool.sent_until() == {"row-a": last_ns}


async def test_a_full_disk_holds_up_no_end_and_what_it_costs_is_told(bench: Bench) -> None:
    first = await bench.publisher(memory_s=60)
    bench.reading(first)
    await until(lambda: first.metrics["acknowledged"] == 1)
    sent_ns = bench.clock()
    bench.bus.go_away()
    bench.clock.forward(5)
    bench.reading(first)
    full(first, True)
    await end(bench, first)
    assert (first.metrics["unsent"], first.metrics["disk_failures"] > 0) == (1, True)
    bench.bus.come_back()
    bench.clock.forward(5)
    second = await bench.publisher()
    await all_sent(second)
    gaps = [value for value in inputs(bench.bus) if isinstance(value, Gap)]
    assert [(gap.reason, gap.from_ns, gap.to_ns) for gap in gaps] == [("restart", sent_ns, bench.clock())]


async def test_one_that_can_t_begin_holds_no_file_and_one_that_is_closed_is_held_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Publisher) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    settings, site = Settings(run_dir=bench.folder), cast(Any, None)
    context = RoleContext("plant", site, bench.folder, settings, bench.bus, asyncio.Event())
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "_report_dropped", fail)
        with pytest.raises(sqlite3.OperationalError):
            await Publisher.open(context, "plant")
    assert (context.publishers, context.metrics) == ([], {})
    publisher = await Publisher.open(context, "plant")
    assert context.publishers == [publisher]
    await publisher.close()
    assert context.publishers == []
