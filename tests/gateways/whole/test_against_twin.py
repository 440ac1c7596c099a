"""The whole against the engine's slow twin: what workers say under faults is what plain Python says to the same log.

Here the engine is not held against itself: a number that is wrong in the kernel shows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.whole.run import Simulator
from gateways.whole.schedule import parse
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from tests.rules.engine.twin import Twin

SITE = Path(__file__).parents[3] / "examples" / "narvik-small"
TROUBLES = """
    plant:pump_trip:CDU-A@14s+12s kill:worker@17s+1s repeat:events*60@19s+1s lose-ack:plant-frames*2@20s+1s
    crash:journal*7@22s+1s kill:plant-opcua@25s+2s server-away:plant-opcua@30s+4s plant:gpu_runaway:R02-T03-G1@32s+15s
"""


@pytest.mark.usefixtures("_quiet")
def test_workers_say_what_the_twin_says(tmp_path: Path) -> None:
    site = load_site(SITE)
    program, digest = load_program(SITE, site), rule_set_of(SITE, site).digest
    simulator = Simulator(SITE, site, tmp_path, lambda unit: Twin(program, site, unit, ruling=digest))
    outcome = simulator.run(2, 60.0, parse(TROUBLES, 2, site))
    assert not outcome.broken
    assert outcome.counts["commands"] > 50
    assert outcome.counts["killed"] == 3
