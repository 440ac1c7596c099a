"""The text of an alarm: `{asset}`, `{value}` and names of the rule, each with a number format such as `{value:.1f}`.

Rules: one template, checked once when the rules are loaded; the same numbers give the same text everywhere.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping
from typing import Final

NO_VALUE: Final = "no value"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


def problem(template: str) -> str:
    """What is wrong with a template whatever its names mean, or an empty string."""
    try:
        parts = list(string.Formatter().parse(template))
        for _, name, spec, conversion in parts:
            if name is None:
                continue
            if not _NAME.fullmatch(name):
                return f"'{{{name}}}' is no name"
            if conversion or "{" in (spec or "") or (spec and name == "asset"):
                return f"'{{{name}}}' takes no such format"
            if spec:
                format(1.0, spec)
    except ValueError as error:
        return f"the message can't be read: {error}"
    return ""


def names(template: str) -> list[str]:
    """What a template shows but `asset`, once each, in order. It has no problem."""
    found = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    return [name for name in dict.fromkeys(found) if name != "asset"]


def render(template: str, asset: str, numbers: Mapping[str, float | None]) -> str:
    """The text for one alarm; a number without a format has four significant digits."""
    text = []
    for literal, name, spec, _ in string.Formatter().parse(template):
        text.append(literal)
        if name == "asset":
            text.append(asset)
        elif name is not None:
            number = numbers.get(name)
            unknown = number is None or math.isnan(number)
            text.append(NO_VALUE if unknown else format(number, spec or ".4g"))
    return "".join(text)
