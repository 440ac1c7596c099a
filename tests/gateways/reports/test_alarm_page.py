"""The page of a report on the alarm system, of figures that no recording need have."""

from __future__ import annotations

from collections import Counter

from gateways.reports.alarm_figures import AlarmReport, suggestion
from gateways.reports.alarm_page import LINES, UNITS, alarm_page
from streams.compare.episodes import Episode
from streams.compare.kpis import kpis
from streams.reports.alarm_words import AlarmWords
from streams.reports.alarms import Acknowledging, Chattering, Position, Silenced
from streams.reports.delays import delays

S = 1_000_000_000
T0 = 1_767_225_600 * S
DAY = 86_400 * S


def position(unit: str = "row-a", asset: str = "CDU-A", alarms: int = 30) -> Position:
    episodes = [
        Episode(str(n), unit, f"temperature-of-the-return-{n % 25:02}", asset, "high", "", at, at + 2 * S)
        for n, at in enumerate(range(T0, T0 + alarms * 5 * S, 5 * S))
    ]
    fast = [
        Episode(f"f{n}", unit, "valve-moves", asset, "low", "", at, at + 3 * S)
        for n, at in enumerate(range(T0 + 3600 * S, T0 + 3700 * S, 10 * S))
    ]
    figures = kpis([*episodes, *fast], [(T0, T0 + DAY)])
    names = [(unit, f"rule-{n:02}", asset) for n in range(LINES + 3)]
    return Position(
        unit, figures, alarms + 15, tuple(one.raised_ns for one in [*episodes, *fast]),
        ((T0 + S, "suppressed"), (T0 + 2 * S, "shelved")),
        tuple((name, T0) for name in names[:2]),
        tuple(Chattering(name, count, delays(fast)) for name, count in figures.chattering.items()),
        Acknowledging(20, 30 * S, 95 * S, tuple(names)),
        {"shelved": Silenced(1, 600 * S), "suppressed": Silenced(5, 60 * S), "out-of-service": Silenced(0, 0)},
        Counter({"it is not heard now": 2}), 0,
    )  # fmt: skip


def report(*positions: Position) -> str:
    found = AlarmWords(ran=[(T0, T0 + DAY)], begin_ns=T0, end_ns=T0 + DAY, has_alarms=True, has_journal=True)
    return alarm_page(AlarmReport("narvik", found, positions or (position(), position("site")), ()))


def test_targets_that_are_missed_are_named() -> None:
    page = report(position(), position("quiet", alarms=1))
    assert "targets are missed in row-a" in page
    assert '<td class="missed">30</td>' in page
    assert "an on-delay of 5 s would have cut 10 of 10, an off-delay of 10 s would have cut 9 of 10" in page
    assert "Nothing is missing from the recording." in page


def test_no_delay_is_suggested_where_operators_made_it_be_heard_again() -> None:
    """Shelved and unshelved three times in a minute, one occurrence: there is nothing that a delay would cut."""
    once = Episode("1", "row-a", "pump-tripped", "P1", "high", "", T0, None, (T0, T0 + 9 * S, T0 + 20 * S))
    assert "no delay ends that" in suggestion(delays([once]))


def test_what_is_left_out_is_counted() -> None:
    page = report(*(position(f"row-{number:03}") for number in range(UNITS + 2)))
    assert "and 2 more units, in --json" in page
    assert page.count("and 3 more, in --json") == UNITS


def test_texts_of_a_recording_are_escaped() -> None:
    page = report(position("<b>row</b>", "<script>"))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>row" not in page


def test_nothing_recorded_is_said_and_not_drawn() -> None:
    empty = alarm_page(AlarmReport("narvik", AlarmWords(has_alarms=True, has_journal=True), (), ()))
    assert "Nothing was recorded in this time." in empty
    assert "<svg" not in empty
