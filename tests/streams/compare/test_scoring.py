from __future__ import annotations

from streams.compare.episodes import Episode
from streams.compare.incidents import RUN_UP_NS, KnownIncident
from streams.compare.scoring import HOUR_NS, Score, score
from streams.compare.spans import Span, recorded_spans
from streams.times import time_ns_of


def at(text: str) -> int:
    """`01T06:00` of January."""
    return time_ns_of(f"2026-01-{text}:00Z")


def episode(raised: str, cleared: str | None, rule: str = "hot") -> Episode:
    cleared_ns = None if cleared is None else at(cleared)
    return Episode(f"{rule}:{raised}", "row-a", rule, "P-1", "high", "hot", at(raised), cleared_ns)


def fault(text: str) -> KnownIncident:
    return KnownIncident(at(text) - RUN_UP_NS, at(text), True)


def span(begin: str, end: str) -> KnownIncident:
    return KnownIncident(at(begin), at(end), False)


GAP = (at("01T12:00"), at("02T12:00"))
RECORDED = recorded_spans(at("01T00:00"), at("03T00:00"), [GAP])
MIDDLE = at("02T00:00")
FIRST: Span = (0, MIDDLE)
SECOND: Span = (MIDDLE, 1 << 62)
EPISODES = [
    episode("01T06:00", "01T09:00"),
    episode("01T08:00", "01T10:00"),
    episode("02T11:00", "02T12:00", "source-gap"),
    episode("02T23:00", None),
]


def of(*incidents: KnownIncident, within: Span | None = None) -> Score:
    return score(EPISODES, RECORDED, incidents, within or (0, 1 << 62))


def test_lead_times_and_shares_leave_the_gaps_out() -> None:
    said = of(fault("01T12:00"), fault("02T06:00"), fault("02T22:00"))
    assert (said.incidents, said.always_true) == (3, 2)  # the second lies in the gap
    first, last = said.found
    assert (first.new, first.lead_ns, first.first_ns) == (2, 6 * HOUR_NS, at("01T06:00"))
    assert (first.share, first.early_share, first.late_share) == (4 / 12, 3 / 6, 1 / 3)
    assert (last.is_detected, last.lead_ns) == (False, None)
    assert (said.alarms, said.detected, said.raised) == (3, 1, 1)
    assert (said.in_alarm_ns, said.recorded_ns) == (5 * HOUR_NS, 24 * HOUR_NS)


def test_an_alarm_that_stood_before_detects_and_gives_no_lead() -> None:
    said = of(span("01T07:00", "01T07:30"))
    assert (said.detected, said.raised, said.lead_ns) == (1, 0, None)
    assert (said.found[0].stood_before, said.found[0].first_ns) == (True, at("01T07:00"))


def test_what_is_raised_outside_of_the_spans_is_false() -> None:
    said = of(span("01T05:00", "01T07:00"))
    assert (said.detected, said.false_ns) == (1, (at("01T08:00"), at("02T23:00")))
    assert said.outside_share == 4 / 22


def test_a_rate_of_false_alarms_takes_a_day_outside_of_the_spans() -> None:
    said = of(span("01T05:00", "01T07:00"))
    assert said.false_alarms_per_day is None
    assert said.caveats[0].startswith(
        "How many alarms a day are false: of 24.0 recorded hours only 22.0 lie outside"
    )
    longer = score(EPISODES, [*RECORDED, (at("03T00:00"), at("05T02:00"))], [span("01T05:00", "01T07:00")])
    assert longer.false_alarms_per_day == 2 / 3  # three days outside
    assert not any(line.startswith("How many") for line in longer.caveats)


def test_an_alarm_that_always_stands_finds_all_that_has_samples() -> None:
    incidents = [fault("01T12:00"), fault("02T06:00"), fault("02T22:00")]
    said = score([episode("01T00:00", None)], RECORDED, incidents)
    assert said.detected == said.always_true == 2
    assert said.caveats[-1].endswith(
        "2 of 2 is much, by itself: a rule that is always true detects all of them."
    )


def test_halves_are_scored_apart() -> None:
    faults = fault("01T12:00"), fault("02T22:00")
    first, second = of(*faults, within=FIRST), of(*faults, within=SECOND)
    assert [(one.incidents, one.always_true, one.alarms) for one in (first, second)] == [(1, 1, 2), (1, 1, 1)]
    assert first.in_alarm_ns / first.recorded_ns == 4 / 12
    window = span("01T05:00", "01T07:00")
    first, second = of(window, within=FIRST), of(window, within=SECOND)
    assert [(one.incidents, one.detected, len(one.false_ns)) for one in (first, second)] == [
        (1, 1, 1),
        (0, 0, 1),
    ]
    assert second.outside_ns == 12 * HOUR_NS


def test_a_fault_after_the_last_sample_belongs_to_the_second_half() -> None:
    said = of(fault("03T00:01"), within=SECOND)
    assert (said.incidents, said.always_true) == (1, 1)


def test_a_span_on_the_middle_belongs_to_the_half_of_its_own_middle() -> None:
    window = span("01T23:00", "03T00:00")
    first, second = of(window, within=FIRST), of(window, within=SECOND)
    assert (first.incidents, second.incidents, second.detected) == (0, 1, 1)
    assert (len(first.false_ns), len(second.false_ns)) == (2, 0)


def test_early_and_late_are_unknown_where_nothing_is_recorded() -> None:
    said = of(fault("01T12:00"), fault("02T13:00"))  # an hour before the second is recorded
    assert said.found[1].early_share is None
    assert said.found[1].late_share == 0
