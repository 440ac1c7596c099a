"""Every condition within the conditions of a program's rules, with the place where it is written: for tests of rules.

Rules: the texts have become the program already, so that nothing in them is wrong. An operand is what `and`, `or` and
`not` join, down to comparisons, also within named expressions; a condition that joins nothing is its own operand. What
stands within a function (`count(…)`) is no operand: the number that it makes of it is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rules.language.definitions import Definitions
from rules.language.expression import Binary, Expression, Name, Unary, parse_expression
from rules.language.limits import written_out
from rules.language.names import Names
from rules.language.program import Program, Rule
from rules.language.resolve import Resolver
from rules.language.terms import Term
from rules.site.model import Site
from rules.strict_yaml import Node, load


@dataclass(frozen=True, slots=True)
class Operand:
    """A condition that is true or false within a rule's. Line and column from 1, `text` as it is written there."""

    rule: Rule
    file: str
    line: int
    column: int
    text: str
    term: Term


@dataclass(frozen=True, slots=True)
class _Part:
    """`text[start:end]` of a node, and what it says."""

    node: Node
    start: int
    end: int
    tree: Expression

    def within(self, start: int, end: int, tree: Expression) -> _Part:
        return _Part(self.node, start, end, tree)


def operands(texts: Mapping[str, str], site: Site, program: Program) -> list[Operand]:
    """All of `program`, which is that of `texts`, by place; what several rules name is an operand of each."""
    rules = {rule.id: rule for rule in program.rules}
    roots = [root for file in sorted(texts) for root in (load(texts[file], file)[0],) if root is not None]
    definitions = Definitions()
    for root in roots:
        definitions.read(root.entries)
    names = Names(site, definitions)
    found: list[Operand] = []
    for root in roots:
        for rule_id, node in root.entries["rules"].entries.items() if "rules" in root.entries else ():
            for written in written_out(rule_id, root.entries["rules"].keys[rule_id], node):
                rule = rules[written.id]
                if rule.silent is None:
                    found += _of_rule(rule, written.entries, names)
    return sorted(found, key=lambda one: (one.file, one.line, one.column, one.rule.id))


def _of_rule(rule: Rule, entries: Mapping[str, Node], names: Names) -> Iterator[Operand]:
    for key in ("when", "until"):
        if key not in entries:
            continue
        whole = _whole(entries[key])
        for part in _below(whole, names.definitions, joined_by=""):
            term = Resolver(names, rule.assets).truth(part.tree).term
            line, column = part.node.position(part.start)
            text = " ".join(part.node.scalar[part.start : part.end].split())
            yield Operand(rule, part.node.document.file, line, column, text, term)


def _whole(node: Node) -> _Part:
    return _Part(node, 0, len(node.scalar), parse_expression(node.scalar))


def _below(part: _Part, definitions: Definitions, joined_by: str) -> Iterator[_Part]:
    """The operands that it is made of. `joined_by`: 'and' or 'or' around it; more of the same make one chain."""
    part = _bare(part)
    tree = part.tree
    match tree:
        case Binary(op="and" | "or"):
            if joined_by not in ("", tree.op):
                yield part
            left = part.within(part.start, tree.at, tree.left)
            right = part.within(tree.at + len(tree.text), part.end, tree.right)
            yield from _below(left, definitions, tree.op)
            yield from _below(right, definitions, tree.op)
        case Unary(op="not"):
            yield from _below(part.within(tree.at + len(tree.op), part.end, tree.arg), definitions, joined_by)
        case Name() if not tree.type and tree.name in definitions.expressions:
            yield from _below(_whole(definitions.text(tree.name)), definitions, joined_by)
        case _:
            yield part


def _bare(part: _Part) -> _Part:
    """Without blanks, and without the parentheses that are around all of it."""
    text = part.node.scalar
    start, end = part.start, part.end
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end and text[start] == "(" and _closed_by(text, start) == end - 1:
        return _bare(part.within(start + 1, end - 1, part.tree))
    return part.within(start, end, part.tree)


def _closed_by(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    return len(text)
