"""Two rule sets on a simulated plant each: the same until a command differs, and then what the commands make of it."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from gateways.compare.closed_loop import ACTS_AFTER_NS, simulated
from gateways.sim.event_time import START_NS
from gateways.sim.faults import parse_faults
from rules.errors import ConfigurationError
from streams.compare.episodes import Episode, Said, said_in_replay
from streams.replay.rules import Chosen
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site

NARVIK = Path(__file__).parents[3] / "examples" / "narvik"
S = 1_000_000_000
LIMIT = "limit each GPU.power_limit to 500 W"


@cache
def run(rules: Path | None, seconds: int = 40) -> tuple[Said, int]:
    site = load_site(NARVIK)
    chosen = Chosen(site, load_program(NARVIK, site, rules))
    faults = parse_faults("pump_trip:CDU-A*1.0@12s")
    result, ended_ns = simulated(chosen, faults, 1, START_NS + seconds * S, lambda _: True)
    return said_in_replay(result), ended_ns


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    """The example's rules, but that their limit limits nothing."""
    folder = tmp_path / "rules"
    shutil.copytree(NARVIK / "rules", folder)
    text = (folder / "plant.yaml").read_text()
    assert LIMIT in text
    (folder / "plant.yaml").write_text(text.replace(LIMIT, "limit each GPU.power_limit to 1600 W"))
    return folder


def raised_until(said: Said, until_ns: int) -> list[Episode]:
    """What was raised up to a moment, whatever became of it."""
    return [one._replace(cleared_ns=None) for one in said.episodes if one.raised_ns <= until_ns]


def test_the_same_rules_and_seed_give_the_same() -> None:
    first = run(None)
    run.cache_clear()
    assert run(None) == first
    assert first[1] == START_NS + 40 * S


def test_commands_act_on_the_plant_and_on_nothing_before_them(idle: Path) -> None:
    limited, unlimited = run(None)[0], run(idle)[0]
    first_ns = min(one.cause_ns for one in limited.commands)
    assert first_ns == min(one.cause_ns for one in unlimited.commands)
    acts_ns = first_ns + ACTS_AFTER_NS
    assert raised_until(limited, acts_ns) == raised_until(unlimited, acts_ns) != []
    hotter = {one.asset for one in unlimited.episodes if one.rule == "gpu-critical"}
    assert hotter
    assert not {one.asset for one in limited.episodes if one.rule == "gpu-critical"}


def test_ctrl_c_ends_it() -> None:
    site = load_site(NARVIK)
    chosen = Chosen(site, load_program(NARVIK, site))
    result, ended_ns = simulated(chosen, (), 1, START_NS + 40 * S, lambda ns: ns < START_NS + S)
    assert (result.is_partial, ended_ns) == (True, START_NS + S)


def test_a_site_that_can_not_be_simulated_is_refused() -> None:
    site = load_site(NARVIK.parent / "hydro")
    chosen = Chosen(site, load_program(NARVIK.parent / "hydro", site))
    with pytest.raises(ConfigurationError, match="can't place the site"):
        simulated(chosen, (), 1, START_NS + S, lambda _: True)
