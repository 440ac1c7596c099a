r"""LIKE of event filters (OPC 10000-4, table 119), in a time that grows with the text alone, whatever the pattern.

`%` any text, `_` any one character, `[…]` and `[^…]` one of a set or none of it, `a-c` in a set a range, `\` escapes.
Rules: no backtracking: all places of the pattern at which a text may stand are kept at once, as the bits of a number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

PATTERN_MAX: Final = 500
"""Letters of a pattern."""
_Ranges = tuple[tuple[str, str], ...]


class Pattern:
    """A pattern, read once."""

    def __init__(self, text: str) -> None:
        self._letters: dict[str, int] = {}
        """Bits of the places that take this letter."""
        self._sets: list[tuple[int, bool, _Ranges]] = []
        """The bit of a place that takes one of a set, or what is not in it."""
        self._stays = 0
        """Bits of the places that take any text: of each `%`."""
        at, bit = 0, 1
        while at < len(text):
            letter, at = text[at], at + 1
            if letter == "%":
                self._stays |= bit
                continue
            found = _set(text, at) if letter == "[" else None
            if found is not None:
                is_other, ranges, at = found
                self._sets.append((bit, is_other, ranges))
            elif letter == "_":
                self._sets.append((bit, True, ()))
            else:
                if letter == "\\" and at < len(text):
                    letter, at = text[at], at + 1
                self._letters[letter] = self._letters.get(letter, 0) | bit
            bit <<= 1
        self._end = bit

    def matches(self, text: str) -> bool:
        """Whether all of a text does."""
        known: dict[str, int] = {}
        places = 1
        for letter in text:
            takes = known.get(letter)
            if takes is None:
                takes = known[letter] = self._takes(letter)
            places = (places & takes) << 1 | places & self._stays
            if not places:
                return False
        return bool(places & self._end)

    def _takes(self, letter: str) -> int:
        bits = self._letters.get(letter, 0)
        for bit, is_other, ranges in self._sets:
            if any(low <= letter <= high for low, high in ranges) != is_other:
                bits |= bit
        return bits


def _set(text: str, start: int) -> tuple[bool, _Ranges, int] | None:
    """A set whose bracket is before `start`: whether others are meant, and where it ends; None: it has no end."""
    letters: list[tuple[str, bool]] = []
    at = start
    while at < len(text) and text[at] != "]":
        is_escaped = text[at] == "\\" and at + 1 < len(text)
        at += is_escaped
        letters.append((text[at], is_escaped))
        at += 1
    if at == len(text):
        return None
    is_other = letters[:1] == [("^", False)]
    rest, ranges = letters[is_other:], list[tuple[str, str]]()
    while rest:
        length = 3 if len(rest) > 2 and rest[1] == ("-", False) else 1
        ranges.append((rest[0][0], rest[length - 1][0]))
        rest = rest[length:]
    return is_other, tuple(ranges), at + 1


_read = lru_cache(maxsize=256)(Pattern)


def like(text: object, pattern: object) -> bool | None:
    """None where one of them is no text, or the pattern is too long."""
    if not isinstance(text, str) or not isinstance(pattern, str) or len(pattern) > PATTERN_MAX:
        return None
    return _read(pattern).matches(text)
