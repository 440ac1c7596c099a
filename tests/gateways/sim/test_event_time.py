"""The plant in event time: the inputs that gateways and a ticker would send, the same on every run."""

from __future__ import annotations

import numpy as np

from gateways.sim.event_time import START_NS, EventTimePlant
from gateways.sim.faults import parse_fault
from rules.engine.inputs import Frame, Input, Readings, Tick
from rules.site.model import Site
from streams.wire import encode_input


def inputs(site: Site, seconds: float, fault: str = "") -> list[Input]:
    plant = EventTimePlant(site, 3)
    if fault:
        plant.inject(parse_fault(fault))
    return [value for _ in range(round(seconds * 10)) for unit in plant.step().values() for value in unit]


def test_the_same_seed_gives_the_same_inputs(site: Site) -> None:
    one, other = (inputs(site, 1.5, "pump_trip@0.5s") for _ in range(2))
    assert [encode_input(value, 4) for value in one] == [encode_input(value, 4) for value in other]


def test_it_says_what_the_live_gateways_say(site: Site) -> None:
    said = [value for value in inputs(site, 1.0) if value.unit == "row-a"]
    assert isinstance(said[0], Tick)
    assert said[0].time_ns == START_NS
    assert sum(isinstance(value, Tick) for value in said) == 11
    seen = {(value.asset, int(gpu)) for value in said if isinstance(value, Frame) for gpu in value.gpu}
    assert len(seen) == 4 * 72, "every GPU, that of the NVML tray too"
    (readings,) = [value for value in said if isinstance(value, Readings)]
    assert set(readings.points) == {point.id for point in site.units["row-a"].points}
    assert isinstance(said[-1], Tick), "samples stand before the tick of their time"
    assert said[-1].time_ns == readings.ingest_ns == START_NS + 1_000_000_000
    by_source: dict[str, list[int]] = {}
    for value in said:
        by_source.setdefault(value.identity.source, []).append(value.identity.sequence)
    del by_source["ticker"]
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_source.values())


def test_what_is_stale_is_not_said_and_a_wrong_clock_is(site: Site) -> None:
    stale = [value for value in inputs(site, 2.0, "stale:R01.RackPower@0s") if isinstance(value, Readings)]
    assert not any("R01.RackPower" in value.points for value in stale)
    skewed = [value for value in inputs(site, 1.0, "clock_skew*60@0s") if isinstance(value, Readings)]
    assert all(np.all(value.time_ns - value.ingest_ns == 60_000_000_000) for value in skewed)
