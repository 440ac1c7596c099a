"""`headrace doctor` beside a running site looks where its roles say that they are, not where files say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateways.broker import EmbeddedBroker
from gateways.cli.doctor import Check, checks_of
from streams.bus.kafka import KafkaBus
from streams.role import RoleContext, status_message
from streams.settings import BrokerSettings, load_settings
from streams.site_folder import load_site

SITE = Path(__file__).parents[3] / "examples" / "narvik-small"


@pytest.fixture
async def port() -> Any:
    """Where something listens."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.parametrize("age_s", [0, 60])
async def test_it_looks_at_the_ports_that_roles_say(
    embedded_broker: EmbeddedBroker, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, age_s: int
) -> None:
    """Those of `headrace up --free-ports`, as long as they run."""
    endpoint = f"opc.tcp://127.0.0.1:{port}/headrace"
    pki = tmp_path / "pki"
    (pki / "rejected").mkdir(parents=True)
    (pki / "rejected" / "one.der").touch()
    said: dict[str, Mapping[str, Any]] = {
        "opcua": {"sources": {"plant-opcua": {"endpoint": endpoint}}},
        "scada": {"endpoint": endpoint, "pki": str(pki)},
    }
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("status")
    for role, metrics in said.items():
        context = RoleContext(role, load_site(SITE), SITE, load_settings(None), bus, asyncio.Event())
        context.clock = lambda: time.time_ns() - age_s * 1_000_000_000
        context.metrics.update(metrics)
        await (await producer.send(status_message(context)))
    await producer.close()
    await bus.close()
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", embedded_broker.bootstrap)
    monkeypatch.setenv("HEADRACE_RUN_DIR", str(tmp_path / "run"))
    found: list[Check] = await asyncio.to_thread(lambda: list(checks_of(SITE)))
    by_name = {one.name: one for one in found}
    is_said = {name: endpoint in by_name[name].found for name in ("plant-opcua", "scada")}
    assert is_said == dict.fromkeys(is_said, age_s == 0)
    assert ("scada clients" in by_name) == (age_s == 0)
    if age_s == 0:
        assert (by_name["plant-opcua"].word, by_name["scada"].word) == ("ok", "ok")
