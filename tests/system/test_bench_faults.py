"""A fault of `headrace bench faults`, live: real processes, and what is said comes from the run's own recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.bench.fault_runs import run_live
from gateways.bench.fault_table import CASES, outcome, plan
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site

SITE = Path(__file__).parents[2] / "examples" / "narvik"
pytestmark = [pytest.mark.system, pytest.mark.night]


def test_a_feed_trip_is_found_live() -> None:
    site = load_site(SITE)
    program = load_program(SITE, site)
    ((planned,),) = plan(site, [case for case in CASES if case.fault == "feed_trip"])
    said = outcome(planned, run_live(SITE, program, [planned], 4), program)
    assert said["first"] == "breaker-open BRK-A"
    assert said["detected_s"] == said["lag_s"] == 0
    assert said["on_log_s"] > 0
    assert said["from_injection_s"] > 0
    assert said["before"] == []
    assert said["ok"]
