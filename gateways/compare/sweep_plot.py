"""Detection against nuisance, a point for each candidate, as an SVG for a page.

Rules: those of `svg`; candidates that lie on one point share its label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gateways.compare.svg import COLOURS, styled, svg_of

_WIDE: Final = 100
"""Above so many alarms, the axis is a logarithm."""
_NEAR_AXIS: Final = 0.1
_LABEL: Final = 3
"""Numbers in the label of one point."""


class Dot(NamedTuple):
    """A candidate: its number in the table, what it detects, its nuisance, its needless share, and what it is."""

    number: int
    detected: int
    nuisance: float
    needless: float
    is_now: bool
    is_best: bool


def plot(dots: Sequence[Dot], to_detect: int, nuisance: str) -> str:
    """The SVG element."""
    with styled():
        figure = Figure(figsize=(4.6, 3.3), layout="constrained")
        axes = figure.subplots()
        _draw(axes, dots)
        axes.set_xlabel(nuisance)
        axes.set_ylabel(f"detected of {to_detect}")
        axes.set_ylim(-0.08 * to_detect, 1.12 * to_detect)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        most = max(dot.nuisance for dot in dots)
        axes.xaxis.set_major_locator(MaxNLocator(integer=all(dot.nuisance.is_integer() for dot in dots)))
        room = max(most, 1.0)
        if most > _WIDE:
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(-0.3, 2 * room)
        else:
            axes.set_xlim(-0.04 * room, 1.08 * room)
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        return svg_of(figure)


def _draw(axes: Axes, dots: Sequence[Dot]) -> None:
    for is_best, colour in ((False, COLOURS["--soft"]), (True, COLOURS["--after"])):
        some = [dot for dot in dots if dot.is_best == is_best]
        axes.scatter(
            [dot.nuisance for dot in some], [dot.detected for dot in some],
            s=[20 + 180 * dot.needless for dot in some], color=colour, alpha=0.7, linewidth=0,
        )  # fmt: skip
    now = [dot for dot in dots if dot.is_now]
    axes.scatter(
        [dot.nuisance for dot in now], [dot.detected for dot in now],
        s=110, marker="s", facecolor="none", edgecolor=COLOURS["--before"], linewidth=1.6,
    )  # fmt: skip
    labels: dict[tuple[float, int], list[str]] = defaultdict(list)
    for dot in dots:
        if dot.is_best or dot.is_now:
            labels[dot.nuisance, dot.detected].append("as it is" if dot.is_now else f"#{dot.number}")
    best = {(dot.nuisance, dot.detected) for dot in dots if dot.is_best}
    most = max(dot.nuisance for dot in dots)
    for at, words in labels.items():
        more = f" +{len(words) - _LABEL}" if len(words) > _LABEL else ""
        # above and to the left of one on the front nothing lies, but for the axis
        left = at in best and at[0] > _NEAR_AXIS * most
        axes.annotate(
            ", ".join(words[:_LABEL]) + more, at, xytext=(-6 if left else 8, 6), textcoords="offset points",
            fontsize=9, ha="right" if left else "left",
        )  # fmt: skip
