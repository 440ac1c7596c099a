import pytest

from gateways.sim.faults import parse_faults
from gateways.up.schedule import Kill, check_reached, parse_kills
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


def test_what_the_end_comes_before_is_refused() -> None:
    faults, kills = parse_faults("leak@3s,pump_trip@60s"), parse_kills(["ticker@2s", "worker@50s"])
    check_reached(faults, kills, 61.0)
    with pytest.raises(ConfigurationError) as caught:
        check_reached(faults, kills, 50.0)
    assert [finding.message for finding in caught.value.findings] == [
        "pump_trip*1@60s is never reached",
        "worker@50s is never reached",
    ]
