"""Each promise by itself: what keeps it, and what breaks it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from gateways.whole import invariants
from gateways.whole.field import Write
from gateways.whole.reference import Reference, Told, Word
from gateways.whole.tap import Accepted, Handed
from rules.engine.inputs import Gap, Identity
from rules.engine.outputs import Command
from streams.bus.memory import MemoryBus
from streams.record import Message
from streams.site_folder import load_site
from streams.topics import STATUS, TOPICS

S = 1_000_000_000
COMMAND = Command("c1", "row-a", "rule", "G1", "G1.power_limit", 500.0, "W", 10 * S, 20 * S, "why")
WRITE = Write(12 * S, "c1", "G1.power_limit", 500.0)
ALWAYS = [(0, 100 * S)]
SMALL = Path(__file__).parents[3] / "examples" / "narvik-small"


def reference(**said: Any) -> Reference:
    made = Reference(MemoryBus(), Accepted(), lambda unit: pytest.fail("no engine is asked"))
    made.commands["c1"] = COMMAND
    for name, value in said.items():
        setattr(made, name, value)
    return made


def told(status: str = "done", at_s: float = 12.5) -> dict[str, list[Told]]:
    return {"c1": [Told(status, round(at_s * S), (1, 1))]}


def test_the_same_answers() -> None:
    assert not list(invariants.same_answers(reference(expected={"a": b"1"}, said={"a": b"1"})))
    (missing,) = invariants.same_answers(reference(expected={"a": b"1", "b": b"2"}, said={"a": b"1"}))
    assert "1 outputs (0 facts) never said, such as b" in missing
    (other,) = invariants.same_answers(reference(expected={"a": b"1"}, said={"a": b"2"}))
    assert "other bytes" in other
    (more,) = invariants.same_answers(reference(said={"row-a:fact:site:1:1": b""}))
    assert "1 outputs (1 facts) said by no undisturbed engine" in more
    (twice,) = invariants.same_answers(reference(contradictions=["a"]))
    assert "twice" in twice


def gap(reason: str, from_s: int, to_s: int, unit: str = "row-a") -> Gap:
    return Gap(unit, Identity("plant", 2, 1), reason, from_s * S, to_s * S, 0)


@pytest.mark.parametrize(
    ("gaps", "is_told"),
    [
        ([], False),
        ([gap("restart", 4, 9)], True),
        ([gap("restart", 6, 9)], False),
        ([gap("restart", 4, 9, "row-b")], False),
        ([gap("spool-full", 2, 3)], True),
        ([gap("spool-full", 3, 9)], False),
        ([gap("spooled", 0, 99)], False),
    ],
)
def test_what_is_on_no_log_has_to_be_in_a_gap(gaps: list[Gap], is_told: bool) -> None:
    made = reference(gaps=gaps)
    one = Handed("plant", "row-a", "frame", "R01", 2 * S, 3 * S)
    made.accepted.add(one, 5 * S)
    assert bool(list(invariants.nothing_lost(made))) is not is_told
    made.accepted.arrived(one)
    assert not list(invariants.nothing_lost(made))


def test_a_hole_in_the_log_is_a_loss() -> None:
    engine = SimpleNamespace(counters=Counter(inputs_missing=2))
    (found,) = invariants.nothing_lost(reference(engines={"row-a": engine}))
    assert found == "2 sequences are missing on the log"


@pytest.mark.parametrize(
    ("writes", "receipts", "lives", "says"),
    [
        ([WRITE], told(), ALWAYS, None),
        ([WRITE, WRITE._replace(at_ns=13 * S)], told(), ALWAYS, None),
        ([WRITE, WRITE._replace(at_ns=15 * S)], told(), ALWAYS, "again 2.5 s after its receipt"),
        ([WRITE, WRITE._replace(at_ns=15 * S)], told(), [(0, 13 * S), (14 * S, 99 * S)], None),
        ([WRITE._replace(value=499.0)], told(), ALWAYS, "something else"),
        ([WRITE._replace(command="c2")], told(), ALWAYS, "no such command"),
        ([WRITE], told("expired"), ALWAYS, "receipt says expired"),
        ([WRITE], told("unknown"), ALWAYS, None),
    ],
)
def test_nothing_twice(writes: list[Write], receipts: Any, lives: Any, says: str | None) -> None:
    found = list(invariants.nothing_twice(reference(receipts=receipts), writes, lives))
    assert [says in line for line in found] == [True] if says else found == []


def test_every_command_is_answered_as_the_device_saw_it() -> None:
    (silent,) = invariants.every_command_answered(reference(), [])
    assert "without a receipt, such as c1" in silent
    (unfounded,) = invariants.every_command_answered(reference(receipts=told()), [])
    assert "the device saw nothing" in unfounded
    assert not list(invariants.every_command_answered(reference(receipts=told()), [WRITE]))
    twice = {"c1": [*told("expired")["c1"], *told("expired", 14.0)["c1"]]}
    (doubled,) = invariants.every_command_answered(reference(receipts=twice), [])
    assert "told twice" in doubled


def test_none_after_its_expiry() -> None:
    assert not list(invariants.none_after_expiry(reference(), [WRITE._replace(at_ns=20 * S)]))
    (late,) = invariants.none_after_expiry(reference(), [WRITE._replace(at_ns=21 * S)])
    assert "written 1.00 s after its expiry" in late


@pytest.mark.parametrize(
    ("alive_s", "written_s", "is_due"),
    [
        ([10], 30.5, True),
        ([10, 30.2], 30.5, True),  # on its way
        ([10, 30.2, 31, 32], 38, True),  # tried for as long as may be, before the return was heard
        ([10, 30.2, 31, 32], 45, False),
        ([10, 20, 21], 22, False),
        ([10, (32, 23)], 30.5, True),  # who came back said then how far it was with what had waited
        ([10, (21, 20)], 30.5, False),
        ([], 21, True),  # nothing was ever heard
        ([], 9, False),
    ],
)
def test_a_fallback_is_due_in_a_silence_only(
    alive_s: list[float | tuple[float, float]], written_s: float, is_due: bool
) -> None:
    """Words of life by when they were said, and up to when, where that is another time."""
    site = load_site(SMALL)
    name, fallback = next((one.id, one.fallback) for one in site.actuators.values() if one.fallback)
    assert fallback.after_ns == 20 * S
    unit = site.units[site.assets[site.actuators[name].asset].unit].id
    said_s = [one if isinstance(one, tuple) else (one, one) for one in alive_s]
    made = reference(alive={unit: [Word(round(said * S), round(alive * S)) for said, alive in said_s]})
    write = Write(round(written_s * S), f"fallback:{name}:{10 * S}", name, fallback.value)
    assert list(invariants.falls_are_due(site, made, [write], 0)) is not is_due
    other = write._replace(value=fallback.value + 1)
    assert "which the site does not name" in next(invariants.falls_are_due(site, made, [other], 0))


async def test_a_worker_is_alive_as_far_as_its_units_go_on() -> None:
    """A ticker whose clock is ahead leaves a unit in the future, where it stands until the clocks of others come."""
    clock = SimpleNamespace(now_s=0.0)
    bus = MemoryBus(lambda: round(clock.now_s * S))
    await bus.create_topics(TOPICS, 1)
    made = reference(bus=bus)
    for clock.now_s, role, now_s in (
        (10.0, "worker", 9.0),
        (11.0, "worker", 17.0),  # ahead
        (12.0, "worker", 17.0),  # it stands still
        (18.0, "worker-2", 16.0),
        (19.0, "worker", 18.5),
    ):
        said = {"role": role, "metrics": {"now_ns": {"row-a": round(now_s * S)}}}
        bus.append(Message(STATUS.name, 0, role.encode(), orjson.dumps(said)))
    made.follow()
    assert made.alive["row-a"] == [
        Word(round(said_s * S), round(alive_s * S))
        for said_s, alive_s in ((10.0, 9.0), (11.0, 11.0), (18.0, 16.0), (19.0, 18.5))
    ]


def test_the_cap() -> None:
    asset = SimpleNamespace(constants={"power_cap": 1500.0}, constant_units={"power_cap": "kW"})
    layout = SimpleNamespace(site=SimpleNamespace(assets={"PLANT": asset}))
    field: Any = SimpleNamespace(plant=SimpleNamespace(layout=layout), power_kw_max=1400.0)
    assert not list(invariants.cap_holds(field))
    field.power_kw_max = 1501.0
    (above,) = invariants.cap_holds(field)
    assert above == "the plant drew 1501 kW, its cap is 1500 kW"


@pytest.mark.parametrize(("disk_failures", "finds"), [(0, 1), (3, 0)])
def test_what_a_publisher_leaves_behind_is_found_unless_the_disk_took_nothing(
    disk_failures: int, finds: int
) -> None:
    publishers = {"plant": {"unsent": 2, "disk_failures": disk_failures}}
    assert len(list(invariants.left_behind("opcua", {"publishers": publishers}))) == finds
