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


def kpi_figures(sides: tuple[Kpis, Kpis]) -> Iterator[Figure]:
    """Of the alarm system."""
    yield _figure("alarms", "", [f"{one.alarms:,}" for one in sides])
    for period, target in (("day", 150), ("hour", 6), ("10 min", 1)):
        rates = [one.rates[period] for one in sides]
        yield _figure(
            f"alarms per {period}, average", f"at most {target}",
            [_average(rate) for rate in rates],
            [None if rate.average is None else rate.average <= target for rate in rates],
        )  # fmt: skip
    for period, most in (("hour", None), ("10 min", 10)):
        peaks = [one.rates[period].peak for one in sides]
        yield _figure(
            f"most in one {'hour' if period == 'hour' else 'period of 10 min'}",
            "" if most is None else f"at most {most}",
            [f"{peak:,}" for peak in peaks],
            [None if most is None else peak <= most for peak in peaks],
        )
    yield _figure(
        "time in a flood", "under 1 %",
        [_share(one.flood_share) for one in sides],
        [None if one.flood_share is None else one.flood_share < 0.01 for one in sides],
    )  # fmt: skip
    yield _figure(
        "alarms that chatter", "none",
        [f"{len(one.chattering):,}" for one in sides],
        [not one.chattering for one in sides],
    )  # fmt: skip
    yield _figure(
        "stale, more than 24 h", "under 5 on any day",
        [f"{one.stale:,}" for one in sides],
        [None if one.stale else True for one in sides],
    )  # fmt: skip
    yield _figure(
        "share of the ten most frequent", "at most 5 %",
        [_share(one.top_share) for one in sides],
        # ten of fewer than 200 alarms are more than that, however they come
        [None if one.top_share is None or one.names < 200 else one.top_share <= 0.05 for one in sides],
    )  # fmt: skip
    yield _figure("low / medium / high / urgent", "80 / 15 / 5 %, few urgent", [_split(one) for one in sides])


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
        [_share(one.in_alarm_ns / one.recorded_ns if one.recorded_ns else None) for one in sides],
    )  # fmt: skip
    yield _figure("... outside of all spans", "", [_share(one.outside_share) for one in sides])


def _figure(
    name: str, target: str, values: list[str], meets: list[bool | None] | list[bool] | None = None
) -> Figure:
    before, after = meets or (None, None)
    return Figure(name, target, values[0], values[1], (before, after))


def _average(rate: Rate) -> str:
    return UNKNOWN if rate.average is None else f"{rate.average:.3g}"


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.1%}".replace("%", " %")


def _split(one: Kpis) -> str:
    order: tuple[Severity, ...] = ("low", "medium", "high", "urgent")
    if not one.alarms:
        return UNKNOWN
    return " / ".join(f"{one.priorities[severity] / one.alarms:.0%}" for severity in order).replace("%", " %")
