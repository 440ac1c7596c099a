"""The small grammar of rule texts: conditions, limits, commands.

    condition   SIGNAL OP limit | rate(SIGNAL, 2 s) OP limit | no_data(SIGNAL)
    limit       NUMBER UNIT | NUMBER * CONSTANT | CONSTANT
    command     set QUANTITY to limit | limit each GPU.QUANTITY to limit

Rules: syntax only, names and units are the resolver's; an error names the character where it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from rules.language.program import Kind, Operator
from rules.strict_yaml import DURATION_NS

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<operator><=|>=|==|!=|<|>|=)|(?P<mark>[(),*.]))"
)
_UNIT = re.compile(r"\s*(?P<unit>[^\s*<>=(),]+)")


class ExpressionError(Exception):
    """Something is wrong at character `offset` of the text."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class LimitText:
    """`factor` in `unit`, or times a constant. Offsets are characters of the text."""

    factor: float
    unit: str
    constant: str
    offset: int
    unit_offset: int


@dataclass(frozen=True, slots=True)
class ConditionText:
    """A condition as written; `limit` is None for `no_data`."""

    kind: Kind
    signal: str
    signal_offset: int
    window_ns: int
    operator: Operator
    limit: LimitText | None


@dataclass(frozen=True, slots=True)
class CommandText:
    """A command as written: `set` an actuator of the asset, or `limit` every GPU below it."""

    verb: Literal["set", "limit"]
    quantity: str
    quantity_offset: int
    limit: LimitText


class _Reader:
    """Tokens of one text, with where they stand."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> tuple[str, str, int]:
        """(kind, text, offset) of the next token; kind '' at the end."""
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            rest = self.text[self.at :]
            offset = self.at + len(rest) - len(rest.lstrip())
            return ("", "", len(self.text)) if not rest.strip() else ("other", self.text[offset], offset)
        kind = cast("str", match.lastgroup)
        return kind, match[kind], match.start(kind)

    def take(self, kind: str, what: str, hint: str = "", text: str | None = None) -> tuple[str, int]:
        """The next token, which must be of `kind`."""
        found_kind, found, offset = self.peek()
        if found_kind != kind or (text is not None and found != text):
            raise ExpressionError(
                offset, f"expected {what}, found " + (f"'{found}'" if found else "the end"), hint
            )
        self.at = offset + len(found)
        return found, offset

    def unit(self) -> tuple[str, int]:
        """A unit up to the next space, if there is one."""
        match = _UNIT.match(self.text, self.at)
        if match is None:
            return "", self.at
        self.at = match.end()
        return match["unit"], match.start("unit")

    def end(self) -> None:
        """Nothing may follow."""
        _, _, offset = self.peek()
        if rest := self.text[offset:].strip():
            hint = "one comparison per rule in this version" if re.match(r"(and|or|not)\b", rest) else ""
            raise ExpressionError(offset, f"unexpected '{rest}'", hint)


def parse_condition(text: str) -> ConditionText:
    """`when` or `until`. Raises ExpressionError."""
    reader = _Reader(text)
    kind: Kind = "value"
    window_ns = 0
    name, offset = reader.take("name", "a signal", "such as 'temperature > 85 degC'")
    if reader.peek()[1] == "(":
        if name not in ("rate", "no_data"):
            raise ExpressionError(offset, f"unknown function '{name}'", "this version has rate and no_data")
        kind = "rate" if name == "rate" else "no_data"
        reader.take("mark", "'('", text="(")
        name, offset = reader.take("name", "a signal")
        if kind == "rate":
            reader.take("mark", "',' and a window", "such as 'rate(temperature, 2 s)'", text=",")
            window_ns = _duration(reader)
        reader.take("mark", "')'", text=")")
    if kind == "no_data":
        reader.end()
        return ConditionText(kind, name, offset, 0, "==", None)
    operator, place = reader.take("operator", "a comparison", "one of: < <= > >= == !=")
    if operator == "=":
        raise ExpressionError(place, "'=' is no comparison", "did you mean '=='?")
    limit = _limit(reader)
    reader.end()
    return ConditionText(kind, name, offset, window_ns, cast("Operator", operator), limit)


def parse_limit(text: str) -> LimitText:
    """A limit alone, as `deadband` has it. Raises ExpressionError."""
    reader = _Reader(text)
    limit = _limit(reader)
    reader.end()
    return limit


def parse_command(text: str) -> CommandText:
    """A command. Raises ExpressionError."""
    reader = _Reader(text)
    hint = "such as 'set PumpSpeed to 100 percent' or 'limit each GPU.power_limit to 500 W'"
    verb, offset = reader.take("name", "'set' or 'limit each'", hint)
    if verb not in ("set", "limit"):
        raise ExpressionError(offset, f"unknown command '{verb}'", hint)
    if verb == "limit":
        reader.take("name", "'each'", hint, text="each")
        reader.take("name", "'GPU'", hint, text="GPU")
        reader.take("mark", "'.'", hint, text=".")
    quantity, place = reader.take("name", "what to set", hint)
    reader.take("name", "'to'", hint, text="to")
    limit = _limit(reader)
    reader.end()
    return CommandText("set" if verb == "set" else "limit", quantity, place, limit)


def _limit(reader: _Reader) -> LimitText:
    kind, text, offset = reader.peek()
    if kind == "name":
        reader.take("name", "a constant")
        return LimitText(1.0, "", text, offset, offset)
    reader.take("number", "a number with its unit", "such as '85 degC' or '0.7 * design_flow'")
    if reader.peek()[1] == "*":
        reader.take("mark", "'*'")
        constant, place = reader.take("name", "a constant", "such as '0.7 * design_flow'")
        return LimitText(float(text), "", constant, place, place)
    unit, place = reader.unit()
    return LimitText(float(text), unit, "", offset, place if unit else offset)


def _duration(reader: _Reader) -> int:
    number, offset = reader.take("number", "a duration", "such as '2 s'")
    unit, place = reader.unit()
    if unit not in DURATION_NS:
        raise ExpressionError(place, f"'{unit}' is no unit of time", f"one of: {', '.join(DURATION_NS)}")
    window_ns = round(float(number) * DURATION_NS[unit])
    if not 1_000 <= window_ns <= 86_400_000_000_000:
        raise ExpressionError(offset, "the window is out of range", "from 1 us to 1 d")
    return window_ns
