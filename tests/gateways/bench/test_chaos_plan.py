"""Troubles come from the seed, hit everybody, and outlast the session where that is their point."""

from __future__ import annotations

from gateways.bench.chaos_plan import KILLED, LINKS, STOPPED, WORKERS, faults, troubles
from gateways.sim.faults import parse_faults

SESSION_S = 6.0


def test_the_same_seed_draws_the_same() -> None:
    assert troubles(7, 40, 3, SESSION_S) == troubles(7, 40, 3, SESSION_S)
    assert troubles(7, 40, 3, SESSION_S) != troubles(8, 40, 3, SESSION_S)


def test_everybody_is_hit() -> None:
    drawn = troubles(1, 600, 3, SESSION_S)
    hit = {(one.kind, one.target) for one in drawn}
    assert {("kill", role) for role in KILLED} <= hit
    assert {("stop", role) for role in STOPPED} <= hit
    assert {(kind, link) for kind in ("hold", "cut") for link in LINKS} <= hit
    assert {(kind, f"broker-{number}") for kind in ("kill", "restart") for number in (1, 2, 3)} <= hit
    assert ("disk-full", "gateway") in hit


def test_a_worker_sleeps_longer_than_its_session() -> None:
    slept = [
        one.lasts_s for one in troubles(1, 600, 1, SESSION_S) if one.kind == "stop" and one.target in WORKERS
    ]
    assert min(slept) > SESSION_S


def test_faults_of_the_plant_are_such_as_it_knows() -> None:
    given = faults(3, 300.0)
    assert len(given) >= 10
    assert len(parse_faults(",".join(given))) == len(given)
