"""A simulated host for tests, and a small site around it."""

import asyncio
import os
import tempfile
from pathlib import Path

from gateways.nvml.library import open_nvml
from gateways.nvml.simulated import SimulatedNvml
from gateways.nvml.state import ENVIRONMENT, NvmlState
from rules.engine.inputs import Frame, Gap
from rules.site.model import Actuator, Asset, Site, Source, Unit
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import Settings
from streams.topics import EVENTS, TOPICS
from streams.wire import decode_input

GPUS = tuple(f"R1-T{tray}-G{gpu}" for tray in (1, 2) for gpu in (1, 2, 3, 4))
FIRST, COUNT = 4, 4
OWN = GPUS[FIRST : FIRST + COUNT]
FACE = os.environ.get("NVML_CONTRACT_FACE", "simulated")


class Host:
    """Two trays in one state file; NVML sees the second. The fake library maps its file once per process, so
    every test of a process sets the same file back."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="nvml-"))
        self.path = self.folder / "nvml.state"

    def reset(self):
        state = NvmlState.create(self.path, GPUS)
        if FACE == "fake library":
            os.environ[ENVIRONMENT] = str(self.path)
            return state, open_nvml(self.folder, FIRST, COUNT)
        return state, SimulatedNvml(f"{self.path}#{FIRST}:{COUNT}")


def make_site(**source):
    """One unit with a rack of two trays of 4 GPUs; the second tray is read through NVML."""
    assets = [Asset("R1", "Rack", "row-a")]
    for tray in ("R1-T1", "R1-T2"):
        assets.append(Asset(tray, "Tray", "row-a", "R1"))
        assets.extend(Asset(gpu, "GPU", "row-a", tray) for gpu in GPUS if gpu.startswith(tray))
    lanes = {gpu: lane for lane, gpu in enumerate(GPUS)}
    ranges = {"row-a": (0, 8), "R1": (0, 8), "R1-T1": (0, 4), "R1-T2": (4, 8)}
    ranges |= {gpu: (lane, lane + 1) for gpu, lane in lanes.items()}
    unit = Unit("row-a", tuple(assets), (), GPUS, lanes, ranges)
    given = {"assets": ("R1-T2",), "period_ns": 100_000_000} | source
    actuators = {
        f"{gpu}.power_limit": Actuator(
            f"{gpu}.power_limit", gpu, "power_limit", "nvml", "nvml-1", str(lane), "W", 500, 1600, 1400
        )
        for gpu, lane in lanes.items()
    }
    return Site(
        "test",
        "0" * 64,
        100_000_000,
        {"row-a": unit},
        {asset.id: asset for asset in assets},
        {},
        {"nvml-1": Source("nvml-1", "nvml", **given)},
        actuators,
    )


async def make_context(run_dir, site=None, name="nvml", bus=None, **options):
    if bus is None:
        bus = MemoryBus()
        await bus.create_topics(TOPICS, 3)
    settings = Settings(run_dir=run_dir)
    return RoleContext(name, site or make_site(), run_dir, settings, bus, asyncio.Event(), options)


def inputs(bus, kind=None):
    """What is on `events`, decoded."""
    found = [decode_input(record.key, record.headers, record.value) for record in bus.records(EVENTS.name)]
    return [value for value in found if kind is None or isinstance(value, kind)]


def frames(bus):
    return inputs(bus, Frame)


def gaps(bus):
    return inputs(bus, Gap)


async def until(condition, patience_s=120.0):
    """Let the loop run until it holds; the time-out only ends a test that has failed."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.01)
