"""Alarms over time, 10 minutes a bar, as an SVG for a page: what was annunciated, and above it what nobody heard.

Rules: those of `gateways.compare.svg`. So many bars at most as one can see: of a longer time each shows the fullest 10
minutes of several, so that no flood is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from typing import Final

from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gateways.compare.svg import COLOURS, styled, svg_of
from streams.compare.kpis import FLOOD_BEGINS, PERIODS_NS

BARS: Final = 500
_PERIOD_NS: Final = PERIODS_NS["10 min"]
_DAY_NS: Final = PERIODS_NS["day"]


def plot(annunciated: Sequence[int], unheard: Sequence[int], begin_ns: int, end_ns: int) -> str:
    """The SVG element; all times are event times in ns."""
    first, last = begin_ns // _PERIOD_NS, max(end_ns - 1, begin_ns) // _PERIOD_NS
    each = -(-(last - first + 1) // BARS)
    heard, silent = (
        [_fullest(Counter(at // _PERIOD_NS for at in times), start, each) for start in range(first, last + 1, each)]
        for times in (annunciated, unheard)
    )  # fmt: skip
    width = each * _PERIOD_NS / _DAY_NS
    lefts = [start * _PERIOD_NS / _DAY_NS for start in range(first, last + 1, each)]
    with styled():
        figure = Figure(figsize=(4.8, 2.2), layout="constrained")
        axes = figure.subplots()
        axes.bar(lefts, heard, width=width, align="edge", color=COLOURS["--after"], linewidth=0)
        axes.bar(
            lefts, silent, width=width, align="edge", color=COLOURS["--before"], linewidth=0, bottom=heard
        )
        axes.axhline(FLOOD_BEGINS, color=COLOURS["--ink"], linewidth=1, linestyle="--")
        axes.set_ylabel("alarms in 10 min")
        axes.set_ylim(
            0, max(FLOOD_BEGINS + 2, *(1.1 * (one + other) for one, other in zip(heard, silent, strict=True)))
        )
        axes.set_xlim(lefts[0], lefts[-1] + width)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        locator = dates.AutoDateLocator(tz=UTC, maxticks=5)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(
            dates.ConciseDateFormatter(locator, tz=UTC, show_offset=False)  # type: ignore[no-untyped-call]
        )
        axes.grid(visible=True, axis="y")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        return svg_of(figure)


def _fullest(counts: Counter[int], first: int, periods: int) -> int:
    return max(counts[number] for number in range(first, first + periods))
