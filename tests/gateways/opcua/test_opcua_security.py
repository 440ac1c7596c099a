"""Security of the gateway's connection: refused without it on a network, certificates made and kept."""

import asyncio
import fcntl

import pytest
from asyncua import Client
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_der_x509_certificate

from gateways.opcua.gateway import SourceGateway
from gateways.opcua.security import own_certificate
from rules.errors import ConfigurationError
from rules.quality import Quality
from rules.site.model import Source
from tests.gateways.opcua.harness import (
    HERE,
    RecordingPublisher,
    ServerProcess,
    make_site,
    point,
    running,
    until,
)


def findings_of(points=None, **source):
    site = make_site(points or [point("t")], 4840)
    given = {"id": "plant", "kind": "opcua", "endpoint": "opc.tcp://127.0.0.1:4840/plant"} | source
    with pytest.raises(ConfigurationError) as caught:
        SourceGateway(site, Source(**given), RecordingPublisher(), HERE)
    return [str(finding) for finding in caught.value.findings]


def test_without_security_only_on_this_machine():
    (finding,) = findings_of(endpoint="opc.tcp://10.0.0.7:4840/plant")
    assert "10.0.0.7 is another machine" in finding
    assert "set security: Basic256Sha256" in finding


def test_a_wrong_security_or_endpoint_is_named_with_the_nearest_right_one():
    (finding,) = findings_of(security="Basic256Sha265")
    assert "did you mean 'Basic256Sha256'?" in finding
    (finding,) = findings_of(endpoint="127.0.0.1:4840")
    assert "opc.tcp://HOST:PORT/PATH" in finding


def test_all_addresses_that_are_no_node_ids_are_named_at_once():
    found = findings_of([point("t", address="R01.Flow"), point("u"), point("v", address="ns=x;s=1")])
    assert ["A1.t" in found[0], "A1.v" in found[1], len(found)] == [True, True, 2]


async def test_who_starts_together_shares_one_key_and_its_certificate(tmp_path):
    with (tmp_path / "lock").open("w") as another_process:
        fcntl.flock(another_process, fcntl.LOCK_EX)
        making = asyncio.create_task(own_certificate(Client("opc.tcp://127.0.0.1:4840"), tmp_path))
        await asyncio.wait([making], timeout=0.7)
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    await making
    key = load_pem_private_key((tmp_path / "opcua-gateway.key.pem").read_bytes(), None)
    certificate = load_der_x509_certificate((tmp_path / "opcua-gateway.der").read_bytes())
    assert key.public_key() == certificate.public_key()


@pytest.fixture
def secure_server(tmp_path):
    process = ServerProcess.asyncua("live", certificates=tmp_path)
    yield process
    process.kill()


async def test_sign_and_encrypt_and_a_server_that_is_then_known(secure_server, tmp_path):
    site = make_site([point("live")], secure_server.port, security="Basic256Sha256")
    run_dir = tmp_path / "run"
    async with running(site, run_dir) as (_, publisher):
        await until(lambda: publisher.last("A1.live") and publisher.last("A1.live").quality == Quality.GOOD)
    assert (run_dir / "certificates" / "opcua-gateway.key.pem").stat().st_mode & 0o077 == 0
    kept = run_dir / "certificates" / "servers" / "plant.der"
    assert kept.read_bytes() == (tmp_path / "server.der").read_bytes()

    kept.write_bytes(b"another server's")
    async with running(site, run_dir) as (gateway, publisher):
        await until(lambda: publisher.last("A1.live"))
        assert publisher.last("A1.live").quality == Quality.BAD
        assert "BadCertificateUntrusted" in gateway.metrics()["reason"]
