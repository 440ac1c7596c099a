"""The publisher: identities without holes, repeats under the same identity, store and forward, live first."""

import asyncio
import dataclasses
import sqlite3

import numpy as np
import pytest

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt
from rules.gpu_fields import FIELD_COUNT
from streams.bus.bus import MAX_MESSAGE_BYTES
from streams.publisher import notes
from streams.publisher.spool import Spool
from streams.record import TopicPartition, length_of
from streams.topics import EVENTS
from streams.wire import encode_input
from tests.streams.publisher.bench import (
    Bench,
    Running,
    all_sent,
    end,
    full,
    inputs,
    of,
    outage,
    sequences,
    until,
)


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
