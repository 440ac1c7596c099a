"""The actuators' plant: an OPC UA server for a whole module, a simulated NVML for each test."""

import pytest
import pytest_asyncio

from gateways.actuators import role
from gateways.listen import free_port
from gateways.nvml.simulated import SimulatedNvml
from gateways.nvml.state import NvmlState
from tests.gateways.actuators.plant import PlantServer, make_site
from tests.gateways.nvml.hosts import GPUS, make_context


@pytest.fixture
def state(tmp_path, monkeypatch):
    path = tmp_path / "nvml.state"
    monkeypatch.setattr(role, "open_nvml", lambda run_dir: SimulatedNvml(str(path)))
    return NvmlState.create(path, GPUS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant():
    async with await PlantServer(free_port()).init() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def server(plant):
    await plant.reset()
    return plant


@pytest_asyncio.fixture(loop_scope="module")
async def context(tmp_path, state, server):
    return await make_context(tmp_path, make_site(server.port), "actuators")
