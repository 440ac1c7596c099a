from __future__ import annotations

import pytest

from gateways.compare.figures import kpi_figures, score_figures
from gateways.compare.words import detected, duration, names, verdict
from streams.compare.incidents import KnownIncident
from tests.gateways.compare.sides import T0, S, command, comparison, episode


@pytest.mark.parametrize(
    ("ns", "said"),
    [
        (0, "0 s"), (1500, "1.5 µs"), (250_000_000, "250 ms"), (S, "1 s"), (-4_200_000_000, "4.2 s"), (89 * S, "89 s"),
        (90 * S, "1.5 min"), (5399 * S, "90 min"), (5400 * S, "1.5 h"), (47 * 3600 * S, "47 h"),
        (100 * 86400 * S, "100 d"), (1234 * 86400 * S, "1,234 d"),
    ],
)  # fmt: skip
def test_durations(ns: int, said: str) -> None:
    assert duration(ns) == said


def test_the_verdict_names_what_is_gone_and_added_first() -> None:
    found = comparison(
        [episode(10, 20), episode(1000, 1001), episode(2000, 2001, "slow")],
        [episode(12, 20), episode(3000, 3001, "new")],
        ([command(10), command(2000)], [command(11), command(2000)]),
    )
    assert list(verdict(found)) == [
        "candidate: 2 alarms in place of 3, 2 gone and 1 added.",
        "Of 1 alarm that both raise: 1 changed (1 later by 2 s).",
        "Of 2 commands: 1 changed (1 later by 1 s), 1 the same.",
    ]


def test_the_verdict_where_all_stay() -> None:
    moved = comparison([episode(10, 20), episode(900, 910)], [episode(9, 21), episode(900, 910)])
    assert list(verdict(moved)) == [
        "candidate: the same 2 alarms as recorded, and not all at the same time.",
        "Of 2 alarms that both raise: 1 changed (1 earlier by 1 s, 1 longer by 2 s), 1 the same.",
        "Neither side gives a command.",
    ]
    ordered = comparison([episode(10, 20)], [episode(10, 20)], ([command(1, 5.0)], [command(1, 6.0)]))
    assert next(verdict(ordered)) == "candidate: the same 1 alarm as recorded, and other commands."
    same = comparison([episode(10, 20)], [episode(10, 20)])
    assert list(verdict(same)) == [
        "candidate says the same as recorded: 1 alarm and 0 commands, each at the same moment."
    ]


def test_sides_are_called_by_the_end_of_their_paths_where_that_tells_them_apart() -> None:
    assert names(comparison([], [], names=("a/rules", "b/candidate"))) == ("rules", "candidate")
    assert names(comparison([], [], names=("a/rules", "b/rules"))) == ("a/rules", "b/rules")


def test_a_detection_stands_beside_that_of_an_alarm_that_is_always_true() -> None:
    incidents = [KnownIncident(T0 + begin * S, T0 + (begin + 100) * S, False) for begin in (0, 1000, 9000)]
    found = comparison([episode(10, 20)], [episode(10, 20), episode(1010, 1020)], incidents=incidents)
    assert list(detected(found)) == [
        "Of 2 known incidents that have samples, of 3 in all: 1 detected by recorded, 2 by candidate, 2 by a rule that "
        "is always true."
    ]
    assert found.scores is not None
    figures = {one.name: one for one in score_figures(found.scores)}
    assert (figures["detected"].before, figures["detected"].after) == ("1 of 2", "2 of 2")
    none = comparison([episode(10, 20)], [episode(10, 20)], incidents=incidents[2:])
    assert list(detected(none)) == [
        "Nothing was recorded in the spans of the known incidents (1): nobody knows what would have detected them."
    ]
    assert figures["false alarms per day"].after == "–"  # not a day outside of the spans


def test_figures_say_whether_they_meet_their_target_and_nothing_where_nobody_can_know() -> None:
    flicker = [episode(n * 10, n * 10 + 1) for n in range(60)]
    figures = {one.name: one for one in kpi_figures(comparison(flicker, flicker[:1]).kpis)}
    assert figures["alarms per day, average"][2:] == ("–", "–", (None, None))
    assert figures["alarms per hour, average"][2:] == ("60", "1", (False, True))
    assert figures["most in one period of 10 min"][2:] == ("60", "1", (False, True))
    assert figures["time in a flood"][2:] == ("16.7 %", "0.0 %", (False, True))
    assert figures["alarms that chatter"][2:] == ("1", "0", (False, True))
    assert figures["share of the ten most frequent"][2:] == ("100.0 %", "100.0 %", (None, None))
