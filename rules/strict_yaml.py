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

from collections.abc import Iterable, Iterator
from typing import Any

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

from rules.findings import Finding
from rules.yaml_node import DURATION_NS, KIND_NAMES, NUMBER, Document, Node

__all__ = ["DEPTH_MAX", "DURATION_NS", "Document", "Node", "load"]

DEPTH_MAX = 32
"""Deeper nesting than any file of ours: the builder recurses, and must not reach Python's own limit."""

_WRITE_OUT = "anchors and aliases are not read: write the value out"


def load(text: str, file: str, hides: bool = False) -> tuple[Node | None, list[Finding]]:
    """Parse `text`; `file` is only a name for findings. The node is None when nothing is left to read.

    `hides`: secrets may stand in it, and no finding quotes it (`Document`).
    """
    document = Document(file, tuple(text.splitlines()), hides=hides)
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

    def _called(self, what: str) -> str:
        """A password may begin with the sign of an alias, an anchor or a tag."""
        if not self._document.hides:
            return what
        return f"what begins so is an {what.split(maxsplit=1)[0]} in YAML: put it in quotes".replace(
            "an tag", "a tag"
        )

    def _node(self, event: Event, depth: int) -> Node:
        mark = event.start_mark
        node = Node(self._document, "null", mark.line + 1, mark.column + 1)
        if isinstance(event, AliasEvent):
            self._report(event, self._called(f"alias '*{event.anchor}'"), _WRITE_OUT)
            return node
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            self._report(event, self._called(f"anchor '&{anchor}'"), _WRITE_OUT)
        if tag:
            self._report(event, self._called(f"tag '{tag}'"), "tags are not read: remove it")
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
            if value.kind == "null" and value_event.start_mark.index == value_event.end_mark.index:
                self._put_behind(value, event)
            if key.kind != "text":
                node.has_unread_keys = True
                hint = f"put it in quotes: '{key.scalar}'" if key.scalar else ""
                key.report(f"a key must be text, found {KIND_NAMES.get(key.kind, 'nothing')}", hint)
            elif key.scalar in node.entries:
                node.has_unread_keys = True
                first = node.keys[key.scalar].line
                key.report(f"duplicate key '{key.scalar}'", f"first given in line {first}")
            else:
                node.entries[key.scalar] = value
                node.keys[key.scalar] = key

    def _put_behind(self, value: Node, key: Event) -> None:
        """What is not there is missed behind the colon, not where the next thing begins."""
        value.line = key.end_mark.line + 1
        value.column = min(key.end_mark.column + 2, len(self._document.lines[key.end_mark.line]) + 1)


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
        node.kind = "number" if NUMBER.fullmatch(text) else "text"
