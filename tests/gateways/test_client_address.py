"""Who is one client, whichever server it asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateways.client_address import client_of, ip_address_of
from gateways.scada.channel import _address_of

CLIENTS = [
    ("192.0.2.7", "192.0.2.7"),
    ("::ffff:192.0.2.7", "192.0.2.7"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"),
    ("", ""),
    ("no address", ""),
]


@pytest.mark.parametrize(("said", "client"), CLIENTS)
def test_a_client_is_its_address_or_its_network(said: str, client: str) -> None:
    assert client_of(ip_address_of(said)) == client


@pytest.mark.parametrize(("said", "client"), CLIENTS)
def test_the_opc_ua_server_counts_by_it(said: str, client: str) -> None:
    transport: Any = SimpleNamespace(get_extra_info=lambda _: (said, 4840) if said else None)
    assert _address_of(transport) == client
