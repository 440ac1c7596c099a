"""One contract for every face of NVML. Here it is held by the simulated one; test_nvml_fake_library.py runs this
very file over the fake library through nvidia-ml-py, in a process of its own."""

import ctypes

import numpy as np
import pynvml
import pytest

from gateways.nvml.device import RETRY_UNSUPPORTED_NS
from gateways.nvml.library import handle_of, read_uint, uuid_of
from gateways.nvml.sampler import Sampler
from gateways.nvml.state import GPU_IS_LOST, NO_PERMISSION, SUCCESS, NvmlState, gpu_uuid
from rules.errors import UnreachableError
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.quality import Quality
from tests.gateways.nvml.hosts import COUNT, FACE, FIRST, GPUS, OWN, Host

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

EXPECTED = {
    "power_instant": ("power_mw", 812_345, 812.345),
    "power_mean": ("power_mean_mw", 800_500, 800.5),
    "energy": ("energy_mj", 5_000_000_000, 5000.0),
    "temperature": ("temperature_c", 61, 61),
    "memory_temperature": ("memory_temperature_c", 71, 71),
    "temperature_margin": ("temperature_margin_c", -3, -3),
    "enforced_power_limit": ("enforced_power_limit_mw", 1_300_000, 1300),
    "sm_clock": ("sm_clock_mhz", 1980, 1980),
    "memory_clock": ("memory_clock_mhz", 3996, 3996),
    "gpu_utilization": ("gpu_utilization_pct", 97, 97),
    "memory_utilization": ("memory_utilization_pct", 41, 41),
    "memory_used": ("memory_used_bytes", 100 << 30, 100 * 1024),
    "event_reasons": ("event_reasons", 0x24, 0x24),
    "ecc_corrected": ("ecc_corrected", 7, 7),
    "ecc_uncorrected": ("ecc_uncorrected", 2, 2),
    "remapped_rows": ("remapped_rows_uncorrected", 3, 3),
    "pcie_replays": ("pcie_replays", 5, 5),
    "nvlink_errors": ("nvlink_errors", 11, 11),
    "power_smoothing_floor": ("power_smoothing_floor_pct", 65, 65),
    "recovery_action": ("recovery_action", 4, 4),
}
RATES = {"nvlink_throughput": ("nvlink_received_kib", 1.024)}
GPM_RATES = {"pcie_sent": "pcie_sent_bytes", "pcie_received": "pcie_received_bytes"}
HOST = Host()


@pytest.fixture
def host():
    return HOST.reset()


@pytest.fixture
def state(host):
    return host[0]


@pytest.fixture
def nvml(host):
    return host[1]


@pytest.fixture
def sampler(nvml):
    sampler = Sampler(nvml, OWN)
    sampler.start()
    yield sampler
    sampler.stop()


def own(state, name):
    return state.field(name)[FIRST : FIRST + COUNT]


def of(sample, field, gpu=0):
    return sample.values[gpu, FIELD_INDEX[field]]


def test_the_face_is_the_one_that_was_asked_for(nvml):
    assert nvml.face == FACE


def test_every_field_has_a_test():
    assert {*EXPECTED, *RATES, *GPM_RATES, "xid"} == {field.name for field in GPU_FIELDS}


def test_a_host_has_its_window_of_the_plant(nvml, sampler):
    count = ctypes.c_uint()
    assert nvml.function("nvmlDeviceGetCount_v2")(ctypes.byref(count)) == SUCCESS
    assert count.value == COUNT
    names = [uuid_of(nvml, handle_of(nvml, index)[1]) for index in range(COUNT)]
    assert names == [gpu_uuid(gpu) for gpu in OWN]
    assert handle_of(nvml, COUNT)[0] == pynvml.NVML_ERROR_INVALID_ARGUMENT


@pytest.mark.parametrize("field", EXPECTED)
def test_a_field_is_what_the_device_says(state, sampler, field):
    name, raw, value = EXPECTED[field]
    own(state, name)[2] = raw
    sample = sampler.sample(START)
    assert of(sample, field, 2) == np.float32(value)
    assert of(sample, field, 1) != np.float32(value) or field == "memory_clock"
    assert sample.quality.tolist() == [Quality.GOOD] * COUNT


@pytest.mark.parametrize("field", RATES)
def test_a_counter_becomes_a_rate(state, sampler, field):
    name, scale = RATES[field]
    own(state, name)[:] = 10_000_000
    assert np.isnan(of(sampler.sample(START), field))
    own(state, name)[:] += 3_000_000
    assert of(sampler.sample(START + 2 * SECOND), field) == np.float32(1_500_000 * scale)
    own(state, name)[:] = 0  # its driver was reset: no rate, rather than a negative one
    assert np.isnan(of(sampler.sample(START + 3 * SECOND), field))


@pytest.mark.parametrize("field", GPM_RATES)
def test_the_drivers_own_monitoring_gives_a_rate_by_its_own_clock(state, sampler, field):
    name = GPM_RATES[field]
    own(state, name)[:] = 10_000_000
    assert np.isnan(of(sampler.sample(START), field))
    own(state, name)[:] += 57_000_000_000  # more than 13 times what 32 bits hold
    state.header["clock_ns"] += SECOND
    assert of(sampler.sample(START + 2 * SECOND), field) == np.float32(57_000_000)
    assert of(sampler.sample(START + 2 * SECOND + SECOND // 10), field) == np.float32(57_000_000)
    state.header["clock_ns"] += SECOND
    own(state, name)[:] = 0  # its driver was reset
    assert np.isnan(of(sampler.sample(START + 4 * SECOND), field))


def test_slow_reads_of_a_hosts_gpus_take_turns(state, sampler):
    sampler.sample(START)
    read = [
        (sampler.sample(START + tenth * SECOND // 10).energy_mj >= 0).nonzero()[0].tolist()
        for tenth in range(1, 11)
    ]
    assert read == [[], [], [3], [], [2], [], [], [1], [], [0]]


@pytest.mark.parametrize("field", [field.name for field in GPU_FIELDS if field.name != "memory_utilization"])
def test_what_is_not_supported_is_not_available_never_0(state, sampler, field):
    own(state, "not_supported")[1] = 1 << FIELD_INDEX[field]
    if field == "xid":
        sampler.start()
    sampler.sample(START)
    state.header["clock_ns"] += SECOND
    sample = sampler.sample(START + SECOND)
    assert np.isnan(of(sample, field, 1))
    absent = {FIELD_INDEX[field]}
    if field == "gpu_utilization":  # NVML gives both in one call, so neither can be absent alone
        absent.add(FIELD_INDEX["memory_utilization"])
    present = np.delete(sample.values[1], sorted(absent))
    assert not np.isnan(present).any()
    assert not np.isnan(sample.values[0]).any()
    assert sample.quality[1] == Quality.GOOD
    assert field in sampler.counts.not_available[OWN[1]]
    assert sampler.counts.not_available[OWN[0]] == []


@pytest.mark.parametrize("field", ["memory_temperature", "temperature"])
def test_what_is_not_supported_is_remembered_and_asked_again_once_a_minute(state, sampler, field):
    own(state, "not_supported")[0] = 1 << FIELD_INDEX[field]
    sampler.sample(START)
    own(state, "not_supported")[0] = 0
    assert np.isnan(of(sampler.sample(START + RETRY_UNSUPPORTED_NS - SECOND), field))
    assert not np.isnan(of(sampler.sample(START + RETRY_UNSUPPORTED_NS + SECOND), field))


def test_slow_fields_are_held_between_their_reads(state, sampler):
    own(state, "recovery_action")[:] = 1
    sampler.sample(START)
    own(state, "recovery_action")[:] = 2
    own(state, "temperature_c")[:] = 80
    between = sampler.sample(START + SECOND // 10)
    assert of(between, "recovery_action") == 1
    assert of(between, "temperature") == 80
    assert of(sampler.sample(START + SECOND), "recovery_action") == 2


def test_an_energy_counter_that_stays_0_is_not_available(state, sampler):
    own(state, "energy_mj")[3] = 0
    sample = sampler.sample(START)
    assert np.isnan(of(sample, "energy", 3))
    assert sample.energy_mj.tolist()[3] == -1
    assert sampler.counts.not_available[OWN[3]] == ["energy"]
    own(state, "energy_mj")[3] = 7_000_000
    sample = sampler.sample(START + SECOND)
    assert sample.energy_mj.tolist()[3] == 7_000_000
    assert sampler.counts.not_available[OWN[3]] == []


def test_an_energy_counter_that_goes_back_is_a_reset_and_the_new_base(state, sampler):
    own(state, "energy_mj")[:] = (1 << 53) + 1  # exact beyond what a float64 holds
    assert sampler.sample(START).energy_mj.tolist() == [(1 << 53) + 1] * COUNT
    own(state, "energy_mj")[1] = 1_000
    assert sampler.sample(START + SECOND).energy_mj[1] == 1_000
    own(state, "energy_mj")[1] = 2_000
    assert sampler.sample(START + 2 * SECOND).energy_mj[1] == 2_000
    assert sampler.counts.energy_resets == 1


@pytest.mark.parametrize("code", [GPU_IS_LOST, pynvml.NVML_ERROR_UNKNOWN])
def test_a_lost_gpu_is_bad_alone_and_comes_back(state, sampler, code):
    sampler.sample(START)
    own(state, "return_code")[2] = code
    sample = sampler.sample(START + SECOND)
    good, bad = Quality.GOOD, Quality.BAD
    assert sample.quality.tolist() == [good, good, bad, good]
    assert np.isnan(sample.values[2]).all()
    assert sample.energy_mj[2] == -1
    assert list(sampler.counts.lost) == [OWN[2]]
    for second in range(2, 6):
        assert sampler.sample(START + second * SECOND).quality[2] == bad
    own(state, "return_code")[2] = SUCCESS
    assert sampler.sample(START + 60 * SECOND).quality.tolist() == [good] * COUNT
    assert sampler.counts.lost == {}
    assert (sampler.counts.gpus_lost, sampler.counts.gpus_returned) == (1, 1)


def test_a_gpu_that_is_lost_at_the_start_does_not_stop_the_others(state, nvml):
    own(state, "return_code")[0] = GPU_IS_LOST
    sampler = Sampler(nvml, OWN)
    sampler.start()
    assert sampler.sample(START).quality.tolist() == [Quality.BAD, *[Quality.GOOD] * 3]


def test_without_a_driver_there_is_one_clear_error(state, sampler):
    sampler.sample(START)
    state.set_driver_loaded(False)
    with pytest.raises(UnreachableError, match="driver"):
        sampler.sample(START + SECOND)
    with pytest.raises(UnreachableError, match="driver"):
        sampler.start()
    state.set_driver_loaded(True)
    sampler.start()
    assert sampler.sample(START + 2 * SECOND).quality.tolist() == [Quality.GOOD] * COUNT


def test_a_plant_of_another_site_is_not_sampled(nvml):
    sampler = Sampler(nvml, ("X1", "X2", "X3", "X4"))
    sampler.start()
    with pytest.raises(UnreachableError, match="another site"):
        sampler.sample(START)


def test_xids_come_by_events_once_and_are_held(state, sampler):
    assert of(sampler.sample(START), "xid") == 0
    state.raise_xid(FIRST + 1, 31)
    state.raise_xid(FIRST + 1, 79)
    state.raise_xid(0, 48)  # of another host
    sample = sampler.sample(START + SECOND)
    assert [of(sample, "xid", gpu) for gpu in range(COUNT)] == [0, 79, 0, 0]
    assert of(sampler.sample(START + 59 * SECOND), "xid", 1) == 79
    assert of(sampler.sample(START + 62 * SECOND), "xid", 1) == 0
    assert sampler.counts.xids == 2


def test_an_xid_that_comes_while_its_gpu_is_lost_is_seen_after_it(state, sampler):
    sampler.sample(START)
    own(state, "return_code")[0] = GPU_IS_LOST
    state.raise_xid(FIRST, 79)
    sampler.sample(START + SECOND)
    own(state, "return_code")[0] = SUCCESS
    assert of(sampler.sample(START + 10 * SECOND), "xid") == 79


def test_a_power_limit_is_set_and_read_back(state, nvml, sampler):
    handle = handle_of(nvml, 1)[1]
    set_limit = nvml.function("nvmlDeviceSetPowerManagementLimit")
    get_limit = nvml.function("nvmlDeviceGetPowerManagementLimit")
    assert set_limit(handle, ctypes.c_uint(700_000)) == SUCCESS
    assert read_uint(get_limit, handle) == (SUCCESS, 700_000)
    assert state.field("power_limit_mw").tolist() == [1_400_000] * 5 + [700_000] + [1_400_000] * 2
    assert state.field("limit_writes")[FIRST + 1] == 1
    assert state.field("limit_written_ns")[FIRST + 1] > 0
    for wrong in (499_999, 1_600_001):
        assert set_limit(handle, ctypes.c_uint(wrong)) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    own(state, "set_return_code")[1] = NO_PERMISSION
    assert set_limit(handle, ctypes.c_uint(800_000)) == NO_PERMISSION
    assert read_uint(get_limit, handle) == (SUCCESS, 700_000)
    assert of(sampler.sample(START), "enforced_power_limit", 1) == 700


def test_a_function_that_the_library_lacks_says_so(nvml):
    assert nvml.function("nvmlDeviceGetNothing")(None) == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND


def test_a_plant_that_starts_anew_keeps_the_mapping(state, sampler):
    own(state, "power_mw")[:] = 900_000
    sampler.sample(START)
    NvmlState.create(HOST.path, GPUS)
    assert of(sampler.sample(START + SECOND), "power_instant") == 200
