"""When certificates end, as each role's metrics say it."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateways.certificates import Application, read_certificate, renew
from gateways.observability.certificate_ends import certificate_ends
from gateways.observability.exposition import exposition
from gateways.opcua.security import FOLDER, SERVERS
from gateways.scada.certificates import Pki
from rules.site.model import Site
from streams.bus.memory import MemoryBus
from streams.role import RoleContext, status_body
from streams.settings import BrokerSettings, Settings
from tests.rules.engine.plant import site

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)
NOW_S = NOW.timestamp()
DAY_S = 86_400.0


def context_of(folder: Path, kind: str, plant: Site | None = None, **broker: Any) -> RoleContext:
    settings = Settings(run_dir=folder, broker=BrokerSettings(**broker))
    return RoleContext(
        "headrace-0", plant or site(), folder, settings, MemoryBus(), asyncio.Event(), kind=kind
    )


def make(file: Path, days: int) -> bytes:
    """As DER at `file`; the same as PEM."""
    renew(Application("urn:x", "client", file, file.with_suffix(".key"), ("h",)), NOW, days)
    return read_certificate(file).public_bytes(Encoding.PEM)


def test_the_broker_s_are_of_every_role_and_the_first_that_ends_counts(tmp_path: Path) -> None:
    first, second, third = (make(tmp_path / f"{days}.der", days) for days in (9, 5, 7))
    authorities, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    authorities.write_bytes(b"# an authority\n" + first + b"# and the one before\n" + second)
    own.write_bytes(third)
    tls = {"security_protocol": "SSL", "ca_file": authorities, "certificate_file": own}
    context = context_of(tmp_path, "worker", **tls)
    ends = certificate_ends(context)
    assert ends == {"broker": NOW_S + 7 * DAY_S, "broker_authority": NOW_S + 5 * DAY_S}
    context.metrics["certificates"] = ends
    said, _ = exposition(status_body(context), 0, "")
    assert 'headrace_certificate_expiry_timestamp_seconds{of="broker"} 1.8006048e+09' in said.decode()


def test_the_scada_servers_own_and_those_it_trusts(tmp_path: Path) -> None:
    context = context_of(tmp_path, "scada")
    assert certificate_ends(context) == {}
    pki = Pki(tmp_path / "scada-pki", context.clock)
    make(pki.certificate, 20)
    make(pki.trusted / "one.der", 12)
    make(pki.trusted / "two.der", 11)
    (pki.trusted / "junk.der").write_bytes(b"no certificate")
    assert certificate_ends(context) == {"own": NOW_S + 20 * DAY_S, "trusted": NOW_S + 11 * DAY_S}


@pytest.mark.parametrize("kind", ["opcua", "actuators"])
def test_a_gateways_where_a_source_wants_one(tmp_path: Path, kind: str) -> None:
    make(tmp_path / FOLDER / "opcua-gateway.der", 3)
    make(tmp_path / FOLDER / SERVERS / "plc.der", 4)
    plant = site()
    assert certificate_ends(context_of(tmp_path, kind, plant)) == {}
    name, source = next(iter(plant.sources.items()))
    secured = dataclasses.replace(
        plant, sources={**plant.sources, name: dataclasses.replace(source, security="Basic256Sha256")}
    )
    ends = {"own": NOW_S + 3 * DAY_S, "trusted": NOW_S + 4 * DAY_S}
    assert certificate_ends(context_of(tmp_path, kind, secured)) == ends
    assert certificate_ends(context_of(tmp_path, "worker", secured)) == {}


def test_a_file_that_is_gone_or_none_says_nothing(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    tls = {"security_protocol": "SSL", "ca_file": tmp_path / "gone.pem", "certificate_file": junk}
    assert certificate_ends(context_of(tmp_path, "ticker", **tls)) == {}
