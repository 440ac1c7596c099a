"""The text of an alarm: `{asset}` and `{value}` (with a number format such as `{value:.1f}`), nothing else.

Rules: one template, checked once when the rules are loaded; the same value gives the same text everywhere.
"""

from __future__ import annotations

import string
from typing import Final

NAMES: Final = ("asset", "value")
NO_VALUE: Final = "no value"


def problem(template: str) -> str:
    """What is wrong with a template, or an empty string."""
    try:
        parts = list(string.Formatter().parse(template))
        for _, name, spec, conversion in parts:
            if name is None:
                continue
            if name not in NAMES:
                return f"unknown name '{{{name}}}' in the message"
            if conversion or "{" in (spec or "") or (spec and name == "asset"):
                return f"'{{{name}}}' takes no such format"
            if spec:
                format(1.0, spec)
    except ValueError as error:
        return f"the message can't be read: {error}"
    return ""


def render(template: str, asset: str, value: float | None) -> str:
    """The text for one alarm; a value without a format has four significant digits."""
    text = []
    for literal, name, spec, _ in string.Formatter().parse(template):
        text.append(literal)
        if name == "asset":
            text.append(asset)
        elif name == "value":
            text.append(NO_VALUE if value is None else format(value, spec or ".4g"))
    return "".join(text)
