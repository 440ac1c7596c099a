"""The publisher: identities without holes, repeats under the same identity, store and forward, live first."""

import asyncio
import dataclasses
import errno
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt
from rules.errors import ConfigurationError, UnreachableError
from rules.gpu_fields import FIELD_COUNT
from streams.bus.bus import MAX_MESSAGE_BYTES
from streams.bus.memory import MemoryBus, MemoryProducer
from streams.publisher import notes
from streams.publisher import publisher as publisher_module
from streams.publisher.publisher import Publisher
from streams.publisher.spool import Spool
from streams.record import Message, TopicPartition, header, length_of
from streams.role import RoleContext
from streams.sequences import SequenceTracker
from streams.settings import Settings, SpoolSettings
from streams.topics import EVENTS
from streams.wire import decode_input, encode_input

SECOND = 1_000_000_000


class Clock:
    """Time as the test has it; `steady_s` is not set back."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * SECOND
        self.forward_s = 0.0

    def __call__(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)
        self.forward_s += max(0.0, seconds)

    def steady_s(self) -> float:
        return self.forward_s


class Running(Clock):
    """Time as a machine has it: no two looks say the same."""

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


async def until(condition: Callable[[], bool], patience_s: float = 10.0) -> None:
    """Let the loop run until it holds; fail when it never does."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.002)


def inputs(bus: MemoryBus) -> list[Input]:
    return [decode_input(r.key, r.headers, r.value) for r in bus.records(EVENTS.name)]


def of(found: list[Input], source: str, unit: str = "row-a") -> list[Input]:
    return [value for value in found if value.identity.source == source and value.unit == unit]


def sequences(found: list[Input]) -> list[int]:
    return [value.identity.sequence for value in found]


class Bench:
    """A bus, a clock and as many publishers as a test wants; all are closed at its end."""

    def __init__(self, folder: Path, bus: MemoryBus, clock: Clock) -> None:
        self.folder, self.bus, self.clock = folder, bus, clock
        self.publishers: list[Publisher] = []
        self.value = 0.0

    async def publisher(self, source: str = "plant", **spool: Any) -> Publisher:
        settings = Settings(spool=SpoolSettings(**{"drain_records_per_s": 2000, **spool}))
        publisher = Publisher(self.bus, source, settings, self.folder, 1, self.clock, self.clock.steady_s)
        self.publishers.append(publisher)
        await publisher.start()
        return publisher

    def reading(self, publisher: Publisher, unit: str = "row-a", size: int = 1) -> float:
        self.value += 1
        publisher.publish_readings(
            unit,
            tuple(f"p{i}" for i in range(size)),
            np.full(size, self.clock()),
            np.zeros(size, np.int64),
            np.full(size, self.value),
            np.zeros(size, np.uint8),
            np.zeros(size, np.uint32),
        )
        return self.value

    def frame(self, publisher: Publisher, gpus: int = 1) -> None:
        publisher.publish_frame(
            "row-a",
            "R01",
            np.array([self.clock()]),
            np.arange(gpus, dtype=np.uint16),
            np.zeros((1, gpus, FIELD_COUNT), np.float32),
            np.zeros((1, gpus), np.uint8),
            np.zeros((1, gpus), np.int64),
        )

    async def drop(self, publisher: Publisher) -> None:
        """As kill -9 leaves it: nothing is flushed, only the file's lock goes."""
        for task in publisher._tasks:
            task.cancel()
        await asyncio.gather(*publisher._tasks, return_exceptions=True)
        publisher._spool._database.close()
        self.publishers.remove(publisher)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bus = MemoryBus()
    await bus.create_topics([EVENTS], 1)
    bench = Bench(tmp_path, bus, Clock())
    yield bench
    bus.come_back()
    bus.release_acknowledgements()
    for publisher in bench.publishers:
        await publisher.close()


async def test_sequences_are_counted_per_unit_from_one(bench: Bench) -> None:
    publisher = await bench.publisher()
    for unit in ("row-a", "row-b", "row-a"):
        bench.reading(publisher, unit)
    publisher.publish_receipt("row-b", "c1", "P.PumpSpeed", "done", 40.0, 40.0, bench.clock())
    await until(lambda: publisher.metrics["acknowledged"] == 4)
    found = inputs(bench.bus)
    assert sequences(of(found, "plant", "row-a")) == [1, 2]
    assert sequences(of(found, "plant", "row-b")) == [1, 2]
    assert {value.identity.epoch for value in found} == {bench.clock()}
    assert isinstance(found[-1], Receipt)
    assert publisher.metrics["unsent"] == 0


async def test_lost_acknowledgements_bring_repeats_in_order(bench: Bench) -> None:
    publisher = await bench.publisher()
    bench.bus.drop_acknowledgements(2)
    for _ in range(5):
        bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 5)
    told = sequences(inputs(bench.bus))
    fresh = [s for i, s in enumerate(told) if s > max(told[:i], default=0)]
    assert fresh == [1, 2, 3, 4, 5], "what an engine that drops repeats keeps"
    assert len(told) > 5, "the records with the lost acknowledgement are there twice"
    assert publisher.metrics["retried"] >= 2


async def test_a_short_outage_stays_in_memory(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=3)
    bench.bus.go_away()
    for _ in range(10):
        bench.reading(publisher)
        bench.clock.forward(0.2)
    bench.bus.come_back()
    await until(lambda: publisher.metrics["acknowledged"] == 10)
    assert sequences(inputs(bench.bus)) == list(range(1, 11))
    assert publisher.metrics["spooled"] == 0


async def outage(bench: Bench, publisher: Publisher, seconds: int) -> None:
    bench.bus.go_away()
    for _ in range(seconds):
        bench.reading(publisher)
        bench.clock.forward(1)


async def test_a_long_outage_goes_to_the_spool_and_comes_back_as_backfill(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=3)
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 1)
    await outage(bench, publisher, 20)
    assert publisher.metrics["state"] == "spooling"
    assert 3 <= publisher.metrics["unsent"] <= 5
    bench.bus.come_back()
    await until(lambda: publisher.metrics["state"] == "live")
    last = bench.reading(publisher)
    await until(lambda: publisher.metrics["spool_records"] == 0 and publisher.metrics["unsent"] == 0)

    found = inputs(bench.bus)
    live, backfill = of(found, "plant"), of(found, "plant/backfill")
    assert sequences(live) == list(range(1, len(live) + 1))
    assert sequences(backfill) == list(range(1, len(backfill) + 1))
    assert all(isinstance(value, Readings) and value.backfill for value in backfill)
    gaps = [value for value in live if isinstance(value, Gap)]
    assert [(gap.reason, gap.readings) for gap in gaps] == [("spooled", len(backfill))]
    values = [float(v.values[0]) for v in (*live, *backfill) if isinstance(v, Readings)]
    assert sorted(values) == [float(v) for v in range(1, int(last) + 1)], "each once, none missing"
    assert publisher.metrics["drained"] == publisher.metrics["spooled"] == len(backfill)
    assert publisher.metrics["accepted"] == publisher.metrics["acknowledged"] + publisher.metrics["spooled"]


async def test_memory_lasts_as_long_as_the_settings_say_while_time_goes_on(bench: Bench) -> None:
    bench.clock = Running()
    publisher = await bench.publisher(memory_s=3)
    await outage(bench, publisher, 20)
    assert publisher.metrics["state"] == "spooling"
    assert 3 <= publisher.metrics["unsent"] <= 5


async def test_a_disk_that_takes_nothing_when_the_broker_comes_back_holds_up_nothing(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=3)
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 1)
    await outage(bench, publisher, 20)
    publisher._spool._database.execute("pragma query_only = on")
    bench.bus.come_back()
    await until(lambda: publisher.metrics["state"] == "live")
    last = bench.reading(publisher)
    await until(lambda: publisher.metrics["unsent"] == 0 and publisher.metrics["disk_failures"] > 1)
    publisher._spool._database.execute("pragma query_only = off")
    await until(lambda: publisher.metrics["spool_records"] == 0)
    values = [float(value.values[0]) for value in inputs(bench.bus) if isinstance(value, Readings)]
    assert sorted(values) == [float(number) for number in range(1, int(last) + 1)]


async def test_live_records_go_before_the_spool(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=1, drain_records_per_s=50, drain_speed=0.1)
    await outage(bench, publisher, 60)
    bench.bus.come_back()
    await until(lambda: publisher.metrics["state"] == "live")
    first = bench.reading(publisher)
    await until(lambda: publisher.metrics["spool_records"] == 0)
    found = inputs(bench.bus)
    at = next(i for i, v in enumerate(found) if isinstance(v, Readings) and v.values[0] == first)
    behind = [v for v in found[at:] if v.identity.source == "plant/backfill"]
    assert len(behind) >= 40, "most of the spool comes after the first live record"


async def test_the_spool_drains_in_step_with_what_comes_in_live(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=1, drain_records_per_s=0.001, drain_speed=6)
    await outage(bench, publisher, 60)
    bench.bus.come_back()
    await until(lambda: publisher.metrics["drained"] == 6)  # for the gap, which is accepted live
    for live in range(2, 5):
        bench.reading(publisher)
        await until(lambda wanted=6 * live: publisher.metrics["drained"] >= wanted)
        assert publisher.metrics["drained"] == 6 * live


async def test_a_full_spool_gives_up_frames_first_and_says_so(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=1, limit_mb=1)
    bench.bus.go_away()
    bench.reading(publisher)
    bench.clock.forward(2)
    for _ in range(100):
        bench.frame(publisher, gpus=144)
    frames = publisher.metrics["spool_records"]
    assert 0 < frames < 100, "a frame of 144 GPUs has some 15 KB"
    for _ in range(10):
        bench.reading(publisher, size=1000)
    publisher.publish_receipt("row-a", "c", "a", "done", 1.0, None, bench.clock())
    assert publisher.metrics["dropped"] > 100 - frames, "readings made frames go"
    while publisher.metrics["dropped"] < 105:
        bench.reading(publisher, size=1000)
    publisher.publish_receipt("row-a", "d", "a", "done", 1.0, None, bench.clock())
    assert publisher.metrics["spool_mb"] <= 1.001
    bench.bus.come_back()
    await until(lambda: publisher.metrics["spool_records"] == 0 and publisher.metrics["unsent"] == 0)

    found = inputs(bench.bus)
    full = [v for v in found if isinstance(v, Gap) and v.reason == "spool-full"]
    assert sum(gap.readings for gap in full) == publisher.metrics["dropped_readings"] > 0
    backfill = of(found, "plant/backfill")
    assert sequences(backfill) == list(range(1, len(backfill) + 1)), "no hole where something was dropped"
    assert not any(isinstance(value, Frame) for value in backfill)
    assert [value.command for value in backfill if isinstance(value, Receipt)] == ["c", "d"]
    assert publisher._spool.dropped() == {}


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


async def test_a_hold_keeps_live_data_live(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=1)
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 1)
    publisher.hold()
    for _ in range(10):
        bench.reading(publisher)
        bench.clock.forward(1)
    await asyncio.sleep(0)
    before = bench.bus.records(EVENTS.name)
    assert len(before) == 1
    bench.bus.replace_log()
    publisher.release()
    bench.reading(publisher)
    bench.clock.forward(1)
    await until(lambda: len(bench.bus.records(EVENTS.name)) == 6)
    assert publisher.metrics["unsent"] == 5, "five seconds of it in one, in step with the ticker"
    bench.reading(publisher)
    bench.clock.forward(2)
    await until(lambda: publisher.metrics["unsent"] == 0)
    assert sequences(inputs(bench.bus)) == list(range(2, 14))
    assert publisher.metrics["spooled"] == 0


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


async def end(bench: Bench, publisher: Publisher) -> None:
    """Without patience for what is on its way."""
    bench.publishers.remove(publisher)
    with patch.object(publisher_module, "CLOSE_PATIENCE_S", 0.0):
        await publisher.close()


async def all_sent(publisher: Publisher) -> None:
    await until(lambda: publisher.metrics["spool_records"] == 0 and publisher.metrics["unsent"] == 0)


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


async def test_a_record_that_has_gone_bad_on_the_disk_is_given_up_and_told(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=1)
    await outage(bench, publisher, 6)
    publisher._spool._database.execute("update records set value = x'00' where id = 2")
    spooled = publisher.metrics["spooled"]
    bench.bus.come_back()
    await all_sent(publisher)
    await until(lambda: publisher._spool.dropped() == {})
    bench.reading(publisher)
    found = inputs(bench.bus)
    full = [value for value in found if isinstance(value, Gap) and value.reason == "spool-full"]
    assert [gap.readings for gap in full] == [1]
    backfill = of(found, "plant/backfill")
    assert sequences(backfill) == list(range(1, spooled))
    assert (publisher.metrics["dropped"], publisher.metrics["drained"]) == (1, spooled - 1)


async def test_what_goes_bad_while_a_loss_is_being_told_is_told_after_it(bench: Bench) -> None:
    first = await bench.publisher(memory_s=1, limit_mb=1)
    await outage(bench, first, 5)
    while not first.metrics["dropped"]:
        bench.reading(first, size=2000)
    lost = first.metrics["dropped_readings"]
    await end(bench, first)
    with sqlite3.connect(bench.folder / "plant.sqlite") as database:
        database.execute("update records set value = x'00' where id = 2")
    database.close()
    bench.bus.come_back()
    bench.bus.hold_acknowledgements()
    second = await bench.publisher(limit_mb=1)
    await until(lambda: second.metrics["dropped"] == 1)
    bench.bus.release_acknowledgements()
    await all_sent(second)
    await until(lambda: second._spool.dropped() == {})
    told = [
        value.readings
        for value in inputs(bench.bus)
        if isinstance(value, Gap) and value.reason == "spool-full"
    ]
    assert told == [lost, 1]


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


def full(publisher: Publisher, is_full: bool) -> None:
    publisher._spool._database.execute(f"pragma query_only = {'on' if is_full else 'off'}")


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


async def test_a_disk_that_takes_no_note_is_not_tried_at_every_acknowledgement(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for limit in notes.log_again.filters:
        limit._seen.clear()
    spool = {"memory_s": 1, "limit_mb": 1, "drain_records_per_s": 0.001, "drain_speed": 0.001}
    publisher = await bench.publisher(**spool)
    await outage(bench, publisher, 5)
    while not publisher.metrics["dropped"]:
        bench.reading(publisher, size=2000)
    full(publisher, True)
    bench.bus.come_back()
    await until(lambda: publisher.metrics["state"] == "live" and publisher.metrics["unsent"] == 0)

    async def acknowledge(count: int) -> None:
        for _ in range(count):
            bench.reading(publisher)
            await until(lambda: publisher.metrics["unsent"] == 0)

    before = publisher.metrics["disk_failures"]
    await acknowledge(50)
    assert publisher.metrics["disk_failures"] == before
    for _ in range(3):
        bench.clock.forward(1)
        await acknowledge(2)
    assert publisher.metrics["disk_failures"] == before + 3
    assert sum("took no note" in record.getMessage() for record in caplog.records) == 1
    full(publisher, False)
    bench.clock.forward(1)
    await acknowledge(1)
    assert publisher._spool.dropped() == {}


async def test_a_full_disk_and_a_clock_that_is_set_back_hold_up_no_record(bench: Bench) -> None:
    publisher = await bench.publisher()
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 1)
    full(publisher, True)
    bench.clock.forward(-0.005)
    bench.reading(publisher)
    bench.reading(publisher, unit="row-b")
    await until(lambda: publisher.metrics["acknowledged"] == 3)
    full(publisher, False)
    bench.clock.forward(2)
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 4)
    assert publisher._spool.sent_until().keys() == {"row-a", "row-b"}


async def test_a_clock_that_is_set_back_makes_no_memory_of_an_outage_last_longer(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=3)
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 1)
    bench.bus.go_away()
    bench.reading(publisher)
    bench.clock.forward(-3600)
    await outage(bench, publisher, 20)
    assert publisher.metrics["state"] == "spooling"
    assert publisher.metrics["unsent"] <= 5
    bench.bus.come_back()
    await all_sent(publisher)


async def test_what_waits_while_the_clock_is_set_back_waits_no_longer_for_it(bench: Bench) -> None:
    publisher = await bench.publisher()
    bench.bus.go_away()
    bench.reading(publisher)
    bench.clock.forward(-3600)
    bench.bus.come_back()
    await until(lambda: publisher.metrics["acknowledged"] == 1)


async def test_a_message_that_no_broker_takes_becomes_a_gap(bench: Bench) -> None:
    publisher = await bench.publisher()
    bench.frame(publisher, gpus=12_000)
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 2)
    gap, _ = inputs(bench.bus)
    assert isinstance(gap, Gap)
    assert (gap.reason, gap.readings) == ("oversized", 12_000 * FIELD_COUNT)
    assert publisher.metrics["oversized"] == 1


async def test_a_message_that_no_broker_takes_becomes_a_gap_in_the_spool_too(bench: Bench) -> None:
    publisher = await bench.publisher(memory_s=1)
    await outage(bench, publisher, 5)
    bench.frame(publisher, gpus=12_000)
    bench.bus.come_back()
    await all_sent(publisher)
    bench.reading(publisher)
    await all_sent(publisher)
    found = inputs(bench.bus)
    gaps = [value for value in found if isinstance(value, Gap) and value.reason == "oversized"]
    assert [gap.readings for gap in gaps] == [12_000 * FIELD_COUNT]
    counts = publisher.metrics
    assert counts["oversized"] == 1
    assert counts["accepted"] == counts["acknowledged"] + counts["spooled"] + counts["oversized"]


async def test_what_only_backfill_makes_too_large_is_told_at_once(bench: Bench) -> None:
    publisher = await bench.publisher()
    value = dataclasses.replace(of_length(0), identity=Identity("plant", bench.clock(), 1))
    value = dataclasses.replace(value, points=("p" * (MAX_MESSAGE_BYTES - 8 - length(value)),))
    assert MAX_MESSAGE_BYTES - 24 < length(value) <= MAX_MESSAGE_BYTES
    backfill = dataclasses.replace(
        value, identity=Identity("plant/backfill", bench.clock(), 1), backfill=True
    )
    assert length(backfill) > MAX_MESSAGE_BYTES
    publisher._accept(value)
    await until(lambda: publisher.metrics["acknowledged"] == 1)
    assert publisher.metrics["oversized"] == 1


def of_length(name: int) -> Readings:
    zero = np.zeros(1, np.int64)
    columns = (zero, zero, zero / 1, zero.astype(np.uint8), zero.astype(np.uint32))
    return Readings("row-a", Identity("plant", 0, 0), 1, ("p" * name,), *columns)


def length(value: Input) -> int:
    message = encode_input(value, 1)
    return len(message.key or b"") + len(message.value or b"") + length_of(message.headers)


async def test_what_another_version_spooled_and_no_broker_takes_is_given_up_and_told(bench: Bench) -> None:
    spool = Spool(bench.folder / "plant.sqlite", "plant", 10**8, 1)
    for name in (1, MAX_MESSAGE_BYTES, 1):
        spool.put(dataclasses.replace(of_length(name), backfill=True))
    spool.save_in_flight([of_length(MAX_MESSAGE_BYTES)], {})
    spool.close()
    publisher = await bench.publisher()
    await all_sent(publisher)
    await until(lambda: publisher._spool.dropped() == {})
    bench.reading(publisher)
    await all_sent(publisher)
    found = inputs(bench.bus)
    assert sequences(of(found, "plant/backfill")) == [1, 2]
    assert [value.readings for value in found if isinstance(value, Gap) and value.reason == "spool-full"] == [
        1
    ]
    assert (publisher.metrics["drained"], publisher.metrics["dropped"]) == (2, 2)


async def test_partition_is_the_unit_s(bench: Bench) -> None:
    publisher = await bench.publisher()
    bench.reading(publisher)
    await until(lambda: publisher.metrics["acknowledged"] == 1)
    assert await bench.bus.ends(EVENTS.name) == {TopicPartition(EVENTS.name, 0): 1}


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
