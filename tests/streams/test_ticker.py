"""The ticker: aligned, held back, never backwards, and the same identities from two of them."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Identity, Input, Tick
from rules.engine.outputs import Alarm, Entry
from rules.errors import UnreachableError
from rules.site.model import Site, Unit
from streams.bus.bus import Producer
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import Settings
from streams.ticker import Ticker, run
from streams.topics import EVENTS
from streams.wire import decode_input
from tests.rules.engine.plant import START, UNIT, flow, program
from tests.rules.engine.plant import site as plant_site

PERIOD = 100_000_000
T0 = 1_700_000_000_000_000_000
LOW_FLOW = """
  flow-low:
    for: Rack
    when: RackLiquidFlow < 50 L/min
    on_delay: 500 ms
    severity: high
    message: low flow
"""


class Clock:
    def __init__(self, now_ns: int = T0) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def site() -> Site:
    units = {name: Unit(name, (), (), (), {}, {}) for name in ("row-a", "row-b")}
    return Site("test", "digest", PERIOD, units, {}, {}, {}, {})


async def context(bus: MemoryBus, name: str = "ticker", clock: Clock | None = None) -> RoleContext:
    await bus.create_topics([EVENTS], 2)
    settings = Settings()
    settings.broker.partitions = 2
    made = RoleContext(name, site(), Path(), settings, bus, asyncio.Event())
    made.clock = clock or made.clock
    return made


def ticks(bus: MemoryBus, unit: str = "row-a") -> list[Tick]:
    found = [decode_input(record.key, record.headers, record.value) for record in bus.records(EVENTS.name)]
    return [value for value in found if isinstance(value, Tick) and value.unit == unit]


async def test_a_tick_is_aligned_held_back_and_for_every_unit() -> None:
    bus, clock = MemoryBus(), Clock(T0 + 29_999_999)
    ticker = Ticker(await context(bus, clock=clock))
    assert await ticker.tick()
    assert [tick.time_ns for tick in ticks(bus)] == [T0 - PERIOD], "30 ms after T0 were not over"
    assert ticker.due_in_s() == pytest.approx(1e-9)
    clock.now_ns = T0 + 30_000_000
    assert await ticker.tick()
    assert not await ticker.tick()
    last = ticks(bus)[-1]
    assert last.identity == Identity("ticker", 0, T0 // PERIOD)
    assert last.time_ns == T0
    assert [tick.identity for tick in ticks(bus, "row-b")] == [tick.identity for tick in ticks(bus)]
    assert ticker.due_in_s() == pytest.approx(0.1)


async def test_the_first_tick_is_of_now_however_long_it_takes_to_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus, clock = MemoryBus(), Clock()
    connect = bus.producer

    async def slowly(client_id: str) -> Producer:
        clock.now_ns += 50 * PERIOD
        return await connect(client_id)

    monkeypatch.setattr(bus, "producer", slowly)
    assert await Ticker(await context(bus, clock=clock)).tick()
    assert [tick.time_ns for tick in ticks(bus)] == [T0 + 49 * PERIOD]


async def test_a_pause_is_followed_by_the_current_tick_only() -> None:
    bus, clock = MemoryBus(), Clock()
    role = await context(bus, clock=clock)
    ticker = Ticker(role)
    await ticker.tick()
    clock.now_ns += 50 * PERIOD
    await ticker.tick()
    first, second = (tick.identity.sequence for tick in ticks(bus))
    assert second - first == 50
    assert role.metrics["skipped"] == 49


async def test_a_clock_that_jumps_back_brings_no_lower_tick() -> None:
    bus, clock = MemoryBus(), Clock()
    role = await context(bus, clock=clock)
    ticker = Ticker(role)
    await ticker.tick()
    clock.now_ns -= 5 * PERIOD
    for _ in range(5):
        assert not await ticker.tick()
        clock.now_ns += PERIOD
    assert role.metrics["clock_back"] == 5
    clock.now_ns += PERIOD
    assert await ticker.tick()
    sequences = [tick.identity.sequence for tick in ticks(bus)]
    assert sequences == sorted(set(sequences))


async def test_two_tickers_say_the_same() -> None:
    bus, clock = MemoryBus(), Clock()
    one, two = Ticker(await context(bus, clock=clock)), Ticker(await context(bus, "ticker-2", clock=clock))
    for _ in range(3):
        await one.tick()
        await two.tick()
        clock.now_ns += PERIOD
    found = ticks(bus)
    assert len(found) == 6
    assert found[0::2] == found[1::2]


async def test_an_engine_takes_the_ticks_of_two_tickers_for_one() -> None:
    bus, clock = MemoryBus(), Clock(START)
    one, two = Ticker(await context(bus, clock=clock)), Ticker(await context(bus, "ticker-2", clock=clock))
    for _ in range(20):
        await one.tick()
        await two.tick()
        clock.now_ns += PERIOD
    doubled = [dataclasses.replace(tick, unit=UNIT) for tick in ticks(bus)]
    hot: list[Input] = [flow(1, doubled[0].time_ns, 10)]
    both, single = (Engine(program(LOW_FLOW), plant_site(), UNIT) for _ in range(2))
    said = both.step([doubled[0], *hot, *doubled[1:]])
    assert [alarm for alarm in said if isinstance(alarm, Alarm)]
    expected = single.step([doubled[0], *hot, *doubled[2::2]])
    assert [out for out in said if not isinstance(out, Entry)] == [
        o for o in expected if not isinstance(o, Entry)
    ]
    assert both.counters["repeats"] == 20


async def test_a_tick_that_failed_is_not_said_late() -> None:
    bus, clock = MemoryBus(), Clock()
    ticker = Ticker(await context(bus, clock=clock))
    await ticker.tick()
    clock.now_ns += PERIOD
    bus.go_away()
    with pytest.raises(UnreachableError):
        await ticker.tick()
    bus.come_back()
    assert not await ticker.tick()
    clock.now_ns += PERIOD
    assert await ticker.tick()
    assert [tick.time_ns - ticks(bus)[0].time_ns for tick in ticks(bus)] == [0, 2 * PERIOD]


async def test_after_a_hold_ticks_go_on_where_they_were_until_the_present_is_reached() -> None:
    bus, clock = MemoryBus(), Clock()
    ticker = Ticker(await context(bus, clock=clock))
    await ticker.tick()
    ticker.hold()
    for _ in range(40):
        clock.now_ns += PERIOD
        assert not await ticker.tick()
    ticker.release()
    while ticks(bus)[-1].time_ns < clock.now_ns - 2 * PERIOD:
        clock.now_ns += PERIOD // 5
        await ticker.tick()
    assert clock.now_ns - T0 == pytest.approx(50 * PERIOD, abs=2 * PERIOD), "40 periods, five times as fast"
    sequences = [tick.identity.sequence for tick in ticks(bus)]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


async def test_the_role_ticks_waits_for_the_broker_and_stops() -> None:
    bus = MemoryBus()
    role = await context(bus)
    role.settings.ticker.hold_back_ms = 0
    bus.go_away()
    task = asyncio.create_task(run(role))
    async with asyncio.timeout(60):
        while not role.metrics.get("failed"):
            await asyncio.sleep(0.005)
        assert role.state == "starting"
        bus.come_back()
        while role.metrics["ticks"] < 2:
            await asyncio.sleep(0.005)
        role.stop.set()
        await task
    assert role.state == "ready"
    times = [tick.time_ns for tick in ticks(bus)]
    assert times == sorted(times)
    assert all(stamp % PERIOD == 0 for stamp in times)
