import pytest

from gateways.up.schedule import Kill, parse_kills
from rules.errors import ConfigurationError


def test_kills_come_in_order_of_time() -> None:
    assert parse_kills(["worker@1min", "opcua@15s"]) == [Kill(15, "opcua"), Kill(60, "worker")]


def test_every_wrong_word_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_kills(["wroker@3s", "worker", "ticker@2s"])
    assert [finding.message for finding in caught.value.findings] == [
        "unknown role 'wroker'",
        "'worker' has no time",
    ]
    assert "worker" in caught.value.findings[0].hint
