"""YAML, strictly, to nodes that know their line and column: for site files, rule files and map files.

Rules: no I/O (text in, nodes and findings out); everything that is wrong is collected, not the first thing
only; no anchors, aliases, tags, merges or second documents (a site file repeats itself with templates, and an
alias is how a small file becomes a huge one); keys are text and occur once; a plain scalar is a number only
if it looks like a decimal number, so `0x1F`, `1_000`, `12:30`, `yes` and dates are text.

    root, findings = load(text, "site.yaml")
    if root is not None:
        fields = root.fields(allowed=("name", "tick", "units"), required=("name",))
        tick_ns = fields["tick"].as_duration_ns() if "tick" in fields else 100_000_000

Every accessor reports what is wrong to `root.document.findings` (the list that `load` returned, which goes on
growing) and returns None or an empty container, so that a caller goes on to the next thing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from rules.findings import Finding, Severity, nearest

Kind = Literal["mapping", "list", "text", "number", "boolean", "null"]

DEPTH_MAX = 32
"""Deeper nesting than any file of ours: the builder recurses, and must not reach Python's own limit."""

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_QUANTITY = re.compile(rf"\s*({_NUMBER.pattern})\s*([^\s\d].*?)?\s*")
_NAMES = {
    "mapping": "a mapping",
    "list": "a list",
    "text": "text",
    "number": "a number",
    "boolean": "true or false",
}
_WRITE_OUT = "anchors and aliases are not read: write the value out"
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

    def report(
        self, line: int, column: int, message: str, hint: str = "", severity: Severity = "error"
    ) -> Finding:
        """Add a finding at `line` and `column` (from 1); returns it."""
        source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        finding = Finding(self.file, line, column, message, hint, severity, source)
        self.findings.append(finding)
        return finding


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """A value of the file. `line` and `column` count from 1; `scalar` is the raw text of a scalar.

    `style`: how a scalar was written: '' plain, one of the two quotes, '|' or '>'. `keys` (mappings): the key
    as a node, for findings that are about the key.
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

    def __repr__(self) -> str:
        return f"Node({self.kind} at {self.document.file}:{self.line}:{self.column} {self.scalar!r})"

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items or self.entries.values())

    def report(self, message: str, hint: str = "", severity: Severity = "error", offset: int = 0) -> Finding:
        """Add a finding at this node, or at character `offset` of its text (an expression in a scalar)."""
        line, column = self.position(offset)
        return self.document.report(line, column, message, hint, severity)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of character `offset` of the scalar; exact but inside a '>'."""
        if self.style in ("|", ">"):
            before = self.scalar[:offset] if self.style == "|" else ""
            row = before.count("\n")
            lines = self.document.lines[self.line : self.line + 1]
            indent = len(lines[0]) - len(lines[0].lstrip(" ")) if lines else 0
            return self.line + 1 + row, indent + len(before) - before.rfind("\n")
        return self.line, self.column + offset + (1 if self.style and offset else 0)

    def as_mapping(self) -> Mapping[str, Node]:
        """The entries of a mapping whose keys are free (ids); empty, and reported, if it is none."""
        return self.entries if self._is("mapping") else {}

    def fields(self, allowed: Iterable[str], required: Iterable[str] = ()) -> dict[str, Node]:
        """The entries of a mapping with known keys; unknown and missing ones are reported and left out."""
        if not self._is("mapping"):
            return {}
        names = tuple(allowed)
        for key, node in self.keys.items():
            if key not in names:
                hint = nearest(key, names) or f"known keys: {', '.join(names)}"
                node.report(f"unknown key '{key}'", hint)
        for key in required:
            if key not in self.entries:
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
            self.report(f"expected text, found {_NAMES[self.kind]}", f"put it in quotes: '{self.scalar}'")
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
        duration_ns = round(value * DURATION_NS[unit])
        if not low_ns <= duration_ns <= high_ns:
            self.report(
                f"'{self.scalar}' is out of range", f"from {_duration(low_ns)} to {_duration(high_ns)}"
            )
            return None
        return duration_ns

    def _is(self, kind: Kind) -> bool:
        if self.kind == kind:
            return True
        found = _NAMES.get(self.kind, "nothing")
        if self.kind == "text":
            found = f"'{self.scalar}'"
        self.report(f"expected {_NAMES[kind]}, found {found}")
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


def load(text: str, file: str) -> tuple[Node | None, list[Finding]]:
    """Parse `text`; `file` is only a name for findings. The node is None when nothing is left to read."""
    document = Document(file, tuple(text.splitlines()))
    try:
        root = _Builder(document, YAML(typ="safe", pure=True).parse(text)).root()
    except ReaderError as error:
        before = text[: error.position]
        line = before.count("\n") + 1
        document.report(
            line, len(before) - before.rfind("\n"), f"character {error.character!r} is not allowed in YAML"
        )
        return None, document.findings
    except MarkedYAMLError as error:
        _report_syntax(document, error)
        return None, document.findings
    except (YAMLError, AssertionError, ValueError, OverflowError) as error:
        # What ruamel.yaml raises without a place: unknown %directives and impossible escapes.
        document.report(1, 1, f"not valid YAML: {error}".strip().removesuffix(":"))
        return None, document.findings
    if root is None and not document.findings:
        document.report(1, 1, "the file is empty")
    return root, document.findings


def _report_syntax(document: Document, error: MarkedYAMLError) -> None:
    mark = error.problem_mark or error.context_mark
    if error.context_mark and "end of stream" in str(error.problem):
        mark = error.context_mark  # where the quote was opened says more than the end of the file
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    hint = ""
    if "'\\t'" in str(error.problem):
        hint = "indent with spaces, not tabs"
    elif "mapping values are not allowed" in str(error.problem):
        hint = "put text that contains ': ' in quotes"
    message = " ".join(str(part) for part in (error.context, error.problem) if part)
    document.report(min(line, max(len(document.lines), 1)), column, f"not valid YAML: {message}", hint)


class _Builder:
    """Parser events to nodes. Recursion is bounded by DEPTH_MAX, size by the text: there are no aliases."""

    def __init__(self, document: Document, events: Iterable[Event]) -> None:
        self._document = document
        self._events = iter(events)

    def root(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._report(event, "a second document", "one file holds one document: remove '---'")
                    return None
            elif isinstance(event, StreamEndEvent):
                break
            elif isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
                root = self._node(event, 1)
                if self._too_deep:
                    return None
        return None if root is None or (root.kind == "null" and not root.scalar) else root

    _too_deep = False

    def _report(self, event: Event, message: str, hint: str = "") -> None:
        self._document.report(event.start_mark.line + 1, event.start_mark.column + 1, message, hint)

    def _node(self, event: Event, depth: int) -> Node:
        mark = event.start_mark
        node = Node(self._document, "null", mark.line + 1, mark.column + 1)
        if isinstance(event, AliasEvent):
            self._report(event, f"alias '*{event.anchor}'", _WRITE_OUT)
            return node
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            self._report(event, f"anchor '&{anchor}'", _WRITE_OUT)
        if tag:
            self._report(event, f"tag '{tag}'", "tags are not read: remove it")
        if isinstance(event, ScalarEvent):
            _fill_scalar(node, event)
        elif depth > DEPTH_MAX:
            if not self._too_deep:
                self._report(event, f"nested deeper than {DEPTH_MAX} levels")
            self._too_deep = True
        elif isinstance(event, SequenceStartEvent):
            node.kind = "list"
            node.items = tuple(self._items(depth))
        else:
            node.kind = "mapping"
            self._mapping(node, depth)
        return node

    def _items(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, SequenceEndEvent) or self._too_deep:
                return
            yield self._node(event, depth + 1)

    def _mapping(self, node: Node, depth: int) -> None:
        for event in self._events:
            if isinstance(event, MappingEndEvent) or self._too_deep:
                return
            key = self._node(event, depth + 1)
            value_event: Any = next(self._events)
            value = self._node(value_event, depth + 1)
            if key.kind != "text":
                hint = f"put it in quotes: '{key.scalar}'" if key.scalar else ""
                key.report(f"a key must be text, found {_NAMES.get(key.kind, 'nothing')}", hint)
            elif key.scalar in node.entries:
                first = node.keys[key.scalar].line
                key.report(f"duplicate key '{key.scalar}'", f"first given in line {first}")
            else:
                node.entries[key.scalar] = value
                node.keys[key.scalar] = key


def _fill_scalar(node: Node, event: ScalarEvent) -> None:
    text = str(event.value)
    node.scalar = text
    node.style = event.style or ""
    if node.style:
        node.kind = "text"
    elif text in ("", "~", "null", "Null", "NULL"):
        node.kind = "null"
    elif text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        node.kind = "boolean"
    else:
        node.kind = "number" if _NUMBER.fullmatch(text) else "text"


def _duration(duration_ns: int) -> str:
    for unit in ("d", "h", "min", "s", "ms", "us"):
        if duration_ns % DURATION_NS[unit] == 0:
            return f"{duration_ns // DURATION_NS[unit]} {unit}"
    return f"{duration_ns} ns"
