"""The grammar of rule texts: text to a tree, by precedence climbing.

    truth       or  <  and  <  not  <  comparison (< <= > >= == !=, one only)
    number      + -  <  * /  <  unary -  <  primary
    primary     NUMBER [UNIT] | NAME | TYPE.NAME | FUNCTION(arguments) | ( expression )
    limit       NUMBER [UNIT] | NUMBER * CONSTANT | CONSTANT
    command     set QUANTITY to limit | limit each GPU.QUANTITY to limit

Rules: what a text says by itself is checked here (functions and their number of arguments, windows, whether a unit is
one); names and dimensions are the resolver's; an error names the character where it is, and one that leaves the grammar
intact does not end the reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from rules.findings import nearest
from rules.language.functions import AGGREGATES, FUNCTIONS
from rules.language.problems import ExpressionError, joined
from rules.language.terms import Op
from rules.language.tokens import KEYWORDS, Reader
from rules.language.unit_algebra import spelled
from rules.site import units
from rules.strict_yaml import DURATION_NS

__all__ = [
    "Binary", "Call", "CommandText", "Expression", "ExpressionError", "LimitText", "Name", "Number", "Unary",
    "Wrong", "of_own", "parse_command", "parse_expression", "parse_limit", "start", "walk",
]  # fmt: skip

WINDOW_MIN_NS: Final = DURATION_NS["ms"]
WINDOW_MAX_NS: Final = DURATION_NS["d"]
NESTED_MAX: Final = 30

COMPARISON_OPS: Final[dict[str, Op]] = {
    "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne",
}  # fmt: skip
_BINARY: Final[dict[str, tuple[int, Op]]] = {
    "or": (1, "or"),
    "and": (2, "and"),
    **{text: (4, op) for text, op in COMPARISON_OPS.items()},
    "=": (4, "eq"),  # for its error
    "+": (5, "add"),
    "-": (5, "sub"),
    "*": (6, "mul"),
    "/": (6, "div"),
}
_NOT: Final = 3
_COMPARISON: Final = 4
_NEGATIVE: Final = 7


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its unit, as the resolver spells it."""

    value: float
    unit: str
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A name of the rule's own context, or `TYPE.NAME` of another asset."""

    name: str
    at: int
    type: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A function. A window that is written out is no argument; `window_ns` is 0 where there is none."""

    function: str
    args: tuple[Expression, ...]
    window_ns: int
    at: int


@dataclass(frozen=True, slots=True)
class Unary:
    """`neg` or `not`."""

    op: Literal["neg", "not"]
    arg: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two; `at` is where the operator stands."""

    op: Op
    text: str
    left: Expression
    right: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """What says nothing, and why; what is right or wrong `within` it can still be told."""

    problem: ExpressionError
    within: tuple[Expression, ...] = ()

    @property
    def at(self) -> int:
        """The character of the error."""
        return self.problem.offset


Expression = Number | Name | Call | Unary | Binary | Wrong


def walk(node: Expression) -> Iterator[Expression]:
    """It and everything below, in no promised order."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case Binary():
                waiting += [node.right, node.left]
            case Unary():
                waiting.append(node.arg)
            case Call():
                waiting += reversed(node.args)
            case Wrong():
                waiting += reversed(node.within)


def start(node: Expression) -> int:
    """The first character of it, without parentheses."""
    while isinstance(node, Binary):
        node = node.left
    return node.at


def of_own(tree: Expression) -> Expression:
    """What is written about a type, as one of its assets would have it."""
    match tree:
        case Name():
            return replace(tree, type="")
        case Unary():
            return replace(tree, arg=of_own(tree.arg))
        case Binary():
            return replace(tree, left=of_own(tree.left), right=of_own(tree.right))
        case Call():
            return replace(tree, args=tuple(of_own(arg) for arg in tree.args))
        case Wrong():
            return replace(tree, within=tuple(of_own(part) for part in tree.within))
    return tree


def parse_expression(text: str) -> Expression:
    """A truth or a number. Raises ExpressionError where the grammar ends; other errors are in the tree, as `Wrong`."""
    parser = _Parser(text)
    try:
        node = parser.expression(0)
        hint = ""
        after = parser.reader.peek
        if after.text.lower() in KEYWORDS:
            hint = f"did you mean '{after.text.lower()}'?"
        elif after.kind in ("name", "number"):
            hint = "an operator is missing before it"
        parser.reader.end(hint)
    except ExpressionError as problem:
        raise joined([*parser.problems, problem]) from None
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self.reader = Reader(text)
        self.problems: list[ExpressionError] = []
        self._nested = 0

    def _wrong(self, at: int, message: str, hint: str, *within: Expression) -> Wrong:
        problem = ExpressionError(at, message, hint)
        self.problems.append(problem)
        return Wrong(problem, within)

    def expression(self, above: int) -> Expression:
        """Everything that binds tighter than `above`."""
        self._nested += 1
        if self._nested > NESTED_MAX:
            raise ExpressionError(
                self.reader.peek.at, "nested too deeply", "name parts of it under 'expressions'"
            )
        left = self._prefix()
        while True:
            token = self.reader.peek
            if not self.reader.sees(*_BINARY):
                break
            level, op = _BINARY[token.text]
            if level <= above:
                break
            self.reader.take()
            right = self.expression(level)
            if token.text == "=":
                left = self._wrong(token.at, "'=' is no comparison", "did you mean '=='?", left, right)
            else:
                left = Binary(op, token.text, left, right, token.at)
            if level == _COMPARISON and self.reader.sees(*COMPARISON_OPS):
                hint = "join them with 'and': '1 K < x and x < 2 K'"
                left = self._wrong(self.reader.peek.at, "comparisons can't be chained", hint, left)
        self._nested -= 1
        return left

    def _prefix(self) -> Expression:
        token = self.reader.peek
        if self.reader.sees("not"):
            self.reader.take()
            return Unary("not", self.expression(_NOT), token.at)
        if self.reader.sees("-"):
            self.reader.take()
            return Unary("neg", self.expression(_NEGATIVE), token.at)
        if self.reader.sees("("):
            self.reader.take()
            node = self.expression(0)
            self.reader.expect("mark", "')'", text=")")
            return node
        if token.kind == "number":
            return self._number()
        if token.kind == "name":
            return self._name()
        raise ExpressionError(
            token.at, f"expected a signal or a number, found {token.shown}", "such as 'temperature > 85 degC'"
        )

    def _number(self) -> Number | Wrong:
        token = self.reader.take()
        unit = spelled(token.unit)
        value = float(token.text)
        if not math.isfinite(value):
            return self._wrong(token.at, f"{token.text} is too large", "")
        if not (unit in DURATION_NS or units.is_unit(unit)):
            hint = nearest(unit, units.COMMON) or "docs/rules.md says how units are written"
            if unit.lower() in KEYWORDS:
                hint = f"did you mean '{unit.lower()}'?"
                raise ExpressionError(token.unit_at, f"unknown unit '{token.unit}'", hint)
            return self._wrong(token.unit_at, f"unknown unit '{token.unit}'", hint)
        return Number(value, unit, token.at)

    def _name(self) -> Expression:
        token = self.reader.take()
        if self.reader.sees("("):
            return self._call(token.text, token.at)
        if not self.reader.sees("."):
            return Name(token.text, token.at)
        self.reader.take()
        signal = self.reader.expect("name", "a signal", f"such as '{token.text}.LiquidFlow'")
        return Name(signal.text, token.at, token.text)

    def _call(self, name: str, at: int) -> Call | Wrong:
        function = FUNCTIONS.get(name)
        form = function.form if function else ""
        self.reader.take()
        args: list[Expression] = []
        while not self.reader.sees(")"):
            args.append(self.expression(0))
            if not self.reader.sees(")"):
                self.reader.expect("mark", "',' or ')'", form, text=",")
        self.reader.take()
        if function is None:
            hint = nearest(name, FUNCTIONS) or f"functions: {', '.join(sorted(FUNCTIONS))}"
            return self._wrong(at, f"unknown function '{name}'", hint, *args)
        if name in AGGREGATES and len(args) == 1:
            return Call(name, tuple(args), 0, at)
        count = len(function.kinds)
        if not count - function.optional <= len(args) <= count:
            takes = f"{count - function.optional} or {count}" if function.optional else f"{count}"
            message = f"{name} takes {takes} argument{'s' * (count > 1)}, found {len(args)}"
            return self._wrong(at, message, form, *args)
        window_ns = 0
        window = args[-1]
        if function.kinds[-1] in ("time", "window") and isinstance(window, Number):
            args.pop()
            try:
                window_ns = window_of(window)
            except ExpressionError as problem:
                return self._wrong(problem.offset, problem.message, problem.hint, *args)
        if function.kinds[0] == "signal" and not (isinstance(args[0], Name) and not args[0].type):
            return self._wrong(start(args[0]), f"{name} takes a signal of the rule's own asset", form)
        return Call(name, tuple(args), window_ns, at)


def window_of(node: Number) -> int:
    """A window in ns. Raises ExpressionError."""
    if node.unit not in DURATION_NS:
        what = f"'{node.unit}' is no unit of time" if node.unit else "a window needs a unit of time"
        raise ExpressionError(node.at, what, f"one of: {', '.join(DURATION_NS)}")
    exact_ns = node.value * DURATION_NS[node.unit]
    window_ns = round(exact_ns) if exact_ns <= WINDOW_MAX_NS else 0
    if not WINDOW_MIN_NS <= window_ns <= WINDOW_MAX_NS:
        raise ExpressionError(node.at, "the window is out of range", "from 1 ms to 1 d")
    return window_ns


@dataclass(frozen=True, slots=True)
class LimitText:
    """`factor` in `unit`, or times a constant. Offsets are characters of the text."""

    factor: float
    unit: str
    constant: str
    offset: int
    unit_offset: int


@dataclass(frozen=True, slots=True)
class CommandText:
    """A command as written: `set` an actuator of the asset, or `limit` every GPU below it."""

    verb: Literal["set", "limit"]
    quantity: str
    quantity_offset: int
    limit: LimitText


def parse_limit(text: str) -> LimitText:
    """A limit alone, as a step of a scenario has it. Raises ExpressionError."""
    reader = Reader(text)
    limit = _limit(reader)
    reader.end()
    return limit


def parse_command(text: str) -> CommandText:
    """A command. Raises ExpressionError."""
    reader = Reader(text)
    hint = "such as 'set PumpSpeed to 100 percent' or 'limit each GPU.power_limit to 500 W'"
    verb = reader.expect("name", "'set' or 'limit each'", hint)
    if verb.text not in ("set", "limit"):
        raise ExpressionError(verb.at, f"unknown command '{verb.text}'", hint)
    if verb.text == "limit":
        reader.expect("name", "'each'", hint, text="each")
        reader.expect("name", "'GPU'", hint, text="GPU")
        reader.expect("mark", "'.'", hint, text=".")
    quantity = reader.expect("name", "what to set", hint)
    reader.expect("name", "'to'", hint, text="to")
    limit = _limit(reader)
    reader.end()
    return CommandText("set" if verb.text == "set" else "limit", quantity.text, quantity.at, limit)


def _limit(reader: Reader) -> LimitText:
    token = reader.peek
    if token.kind == "name":
        reader.take()
        return LimitText(1.0, "", token.text, token.at, token.at)
    sign = 1.0
    if reader.sees("-", "+"):
        sign = -1.0 if reader.take().text == "-" else 1.0
    number = reader.expect("number", "a number with its unit", "such as '85 degC' or '0.7 * design_flow'")
    if reader.sees("*"):
        reader.take()
        constant = reader.expect("name", "a constant", "such as '0.7 * design_flow'")
        return LimitText(sign * float(number.text), "", constant.text, constant.at, constant.at)
    return LimitText(sign * float(number.text), number.unit, "", token.at, number.unit_at)
