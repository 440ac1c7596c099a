"""`headrace bench faults`: who shares a run, what is a fault's own alarm, and two of them through plant and engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.bench.fault_runs import run_event_time
from gateways.bench.fault_table import CASES, Case, Planned, Run, outcome, plan
from gateways.bench.faults import bench_faults
from gateways.sim.faults import FAULTS
from rules.engine.outputs import Alarm
from rules.errors import ConfigurationError
from rules.language.program import Program
from rules.site.model import Site
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site

SITE = Path(__file__).parents[3] / "examples" / "narvik"
S = 1_000_000_000


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site(SITE)


@pytest.fixture(scope="module")
def program(site: Site) -> Program:
    return load_program(SITE, site)


def case(fault: str) -> Case:
    return next(case for case in CASES if case.fault == fault)


def alarm(rule: str, asset: str, at_s: float, unit: str = "row-a") -> Alarm:
    name = f"{rule}:{asset}:{at_s}"
    at_ns = round(at_s * S)
    return Alarm(name, unit, rule, asset, "high", "unacknowledged", name, at_ns, None, 1.0, "")


def test_every_fault_of_the_plant_is_in_the_table() -> None:
    assert {case.fault for case in CASES} == set(FAULTS)


def test_faults_of_one_run_share_no_unit(site: Site) -> None:
    runs = plan(site, CASES)
    assert sum(len(run) for run in runs) == len(CASES)
    for run in runs:
        units = [planned.unit for planned in run]
        assert len(set(units)) == len(units)
        assert None not in units or len(units) == 1, "what shows everywhere is alone"
    assert len(runs) < len(CASES)


def test_a_fault_that_the_site_has_no_target_for_is_left_out(site: Site) -> None:
    assert plan(site, [Case("frozen sensor", "sensor_frozen", 60, 100, "NoSuchPoint")]) == []


def test_times_count_from_the_first_sample_that_meets_the_condition(program: Program) -> None:
    planned = Planned(case("pump_trip"), "CDU-A", "row-a")
    run = Run(
        "live",
        1,
        100 * S,
        [
            alarm("rack-flow-low", "R01", 40),
            alarm("breaker-open", "BRK-A", 101, "site"),
            alarm("rack-flow-unknown", "R02", 101),
            alarm("rack-flow-low", "R01", 102.6),
            alarm("gpu-hot", "R01-T01-G1", 109),
        ],
        [alarm("rack-flow-low", "R01", 39), alarm("rack-flow-low", "R01", 102)],
        {"rack-flow-low:R01:102.6": round(102.75 * S)},
    )
    said = outcome(planned, run, program)
    assert (said["first"], said["alarms"]) == (
        "rack-flow-low R01",
        ["rack-flow-unknown", "rack-flow-low", "gpu-hot"],
    )
    assert (said["detected_s"], said["on_delay_s"], said["lag_s"]) == (0.6, 0.5, 0.1)
    assert (said["from_injection_s"], said["on_log_s"]) == (2.6, 0.75)
    assert said["before"] == ["rack-flow-low"]
    assert said["ok"]


def test_silence_counts_from_the_last_sample(program: Program) -> None:
    planned = Planned(case("stale"), "R01.RackLiquidFlow", "row-a")
    run = Run("event time", 1, 100 * S, [alarm("rack-flow-unknown", "R01", 104)], [])
    said = outcome(planned, run, program)
    delay_s = next(r for r in program.rules if r.id == "rack-flow-unknown").timeouts_ns["R01"] / S
    assert (said["detected_s"], said["lag_s"]) == (delay_s, 0.0)
    assert said["ok"] == (delay_s <= 3)


def test_no_alarm_or_a_late_one_is_not_fine(program: Program) -> None:
    planned = Planned(case("leak"), "R01", "row-a")
    assert not outcome(planned, Run("live", 1, 0, [], []), program)["ok"]
    late = Run("live", 1, 0, [alarm("rack-leak", "R01", 9)], [alarm("rack-leak", "R01", 7.5)])
    assert not outcome(planned, late, program)["ok"]


def test_a_leak_and_a_feed_trip_are_found_in_event_time(site: Site, program: Program) -> None:
    (faults,) = plan(site, [case("feed_trip"), case("leak")])
    run = run_event_time(site, program, faults, 2)
    feed, leak = (outcome(planned, run, program) for planned in faults)
    assert (feed["first"], feed["detected_s"], feed["before"], feed["ok"]) == (
        "breaker-open BRK-A",
        0,
        [],
        True,
    )
    assert (leak["first"], leak["detected_s"], leak["lag_s"], leak["ok"]) == ("rack-leak R01", 1, 0, True)
    assert "tray-leak" in leak["alarms"]
    assert "tray-leak" not in feed["alarms"]


def test_seeds_are_numbers() -> None:
    with pytest.raises(ConfigurationError, match="such as 1,2,3"):
        bench_faults(SITE, "1,two", False, True)
