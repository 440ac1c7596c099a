"""The simulated plant of the example site, as a process."""

import dataclasses
import sys
from pathlib import Path

import pytest

from gateways.listen import free_port
from streams.site_folder import load_site
from tests.gateways.opcua.harness import HERE, ServerProcess

SITE = Path(__file__).parents[3] / "examples" / "narvik"


@pytest.fixture(scope="session")
def simulated_plant(tmp_path_factory):
    """(site with only the plant's OPC UA source, at the port where it listens)."""
    port = free_port()
    command = [sys.executable, HERE / "sim_process.py", SITE, port, tmp_path_factory.mktemp("plant")]
    process = ServerProcess(port, *command).start()
    site = load_site(SITE)
    plant = dataclasses.replace(
        site.sources["plant-opcua"], endpoint=f"opc.tcp://127.0.0.1:{port}/headrace/plant"
    )
    points = {point.id: point for point in site.points.values() if point.source == plant.id}
    yield dataclasses.replace(site, sources={plant.id: plant}, points=points)
    process.kill()
