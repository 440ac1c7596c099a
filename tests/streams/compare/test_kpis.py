from __future__ import annotations

import pytest

from rules.engine.outputs import Severity
from streams.compare.episodes import Episode
from streams.compare.kpis import Kpis, Rate, kpis

S = 1_000_000_000
MIN = 60 * S
HOUR = 60 * MIN
DAY = 24 * HOUR


def episode(
    raised_ns: int, lasts_ns: int | None = S, rule: str = "hot", severity: Severity = "low"
) -> Episode:
    cleared_ns = None if lasts_ns is None else raised_ns + lasts_ns
    return Episode(f"{rule}:{raised_ns}", "row-a", rule, "P-1", severity, "", raised_ns, cleared_ns)


def of(*episodes: Episode, hours: float = 24.0) -> Kpis:
    return kpis(episodes, [(0, int(hours * HOUR))])


def test_rates_are_of_recorded_time() -> None:
    said = kpis([episode(n * HOUR) for n in range(6)], [(0, HOUR), (2 * HOUR, 3 * HOUR)])
    assert said.rates == {"10 min": Rate(0.5, 1), "hour": Rate(3.0, 1), "day": Rate(None, 6)}


def test_peaks_are_of_periods_of_the_clock() -> None:
    said = of(*(episode(9 * MIN + n * 30 * S) for n in range(4)))
    assert [rate.peak for rate in said.rates.values()] == [2, 4, 4]


@pytest.mark.parametrize(
    ("counts", "floods", "flooded"),
    [
        ([10, 10], 0, 0),  # "more than 10"
        ([11, 0], 1, 1),
        ([11, 5, 5, 4, 5], 1, 3),  # goes on until fewer than 5
        ([11, 4, 11], 2, 2),
        ([11, 20], 1, 2),
        ([0, 4, 11, 6], 1, 2),
    ],
)
def test_a_flood_begins_above_10_and_ends_below_5(counts: list[int], floods: int, flooded: int) -> None:
    raised = [episode(place * 10 * MIN + n * S) for place, count in enumerate(counts) for n in range(count)]
    said = of(*raised, hours=10)
    assert (said.floods, said.flood_share) == (floods, flooded / 60)


def test_a_gap_ends_a_flood_and_is_no_part_of_the_share() -> None:
    raised = [episode(n * S) for n in range(11)] + [episode(10 * HOUR + n * S) for n in range(6)]
    said = kpis(raised, [(0, 10 * MIN), (10 * HOUR, 10 * HOUR + 30 * MIN)])
    assert (said.floods, said.flood_share) == (1, 1 / 4)


def test_three_in_a_minute_chatter() -> None:
    slow = [episode(n * 30 * S, rule="slow") for n in range(6)]  # 3 in exactly a minute: no
    fast = [episode(HOUR + n * 29 * S, rule="fast") for n in range(4)]
    alone = [episode(5 * HOUR, rule="fast")]
    assert of(*slow, *fast, *alone).chattering == {("row-a", "fast", "P-1"): 4}


def test_what_stands_for_more_than_a_day_is_stale() -> None:
    said = of(episode(0, DAY), episode(0, DAY + 1, "a"), episode(0, None, "b"), hours=24.5)
    assert said.stale == 2
    assert of(episode(HOUR, None), hours=24.5).stale == 0


def test_the_ten_most_frequent_and_the_priorities() -> None:
    said = of(
        *(episode(n * MIN, rule=f"r{n % 12:02}", severity="high" if n % 4 else "low") for n in range(36))
    )
    assert (len(said.top), said.top_share) == (10, 30 / 36)
    assert said.top[0] == (("row-a", "r00", "P-1"), 3)
    assert said.priorities == {"urgent": 0, "high": 27, "medium": 0, "low": 9}


def test_what_is_annunciated_counts_each_time_and_what_nobody_heard_does_not() -> None:
    twice = episode(0, 2 * DAY)._replace(annunciated_ns=(HOUR, 2 * HOUR))
    unheard = episode(0, 2 * DAY, "unheard")._replace(annunciated_ns=())
    said = of(twice, unheard, hours=48)
    assert (said.alarms, said.names) == (2, 1)
    assert said.top == ((("row-a", "hot", "P-1"), 2),)
    assert said.stale == 1  # from its last annunciation on
    assert said.rates["10 min"].peak == 1
    assert said == of(episode(HOUR, HOUR), episode(2 * HOUR, 46 * HOUR), hours=48)


def test_nothing_was_said() -> None:
    said = of()
    assert (said.alarms, said.flood_share, said.top_share) == (0, 0.0, None)
    assert kpis([], []).flood_share is None
