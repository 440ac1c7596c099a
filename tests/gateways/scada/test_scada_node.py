"""node-opcua against `headrace run scada`, each in a process of its own."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateways.broker import EmbeddedBroker
from tests.gateways.scada.live import LOW_R1, LOW_R2, PASSWORD, Live, site_folder
from tests.gateways.scada.peers import RefusedError, ServerProcess, peer, served
from tests.gateways.scada.scenario import Scenario
from tests.support.node import node_environment

pytestmark = pytest.mark.node
PEERS = Path(__file__).parents[2] / "support" / "node-opcua"


@pytest.fixture(scope="module")
def node_env(request: pytest.FixtureRequest) -> Mapping[str, str]:
    return node_environment(request, PEERS)


@pytest.fixture
async def running(
    tmp_path: Path, unused_port: int, embedded_broker: EmbeddedBroker
) -> AsyncIterator[tuple[Live, ServerProcess]]:
    async with served(site_folder(tmp_path / "site"), unused_port, embedded_broker) as made:
        yield made


def command(plant: Live, pki: Path, security: str = "None", user: str = "") -> list[Any]:
    request = {"endpoint": plant.endpoint, "security": security, "user": user, "password": PASSWORD}
    return ["node", PEERS / "scada.cjs", json.dumps(request), pki]


async def test_node_opcua_does_all_that_a_scada_does(
    running: tuple[Live, ServerProcess], node_env: Mapping[str, str], tmp_path: Path
) -> None:
    plant, _ = running
    pki = tmp_path / "pki"
    trusted = plant.context.site_dir / "run" / "scada-pki"
    with pytest.raises(RefusedError):
        async with peer(command(plant, pki, "Basic256Sha256", "eva"), node_env):
            pass
    (kept,) = (trusted / "rejected").glob("*.der")
    kept.rename(trusted / "trusted" / "certs" / kept.name)
    async with peer(command(plant, pki, "Basic256Sha256", "eva"), node_env) as eva:
        await Scenario(plant, eva).run()
        standing = [[f"ns=2;s={key}", True] for key in (LOW_R1, LOW_R2)]
        assert await eva.ask("alarms", 2) == standing
    async with peer(command(plant, pki, "Aes256Sha256RsaPss"), node_env) as nobody:
        await Scenario(plant, nobody).refused()


async def test_node_opcua_finds_back_to_a_server_that_was_killed(
    running: tuple[Live, ServerProcess], node_env: Mapping[str, str], tmp_path: Path
) -> None:
    """It makes a new session, and its subscription anew; what stands it hears by a refresh."""
    plant, server = running
    async with peer(command(plant, tmp_path / "pki"), node_env) as one:
        await one.ask("subscribe")
        await plant.flow(60)
        (raised,) = await one.events(LOW_R1, 1)
        await server.end(signal.SIGKILL)
        await server.start()
        await one.ask("reconnected")
        await plant.flow(60, "R2")
        await one.events(LOW_R2, 1)
        assert await one.ask("refresh") == "Good"
        (_, again) = await one.events(LOW_R1, 2)
        assert again["EventId"] == raised["EventId"]
