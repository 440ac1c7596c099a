"""The short form of a fault: what it reads, and what it says of a wrong one."""

from __future__ import annotations

import pytest

from gateways.sim.effects import check_targets
from gateways.sim.faults import FAULTS, Fault, parse_fault, parse_faults
from rules.errors import ConfigurationError
from rules.site.model import Site


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("pump_trip@10s", Fault("pump_trip", 10.0, "", 1.0)),
        ("pump_trip:CDU-B@10s", Fault("pump_trip", 10.0, "CDU-B", 1.0)),
        ("pump_trip:CDU-A*0.8@500ms", Fault("pump_trip", 0.5, "CDU-A", 0.8)),
        ("leak*7@2min", Fault("leak", 120.0, "", 7.0)),
        ("stale:R01.RackLiquidFlow@1h", Fault("stale", 3600.0, "R01.RackLiquidFlow", 1.0)),
        ("~pump_trip@60s", Fault("pump_trip", 60.0, "", 1.0, remove=True)),
    ],
)
def test_reads(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("pump_tripp@10s", "unknown fault 'pump_tripp'", "pump_trip"),
        ("pump_trip", "not a fault", "NAME@10s"),
        ("pump_trip@soon", "'soon' is not a time", "10s"),
        ("pump_trip*1.5@10s", "size '1.5'", "0.05 to 1"),
        ("pump_trip*lots@10s", "size 'lots'", "share of the pump's speed"),
        ("leak*nan@1s", "size 'nan'", "litres a minute"),
    ],
)
def test_says_what_is_wrong(text: str, says: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_fault(text)
    (finding,) = caught.value.findings
    assert says in finding.message
    assert hint in finding.hint


def test_several_are_sorted_and_all_findings_come_at_once() -> None:
    faults = parse_faults("~leak@60s, leak@10s,")
    assert [(fault.remove, fault.at_s) for fault in faults] == [(False, 10.0), (True, 60.0)]
    with pytest.raises(ConfigurationError) as caught:
        parse_faults("a@1s,b@2s,leak@3s")
    assert len(caught.value.findings) == 2


def test_every_kind_reads_its_own_default() -> None:
    for name, kind in FAULTS.items():
        assert kind.low <= parse_fault(f"{name}@0s").size <= kind.high


@pytest.mark.parametrize(
    "text", ["~leak@5s", "~leak@5s,leak@10s", "leak:R01@1s,~leak:R02@5s", "~leak@1s,~leak@2s"]
)
def test_what_was_not_set_before_can_not_be_removed(text: str) -> None:
    with pytest.raises(ConfigurationError, match="removes a fault that was not set before"):
        parse_faults(text)


@pytest.mark.parametrize(
    "text", ["leak@1s,~leak:R01@2s", "leak:R01@1s,~leak@2s", "leak:R01@1s,leak:R02@1s,~leak:R02@2s"]
)
def test_a_fault_is_removed_by_name_or_by_target(text: str) -> None:
    assert parse_faults(text)[-1].remove


def test_every_target_that_the_site_lacks_is_named(site: Site) -> None:
    check_targets(site, parse_faults("pump_trip:CDU-A@1s,leak@1s,~leak@2s"))
    with pytest.raises(ConfigurationError) as caught:
        check_targets(site, parse_faults("pump_trip:CDU-Z@1s,leak:R99@1s,leak@3s"))
    assert [finding.message for finding in caught.value.findings] == [
        "pump_trip can't act on 'CDU-Z'",
        "leak can't act on 'R99'",
    ]
