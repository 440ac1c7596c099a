"""Eclipse Milo against `headrace run scada`, each in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateways.broker import EmbeddedBroker
from tests.gateways.scada.live import PASSWORD, Live, site_folder
from tests.gateways.scada.peers import RefusedError, ServerProcess, peer, served
from tests.gateways.scada.scenario import Scenario
from tests.support.milo_jars import milo_command

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def milo(request: pytest.FixtureRequest) -> list[str]:
    return milo_command(request)


@pytest.fixture
async def running(
    tmp_path: Path, unused_port: int, embedded_broker: EmbeddedBroker
) -> AsyncIterator[tuple[Live, ServerProcess]]:
    async with served(site_folder(tmp_path / "site"), unused_port, embedded_broker) as made:
        yield made


async def test_milo_does_all_that_a_scada_does(
    running: tuple[Live, ServerProcess], milo: list[str], tmp_path: Path
) -> None:
    plant, _ = running
    trusted = plant.context.site_dir / "run" / "scada-pki"

    def command(security: str, user: str) -> list[object]:
        return [*milo, plant.endpoint, security, user, PASSWORD, tmp_path / "milo"]

    with pytest.raises(RefusedError):
        async with peer(command("Basic256Sha256", "eva")):
            pass
    (kept,) = (trusted / "rejected").glob("*.der")
    kept.rename(trusted / "trusted" / "certs" / kept.name)
    async with peer(command("Aes256Sha256RsaPss", "eva")) as eva:
        await Scenario(plant, eva).run()
    async with peer(command("Basic256Sha256", "")) as nobody:
        await Scenario(plant, nobody).refused()
