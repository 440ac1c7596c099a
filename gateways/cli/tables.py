"""Tables of times and names with a text at the end of each row: nothing in them is ever cut.

Rules: into a file or a pipe, a row is one line as wide as it has to be. In a terminal the text folds beside the
other columns, or stands below them where too little room is left. Whatever a cell says, it is text.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console

from gateways.printable import printable

GAP: Final = "  "
WIDE: Final = 10_000
"""Columns of a pipe or a file: no line is folded there."""
TEXT_WIDTH_MIN: Final = 20
INDENT: Final = "    "


def console() -> Console:
    """For everything else on stdout, by the same rules: no text is markup, a style is that of a `Text`."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDE)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of as many cells as `heads` has, the text last."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table_lines(heads, rows, width):
        print(line)


def table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """The lines of a table, heads first; `width` in characters, None for no limit."""
    heads, *rows = [tuple(map(printable, row)) for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    text_at = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    for *cells, text in (heads, *rows):
        names = GAP.join(cell.ljust(size) for cell, size in zip(cells, widths, strict=False))
        if width is None or text_at + len(text) <= width:
            yield f"{names}{GAP}{text}".rstrip()
        elif text_at + TEXT_WIDTH_MIN <= width:
            first, *rest = textwrap.wrap(text, width - text_at)
            yield f"{names}{GAP}{first}"
            yield from (" " * text_at + line for line in rest)
        else:
            yield names.rstrip()
            yield from (
                INDENT + line for line in textwrap.wrap(text, max(TEXT_WIDTH_MIN, width - len(INDENT)))
            )
