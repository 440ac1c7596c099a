"""Ids and their ranges: `R[01..08]` is R01 to R08, `HX-[A..C]` is HX-A to HX-C.

Rules: an asset id is letters, digits, `-` and `_` (a point id has a dot behind it, a source's backfill a
slash); digits keep their width, so that a range and its ids sort alike; several ranges in one id multiply,
the last running fastest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

IDS_MAX = 200_000
"""More ids than this from one pattern is a slip of the pen, not a plant."""

ASSET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NAME_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
"""Ids of units and sources: they become keys and file names."""

_RANGE = re.compile(r"\[([^\[\]]*)\]")
_BOUNDS = re.compile(r"(\d+|[A-Z]|[a-z])\.\.(\d+|[A-Z]|[a-z])")


@dataclass(frozen=True, slots=True)
class ExpandedId:
    """One id of a pattern; `number` is the text of its first range ('' without one)."""

    id: str
    number: str


class PatternError(ValueError):
    """A range that is none. `offset` is its place in the text, `hint` says what to write."""

    def __init__(self, message: str, offset: int, hint: str = "write a range as [01..08]") -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


def expand_ids(text: str) -> list[ExpandedId]:
    """All ids of `text`, in order. Raises PatternError."""
    pieces = _RANGE.split(text)
    if any(character in "[]" for literal in pieces[::2] for character in literal):
        raise PatternError(f"a bracket without its other half in '{text}'", 0)
    parts: list[list[str]] = []
    total = 1
    for index, piece in enumerate(pieces):
        parts.append(_values(piece, text.index(f"[{piece}]")) if index % 2 else [piece])
        total *= len(parts[-1])
        if total > IDS_MAX:
            raise PatternError(f"'{text}' is more than {IDS_MAX} ids", 0)
    return [
        ExpandedId("".join(combination), combination[1] if len(parts) > 1 else "")
        for combination in product(*parts)
    ]


def _values(inside: str, offset: int) -> list[str]:
    bounds = _BOUNDS.fullmatch(inside)
    if bounds is None:
        raise PatternError(f"'[{inside}]' is no range", offset)
    low, high = bounds[1], bounds[2]
    if low.isdigit() != high.isdigit() or (not low.isdigit() and low.isupper() != high.isupper()):
        raise PatternError(f"'[{inside}]' mixes digits and letters", offset, "such as [01..08] or [A..D]")
    if low.isdigit():
        if len(low) != len(high) and ("0" in (low[0], high[0]) or len(low) > len(high)):
            hint = f"such as [{low.zfill(len(high))}..{high.zfill(len(low))}]"
            raise PatternError(f"'[{inside}]' has bounds of different widths", offset, hint)
        first, last = int(low), int(high)
        if last - first >= IDS_MAX:
            raise PatternError(f"'[{inside}]' is more than {IDS_MAX} ids", offset)
        width = len(low)
        values = [str(number).zfill(width) for number in range(first, last + 1)]
    else:
        values = [chr(code) for code in range(ord(low), ord(high) + 1)]
    if not values:
        raise PatternError(f"'[{inside}]' runs backwards", offset, f"such as [{high}..{low}]")
    return values
