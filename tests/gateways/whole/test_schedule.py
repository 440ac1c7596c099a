"""Schedules: the same for a seed, all over before the end, printed as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.whole.schedule import KINDS, QUIET_S, draw, instances, parse
from rules.errors import ConfigurationError
from streams.site_folder import load_site

SITE = load_site(Path(__file__).parents[3] / "examples" / "narvik-small")


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_says_it_all(seed: int) -> None:
    drawn = draw(seed, SITE, 600.0)
    assert drawn == draw(seed, SITE, 600.0)
    assert drawn != draw(seed + 1, SITE, 600.0)
    assert all(QUIET_S <= trouble.at_s <= 600.0 - QUIET_S - trouble.length_s for trouble in drawn)
    assert parse(" ".join(str(trouble) for trouble in drawn), seed, SITE) == drawn


def test_every_kind_comes() -> None:
    seen = {trouble.kind for seed in range(10) for trouble in draw(seed, SITE, 600.0)}
    assert seen == set(KINDS)


def test_who_runs_is_the_seed_s() -> None:
    counts = [[name.split("-")[0] for name in instances(seed, SITE)] for seed in range(4)]
    assert [names.count("worker") for names in counts] == [2, 1, 2, 1]
    assert [names.count("ticker") for names in counts] == [2, 1, 1, 1]
    assert [names.count("recorder") for names in counts] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kil:worker@12s", "'kill'"),
        ("kill:worker", "no trouble"),
        ("kill:worker@1.2.3s+1s", "no trouble"),
        ("kill:wroker@12s+1s", "seed 1 has no 'wroker'.*'worker'"),
        ("kill:worker-2@12s+1s", "seed 1 has no 'worker-2'"),
        ("plant:pump_trip:R01@12s+1s", "pump_trip:R01"),
    ],
)
def test_what_is_none_is_said(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse(text, 1, SITE)
