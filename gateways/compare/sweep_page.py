"""A sweep as one HTML page: the trade-offs that are worth a look, the plot, and every candidate in a table.

Rules: those of the page of a comparison (`page`): all text is escaped, nothing is fetched, nothing runs; the same
result gives the same bytes. A candidate that is the rule as it is, written again, is not told as a trade-off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from gateways.compare.sweep_plot import Dot, plot
from gateways.compare.sweep_result import SweepResult, figures
from gateways.compare.template import filled
from gateways.compare.words import duration, moment
from streams.compare.spans import length_ns

BEST: Final = 8
"""Trade-offs that are told in words; the table has all."""
ROWS: Final = 500


class Line(NamedTuple):
    """A candidate: its number, its values, its figures, and what is to be said of it; number 0 is the rule as it is."""

    number: int
    values: Sequence[str]
    figures: Mapping[str, str]
    refused: str
    is_now: bool
    is_best: bool


def sweep_page(result: SweepResult) -> str:
    """The page as text."""
    lines = list(_lines(result))
    best = [line for line in lines if line.is_best and not line.is_now]
    return filled(
        "compare/sweep.html.j2",
        result=result,
        period=f"{moment(result.recorded[0][0])[:19]} to {moment(result.recorded[-1][1])[:19]} UTC"
        if result.recorded
        else "no samples",
        recorded=duration(length_ns(result.recorded)),
        names=list(result.parameters),
        heads=list(lines[0].figures),
        now=lines[0],
        best=best[:BEST],
        more_best=len(best) - BEST,
        lines=lines[:ROWS],
        more_lines=len(lines) - ROWS,
        plot=_plot(result),
        limits=result.limits,
    )


def _lines(result: SweepResult) -> list[Line]:
    best, now = result.front, result.candidates[0].rule
    return [
        Line(
            place,
            [candidate.values.get(name, one.now or "none") for name, one in result.parameters.items()],
            {} if score is None else dict(figures(result, score)),
            candidate.refused,
            candidate.rule == now,
            place in best,
        )
        for place, (candidate, score) in enumerate(zip(result.candidates, result.scores, strict=True))
    ]


def _plot(result: SweepResult) -> Markup | None:
    """None where nothing is to be detected."""
    best = result.front
    dots = [
        Dot(place, score.detected, result.nuisance_of(score), score.needless, not place, place in best)
        for place, score in enumerate(result.scores)
        if score is not None
    ]
    # matplotlib escapes what it is given; nothing else is in it
    to_detect = result.now.to_detect
    return Markup(plot(dots, to_detect, result.nuisance)) if to_detect else None  # noqa: S704
