"""One rule of the files alone, with other values in it: what a sweep tries.

Rules: text in, text out; a candidate is a rule file of its own, with the rule and the parameters and expressions of all
files, so that the language itself says what is wrong with a value; it sends no command; everything else of the rule
stays, its message too, since a rule is evaluated whenever something comes that its message shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import orjson

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.gpu_fields import FIELD_INDEX
from rules.language.expression import (
    COMPARISON_OPS,
    Binary,
    Call,
    Expression,
    Name,
    Number,
    Unary,
    parse_expression,
    walk,
)
from rules.language.limits import written_out
from rules.language.program import GPU_TYPE
from rules.language.quantities import find_constant
from rules.language.tokens import Token, split
from rules.site.model import Site
from rules.strict_yaml import load

DELAYS: Final = ("on_delay", "off_delay")
LIMIT: Final = "limit"
_CONDITIONS: Final = ("when", "until", "deadband")
_KEPT: Final = ("for", *_CONDITIONS, "after", *DELAYS, "severity", "message")

Texts = Mapping[str, str]


class Parameter(NamedTuple):
    """What of a rule can have other values. `now`: what is written, or nothing; `unit`: what a bare number takes."""

    now: str
    unit: str


@dataclass(frozen=True, slots=True)
class RuleAlone:
    """A rule as written, by its keys, and what it may name. A row of a table of limits is written out as a rule."""

    id: str
    fields: Texts
    parameters: Texts
    expressions: Texts

    @property
    def text(self) -> str:
        """A rule file (JSON is YAML)."""
        names = {"parameters": self.parameters, "expressions": self.expressions}
        rules = {"rules": {self.id: self.fields}}
        return orjson.dumps({what: texts for what, texts in names.items() if texts} | rules).decode()


def rule_alone(texts: Texts, rule_id: str) -> RuleAlone:
    """The rule of this id out of rule files that can be loaded. Raises ConfigurationError if there is none."""
    definitions: dict[str, dict[str, str]] = {"parameters": {}, "expressions": {}}
    found: dict[str, str] | None = None
    ids: list[str] = []
    for file in sorted(texts):
        root, _ = load(texts[file], file)
        fields = root.entries if root else {}
        for what, known in definitions.items():
            if what in fields:
                known.update({name: node.scalar for name, node in fields[what].as_mapping().items()})
        for name, node in fields["rules"].as_mapping().items() if "rules" in fields else ():
            for written in written_out(name, fields["rules"].keys[name], node):
                ids.append(written.id)
                if written.id == rule_id:
                    found = {key: written.entries[key].scalar for key in _KEPT if key in written.entries}
    if found is None:
        hint = nearest(rule_id, ids) or f"rules: {', '.join(sorted(ids))}"
        raise ConfigurationError([Finding("RULE", 0, 0, f"there is no rule '{rule_id}'", hint)])
    return RuleAlone(rule_id, found, definitions["parameters"], definitions["expressions"])


def parameters_of(rule: RuleAlone, site: Site) -> dict[str, Parameter]:
    """What of the rule can have other values, by name: see docs/sweep.md."""
    fields, when = rule.fields, parse_expression(rule.fields["when"])
    is_silence = getattr(when, "function", "") == "no_data"
    found: dict[str, Parameter] = {}
    limit = None if is_silence else _limit(rule)
    if limit is not None:
        found[LIMIT] = Parameter(limit.text, _unit_of(limit.text, rule, site))
    if is_silence:
        found["after"] = Parameter(fields.get("after", ""), "s")
        return found
    for name in DELAYS:
        found[name] = Parameter(fields.get(name, ""), "s")
    if "deadband" in fields:
        found["deadband"] = Parameter(fields["deadband"], _unit_of(fields["deadband"], rule, site))
    for name in sorted(_names_in(rule)):
        quantity = _quantity(name, rule, site)
        if quantity is not None:
            found[name] = quantity
    return found


def with_value(rule: RuleAlone, name: str, value: str) -> RuleAlone:
    """The rule with a text in the place of one of its parameters."""
    if name == LIMIT:
        place = _limit(rule)
        assert place is not None, "parameters_of names no limit"
        if place.expression:
            return replace(rule, expressions=_at(place, place.expression, value, rule.expressions))
        return replace(rule, fields=_at(place, "when", value, rule.fields))
    if name in (*DELAYS, "deadband", "after"):
        return replace(rule, fields={**rule.fields, name: value})
    conditions = {key: _put(rule.fields[key], name, value) for key in _CONDITIONS if key in rule.fields}
    expressions = {key: _put(text, name, value) for key, text in rule.expressions.items()}
    return replace(rule, fields={**rule.fields, **conditions}, expressions=expressions)


def _at(place: _Limit, key: str, value: str, texts: Texts) -> Texts:
    text = texts[key]
    return {**texts, key: f"{text[: place.start]}({value}) {text[place.end :]}"}


def _put(text: str, name: str, value: str) -> str:
    """The text with a value for each `name` of the rule's own context."""
    tokens = split(text)
    for place in range(len(tokens) - 1, -1, -1):
        if _is_own(tokens, place) and tokens[place].text == name:
            at = tokens[place].at
            text = f"{text[:at]}({value}){text[at + len(name) :]}"
    return text


def _is_own(tokens: list[Token], place: int) -> bool:
    """Whether the token is a name, no function's and no part of TYPE.NAME."""
    beside = (
        tokens[place - 1].text if place else "",
        tokens[place + 1].text if place + 1 < len(tokens) else "",
    )
    return tokens[place].kind == "name" and beside[0] != "." and beside[1] not in (".", "(")


class _Limit(NamedTuple):
    """The side of a comparison that is the limit: its characters in `when`, or in the text of an `expression`."""

    expression: str
    start: int
    end: int
    text: str


def _limit(rule: RuleAlone) -> _Limit | None:
    """What the number is compared with that an alarm of the rule carries: of the first comparison, as `value` is."""
    key, text = "", rule.fields["when"]
    tree: Expression = parse_expression(text)
    while True:
        match tree:
            case Binary(op="and" | "or"):
                tree = tree.left
            case Unary(op="not"):
                tree = tree.arg
            case Name(type="") if tree.name in rule.expressions and tree.name != key:
                key, text = tree.name, rule.expressions[tree.name]
                tree = parse_expression(text)
            case Binary() if tree.text in COMPARISON_OPS:
                return _side(key, text, tree, rule)
            case _:
                return None


def _side(key: str, text: str, tree: Binary, rule: RuleAlone) -> _Limit:
    tokens = split(text)
    operator = next(place for place, token in enumerate(tokens) if token.at == tree.at)
    if all(_is_plain(part, rule) for part in walk(tree.left)):
        first = _end_of_side(tokens, operator, -1)
        start, end = tokens[first].at, tree.at
    else:
        last = _end_of_side(tokens, operator, 1)
        start, end = tokens[operator + 1].at, tokens[last + 1].at
    return _Limit(key, start, end, text[start:end].strip())


def _end_of_side(tokens: list[Token], operator: int, step: int) -> int:
    """The place of the last token of one side of a comparison, which binds more loosely than all but truths."""
    opens, closes = ("(", ")") if step > 0 else (")", "(")
    depth, place = 0, operator
    while True:
        after = place + step
        text = tokens[after].text if 0 <= after < len(tokens) else ""
        is_end = not text or (depth == 0 and text in ("and", "or", "not", ",", closes))
        if is_end:
            return place
        depth += (text == opens) - (text == closes)
        place = after


def _names_in(rule: RuleAlone) -> set[str]:
    """Names of its own context in its conditions and in the expressions that they name."""
    found: set[str] = set()
    waiting = [rule.fields[key] for key in _CONDITIONS if key in rule.fields]
    while waiting:
        for part in walk(parse_expression(waiting.pop())):
            if isinstance(part, Name) and not part.type and part.name not in found:
                found.add(part.name)
                if part.name in rule.expressions:
                    waiting.append(rule.expressions[part.name])
    return found - set(rule.expressions)


def _is_plain(part: Expression, rule: RuleAlone) -> bool:
    """Whether a part of a number reads no signal, as far as the rule files say."""
    return not isinstance(part, Call | Name) or (isinstance(part, Name) and part.name in rule.parameters)


def _quantity(name: str, rule: RuleAlone, site: Site) -> Parameter | None:
    """A constant of the rule's assets, a parameter, or a constant of others; None for a signal."""
    asset_type = rule.fields["for"]
    if asset_type == GPU_TYPE and name in FIELD_INDEX:
        return None
    own = [find_constant(site, one, name) for one in site.assets.values() if one.type == asset_type]
    found = {quantity for quantity in own if quantity}
    if not found and name in rule.parameters:
        text = rule.parameters[name]
        return Parameter(text, _unit_of(text, rule, site))
    if not found:
        every = (find_constant(site, one, name) for one in site.assets.values())
        found = {quantity for quantity in every if quantity}
    if not found:
        return None
    numbers, unit = sorted(number for number, _ in found), min(unit for _, unit in found).replace("*", "·")
    by_asset = f"{numbers[0]:g} to " if numbers[0] < numbers[-1] else ""
    return Parameter(f"{by_asset}{numbers[-1]:g} {unit}".strip(), unit)


def _unit_of(text: str, rule: RuleAlone, site: Site) -> str:
    """The unit that a bare number takes in the place of this text: that of a number or of a name alone, else none."""
    tree = parse_expression(text)
    if isinstance(tree, Unary) and tree.op == "neg":
        tree = tree.arg
    if isinstance(tree, Number):
        return next(token.unit for token in split(text) if token.kind == "number")
    if isinstance(tree, Name) and not tree.type:
        known = _quantity(tree.name, rule, site)
        return known.unit if known else ""
    return ""
