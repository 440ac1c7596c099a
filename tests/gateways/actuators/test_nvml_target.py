"""The target of the GPUs' power limits, at a library that takes its time."""

import asyncio
import ctypes
import threading
import time

import pytest

from gateways.actuators import nvml_target
from gateways.actuators.nvml_target import NvmlTarget
from gateways.actuators.outcome import Task
from tests.gateways.actuators.plant import command, make_site
from tests.gateways.nvml.hosts import GPUS

SITE = make_site(1)


class Library:
    """One limit for all devices. `written`: how often; `writing`: called by each write, in its thread."""

    face = "simulated"

    def __init__(self):
        self.written = 0
        self.limit_mw = 0
        self.writing = lambda: None

    def start(self):
        pass

    def function(self, name):
        def set_limit(_handle, value):
            self.written += 1
            self.writing()
            self.limit_mw = value.value
            return 0

        return set_limit if name == "nvmlDeviceSetPowerManagementLimit" else None


@pytest.fixture
def library(monkeypatch):
    library = Library()
    monkeypatch.setattr(nvml_target, "handle_of", lambda _nvml, _index: (0, ctypes.c_void_p(1)))
    monkeypatch.setattr(nvml_target, "uuid_of", lambda _nvml, _handle: "")
    monkeypatch.setattr(nvml_target, "gpu_uuid", lambda _asset: "")
    monkeypatch.setattr(nvml_target, "read_uint", lambda _function, _handle: (0, library.limit_mw))
    return library


def tasks(number, expires_s=10.0):
    commands = [command(f"{gpu}.power_limit", 600.0, expires_s=expires_s) for gpu in GPUS[:number]]
    return [Task(one, SITE.actuators[one.actuator]) for one in commands]


async def test_what_expires_while_its_turn_comes_is_not_written(library):
    now_ns = [time.time_ns()]
    library.writing = lambda: now_ns.append(now_ns[0] + 60_000_000_000)
    target = NvmlTarget(library, lambda: now_ns[-1])
    outcomes = await target.write(tasks(3))
    assert [outcome.status for outcome in outcomes] == ["done", "expired", "expired"]
    assert library.written == 1
    await target.close()


async def test_what_follows_a_write_that_hangs_is_not_written_when_it_returns(library, monkeypatch):
    monkeypatch.setattr(nvml_target, "ANSWER_WITHIN_S", 0.5)
    returns = threading.Event()
    library.writing = lambda: library.written == 2 and returns.wait()
    target = NvmlTarget(library, time.time_ns)
    outcomes = await target.write(tasks(4))
    assert [outcome.status for outcome in outcomes] == ["done", "unknown", "failed", "failed"]
    assert [outcome.status for outcome in await target.write(tasks(2))] == ["failed", "failed"]
    returns.set()
    await asyncio.to_thread(target._thread.shutdown)
    assert library.written == 2
