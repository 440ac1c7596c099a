"""A Kafka that is there already: which process it is, where that can be told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from gateways.listen import free_port
from gateways.up.given_broker import _pid_of


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_who_listens_on_this_machine_is_found(port: int) -> None:
    assert _pid_of(f"127.0.0.1:{port}") == os.getpid()


@pytest.mark.parametrize(
    "bootstrap", ["kafka-1:{port}", "127.0.0.1:{port},127.0.0.1:{port}", "10.0.0.1:{port}"]
)
def test_elsewhere_or_of_several_nobody_is(bootstrap: str, port: int) -> None:
    assert _pid_of(bootstrap.format(port=port)) is None


def test_where_nobody_listens_nobody_is_found() -> None:
    assert _pid_of(f"127.0.0.1:{free_port()}") is None
