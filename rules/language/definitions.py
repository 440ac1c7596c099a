"""`parameters:` and `expressions:` of rule files: names that every rule of the site may use.

Rules: an expression is a text that is read again in each rule that names it, so that `RackPower` in it is the power
of that rule's asset; what is wrong with it whatever the rule is said once, where it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from rules.findings import nearest
from rules.language.expression import Expression, ExpressionError, Name, Wrong, parse_expression, walk
from rules.language.problems import AlreadyReportedError
from rules.language.quantities import Quantity
from rules.language.unit_algebra import spelled
from rules.site import units
from rules.strict_yaml import Node

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED: Final = ("and", "or", "not", "asset", "value")


@dataclass(slots=True)
class Definitions:
    """What the files define. An expression of None and a parameter in `broken` have their finding already.

    `used`: names of both kinds that some rule needs. `unread`: a file that is no YAML, which may define any name.
    """

    parameters: dict[str, Quantity] = field(default_factory=dict)
    expressions: dict[str, Expression | None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    keys: dict[str, Node] = field(default_factory=dict)
    unread: str = ""
    _texts: dict[str, Node] = field(default_factory=dict)

    def read(self, fields: Mapping[str, Node]) -> None:
        """Those of one file."""
        for what in ("parameters", "expressions"):
            if what not in fields:
                continue
            for name, node in fields[what].as_mapping().items():
                if not self._is_new(name, fields[what].keys[name], what[:-1]):
                    continue
                if what == "parameters":
                    quantity = _quantity(node)
                    self.parameters[name] = quantity or (0.0, "")
                    if quantity is None:
                        self.broken.add(name)
                else:
                    self.expressions[name] = _parsed(node)
                    self._texts[name] = node

    def check(
        self, is_known: Callable[[Name], bool], names: Callable[[], list[str]], hidden: set[str]
    ) -> None:
        """Report cycles, names that nothing has, and expressions that hide one of the signals `hidden`."""
        for name, tree in list(self.expressions.items()):
            if name in hidden:
                self.keys[name].report(f"'{name}' is a signal already", "give the expression another name")
            for part in walk(tree) if tree else ():
                if isinstance(part, Wrong):
                    self._break(name, part.problem)
                elif isinstance(part, Name) and not self.defines(part) and not is_known(part):
                    full = f"{part.type}.{part.name}" if part.type else part.name
                    valid = [*names(), *self.parameters, *self.expressions]
                    hint = self.hint(nearest(full, valid))
                    self._break(name, ExpressionError(part.at, f"unknown name '{full}'", hint))
        for name in self.expressions:
            self._check_cycle(name)

    def hint(self, text: str) -> str:
        """A hint about an unknown name: a file that can't be read comes before a guess."""
        return f"is it defined in {self.unread}, which can't be read?" if self.unread else text

    def defines(self, name: Name) -> bool:
        """Whether it is a parameter or an expression."""
        return not name.type and (name.name in self.parameters or name.name in self.expressions)

    def tree(self, name: str) -> Expression:
        """What an expression says. Raises AlreadyReportedError."""
        tree = self.expressions[name]
        self.used.add(name)
        if tree is None:
            raise AlreadyReportedError(name)
        return tree

    def text(self, name: str) -> Node:
        """Where an expression is written."""
        return self._texts[name]

    def parameter(self, name: str) -> Quantity | None:
        """A parameter, None if there is none. Raises AlreadyReportedError."""
        if name in self.parameters:
            self.used.add(name)
        if name in self.broken:
            raise AlreadyReportedError(name)
        return self.parameters.get(name)

    def names_in(self, tree: Expression) -> list[Name]:
        """All names in it that are no expressions, and those in the expressions that it names. In order."""
        found: list[Name] = []
        seen: set[str] = set()
        waiting = [tree]
        while waiting:
            for part in walk(waiting.pop()):
                if not isinstance(part, Name):
                    continue
                below = self.expressions.get(part.name) if not part.type else None
                if below is None:
                    found.append(part)
                elif part.name not in seen:
                    seen.add(part.name)
                    waiting.append(below)
        return found

    def warn_of_unused(self) -> None:
        """A warning for each name that no rule needs."""
        for name, key in self.keys.items():
            if name not in self.used:
                what = "parameter" if name in self.parameters else "expression"
                key.report(f"{what} '{name}' is not used", "remove it", "warning")

    def _is_new(self, name: str, key: Node, what: str) -> bool:
        if not _NAME.fullmatch(name) or name in _RESERVED:
            reason = "this word is the language's own" if name in _RESERVED else "such as 'load_factor'"
            key.report(f"'{name}' can't be the name of {'an' if what[0] == 'e' else 'a'} {what}", reason)
        if name in self.keys:
            first = self.keys[name]
            key.report(f"duplicate {what} '{name}'", f"first given at {first.document.file}:{first.line}")
            return False
        self.keys[name] = key
        return True

    def _break(self, name: str, problem: ExpressionError) -> None:
        self._texts[name].report(problem.message, problem.hint, offset=problem.offset)
        self.expressions[name] = None

    def _check_cycle(self, name: str) -> None:
        """Report it, if following the first names that lead back to it comes back."""
        came_from: dict[str, str] = {}
        waiting = [name]
        while waiting:
            current = waiting.pop()
            tree = self.expressions.get(current)
            for part in walk(tree) if tree else ():
                if not isinstance(part, Name) or part.type or part.name not in self.expressions:
                    continue
                if part.name == name:
                    path = [current]
                    while path[-1] != name:
                        path.append(came_from[path[-1]])
                    path.reverse()
                    self._break(name, ExpressionError(0, f"a cycle: {' -> '.join([*path, name])}"))
                    return
                if part.name not in came_from:
                    came_from[part.name] = current
                    waiting.append(part.name)


def _quantity(node: Node) -> Quantity | None:
    written = node.as_quantity()
    if written is None:
        return None
    unit = spelled(written[1])
    if units.is_unit(unit):
        return written[0], unit
    node.report(f"unknown unit '{unit}'", nearest(unit, units.COMMON))
    return None


def _parsed(node: Node) -> Expression | None:
    text = node.scalar if node.kind == "number" else node.as_text()
    if text is None:
        return None
    try:
        return parse_expression(text)
    except ExpressionError as problem:
        for one in problem.all:
            node.report(one.message, one.hint, offset=one.offset)
        return None
