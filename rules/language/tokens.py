"""Tokens of a rule text, each with the character where it begins.

Rules: a unit belongs to the number in front of it and is no token of its own; nothing here knows the grammar.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from rules.language.problems import ExpressionError

KEYWORDS: Final = ("and", "or", "not")
TOKENS_MAX: Final = 400
"""More than any rule for people to read; it also bounds how deep a text can be nested."""

_UNIT = r"[A-Za-zµμΩ°%][A-Za-z0-9µμΩ°%^]*(?:[/·][A-Za-z0-9µμΩ°%^]+)*"
_TOKEN = re.compile(
    r"(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)"
    # What goes on as a name or a call is none of the number's: '5 kW/design_power' is divided by a constant.
    rf"(?: ?(?!(?:{'|'.join(KEYWORDS)})\b)(?P<unit>{_UNIT})(?![\w(.]))?"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<mark><=|>=|==|!=|[-+*/<>=(),.])",
    re.ASCII,
)


class Token(NamedTuple):
    """`kind`: number, name, keyword, mark or end. `unit` only of a number, as written."""

    kind: str
    text: str
    at: int
    unit: str = ""
    unit_at: int = 0

    @property
    def shown(self) -> str:
        """For a message."""
        return "the end" if self.kind == "end" else f"'{self.text}'"


class Reader:
    """The tokens of one text, one after the other. Raises ExpressionError for a character of no token."""

    def __init__(self, text: str) -> None:
        self._tokens = split(text)
        self._next = 0

    @property
    def peek(self) -> Token:
        """The next token; the last one is the end, for ever."""
        return self._tokens[min(self._next, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The next token, and go on."""
        token = self.peek
        self._next += 1
        return token

    def sees(self, *texts: str) -> bool:
        """Whether the next token is one of these marks or keywords."""
        return self.peek.kind in ("mark", "keyword") and self.peek.text in texts

    def expect(self, kind: str, what: str, hint: str = "", text: str = "") -> Token:
        """The next token, which must be of `kind`, and `text` if given. Raises ExpressionError."""
        token = self.peek
        if token.kind != kind or (text and token.text != text):
            raise ExpressionError(token.at, f"expected {what}, found {token.shown}", hint)
        return self.take()

    def end(self, hint: str = "") -> None:
        """Nothing may follow. Raises ExpressionError."""
        if self.peek.kind != "end":
            raise ExpressionError(self.peek.at, f"unexpected {self.peek.shown}", hint)


def split(text: str) -> list[Token]:
    """The tokens of a text; the last one is its end. Raises ExpressionError."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            hints = {
                "&": "did you mean 'and'?",
                "|": "did you mean 'or'?",
                "!": "did you mean 'not'?",
                "[": "there are no lists: 'xid == 48 or xid == 74'",
            }
            raise ExpressionError(at, f"unexpected '{text[at]}'", hints.get(text[at], ""))
        kind = "number" if match["number"] else "name" if match["name"] else "mark"
        word = match[kind]
        if kind == "number":
            found.append(Token(kind, word, at, match["unit"] or "", max(match.start("unit"), at)))
        else:
            found.append(Token("keyword" if word in KEYWORDS else kind, word, at))
        at = match.end()
        if len(found) > TOKENS_MAX:
            raise ExpressionError(at, "the text is too long", "name parts of it under 'expressions'")
    return [*found, Token("end", "", len(text))]
