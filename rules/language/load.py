"""Rule files to a checked program, with everything that is wrong found at once.

Rules: text in, findings out, no I/O; a rule with an error is left out, and then there is no program at all: a
plant must not run on half of its rules.

    rules:
      rack-flow-low:
        for: Rack
        when: RackLiquidFlow < 0.7 * design_flow
        until: RackLiquidFlow > 0.8 * design_flow      # or deadband: 10 L/min
        on_delay: 500 ms
        severity: urgent
        message: "{asset}: {value:.0f} L/min"
        then:
          - command: limit each GPU.power_limit to 500 W
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast, get_args

from rules.engine.outputs import Severity
from rules.findings import Finding, nearest
from rules.language import message
from rules.language.commands import targets_of
from rules.language.expression import (
    ConditionText,
    ExpressionError,
    parse_command,
    parse_condition,
    parse_limit,
)
from rules.language.program import (
    GPU_TYPE,
    SOURCE_GAP,
    Limit,
    Operator,
    Program,
    Rule,
    Target,
    make_program,
)
from rules.language.quantities import Signal, find_signal, limit_of
from rules.site.model import Site
from rules.strict_yaml import DURATION_NS, Node, load

KEYS: Final = (
    "for", "when", "until", "deadband", "after", "on_delay", "off_delay", "severity", "message", "cause",
    "response", "then",
)  # fmt: skip
LATER: Final = ("release", "latch", "first_up", "suppresses", "limits", "requires")
"""Keys of the language to come, named so that their absence is said rather than guessed at."""
SILENT_PERIODS: Final = 3
DELAY_MAX_NS: Final = DURATION_NS["d"]

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_OPPOSITE: Final[Mapping[Operator, Operator]] = {
    "<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "==",
}  # fmt: skip

T = TypeVar("T")


def load_rules(texts: Mapping[str, str], site: Site) -> tuple[Program | None, list[Finding]]:
    """The program of all rule files (`texts`: file name to text), and every finding, sorted by place.

    The program is None when a finding is an error; warnings leave it as it is.
    """
    findings: list[Finding] = []
    rules: dict[str, Rule] = {}
    places: dict[str, str] = {}
    for file in sorted(texts):
        root, found = load(texts[file], file)
        if root is not None:
            fields = root.fields(("rules",), required=("rules",))
            if "rules" in fields:
                for rule_id, node in fields["rules"].as_mapping().items():
                    _one(site, rule_id, fields["rules"].keys[rule_id], node, rules, places)
        findings.extend(found)
    ordered = sorted(dict.fromkeys(findings))
    if any(finding.severity == "error" for finding in ordered):
        return None, ordered
    return make_program(rules, site.digest), ordered


def _one(
    site: Site, rule_id: str, key: Node, node: Node, rules: dict[str, Rule], places: dict[str, str]
) -> None:
    if not _ID.fullmatch(rule_id) or rule_id == SOURCE_GAP:
        reserved = "this name is the engine's own" if rule_id == SOURCE_GAP else "such as 'rack-flow-low'"
        key.report(f"'{rule_id}' can't be the name of a rule", reserved)
    elif rule_id in places:
        key.report(f"duplicate rule '{rule_id}'", f"first given at {places[rule_id]}")
    places.setdefault(rule_id, f"{key.document.file}:{key.line}")
    rule = _RuleReader(site, rule_id, node).read()
    if rule is not None:
        rules[rule_id] = rule


class _RuleReader:
    """Reads one rule; reports to its document and goes on as far as it can."""

    def __init__(self, site: Site, rule_id: str, node: Node) -> None:
        self._site = site
        self._id = rule_id
        self._node = node
        later = [name for name in LATER if name in node.entries]
        for name in later:
            node.keys[name].report(f"'{name}' is not part of this version of the language", "remove it")
        self._fields = node.fields((*KEYS, *later), required=("for", "when", "severity", "message"))

    def read(self) -> Rule | None:
        """The rule, or None when something of it is wrong."""
        before = self._errors()
        asset_type = self._asset_type()
        severity = self._text("severity", lambda node: node.as_choice(get_args(Severity), "severity"))
        text = self._text("message", self._message)
        delays = [self._duration(name, DELAY_MAX_NS) or 0 for name in ("on_delay", "off_delay")]
        prose = [self._text(name, Node.as_text) or "" for name in ("cause", "response")]
        condition = self._parsed("when", parse_condition)
        signal = None
        if asset_type and condition:
            signal = self._checked(
                "when", lambda: find_signal(self._site, asset_type, condition.signal, condition.signal_offset)
            )
        if condition is None or signal is None:
            return None
        limit = self._limit(condition, signal)
        until_operator, until = self._until(condition, signal, limit)
        timeouts = self._timeouts(condition, signal)
        targets = self._targets(signal)
        if self._errors() > before or severity is None or text is None:
            return None
        return Rule(
            self._id,
            signal_type(asset_type),
            signal.assets,
            condition.kind,
            condition.signal,
            condition.operator,
            limit,
            until_operator,
            until,
            condition.window_ns,
            timeouts,
            delays[0],
            delays[1],
            cast("Severity", severity),
            text,
            prose[0],
            prose[1],
            targets,
        )

    def _errors(self) -> int:
        return sum(finding.severity == "error" for finding in self._node.document.findings)

    def _asset_type(self) -> str | None:
        node = self._fields.get("for")
        name = node.as_text() if node else None
        if node is None or name is None:
            return None
        types = {asset.type for asset in self._site.assets.values()}
        if name not in types:
            hint = nearest(name, types) or f"types: {', '.join(sorted(types))}"
            node.report(f"the site has no asset of type '{name}'", hint)
            return None
        return name

    def _text(self, name: str, read: Callable[[Node], str | None]) -> str | None:
        node = self._fields.get(name)
        return read(node) if node else None

    @staticmethod
    def _message(node: Node) -> str | None:
        text = node.as_text()
        wrong = message.problem(text) if text else ""
        if wrong:
            node.report(wrong, "names are {asset} and {value}, such as {value:.1f}")
        return None if wrong else text

    def _duration(self, name: str, high_ns: int) -> int | None:
        node = self._fields.get(name)
        return node.as_duration_ns(0, high_ns) if node else None

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        node = self._fields.get(name)
        if node is None:
            return None
        # A limit may be a bare number (`deadband: 3`), which as_text would refuse.
        if node.kind == "text" or (node.kind == "number" and name == "deadband"):
            return self._checked(name, lambda: parse(node.scalar))
        node.as_text()
        return None

    def _checked(self, name: str, work: Callable[[], T]) -> T | None:
        """What `work` gives; a ExpressionError becomes a finding at its character of the key `name`."""
        try:
            return work()
        except ExpressionError as problem:
            self._fields[name].report(problem.message, problem.hint, offset=problem.offset)
            return None

    def _limit(self, condition: ConditionText, signal: Signal) -> Limit:
        written = condition.limit
        if written is None:
            return Limit(0.0)
        limit = self._checked("when", lambda: limit_of(self._site, written, signal, condition.kind == "rate"))
        return self._reachable(condition, signal, limit) if limit else Limit(0.0)

    def _reachable(self, condition: ConditionText, signal: Signal, limit: Limit) -> Limit:
        """A warning when no value in a signal's range makes the condition true."""
        if condition.kind == "value" and condition.limit is not None:
            for asset in signal.assets:
                value, low, high = limit.of(asset), signal.low[asset], signal.high[asset]
                if (condition.operator in ("<", "<=") and value < low) or (
                    condition.operator in (">", ">=") and value > high
                ):
                    text = f"this can never be: {asset}.{signal.name} is {low:g} to {high:g} {signal.unit[asset]}"
                    self._fields["when"].report(
                        text.rstrip(), "see its range in the site file", "warning", condition.limit.offset
                    )
                    break
        return limit

    def _until(self, condition: ConditionText, signal: Signal, limit: Limit) -> tuple[Operator, Limit]:
        """When the alarm is over: `until`, or the dead-band, or as soon as `when` is false."""
        opposite = _OPPOSITE[condition.operator]
        if condition.kind == "no_data":
            for name in ("until", "deadband", "on_delay", "off_delay"):
                if name in self._fields:
                    self._node.keys[name].report(f"no_data takes no '{name}'", "its time is 'after'")
            return opposite, limit
        if "until" in self._fields and "deadband" in self._fields:
            self._node.keys["deadband"].report("either 'until' or 'deadband', not both")
        elif "deadband" in self._fields:
            return opposite, self._with_deadband(condition, signal, limit)
        elif "until" in self._fields:
            return self._until_written(condition, signal, limit)
        return opposite, limit

    def _with_deadband(self, condition: ConditionText, signal: Signal, limit: Limit) -> Limit:
        written = self._parsed("deadband", parse_limit)
        if written is None:
            return limit
        if condition.operator in ("==", "!="):
            self._node.keys["deadband"].report(f"'{condition.operator}' has no dead-band")
            return limit
        per_second = condition.kind == "rate"
        band = self._checked(
            "deadband", lambda: limit_of(self._site, written, signal, per_second, difference=True)
        )
        if band is None:
            return limit
        if any(band.of(asset) < 0 for asset in signal.assets):
            self._fields["deadband"].report("a dead-band can't be negative")
        sign = 1.0 if condition.operator in ("<", "<=") else -1.0
        by_asset = {asset: limit.of(asset) + sign * band.of(asset) for asset in signal.assets}
        first = by_asset[signal.assets[0]]
        return Limit(first, by_asset if any(value != first for value in by_asset.values()) else {})

    def _until_written(
        self, condition: ConditionText, signal: Signal, limit: Limit
    ) -> tuple[Operator, Limit]:
        failed = _OPPOSITE[condition.operator], limit
        until = self._parsed("until", parse_condition)
        if until is None:
            return failed
        same = (until.kind, until.signal, until.window_ns) == (
            condition.kind,
            condition.signal,
            condition.window_ns,
        )
        written = until.limit
        if not same or written is None:
            self._fields["until"].report("'until' must be about the same signal as 'when'")
            return failed
        bound = self._checked(
            "until", lambda: limit_of(self._site, written, signal, condition.kind == "rate")
        )
        if bound is None:
            return failed
        for asset in signal.assets:
            if _both(condition.operator, limit.of(asset), until.operator, bound.of(asset)):
                hint = "leave a dead-band between them, such as 'when: x > 85 K' with 'until: x < 80 K'"
                self._fields["until"].report("'until' is true where 'when' is: the alarm would flutter", hint)
                break
        return until.operator, bound

    def _timeouts(self, condition: ConditionText, signal: Signal) -> dict[str, int]:
        if condition.kind != "no_data":
            if "after" in self._fields:
                self._node.keys["after"].report("'after' belongs to no_data", "did you mean 'on_delay'?")
            return {}
        node = self._fields.get("after")
        stated = node.as_duration_ns(1, DELAY_MAX_NS) if node else None
        return {asset: stated or SILENT_PERIODS * signal.periods_ns[asset] for asset in signal.assets}

    def _targets(self, signal: Signal) -> dict[str, tuple[Target, ...]]:
        node = self._fields.get("then")
        actions = node.as_list() if node else ()
        for extra in actions[1:]:
            extra.report("one action per rule in this version", "remove it")
        fields = actions[0].fields(("command",), required=("command",)) if actions else {}
        if "command" not in fields:
            return {}
        self._fields["command"] = fields["command"]
        command = self._parsed("command", parse_command)
        if command is None:
            return {}
        warned: set[int] = set()

        def warn(offset: int, text: str) -> None:
            if offset not in warned:
                warned.add(offset)
                fields["command"].report(text, severity="warning", offset=offset)

        def settle() -> dict[str, tuple[Target, ...]]:
            return {
                asset: targets_of(self._site, command, self._site.assets[asset], warn)
                for asset in signal.assets
            }

        return self._checked("command", settle) or {}


def signal_type(asset_type: str | None) -> str:
    """The type whose signals a rule reads."""
    return asset_type or GPU_TYPE


def _both(operator: Operator, limit: float, other: Operator, bound: float) -> bool:
    """Whether some value satisfies both comparisons."""
    below, above = ("<", "<="), (">", ">=")
    if operator in above and other in below:
        return limit < bound or (limit == bound and operator == ">=" and other == "<=")
    if operator in below and other in above:
        return bound < limit or (limit == bound and operator == "<=" and other == ">=")
    if operator == "==":
        return _holds(limit, other, bound)
    if other == "==":
        return _holds(bound, operator, limit)
    return (operator, other) != ("!=", "==")


def _holds(value: float, operator: Operator, limit: float) -> bool:
    return {
        "<": value < limit,
        "<=": value <= limit,
        ">": value > limit,
        ">=": value >= limit,
        "==": value == limit,
        "!=": value != limit,
    }[operator]
