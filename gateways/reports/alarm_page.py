"""A report on the alarm system as one HTML page: what it is like, unit by unit, beside what it should be.

Rules: those of the page of a comparison (`gateways.compare.page`): all text is escaped, nothing is fetched, nothing
runs; the same recording gives the same bytes; what is left out is counted, and `--json` has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from gateways.compare.figures import Measured, share_text
from gateways.compare.template import filled
from gateways.compare.words import counted, duration, moment
from gateways.reports.alarm_figures import AlarmReport, figures, limits, suggestion
from gateways.reports.alarm_plot import plot
from streams.compare.kpis import Name
from streams.reports.alarms import Position

UNITS: Final = 40
"""Shown one by one, those with the most alarms first."""
LINES: Final = 20
"""Of floods, chattering, stale and unacknowledged alarms each."""


class Some(NamedTuple):
    """The first lines of a table, and how many more there are."""

    lines: Sequence[tuple[str, ...]]
    more: int


class Block(NamedTuple):
    """A unit."""

    unit: str
    summary: str
    missed: int
    figures: list[Measured]
    top: Some
    chattering: Some
    floods: Some
    stale: Some
    left: Some
    refused: Some


def alarm_page(report: AlarmReport) -> str:
    """The page as text."""
    found = report.found
    busiest = sorted(report.positions, key=lambda one: (-one.kpis.alarms, one.unit))
    shown = [_block(one) for one in busiest[:UNITS]]
    return filled(
        "reports/alarms.html.j2",
        site=report.site,
        period=f"{moment(found.begin_ns)[:19]} to {moment(found.end_ns)[:19]} UTC"
        if report.recorded_ns
        else "nothing recorded",
        recorded=duration(report.recorded_ns),
        headline=headline(report),
        tiles=list(_tiles(report)),
        plot=_plot(report),
        blocks=shown,
        more_units=len(busiest) - len(shown),
        limits=list(limits(report)),
    )


def headline(report: AlarmReport) -> str:
    """What came out, in a sentence."""
    annunciated = sum(one.kpis.alarms for one in report.positions)
    raised = sum(one.raised for one in report.positions)
    missing = [one.unit for one in report.positions if _missed(list(figures(one)))]
    said = f"{counted(annunciated, 'alarm')} annunciated, {raised:,} went off"
    if not missing:
        return f"{said}; no unit misses a target"
    few = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
    return f"{said}; targets are missed in {few}"


def _tiles(report: AlarmReport) -> Iterator[tuple[str, str]]:
    of = report.positions
    yield f"{sum(one.kpis.alarms for one in of):,}", "annunciated"
    yield (
        f"{sum(one.unheard_by['suppressed'] for one in of):,}",
        "suppressed by a cause or in a flood, and never annunciated",
    )
    yield f"{sum(one.kpis.floods for one in of):,}", "floods"
    yield f"{sum(len(one.chattering) for one in of):,}", "alarms that chatter"
    yield f"{sum(len(one.stale) for one in of):,}", "stale"
    yield f"{sum(len(one.acknowledging.left) for one in of):,}", "unacknowledged at the end"


def _missed(of: Sequence[Measured]) -> int:
    return sum(one.meets is False for one in of)


def _plot(report: AlarmReport) -> Markup | None:
    if not report.recorded_ns:
        return None
    annunciated = [at for one in report.positions for at in one.annunciated]
    unheard = [at for one in report.positions for at, _ in one.unheard]
    # matplotlib escapes what it is given, and is given numbers
    return Markup(plot(annunciated, unheard, report.found.begin_ns, report.found.end_ns))  # noqa: S704


def _block(one: Position) -> Block:
    of = list(figures(one))
    missed = _missed(of)
    said = f"{missed} of {counted(sum(each.meets is not None for each in of), 'target')} missed"
    total = one.kpis.alarms
    return Block(
        one.unit,
        f"{counted(total, 'alarm')}, {said}",
        missed,
        of,
        _some((_alarm(name), f"{count:,}", share_text(count / total)) for name, count in one.kpis.top),
        _some((_alarm(each.name), f"{each.count:,}", suggestion(each.delays)) for each in one.chattering),
        _some(
            (moment(each.begin_ns)[:16], moment(each.end_ns)[:16], f"{each.alarms:,}")
            for each in one.kpis.flooded
        ),
        _some((_alarm(name), moment(since_ns)[:16]) for name, since_ns in one.stale),
        _some((_alarm(name),) for name in one.acknowledging.left),
        _some((reason, f"{count:,}") for reason, count in sorted((one.refused or {}).items())),
    )


def _alarm(name: Name) -> str:
    return f"{name[1]} {name[2]}"


def _some(lines: Iterator[tuple[str, ...]]) -> Some:
    found = list(lines)
    return Some(found[:LINES], max(len(found) - LINES, 0))
