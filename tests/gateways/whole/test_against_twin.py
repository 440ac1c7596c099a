"""The whole against the engine's slow twin: what workers say under faults is what plain Python says to the same log.

Here the engine is not held against itself: a number that is wrong in the kernel shows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.whole.activations import rule_sets_of
from gateways.whole.run import Simulator
from gateways.whole.schedule import parse
from streams.site_folder import load_site
from tests.rules.engine.twin import Twin

SITE = Path(__file__).parents[3] / "examples" / "narvik-small"
TROUBLES = """
    plant:pump_trip:CDU-A@14s+12s kill:worker@17s+1s repeat:events*60@19s+1s lose-ack:plant-frames*2@20s+1s
    activate:other*0.5@18s+20s activate:bad@24s+5s
    crash:journal*7@22s+1s kill:plant-opcua@25s+2s server-away:plant-opcua@30s+4s plant:gpu_runaway:R02-T03-G1@32s+15s
"""


@pytest.mark.night
@pytest.mark.usefixtures("_quiet")
def test_workers_say_what_the_twin_says(tmp_path: Path) -> None:
    site = load_site(SITE)
    sets = rule_sets_of(SITE, site)
    own, other = (sets[name].program(site) for name in ("own", "other"))
    refused = sets["bad"].compiled_for(site.digest, ())
    assert isinstance(refused, str)
    offers = {sets["own"].digest: own, sets["other"].digest: other, sets["bad"].digest: refused}
    simulator = Simulator(
        SITE, site, tmp_path, lambda unit: Twin(own, site, unit, offers, ruling=sets["own"].digest)
    )
    outcome = simulator.run(2, 60.0, parse(TROUBLES, 2, site))
    assert not outcome.broken
    assert outcome.counts["commands"] > 50
    assert outcome.counts["activations"] == 5 * len(site.units)
    assert outcome.counts["killed"] == 3
