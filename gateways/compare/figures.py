"""The figures of both sides beside their targets, as texts: of the alarm system, and of known incidents.

Source of the targets: ANSI/ISA-18.2-2016, clause 16, for one operator position, as EEMUA 191 has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gateways.compare.words import duration
from rules.engine.outputs import Severity
from streams.compare.kpis import Kpis, Rate
from streams.compare.scoring import Score

UNKNOWN = "–"
"""What nobody can know of this recording."""


class Figure(NamedTuple):
    """A figure of both sides. `meets`: whether each is within the target; None where there is none, or no figure."""

    name: str
    target: str
    before: str
    after: str
    meets: tuple[bool | None, bool | None] = (None, None)


class Measured(NamedTuple):
    """A figure of one alarm system; `meets` as of `Figure`."""

    name: str
    target: str
    value: str
    meets: bool | None = None


def kpi_figures(sides: tuple[Kpis, Kpis]) -> Iterator[Figure]:
    """Of the alarm systems of both sides."""
    for before, after in zip(*map(measured, sides), strict=True):
        yield Figure(before.name, before.target, before.value, after.value, (before.meets, after.meets))


def measured(one: Kpis) -> Iterator[Measured]:
    """Of an alarm system."""
    yield Measured("annunciated", "", f"{one.alarms:,}")
    for period, target in (("day", 150), ("hour", 6), ("10 min", 1)):
        average = one.rates[period].average
        yield Measured(
            f"alarms per {period}, average", f"at most {target}", _average(one.rates[period]),
            None if average is None else average <= target,
        )  # fmt: skip
    yield Measured("most in one hour", "", f"{one.rates['hour'].peak:,}")
    peak = one.rates["10 min"].peak
    yield Measured("most in one period of 10 min", "at most 10", f"{peak:,}", peak <= 10)
    yield Measured(
        "time in a flood", "under 1 %", share_text(one.flood_share),
        None if one.flood_share is None else one.flood_share < 0.01,
    )  # fmt: skip
    yield Measured("alarms that chatter", "none", f"{len(one.chattering):,}", not one.chattering)
    yield Measured(
        "stale, more than 24 h", "under 5 on any day", f"{one.stale:,}",
        # what went off in less than a day can't be stale yet
        None if one.stale or one.rates["day"].average is None else True,
    )  # fmt: skip
    yield Measured(
        "share of the ten most frequent", "at most 5 %", share_text(one.top_share),
        # ten of fewer than 200 alarms are more than that, however they come
        None if one.top_share is None or one.names < 200 else one.top_share <= 0.05,
    )  # fmt: skip
    yield Measured("low / medium / high / urgent", "80 / 15 / 5 %, few urgent", _split(one))


def score_figures(sides: tuple[Score, Score]) -> Iterator[Figure]:
    """Of known incidents that have samples: nobody could detect the others."""
    always = f"always true: {sides[0].always_true}"
    yield _figure("detected", always, [f"{one.detected} of {one.always_true}" for one in sides])
    yield _figure(
        "an alarm was raised in its span", "", [f"{one.raised} of {one.always_true}" for one in sides]
    )
    yield _figure(
        "lead to the end of the span, median", "",
        [UNKNOWN if one.lead_ns is None else duration(one.lead_ns) for one in sides],
    )  # fmt: skip
    yield _figure(
        "false alarms per day", "",
        [
            UNKNOWN if one.false_alarms_per_day is None else f"{one.false_alarms_per_day:.3g}"
            for one in sides
        ],
    )  # fmt: skip
    yield _figure(
        "time in alarm", "always true: 100 %",
        [share_text(one.in_alarm_ns / one.recorded_ns if one.recorded_ns else None) for one in sides],
    )  # fmt: skip
    yield _figure("... outside of all spans", "", [share_text(one.outside_share) for one in sides])


def _figure(name: str, target: str, values: list[str]) -> Figure:
    before, after = values
    return Figure(name, target, before, after)


def _average(rate: Rate) -> str:
    return UNKNOWN if rate.average is None else f"{rate.average:.3g}"


def share_text(share: float | None) -> str:
    """`12.5 %`."""
    return UNKNOWN if share is None else f"{share:.1%}".replace("%", " %")


def _split(one: Kpis) -> str:
    order: tuple[Severity, ...] = ("low", "medium", "high", "urgent")
    if not one.alarms:
        return UNKNOWN
    return " / ".join(f"{one.priorities[severity] / one.alarms:.0%}" for severity in order).replace("%", " %")
