from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.engine.outputs import Command, Severity
from streams.compare.changes import NEAR_NS, EpisodeChange, command_changes, episode_changes
from streams.compare.episodes import Episode

S = 1_000_000_000
END = 100_000 * S


def episode(
    raised_s: float,
    cleared_s: float | None,
    rule: str = "hot",
    severity: Severity = "high",
    message: str = "m",
) -> Episode:
    cleared_ns = None if cleared_s is None else int(cleared_s * S)
    return Episode(
        f"{rule}:{raised_s}:{cleared_s}",
        "row-a",
        rule,
        "P-1",
        severity,
        message,
        int(raised_s * S),
        cleared_ns,
    )


def command(at_s: float, value: float = 50.0, actuator: str = "P-1.PumpSpeed") -> Command:
    at_ns = int(at_s * S)
    return Command(f"{actuator}:{at_s}", "row-a", "hot", "P-1", actuator, value, "%", at_ns, at_ns + S, "")


@pytest.mark.parametrize(
    ("before", "after", "kinds", "raised_by_s", "lasted_by_s"),
    [
        (episode(10, 20), episode(10, 20), (), 0, 0),
        (None, episode(10, 20), ("added",), 0, 0),
        (episode(10, 20), None, ("gone",), 0, 0),
        (episode(10, 20), episode(8, 18), ("earlier",), -2, 0),
        (episode(10, 20), episode(13, 20), ("later",), 3, -3),
        (episode(10, 20), episode(13, 21), ("later", "shorter"), 3, -2),
        (episode(10, 20), episode(9, 22), ("earlier", "longer"), -1, 3),
        (episode(10, 20), episode(10, None), ("longer",), 0, 99_980),
        (episode(10, 20), episode(10, 20, severity="low"), ("severity",), 0, 0),
        (episode(10, 20), episode(10, 20, message="n"), ("message",), 0, 0),
        (episode(10, 20), episode(11, 20, message="n"), ("later",), 1, -1),
    ],
)  # fmt: skip
def test_what_is_other_and_by_how_much(
    before: Episode | None,
    after: Episode | None,
    kinds: tuple[str, ...],
    raised_by_s: float,
    lasted_by_s: float,
) -> None:
    sides = [[one] if one else [] for one in (before, after)]
    (change,) = episode_changes(*sides, END)
    assert change == EpisodeChange(before, after, END)
    assert (change.kinds, change.raised_by_ns, change.lasted_by_ns) == (
        kinds,
        raised_by_s * S,
        lasted_by_s * S,
    )


def pairs(before: list[Episode], after: list[Episode]) -> list[tuple[float | None, float | None]]:
    """When each was raised, in seconds, side by side."""
    return [
        (one and one.raised_ns / S, other and other.raised_ns / S)
        for one, other, _ in episode_changes(before, after, END)
    ]


def test_of_neighbours_those_that_begin_nearest_are_paired() -> None:
    assert pairs([episode(0, 5), episode(60, 900)], [episode(60, 900)]) == [(0, None), (60, 60)]
    assert pairs([episode(0, 900)], [episode(0, 5), episode(60, 900)]) == [(0, 0), (None, 60)]
    assert pairs([episode(50, 900)], [episode(0, 5), episode(60, 900)]) == [(None, 0), (50, 60)]


def test_what_lies_further_apart_is_another_event() -> None:
    near_s = NEAR_NS / S
    assert pairs([episode(0, 10)], [episode(10 + near_s - 1, 2000)]) == [(0, 9 + near_s)]
    assert pairs([episode(0, 10)], [episode(10 + near_s, 2000)]) == [(0, None), (None, 10 + near_s)]


def test_other_rules_are_never_paired() -> None:
    assert pairs([episode(0, 10)], [episode(0, 10, rule="hotter")]) == [(0, None), (None, 0)]


def test_commands_are_paired_by_their_actuator() -> None:
    before = [command(10), command(10, actuator="P-2.PumpSpeed"), command(5000)]
    after = [command(12, value=60.0), command(9000)]
    assert [(change.kinds, change.given_by_ns) for change in command_changes(before, after)] == [
        (("later", "value"), 2 * S),
        (("gone",), 0),
        (("gone",), 0),
        (("added",), 0),
    ]


@st.composite
def sides(draw: st.DrawFn) -> list[Episode]:
    """What an engine can say: episodes of one alarm follow each other; the last may stand."""
    said = []
    for rule in ("hot", "slow"):
        steps = draw(st.lists(st.integers(0, 900), max_size=16))
        times = [sum(steps[: place + 1]) for place in range(len(steps))]
        spans = list(pairwise(times))[::2]
        for number, (raised, cleared) in enumerate(spans):
            stands = number == len(spans) - 1 and draw(st.booleans())
            severity = draw(st.sampled_from(get_args(Severity)))
            one = episode(raised, None if stands else cleared, rule, severity)
            said.append(one._replace(id=f"{rule}:{number}"))
    return said


@given(sides(), sides())
def test_each_episode_is_in_exactly_one_change(before: list[Episode], after: list[Episode]) -> None:
    changes = episode_changes(before, after, END)
    assert Counter(change.before for change in changes if change.before) == Counter(before)
    assert Counter(change.after for change in changes if change.after) == Counter(after)
    for change in changes:
        if change.before and change.after:
            assert change.before[1:4] == change.after[1:4]


@given(sides(), sides())
def test_the_other_way_round_is_the_mirror_image(before: list[Episode], after: list[Episode]) -> None:
    there = episode_changes(before, after, END)
    back = episode_changes(after, before, END)
    assert {(one, other) for one, other, _ in there} == {(one, other) for other, one, _ in back}
    opposite = {"added": "gone", "earlier": "later", "longer": "shorter"}
    opposite |= {value: key for key, value in opposite.items()}
    turned = Counter(tuple(sorted(opposite.get(kind, kind) for kind in one.kinds)) for one in there)
    assert turned == Counter(tuple(sorted(one.kinds)) for one in back)


@given(sides())
def test_a_side_is_the_same_as_itself(said: list[Episode]) -> None:
    assert all(not change.kinds for change in episode_changes(said, said, END))


@given(sides(), sides())
def test_pairs_keep_the_order_of_time(before: list[Episode], after: list[Episode]) -> None:
    paired = [one for one in episode_changes(before, after, END) if one.before and one.after]
    for rule in ("hot", "slow"):
        times = [
            (one.before.raised_ns, one.after.raised_ns)
            for one in paired
            if one.before and one.after and one.episode.rule == rule
        ]
        assert sorted(times) == sorted(times, key=lambda pair: pair[1])


def test_a_flicker_of_twenty_thousand_is_paired_at_once() -> None:
    flicker = [episode(second, second + 1) for second in range(0, 40_000, 2)]
    shifted = [episode(second + 0.5, second + 1) for second in range(0, 40_000, 2)]
    changes = episode_changes(flicker, shifted, END)
    assert {change.kinds for change in changes} == {("later",)}
