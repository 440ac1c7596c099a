"""Some seeds of ten simulated minutes in which everything goes wrong: other ones with each commit.

CI runs more of them (`make test-sim`). The first seed comes from the commit, so that a failure can be repeated; it is
part of what the failure prints.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateways.cli.sim import repeat_command
from gateways.whole.run import Simulator
from streams.site_folder import load_site

ROOT = Path(__file__).parents[3]
SITE = Path("examples/narvik-small")
SEEDS = 2
HOURS = 1 / 6


def first_seed() -> int:
    """From the commit; 1 where there is none."""
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return int(asked.stdout[:6] or "1", 16)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("number", range(SEEDS))
def test_a_seed_of_this_commit(tmp_path: Path, number: int) -> None:
    simulator = Simulator(ROOT / SITE, load_site(ROOT / SITE), tmp_path)
    outcome = simulator.run(first_seed() + number, HOURS * 3600)
    assert not outcome.broken, f"{repeat_command(SITE, outcome, HOURS, False)}\n{outcome.broken}"
    assert outcome.counts["outputs"] > 100
