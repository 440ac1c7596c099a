"""Foreign text for terminals and logs.

Rule: what people, servers, files and the log say may clear a screen, or look like a line of others; everything of
theirs that is printed goes through here, and is text then.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """One line; a character that can't be seen (of a line's end, of an escape) stands in it as Python writes it."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def shortened(text: str, longest: int) -> str:
    """The same in `longest` characters at most: the last is an ellipsis where more would follow."""
    shown = printable(text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def printable_lines(text: str) -> str:
    """The same of a text that has several lines by right."""
    return "\n".join(map(printable, text.split("\n")))
