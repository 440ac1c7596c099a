"""What matplotlib draws, as an SVG element for a page.

Rules: the same numbers give the same bytes; colours are those of the page's style sheet, so that it is light or dark
with the page; text is text.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS: Final = {"--ink": "#010203", "--soft": "#040506", "--rule": "#070809", "--after": "#0a0b0c",
                  "--before": "#0d0e0f", "--gap": "#101112"}  # fmt: skip
"""What matplotlib draws with, each put into the place of a variable of the style sheet."""
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headrace",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": COLOURS["--ink"],
    "axes.labelcolor": COLOURS["--ink"],
    "axes.edgecolor": COLOURS["--soft"],
    "xtick.color": COLOURS["--soft"],
    "ytick.color": COLOURS["--soft"],
    "grid.color": COLOURS["--rule"],
}
_NO_METADATA: Final = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@contextmanager
def styled() -> Iterator[None]:
    """All that is drawn within it, and made an SVG, has the style of the pages."""
    with mpl.rc_context(_STYLE):
        yield


def svg_of(figure: Figure) -> str:
    """The SVG element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var({name})")
    return svg
