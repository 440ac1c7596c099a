"""Reports of hand-made logs with known figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateways.cli.replay_pace import Pace
from rules.site.model import Site
from streams.compare.kpis import Rate
from streams.journal.heads import Head, head_message
from streams.recording.segments import open_recordings
from streams.replay.start import Part
from streams.reports.alarm_words import AlarmWords, read_alarm_words
from streams.reports.alarms import Position, percentile, positions
from tests.streams.reports.conftest import HOUR, MIN, T0, Messages, S, Unit, Write, log_of


def read(paths: list[Path], of: Part = Part()) -> AlarmWords:  # noqa: B008
    return read_alarm_words(open_recordings(paths), of, lambda _: True)


def report(paths: list[Path], of: Part = Part()) -> Position:  # noqa: B008
    [one] = positions(read(paths, of), ["row-a"])
    return one


def ticks(hours: float, every_s: int = 30) -> range:
    return range(T0, T0 + round(hours * HOUR) + 1, every_s * S)


def busy(site: Site) -> Unit:
    """A flood in the first 10 minutes, a chattering alarm, acknowledgements, silences and refusals: 4 hours of them."""
    unit = Unit(site)
    for number in range(12):
        occurrence = unit.up(10 + number, f"r{number:02}", "low")
        unit.act(20 + 2 * number, "acknowledge", f"r{number:02}", occurrence)
        unit.down(100 + number, f"r{number:02}")
    unit.act(120, "acknowledge", "r00", "another")
    unit.act(121, "unshelve", "r00")
    for at_s in (3600, 3610, 3620, 3630):
        unit.up(at_s, "slow", "high")
        unit.down(at_s + 3, "slow")
    unit.act(4000, "shelve", "slow", for_s=1800)
    unit.up(4100, "slow", "high")
    unit.down(4200, "slow")
    unit.up(8000, "stands", "urgent")
    return unit


def test_the_figures_of_a_known_log(site: Site, write: Write) -> None:
    said = report(write(log_of(busy(site).until(4 * 3600), ticks(4))))
    figures = said.kpis
    assert (figures.alarms, said.raised) == (17, 18)
    assert figures.rates == {"10 min": Rate(17 / 24, 12), "hour": Rate(17 / 4, 12), "day": Rate(None, 17)}
    [flood] = figures.flooded
    assert (flood.begin_ns, flood.end_ns, flood.alarms) == (T0, T0 + 10 * MIN, 12)
    assert figures.flood_share == 1 / 24
    assert figures.priorities == {"urgent": 1, "high": 4, "medium": 0, "low": 12}
    assert (figures.top[0], figures.top_share) == ((("row-a", "slow", "P-1"), 4), 13 / 17)
    [chattering] = said.chattering
    assert (chattering.name, chattering.count) == (("row-a", "slow", "P-1"), 4)
    delays = chattering.delays
    assert delays.suggested_on is not None
    assert (delays.raised, delays.suggested_on.delay_s, delays.suggested_on.cut) == (5, 5, 4)
    assert delays.suggested_off is not None
    assert (delays.suggested_off.delay_s, delays.suggested_off.cut) == (10, 3)
    acknowledging = said.acknowledging
    assert (acknowledging.count, acknowledging.mean_ns, acknowledging.p95_ns) == (12, 15.5 * S, 21 * S)
    assert [name[1] for name in acknowledging.left] == ["stands"]
    assert said.unheard_by == {"shelved": 1}
    assert (said.silenced["shelved"].count, said.silenced["shelved"].lasted_ns) == (1, 1800 * S)
    assert said.refused is not None
    assert sorted(said.refused.values()) == [1, 1]
    assert (said.stale, said.unrecorded) == ((), 0)


def test_a_part_counts_what_came_in_it(site: Site, write: Write) -> None:
    paths = write(log_of(busy(site).until(4 * 3600), ticks(4)))
    said = report(paths, Part(T0 + HOUR, T0 + HOUR + 11 * MIN))
    assert (said.kpis.alarms, said.raised, said.kpis.floods) == (4, 5, 0)
    assert said.kpis.rates["10 min"] == Rate(4 / 1.1, 4)
    assert said.kpis.rates["hour"].average is None
    assert said.silenced["shelved"].lasted_ns == 260 * S
    assert said.acknowledging.count == 0
    assert said.refused is not None
    assert not said.refused


def test_what_stood_before_the_part_can_be_stale_in_it(site: Site, write: Write) -> None:
    unit = Unit(site)
    unit.up(60, "stands")
    unit.up(60, "over")
    unit.down(600, "over")
    paths = write(log_of(unit.until(26 * 3600), ticks(26)))
    said = report(paths, Part(T0 + 25 * HOUR))
    assert (said.kpis.alarms, said.kpis.stale) == (0, 1)
    assert said.stale == ((("row-a", "stands", "P-1"), T0 + MIN),)
    assert report(paths, Part(T0, T0 + 24 * HOUR)).kpis.stale == 0
    assert report(paths).kpis.rates["day"].average == pytest.approx(2 * 24 / 26)


def test_where_there_are_no_ticks_nothing_was_recorded(site: Site, write: Write) -> None:
    times = [at for at in ticks(4) if not T0 + HOUR < at < T0 + 3 * HOUR]
    paths = write(log_of(busy(site).until(1000), times))
    assert read(paths).ran == [(T0, T0 + HOUR), (T0 + 3 * HOUR, T0 + 4 * HOUR)]
    nothing = report(paths, Part(T0 + 2 * HOUR - MIN, T0 + 2 * HOUR))
    assert nothing.kpis.alarms == 0
    assert {rate.average for rate in nothing.kpis.rates.values()} == {None}
    assert nothing.kpis.flood_share is None


def test_a_recording_without_a_journal_does_not_know_what_was_refused(site: Site, write: Write) -> None:
    log = log_of(busy(site).until(4 * 3600), ticks(4))
    without = report(write(log, without=["journal"]))
    assert without.refused is None
    assert without.kpis == report(write(log)).kpis


def test_what_only_the_journal_has_is_counted(site: Site, write: Write) -> None:
    unit = busy(site)
    log = log_of(unit.until(4 * 3600), ticks(4))
    lost = [pair for pair in log if pair[1].topic == "alarms"][:7]
    assert report(write([pair for pair in log if pair not in lost])).unrecorded == 7


def test_a_signed_head_of_the_journal_is_no_word_and_no_garbage(site: Site, write: Write) -> None:
    log = log_of(busy(site).until(4 * 3600), ticks(4))
    head = head_message(Head("row-a", 1, "0" * 64, T0 + HOUR), 2)
    garbage = replace(head, headers=(("schema", b"odd/1"),))
    paths = write([*log, (T0 + HOUR, head), (T0 + HOUR, garbage)])
    assert read(paths).undecodable == {"unknown-schema": 1}
    assert report(paths) == report(write(log))


def test_words_said_again_change_nothing(site: Site, write: Write) -> None:
    log = log_of(busy(site).until(4 * 3600), ticks(4))
    again = [pair for pair in log if pair[1].topic != "events"][20:]
    assert report(write([*log, *again])) == report(write(log))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_a_log_is_cut_into_recordings_the_figures_are_the_same(
    site: Site, write: Write, data: st.DataObject
) -> None:
    log: Messages = log_of(busy(site).until(4 * 3600), ticks(4, 50))
    cuts = data.draw(st.lists(st.integers(1, len(log) - 1), max_size=5, unique=True))
    from_s, to_s = sorted(data.draw(st.tuples(st.integers(0, 7000), st.integers(7001, 14400))))
    of = Part(T0 + from_s * S, T0 + to_s * S)
    assert report(write(log, cuts), of) == report(write(log), of)


def test_ctrl_c_gives_the_figures_up_to_there(site: Site, write: Write) -> None:
    paths = write(log_of(busy(site).until(4 * 3600), ticks(4)))
    found = read_alarm_words(open_recordings(paths), Part(), lambda at_ns: at_ns < T0 + HOUR)
    assert (found.is_partial, found.end_ns) == (True, T0 + HOUR)
    [said] = positions(found, ["row-a"])
    assert said.kpis.alarms == 13
    with Pace((T0, None), None) as pace:
        assert read_alarm_words(open_recordings(paths), Part(), pace).is_partial is False


@pytest.mark.parametrize(("values", "p95"), [([7], 7), (list(range(1, 21)), 19), (list(range(1, 101)), 95)])
def test_the_nearest_rank(values: list[int], p95: int) -> None:
    assert percentile(values, 95) == p95
