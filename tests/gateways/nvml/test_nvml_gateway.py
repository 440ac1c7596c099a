"""The NVML gateway as a role on the in-memory bus: frames, losses, hangs, hosts without a driver, a wrong site."""

import asyncio
import contextlib
import time

import numpy as np
import pytest

from gateways.nvml import gateway, role
from gateways.nvml.simulated import SimulatedNvml
from gateways.nvml.state import GPU_IS_LOST, NvmlState
from rules.errors import ConfigurationError
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.quality import Quality
from tests.gateways.nvml.hosts import (
    COUNT,
    FIRST,
    GPUS,
    OWN,
    frames,
    gaps,
    inputs,
    make_context,
    make_site,
    until,
)

PERIOD_NS = 100_000_000
HOUR_NS = 3_600_000_000_000
TEMPERATURE = FIELD_INDEX["temperature"]


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch):
    monkeypatch.setattr(gateway, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(gateway, "BACKOFF_LAST_S", 0.1)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where the state file will be; the simulated face is used, whatever the machine has."""
    path = tmp_path / "nvml.state"
    monkeypatch.setattr(
        role, "open_nvml", lambda run_dir, first, count: SimulatedNvml(f"{path}#{first}:{count}")
    )
    return path


@contextlib.asynccontextmanager
async def running(context):
    task = asyncio.create_task(role.run(context))
    try:
        yield context
    finally:
        context.stop.set()
        await asyncio.wait_for(task, 60)


def good(bus):
    return [frame for frame in frames(bus) if (frame.quality == Quality.GOOD).all()]


def bad(bus):
    return [frame for frame in frames(bus) if (frame.quality == Quality.BAD).all()]


async def test_frames_of_the_tray_reach_the_log(path, tmp_path):
    state = NvmlState.create(path, GPUS)
    state.field("temperature_c")[:] = range(40, 48)
    state.field("energy_mj")[:] = range(1000, 1008)
    async with running(await make_context(tmp_path)) as context:
        await until(lambda: len(good(context.bus)) >= 5)
    found = frames(context.bus)
    first = found[0]
    assert (first.unit, first.asset, first.identity.source) == ("row-a", "R1-T2", "nvml-1")
    assert first.values.shape == (1, COUNT, FIELD_COUNT)
    assert first.gpu.tolist() == [0, 1, 2, 3]
    assert first.values[0, :, TEMPERATURE].tolist() == [44, 45, 46, 47]
    assert first.energy_mj.tolist() == [[1004, 1005, 1006, 1007]]
    assert [frame.identity.sequence for frame in inputs(context.bus)] == list(
        range(1, len(inputs(context.bus)) + 1)
    )
    times = np.array([frame.time_ns[0] for frame in found])
    assert (np.diff(times) > 0).all()
    assert context.metrics["face"] == "simulated"
    assert context.metrics["gpus"] == COUNT
    assert context.metrics["frames"] == len(found)


async def test_a_lost_gpu_is_bad_in_the_frame_and_named_in_the_status(path, tmp_path):
    state = NvmlState.create(path, GPUS)
    async with running(await make_context(tmp_path)) as context:
        await until(lambda: good(context.bus))
        state.field("return_code")[FIRST + 2] = GPU_IS_LOST
        expected = [Quality.GOOD, Quality.GOOD, Quality.BAD, Quality.GOOD]
        await until(lambda: frames(context.bus)[-1].quality[0].tolist() == expected)
        await until(lambda: context.metrics.get("lost"))
        assert list(context.metrics["lost"]) == [OWN[2]]
        assert "lost" in context.metrics["lost"][OWN[2]]
        assert np.isnan(frames(context.bus)[-1].values[0, 2]).all()
        state.field("return_code")[FIRST + 2] = 0
        await until(lambda: (frames(context.bus)[-1].quality == Quality.GOOD).all())
        assert context.state == "ready"


async def test_a_host_without_a_driver_is_degraded_bad_and_then_a_gap(path, tmp_path, caplog):
    async with running(await make_context(tmp_path)) as context:
        await until(lambda: bad(context.bus))
        assert context.state == "degraded"
        assert "plant creates it" in context.metrics["outage"]
        assert np.isnan(bad(context.bus)[0].values).all()
        assert (bad(context.bus)[0].energy_mj == -1).all()
        NvmlState.create(path, GPUS)
        await until(lambda: good(context.bus) and context.state == "ready")
        assert "outage" not in context.metrics
    gap = gaps(context.bus)[0]
    first = good(context.bus)[0]
    assert gap.reason == "disconnected"
    assert gap.to_ns == first.time_ns[0]
    assert gap.identity.sequence == first.identity.sequence - 1
    missed = round((gap.to_ns - gap.from_ns) / PERIOD_NS) - 1
    assert gap.readings == max(0, missed) * COUNT * FIELD_COUNT
    assert sum("quality bad until" in record.message for record in caplog.records) == 1


async def test_a_driver_that_goes_away_and_comes_back(path, tmp_path):
    state = NvmlState.create(path, GPUS)
    async with running(await make_context(tmp_path)) as context:
        await until(lambda: good(context.bus))
        state.set_driver_loaded(False)
        await until(lambda: bad(context.bus))
        last_good = good(context.bus)[-1]
        state.set_driver_loaded(True)
        await until(lambda: good(context.bus)[-1].time_ns[0] > bad(context.bus)[-1].time_ns[0])
    gap = gaps(context.bus)[-1]
    assert gap.from_ns == last_good.time_ns[0]
    assert gap.to_ns > bad(context.bus)[-1].time_ns[0]


async def test_a_call_that_hangs_is_bad_while_it_lasts_and_a_gap_afterwards(path, tmp_path):
    state = NvmlState.create(path, GPUS)
    async with running(await make_context(tmp_path)) as context:
        await until(lambda: good(context.bus))
        state.set_call_delay_us(400_000)
        await until(lambda: bad(context.bus))
        assert context.state == "degraded"
        assert context.metrics["outage"] == "an NVML call does not return"
        state.set_call_delay_us(0)
        hung_ns = bad(context.bus)[-1].time_ns[0]
        await until(lambda: good(context.bus)[-1].time_ns[0] > hung_ns)
        assert context.state == "ready"
    times = [frame.time_ns[0] for frame in frames(context.bus)]
    assert times == sorted(set(times))
    gap = gaps(context.bus)[-1]
    assert gap.from_ns < hung_ns < gap.to_ns
    assert gap.readings >= 3 * COUNT * FIELD_COUNT


async def test_a_stop_does_not_wait_for_a_call_that_hangs(path, tmp_path):
    state = NvmlState.create(path, GPUS)
    async with running(await make_context(tmp_path)) as context:
        await until(lambda: good(context.bus))
        state.set_call_delay_us(60_000_000)
        await until(lambda: bad(context.bus))
    state.set_call_delay_us(0)


async def test_what_nobody_foresaw_ends_the_role(path, tmp_path, monkeypatch):
    NvmlState.create(path, GPUS)

    def broken(*arguments):
        raise ZeroDivisionError("a fault of the gateway's own")

    monkeypatch.setattr(gateway.Sampler, "sample", broken)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(role.run(await make_context(tmp_path)), 60)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"period_ns": 50_000_000}, "period of 50 ms"),
        ({"period_ns": 5_000_000_000}, "period of 5000 ms"),
        ({"options": {"slow_period_ms": "often"}}, "slow_period_ms is 'often'"),
        ({"options": {"slow_period": "1000"}}, "did you mean 'slow_period_ms'"),
        ({"assets": ()}, "has no GPUs"),
        ({"assets": ("R1-T2", "R1-T1-G1")}, "not next to each other"),
    ],
)
async def test_a_site_file_that_nvml_cannot_do_is_refused(path, tmp_path, source, message):
    with pytest.raises(ConfigurationError, match=message):
        await role.run(await make_context(tmp_path, make_site(**source)))


async def test_a_source_that_is_not_there_is_named(path, tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'nvml-1'"):
        await role.run(await make_context(tmp_path, source="nvml-2"))


async def test_several_assets_are_several_frames_of_one_sample(path, tmp_path):
    NvmlState.create(path, GPUS)
    context = await make_context(tmp_path, make_site(assets=("R1-T1", "R1-T2")))
    async with running(context):
        await until(lambda: len(good(context.bus)) >= 4)
    first, second = frames(context.bus)[:2]
    assert (first.asset, second.asset) == ("R1-T1", "R1-T2")
    assert first.time_ns[0] == second.time_ns[0]


async def test_a_clock_that_is_set_back_hides_no_gpu_and_no_slow_field(path, tmp_path):
    context = await make_context(tmp_path, make_site(options={"slow_period_ms": "100"}))
    bus, ahead_ns = context.bus, 2 * HOUR_NS
    context.clock = lambda: time.time_ns() + ahead_ns

    def is_ahead(frame):
        return frame.time_ns[0] > time.time_ns() + HOUR_NS

    async with running(context):
        await until(lambda: bad(bus))
        ahead_ns = 0
        state = NvmlState.create(path, GPUS)
        await until(lambda: good(bus))
        assert not is_ahead(good(bus)[0])
        (gap,) = gaps(bus)
        assert gap.from_ns <= gap.to_ns
        ahead_ns = 2 * HOUR_NS
        await until(lambda: is_ahead(good(bus)[-1]))
        ahead_ns = 0
        await until(lambda: not is_ahead(good(bus)[-1]))
        state.field("temperature_margin_c")[:] = 3
        await until(lambda: (good(bus)[-1].values[0, :, FIELD_INDEX["temperature_margin"]] == 3).all())


async def test_a_clock_that_is_set_changes_nothing_of_what_was_missed(path, tmp_path):
    state = NvmlState.create(path, GPUS)
    context = await make_context(tmp_path)
    bus, ahead_ns = context.bus, 0
    context.clock = lambda: time.time_ns() + ahead_ns
    a_minute = 600 * COUNT * FIELD_COUNT
    async with running(context):
        await until(lambda: good(bus))
        ahead_ns = 2 * HOUR_NS
        await until(lambda: good(bus)[-1].time_ns[0] > time.time_ns() + HOUR_NS)
        assert sum(gap.readings for gap in gaps(bus)) < a_minute
        state.set_call_delay_us(400_000)
        before = len(gaps(bus))
        await until(lambda: context.state == "degraded")
        ahead_ns = 0
        state.set_call_delay_us(0)
        await until(lambda: len(gaps(bus)) > before)
    gap = gaps(bus)[before]
    assert gap.from_ns <= gap.to_ns < time.time_ns() + HOUR_NS
    assert 3 * COUNT * FIELD_COUNT <= gap.readings < a_minute


async def test_samples_are_of_the_roles_clock(path, tmp_path):
    context = await make_context(tmp_path)
    context.clock = lambda: time.time_ns() + HOUR_NS
    before_ns = time.time_ns() + HOUR_NS
    async with running(context):
        await until(lambda: frames(context.bus))
        NvmlState.create(path, GPUS)
        await until(lambda: good(context.bus))
    after_ns = time.time_ns() + HOUR_NS
    (gap,) = gaps(context.bus)
    times = [frame.time_ns[0] for frame in frames(context.bus)]
    assert all(before_ns <= time_ns <= after_ns for time_ns in (gap.from_ns, gap.to_ns, *times))
