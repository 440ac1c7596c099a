"""A node of a strictly read YAML file: a value with its line and column, and typed accessors that report.

Rules: no I/O; every accessor reports what is wrong to `document.findings`, which goes on growing, and returns
None or an empty container, so that a caller goes on to the next thing. `rules/strict_yaml.py` makes nodes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rules.findings import Finding, Severity, nearest

Kind = Literal["mapping", "list", "text", "number", "boolean", "null"]

NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
"""What counts as a number: decimal ones only."""
_QUANTITY = re.compile(rf"\s*({NUMBER.pattern})\s*([^\s\d].*?)?\s*", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d{1,30}", re.ASCII)
MESSAGE_MAX = 400
"""Characters of a message, which may quote the file."""
KIND_NAMES = {
    "mapping": "a mapping",
    "list": "a list",
    "text": "text",
    "number": "a number",
    "boolean": "true or false",
}
"""How findings call a kind."""
DURATION_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
"""Units of time that a duration may be written in."""


@dataclass(slots=True)
class Document:
    """One file: its name, its lines and everything found wrong in it so far."""

    file: str
    lines: tuple[str, ...]
    findings: list[Finding] = field(default_factory=list)
    hides: bool = False
    """Whether secrets may stand in it, by mistake: then no finding shows a line of it, or a value of another kind."""

    def report(
        self, line: int, column: int, message: str, hint: str = "", severity: Severity = "error"
    ) -> Finding:
        """Add a finding at `line` and `column` (from 1); returns it."""
        source = self.lines[line - 1] if 0 < line <= len(self.lines) and not self.hides else ""
        if len(message) > MESSAGE_MAX:
            message = f"{message[:MESSAGE_MAX]}…"
        finding = Finding(self.file, line, column, message, hint, severity, source)
        self.findings.append(finding)
        return finding


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """A value of the file. `line` and `column` count from 1; `scalar` is the raw text of a scalar.

    `style`: how a scalar was written: '' plain, one of the two quotes, '|' or '>'. `keys` (mappings): the key
    as a node, for findings that are about the key; `has_unread_keys`: some are no text, or
    came before, and are not in `entries`.
    """

    document: Document
    kind: Kind
    line: int
    column: int
    scalar: str = ""
    style: str = ""
    items: tuple[Node, ...] = ()
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Node] = field(default_factory=dict)
    has_unread_keys: bool = False

    def __repr__(self) -> str:
        return f"Node({self.kind} at {self.document.file}:{self.line}:{self.column} {self.scalar!r})"

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items or self.entries.values())

    def report(self, message: str, hint: str = "", severity: Severity = "error", offset: int = 0) -> Finding:
        """Add a finding at this node, or at character `offset` of its text (an expression in a scalar)."""
        line, column = self.position(offset)
        return self.document.report(line, column, message, hint, severity)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of character `offset` of the scalar; of a quoted one, offset 0 is the quote.

        Folding changes blanks only: the other characters are in the file in the same order. Escapes in double quotes
        change more, so that what stands behind one is counted as if there were none.
        """
        if offset == 0 and self.style not in ("|", ">"):
            return self.line, self.column
        ahead = sum(not letter.isspace() for letter in self.scalar[:offset])
        at_end = not self.scalar[offset:].strip()
        last = None
        for line, column in self._letters():
            if ahead == 0 and not at_end:
                return line, column
            if ahead == 0:
                break
            ahead -= 1
            last = line, column
        if last is None or ahead:
            return self.line, self.column + offset + (1 if self.style else 0)
        return last[0], last[1] + 1

    def _letters(self) -> Iterator[tuple[int, int]]:
        """Where what is not blank of the scalar is in the file, and what follows it; up to an escape."""
        is_block = self.style in ("|", ">")
        row, start = (self.line, 0) if is_block else (self.line - 1, self.column - (0 if self.style else 1))
        for number, text in enumerate(self.document.lines[row:], row + 1):
            is_doubled = False
            for column, letter in enumerate(text[start:], start + 1):
                if letter == "\\" and self.style == '"':
                    return
                # Two single quotes within quotes are one.
                is_doubled = (
                    column > start + 1 and text[column - 2] == letter == self.style == "'" and not is_doubled
                )
                if not letter.isspace() and not is_doubled:
                    yield number, column
            start = 0

    def as_mapping(self) -> Mapping[str, Node]:
        """The entries of a mapping whose keys are free (ids); empty, and reported, if it is none."""
        return self.entries if self._is("mapping") else {}

    def plain(self) -> Any:
        """The value as plain Python, for what checks it by itself: dict, list, str, int or float, bool, None."""
        if self.kind == "mapping":
            return {key: node.plain() for key, node in self.entries.items()}
        if self.kind == "list":
            return [node.plain() for node in self.items]
        if self.kind == "number":
            return int(self.scalar) if _INTEGER.fullmatch(self.scalar) else float(self.scalar)
        if self.kind == "boolean":
            return self.scalar.lower() == "true"
        return self.scalar if self.kind == "text" else None

    def is_whole(self, allowed: Iterable[str] | None = None) -> bool:
        """Whether all keys of a mapping are read, and are `allowed` ones: only then is what it lacks a finding."""
        return (
            self.kind == "mapping"
            and not self.has_unread_keys
            and (allowed is None or self.entries.keys() <= set(allowed))
        )

    def fields(self, allowed: Iterable[str], required: Iterable[str] = ()) -> dict[str, Node]:
        """The entries of a mapping with known keys; unknown and missing ones are reported and left out.

        A key that is misspelt is unknown, and not missing too.
        """
        if not self._is("mapping"):
            return {}
        names = tuple(allowed)
        unknown = [key for key in self.keys if key not in names]
        for key in unknown:
            hint = nearest(key, names) or f"known keys: {', '.join(names)}"
            self.keys[key].report(f"unknown key '{key}'", hint)
        for key in required:
            if key not in self.entries and not self.has_unread_keys and not nearest(key, unknown):
                self.report(f"the key '{key}' is missing")
        return {key: node for key, node in self.entries.items() if key in names}

    def as_list(self) -> tuple[Node, ...]:
        """The items of a list; empty, and reported, when it is something else."""
        return self.items if self._is("list") else ()

    def as_list_or_one(self) -> tuple[Node, ...]:
        """The items of a list, or this node alone when it is a scalar: `a` reads as `[a]`."""
        return (self,) if self.kind not in ("list", "mapping", "null") else self.as_list()

    def as_text(self) -> str | None:
        """Text that is not empty. A number is not text: `name: 12` is reported, with advice to quote it."""
        if self.kind in ("number", "boolean"):
            self.report(f"expected text, found {KIND_NAMES[self.kind]}", f"put it in quotes: '{self.scalar}'")
            return None
        if not self._is("text"):
            return None
        if not self.scalar.strip():
            self.report("expected text, found an empty text")
            return None
        return self.scalar

    def as_choice(self, choices: Iterable[str], what: str = "value") -> str | None:
        """One of `choices`; anything else is reported with the nearest one."""
        names = tuple(choices)
        value = self.as_text()
        if value is not None and value not in names:
            self.report(f"unknown {what} '{value}'", nearest(value, names) or f"one of: {', '.join(names)}")
            return None
        return value

    def as_number(self, low: float = -math.inf, high: float = math.inf) -> float | None:
        """A finite decimal number within `low` … `high`, both included."""
        if not self._is("number"):
            return None
        value = float(self.scalar)
        return value if self._within(value, low, high) else None

    def as_integer(self, low: float = -math.inf, high: float = math.inf) -> int | None:
        """A whole number within `low` … `high`, both included."""
        value = self.as_number(low, high)
        if value is not None and not value.is_integer():
            self.report(f"expected a whole number, found {self.scalar}")
            return None
        return None if value is None else int(value)

    def as_boolean(self) -> bool | None:
        """`true` or `false`; `yes` and `on` are text and reported."""
        return self.scalar.lower() == "true" if self._is("boolean") else None

    def as_quantity(self) -> tuple[float, str] | None:
        """A number with its unit as written: `0.5 L/min` is (0.5, 'L/min'), `3` is (3.0, '')."""
        if self.kind not in ("number", "text"):
            self._is("text")
            return None
        match = _QUANTITY.fullmatch(self.scalar)
        if match is None:
            self.report(f"expected a number with a unit, found '{self.scalar}'", "such as '0.5 L/min'")
            return None
        value = float(match[1])
        return (value, match[5] or "") if self._within(value, -math.inf, math.inf) else None

    def as_duration_ns(self, low_ns: int = 1, high_ns: int = 400 * DURATION_NS["d"]) -> int | None:
        """A duration with its unit (`100 ms`, `1.5 s`) in whole nanoseconds within `low_ns` … `high_ns`."""
        quantity = self.as_quantity()
        if quantity is None:
            return None
        value, unit = quantity
        if unit not in DURATION_NS:
            hint = nearest(unit, DURATION_NS) or f"units of time: {', '.join(DURATION_NS)}"
            self.report(
                f"'{self.scalar}' is no duration" if unit else "a duration needs a unit of time", hint
            )
            return None
        value_ns = value * DURATION_NS[unit]
        duration_ns = round(value_ns) if math.isfinite(value_ns) else high_ns + 1
        if not low_ns <= duration_ns <= high_ns:
            self.report(
                f"'{self.scalar}' is out of range", f"from {_duration(low_ns)} to {_duration(high_ns)}"
            )
            return None
        return duration_ns

    def _is(self, kind: Kind) -> bool:
        if self.kind == kind:
            return True
        found = KIND_NAMES.get(self.kind, "nothing")
        if self.kind == "text" and not self.document.hides:
            found = f"'{self.scalar}'"
        self.report(f"expected {KIND_NAMES[kind]}, found {found}")
        return False

    def _within(self, value: float, low: float, high: float) -> bool:
        if not math.isfinite(value):
            self.report(f"{self.scalar} is too large")
            return False
        if low <= value <= high:
            return True
        bounds = f"from {low:g} to {high:g}" if math.isfinite(low + high) else f"{low:g} or more"
        self.report(f"{self.scalar} is out of range", bounds if math.isfinite(low) else f"{high:g} or less")
        return False


def _duration(duration_ns: int) -> str:
    if not duration_ns:
        return "0 s"
    for unit in ("d", "h", "min", "s", "ms", "us"):
        if duration_ns % DURATION_NS[unit] == 0:
            return f"{duration_ns // DURATION_NS[unit]} {unit}"
    return f"{duration_ns} ns"
