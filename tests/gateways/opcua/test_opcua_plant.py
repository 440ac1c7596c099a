"""The gateway against the simulated plant of the example site: every point, no difference, over both securities."""

import dataclasses

import pytest

from gateways.opcua.gateway import SourceGateway
from tests.gateways.opcua.harness import RecordingPublisher, running_gateway, until


@pytest.mark.parametrize("security", ["None", "Basic256Sha256"])
async def test_every_point_of_the_example_site_comes_good_and_as_the_site_file_has_it(
    simulated_plant, tmp_path, security
):
    source = dataclasses.replace(simulated_plant.sources["plant-opcua"], security=security)
    publisher = RecordingPublisher()
    gateway = SourceGateway(simulated_plant, source, publisher, tmp_path)
    async with running_gateway(gateway):
        await until(lambda: {reading.point for reading in publisher.readings} == set(simulated_plant.points))
        await until(lambda: len(publisher.readings) > 2 * len(simulated_plant.points))
        metrics = gateway.metrics()
        assert (metrics["missing_nodes"], metrics["points_bad"], metrics["differences"]) == (0, 0, [])
        assert {reading.unit for reading in publisher.readings} == {"site", "row-a", "row-b"}
        assert all(reading.time_ns > 0 and reading.server_ns > 0 for reading in publisher.readings)
