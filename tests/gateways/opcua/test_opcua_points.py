"""What is said of a point, and when: dead-bands of the gateway's own, silence, staleness, loss, overflow."""

import asyncio
import math

import pytest

from gateways.opcua.convert import Sample
from gateways.opcua.points import SourcePoints
from rules.quality import BAD_NO_COMMUNICATION, Quality
from tests.gateways.opcua.harness import RecordingPublisher, make_site, point

BASE_NS = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


class Clock:
    """Both clocks of the module under test, moved by hand."""

    def __init__(self):
        self.s = 0.0

    def monotonic(self):
        return self.s

    def time_ns(self):
        return BASE_NS + round(self.s * 1e9)


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock():
    CLOCK.s = 0.0
    return CLOCK


def make_table(publisher=None, points=None, **source):
    site = make_site(points or [point("t", period_s=1.0)], 4840, **source)
    given = publisher or RecordingPublisher()
    return SourcePoints(site, site.sources["plant"], given, CLOCK.time_ns, CLOCK.monotonic)


def good(seconds, value=1.0, server=None):
    stamp = BASE_NS + round(seconds * 1e9)
    return Sample(stamp, stamp if server is None else BASE_NS + round(server * 1e9), value, 0, 0)


async def sent(table, publisher):
    table.finish()
    await table.carry()
    return publisher.readings


async def test_batches_are_by_unit_and_in_order():
    publisher = RecordingPublisher()
    table = make_table(publisher, [point("t"), point("u"), point("t", asset="B1")])
    for row, value in ((0, 1.0), (2, 2.0), (1, 3.0), (0, 4.0)):
        table.reported(row, good(value, value))
    readings = await sent(table, publisher)
    assert [(r.unit, r.point, r.value) for r in readings] == [
        ("row-a", "A1.t", 1.0),
        ("row-a", "A1.u", 3.0),
        ("row-a", "A1.t", 4.0),
        ("row-b", "B1.t", 2.0),
    ]
    assert publisher.batches == 2


async def test_inside_the_gateways_dead_band_nothing_is_said_until_the_point_is_nearly_silent(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.band[0] = 0.5
    for seconds, value in ((0, 20.0), (1, 20.5), (1.2, 20.6), (1.5, 20.2), (2.9, 20.3)):
        clock.s = seconds
        table.reported(0, good(seconds, value))
    assert [r.value for r in await sent(table, publisher)] == [20.0, 20.6, 20.3]
    assert table.counts["inside_deadband"] == 2


async def test_a_change_of_quality_passes_every_dead_band(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.band[0] = 10.0
    table.reported(0, good(0, 20.0))
    table.reported(0, Sample(BASE_NS + 1, BASE_NS + 1, 20.0, Quality.UNCERTAIN, 0x40900000))
    table.reported(0, good(1, 20.0))
    assert [r.quality for r in await sent(table, publisher)] == [0, 1, 0]


def test_silent_after_one_and_a_half_periods_and_asked_once_a_period(clock):
    table = make_table(points=[point("fast", period_s=1.0), point("slow", period_s=60.0)])
    table.reported(0, good(0))
    table.reported(1, good(0))
    clock.s = 1.4
    assert table.silent() == []
    clock.s = 1.6
    assert table.silent() == [0]
    clock.s = 2.0
    assert table.silent() == []
    clock.s = 2.7
    assert table.silent() == [0]


async def test_an_unchanged_value_with_a_new_source_time_is_confirmed_and_a_stale_one_is_not(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.reported(0, good(0))
    clock.s = 2.0
    assert table.confirmed(0, good(1.9))
    clock.s = 6.0
    assert not table.confirmed(0, good(1.9, server=6.0))
    assert table.stale() == 1
    assert [r.time_ns - BASE_NS for r in await sent(table, publisher)] == [0, round(1.9e9)]


async def test_a_confirmed_value_of_an_old_scan_is_current_and_a_sensor_that_died_after_it_is_stale(clock):
    """Scans and a tolerance of a second: a read just before the next scan finds one that is a second old."""
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.reported(0, good(0))
    clock.s = 2.02
    assert table.confirmed(0, good(1.0))
    clock.s = 3.6
    assert table.confirmed(0, good(3.0))
    clock.s = 5.2
    assert not table.confirmed(0, good(3.0))
    assert [r.time_ns - BASE_NS for r in await sent(table, publisher)] == [0, round(1.52e9), round(3.1e9)]


async def test_where_the_server_stamps_changes_only_its_own_time_proves_that_the_value_holds(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher, options={"timestamps": "change"})
    table.reported(0, good(-3600, server=0))
    clock.s = 2.0
    assert table.confirmed(0, good(-3600, server=2.0))
    table.reported(0, good(2.5, 7.0, server=2.6))
    stamps = [r.time_ns - BASE_NS for r in await sent(table, publisher)]
    assert stamps == [0, 2 * SECOND, round(2.5e9)]


async def test_a_status_that_turns_bad_at_the_old_source_time_is_stamped_after_the_last_sample(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.reported(0, good(5))
    table.reported(0, Sample(BASE_NS + 5 * SECOND, BASE_NS + 5 * SECOND, math.nan, Quality.BAD, 0x808C0000))
    stamps = [r.time_ns - BASE_NS for r in await sent(table, publisher)]
    assert stamps == [5 * SECOND, 5 * SECOND + 1]


async def test_points_of_a_lost_server_are_bad_after_their_last_sample_even_if_its_clock_was_ahead(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher, [point("ahead"), point("behind")])
    table.reported(0, good(0.8))
    table.reported(1, good(-5))
    table.declare_bad(range(2), BAD_NO_COMMUNICATION)
    ahead, behind = (await sent(table, publisher))[-2:]
    assert (ahead.time_ns, behind.time_ns) == (BASE_NS + round(0.8e9) + 1, BASE_NS)
    assert {(r.quality, r.status) for r in (ahead, behind)} == {(Quality.BAD, BAD_NO_COMMUNICATION)}
    assert math.isnan(ahead.value)


async def test_an_overflow_is_counted_and_reported_as_a_gap():
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.reported(0, good(1))
    table.reported(0, good(4)._replace(status=0x480))
    await sent(table, publisher)
    assert table.counts["overflows"] == 1
    assert publisher.gaps == [("row-a", "overflow", BASE_NS + SECOND, BASE_NS + 4 * SECOND, 1)]


async def test_a_value_without_any_time_takes_ours_and_is_counted(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher)
    clock.s = 3.0
    table.reported(0, Sample(0, 0, 1.0, 0, 0))
    assert [r.time_ns for r in await sent(table, publisher)] == [BASE_NS + 3 * SECOND]
    assert table.counts["without_time"] == 1


def test_expected_readings_of_a_gap_are_whole_periods_per_point():
    table = make_table(
        points=[point("a", period_s=1.0), point("b", period_s=60.0), point("c", asset="B1", period_s=0.5)]
    )
    assert table.expected(0, int(2.9e9)) == {"row-a": 2, "row-b": 5}
    assert table.expected(5, 3) == {"row-a": 0, "row-b": 0}


async def test_what_comes_while_a_batch_is_handed_over_is_sent_too():
    class Interrupted(RecordingPublisher):
        def publish_readings(self, *columns):
            if not self.readings:
                table.reported(0, good(2, 2.0))
            super().publish_readings(*columns)

    publisher = Interrupted()
    table = make_table(publisher)
    table.reported(0, good(1, 1.0))
    carrying = asyncio.create_task(table.carry())
    while len(publisher.readings) < 2:
        await asyncio.sleep(0)
    table.finish()
    await carrying
    assert [r.value for r in publisher.readings] == [1.0, 2.0]


async def stamps_of_first(clock, publisher, *samples, now_s, **point_and_source):
    """Times (ns, from BASE_NS) of what is said when `samples` come after a subscription, from second `now_s` on."""
    period_s = point_and_source.pop("period_s", 1.0)
    table = make_table(publisher, [point("t", period_s=period_s)], **point_and_source)
    table.subscribing([0])
    for sample in samples:
        clock.s = now_s
        table.reported(0, sample)
        now_s += 1
    await sent(table, publisher)
    return table, [reading.time_ns - BASE_NS for reading in publisher.readings]


async def test_a_value_that_stands_when_it_is_subscribed_to_lies_before_the_next_one(clock):
    """One scan a second, of second 0 and 1: the subscription comes just before the second one is shown."""
    table, stamps = await stamps_of_first(
        clock, RecordingPublisher(), good(0, server=0.02), good(1, server=1.02), now_s=1.01
    )
    assert stamps == [round(0.51e9), SECOND]
    assert table.counts["standing"] == 1


async def test_a_value_that_has_stood_for_long_is_current_if_its_server_says_so(clock):
    _, stamps = await stamps_of_first(
        clock, RecordingPublisher(), good(-3600, server=9.9), good(10.2), now_s=10
    )
    assert stamps == [round(9.5e9), round(10.2e9)]
    _, stamps = await stamps_of_first(clock, RecordingPublisher(), good(-100), now_s=10, period_s=60)
    assert stamps == [round(9.5e9)]


async def test_what_nobody_vouches_for_keeps_its_time(clock):
    table, stamps = await stamps_of_first(clock, RecordingPublisher(), good(-3600, server=6.9), now_s=10)
    assert stamps == [-3600 * SECOND]
    assert table.counts["standing"] == 0


async def test_only_the_first_good_word_of_a_subscription_is_stamped_so(clock):
    publisher = RecordingPublisher()
    bad = Sample(BASE_NS, BASE_NS, math.nan, Quality.BAD, 0x80320000)
    _, stamps = await stamps_of_first(clock, publisher, bad, good(0), good(0.1, 2.0), now_s=1)
    assert stamps == [0, round(1.5e9), round(0.1e9)]


async def test_after_a_loss_the_value_that_stands_follows_the_word_that_it_was_lost(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.reported(0, good(0))
    clock.s = 0.9
    table.declare_bad([0], BAD_NO_COMMUNICATION)
    table.subscribing([0])
    clock.s = 1.2
    table.reported(0, good(0))
    stamps = [reading.time_ns - BASE_NS for reading in await sent(table, publisher)]
    assert stamps == [0, round(0.9e9), round(0.9e9) + 1]


async def test_a_notification_of_what_a_read_has_said_before_is_dropped_and_counted(clock):
    publisher = RecordingPublisher()
    table = make_table(publisher)
    table.subscribing([0])
    clock.s = 2.0
    assert table.confirmed(0, good(0))
    table.reported(0, good(0))
    clock.s = 4.0
    assert table.confirmed(0, good(3.9))
    table.reported(0, good(3.9))
    table.reported(0, good(3.9, 2.0))
    assert [(r.time_ns - BASE_NS, r.value) for r in await sent(table, publisher)] == [
        (round(1.5e9), 1.0),
        (round(3.9e9), 1.0),
        (round(3.9e9), 2.0),
    ]
    assert table.counts["repeated"] == 2
