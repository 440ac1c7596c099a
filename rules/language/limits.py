"""`limits:` of a rule, a table of up to four limits of one number: each row becomes a rule of its own.

    gpu-temperature:
      for: GPU
      limits:
        of: temperature
        deadband: 2 K                                  # for all rows that have no other
        HH: {limit: 92 degC, severity: urgent, message: "{asset}: {value:.0f} °C"}
        H: {limit: 85 degC, severity: high, message: "{asset}: {value:.0f} °C", deadband: 3 K}

Rules: a row is written out as the rule `gpu-temperature-hh` with `when: temperature >= 92 degC`, and from there on it
is a rule like any other; what is wrong with it is said where it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from rules.findings import Finding, Severity
from rules.strict_yaml import Node

ROWS: Final[Mapping[str, str]] = {"HH": ">=", "H": ">=", "L": "<=", "LL": "<="}
DEFAULTS: Final[tuple[str, ...]] = (
    "deadband",
    "on_delay",
    "off_delay",
    "severity",
    "message",
    "cause",
    "response",
    "then",
    "latch",
    "suppresses",
    "group",
    "re_alarm",
)
_OF_TABLE: Final = ("of", *DEFAULTS, *ROWS)
_OF_ROW: Final = ("limit", *DEFAULTS)


@dataclass(slots=True)
class Written:
    """One rule as it is written, or as its row of a table says: its keys with their values.

    `node` is what a missing key is reported at. `table`: the rule of the table and the row, or ''. `unknown`: keys of
    the row and its table that have their finding.
    """

    id: str
    key: Node
    node: Node
    entries: dict[str, Node]
    keys: dict[str, Node] = field(default_factory=dict)
    table: str = ""
    row: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class Joined(Node):
    """`of`, an operator and a limit as one text, each part with its own place in the file."""

    of: Node | None = None
    limit: Node | None = None
    limit_from: int = 0

    @property
    def operator_at(self) -> int:
        """The character of the text where the operator stands."""
        return self.limit_from - 3

    def report(self, message: str, hint: str = "", severity: Severity = "error", offset: int = 0) -> Finding:
        """At the part of the text that holds the character; at the limit for the operator."""
        assert self.of is not None
        assert self.limit is not None
        if offset < len(self.of.scalar):
            return self.of.report(message, hint, severity, offset)
        return self.limit.report(message, hint, severity, max(0, offset - self.limit_from))


def written_out(rule_id: str, key: Node, node: Node) -> Iterator[Written]:
    """The rules that one entry of `rules` stands for: itself, or one for each row of its limits."""
    if "limits" not in node.entries:
        yield Written(rule_id, key, node, node.entries, node.keys)
        return
    table = node.entries["limits"]
    fields = table.fields(_OF_TABLE, required=("of",))
    rows = [row for row in ROWS if row in fields]
    if table.kind == "mapping" and not rows:
        table.report("no limit", "one or more of HH, H, L, LL")
    if "of" in fields:
        _is_said(fields["of"])
    for name in node.entries:
        if name not in ("for", "limits"):
            where = "put it below 'limits'" if name in DEFAULTS else "'limits' stands for it"
            node.keys[name].report(f"a rule with 'limits' has no '{name}'", where)
    for row in rows:
        yield _row(rule_id, node, table, row)


def _row(rule_id: str, node: Node, table: Node, row: str) -> Written:
    given = table.entries[row]
    fields = given.fields(_OF_ROW, required=("limit",))
    entries = {name: table.entries[name] for name in DEFAULTS if name in table.entries}
    keys = {name: table.keys[name] for name in entries}
    for name in fields:
        if name != "limit":
            entries[name], keys[name] = fields[name], given.keys[name]
    if "for" in node.entries:
        entries["for"], keys["for"] = node.entries["for"], node.keys["for"]
    if (
        "limit" in fields
        and "of" in table.entries
        and _is_said(fields["limit"])
        and _is_text(table.entries["of"])
    ):
        entries["when"] = _joined(table.entries["of"], ROWS[row], fields["limit"])
        keys["when"] = given.keys["limit"]
    unknown = {*given.keys} - {*_OF_ROW} | {*table.keys} - {*_OF_TABLE}
    return Written(
        f"{rule_id}-{row.lower()}",
        table.keys[row],
        given,
        entries,
        keys,
        rule_id,
        row,
        tuple(sorted(unknown)),
    )


def _is_text(node: Node) -> bool:
    return node.kind == "number" or bool(node.kind == "text" and node.scalar.strip())


def _is_said(node: Node) -> bool:
    """Whether it is an expression, which may be a number alone; reported if not."""
    return node.kind == "number" or node.as_text() is not None


def _joined(of: Node, operator: str, limit: Node) -> Node:
    text = f"{of.scalar} {operator} "
    scalar = text + limit.scalar
    return Joined(
        limit.document, "text", limit.line, limit.column, scalar, of=of, limit=limit, limit_from=len(text)
    )
