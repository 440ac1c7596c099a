"""Detection against nuisance, a point for each candidate, as an SVG for a page.

Rules: the same numbers give the same bytes; colours are those of the page's style sheet, so that it is light or dark
with the page; text is text. Candidates that lie on one point share its label.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLOURS: Final = {"--ink": "#010203", "--soft": "#040506", "--rule": "#070809", "--after": "#0a0b0c",
                   "--before": "#0d0e0f"}  # fmt: skip
"""What matplotlib draws with, each put into the place of a variable of the style sheet."""
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headrace",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _COLOURS["--ink"],
    "axes.labelcolor": _COLOURS["--ink"],
    "axes.edgecolor": _COLOURS["--soft"],
    "xtick.color": _COLOURS["--soft"],
    "ytick.color": _COLOURS["--soft"],
    "grid.color": _COLOURS["--rule"],
}
_NO_METADATA: Final = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_WIDE: Final = 100
"""Above so many alarms, the axis is a logarithm."""
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
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.3), layout="constrained")
        axes = figure.subplots()
        _draw(axes, dots)
        axes.set_xlabel(nuisance)
        axes.set_ylabel(f"detected of {to_detect}")
        axes.set_ylim(-0.08 * to_detect, 1.12 * to_detect)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        most = max(dot.nuisance for dot in dots)
        room = max(most, 1.0)
        if most > _WIDE:
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(-0.3, 2 * room)
        else:
            axes.set_xlim(-0.04 * room, 1.08 * room)
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var({name})")
    return svg


def _draw(axes: Axes, dots: Sequence[Dot]) -> None:
    for is_best, colour in ((False, _COLOURS["--soft"]), (True, _COLOURS["--after"])):
        some = [dot for dot in dots if dot.is_best == is_best]
        axes.scatter(
            [dot.nuisance for dot in some], [dot.detected for dot in some],
            s=[20 + 180 * dot.needless for dot in some], color=colour, alpha=0.7, linewidth=0,
        )  # fmt: skip
    now = [dot for dot in dots if dot.is_now]
    axes.scatter(
        [dot.nuisance for dot in now], [dot.detected for dot in now],
        s=110, marker="s", facecolor="none", edgecolor=_COLOURS["--before"], linewidth=1.6,
    )  # fmt: skip
    labels: dict[tuple[float, int], list[str]] = defaultdict(list)
    for dot in dots:
        if dot.is_best or dot.is_now:
            labels[dot.nuisance, dot.detected].append("as it is" if dot.is_now else f"#{dot.number}")
    best = {(dot.nuisance, dot.detected) for dot in dots if dot.is_best}
    for at, words in labels.items():
        more = f" +{len(words) - _LABEL}" if len(words) > _LABEL else ""
        is_best = at in best  # where nothing else lies above and to the left
        axes.annotate(
            ", ".join(words[:_LABEL]) + more, at, xytext=(-6 if is_best else 8, 6), textcoords="offset points",
            fontsize=9, ha="right" if is_best else "left",
        )  # fmt: skip
