"""One rule of a file, or one row of a table of limits, to a `Rule`, or to all that is wrong with it.

Rules: it reports and goes on as far as it can; what an expression's own finding says already is not said again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast, get_args

from rules.engine.outputs import Severity
from rules.findings import nearest
from rules.language import message
from rules.language.comparisons import compared, contradicts_itself, flutters, never
from rules.language.expression import (
    Binary,
    Call,
    Expression,
    ExpressionError,
    Name,
    Wrong,
    parse_command,
    parse_expression,
    walk,
)
from rules.language.limits import Joined, Written
from rules.language.names import Names
from rules.language.problems import AlreadyReportedError
from rules.language.program import Rule, Target
from rules.language.resolve import Resolver
from rules.language.spans import Spans
from rules.language.terms import Term, reads, to_judge
from rules.language.typed import Typed, converted, described, make, same_dimension
from rules.language.unit_algebra import DIFFERENCE, TEMPERATURE, difference, shown
from rules.strict_yaml import DURATION_NS, Node

KEYS: Final = (
    "for", "when", "until", "deadband", "after", "on_delay", "off_delay", "severity", "message", "cause",
    "response", "then", "limits", "latch", "suppresses", "group", "re_alarm",
)  # fmt: skip
LATER: Final[tuple[str, ...]] = ("release", "requires")
"""Keys of the language to come, named so that their absence is said rather than guessed at."""
SILENT_PERIODS: Final = 3
DELAY_MAX_NS: Final = DURATION_NS["d"]

T = TypeVar("T")


class RuleReader:
    """Reads one rule. `read` gives it, or None when something of it is wrong."""

    def __init__(self, names: Names, written: Written) -> None:
        self._names = names
        self._written = written
        self._fields = dict(written.entries)
        self._spans = Spans(names.sensor)
        self._failed = False
        self._latches = False
        self._group = ""
        self._re_alarm_ns = 0

    def read(self) -> Rule | None:
        """The rule, or None when something of it is wrong."""
        before = self._errors()
        self._check_keys()
        asset_type = self._asset_type()
        severity = self._text("severity", lambda node: node.as_choice(get_args(Severity), "severity"))
        text = self._text("message", self._message)
        delays = [self._duration(name) or 0 for name in ("on_delay", "off_delay")]
        prose = [self._text(name, Node.as_text) or "" for name in ("cause", "response")]
        self._latches = "latch" in self._fields and bool(self._fields["latch"].as_boolean())
        self._group = self._text("group", Node.as_text) or ""
        self._re_alarm_ns = self._duration("re_alarm") or 0
        trees = {name: self._parsed(name, parse_expression) for name in ("when", "until")}
        tree, until_tree = trees["when"], trees["until"]
        if asset_type is None:
            self._report_wrong(trees)
            return None
        if isinstance(tree, Call) and tree.function == "no_data":
            return self._no_data(tree, asset_type, severity, text, prose, before)
        if "after" in self._fields and tree is not None and not isinstance(tree, Wrong):
            self._key("after").report("'after' belongs to no_data", "did you mean 'on_delay'?")
        assets = self._assets(asset_type, tree, until_tree)
        if not assets:
            self._report_wrong(trees)
            return None
        resolver = Resolver(self._names, assets, self._warner("when"))
        when = self._when(assets, resolver, tree)
        until = self._until(assets, when, until_tree)
        shows = self._shown(assets, text or "")
        targets = self._targets(assets)
        if self._failed or self._errors() > before or when is None or severity is None or text is None:
            return None
        return Rule(
            self._written.id,
            asset_type,
            assets,
            when.term,
            until,
            None,
            {},
            delays[0],
            delays[1],
            cast("Severity", severity),
            text,
            {"value": resolver.value(when.term), **shows},
            prose[0],
            prose[1],
            targets,
            self._latches,
            group=self._group,
            re_alarm_ns=self._re_alarm_ns,
        )

    def _no_data(
        self,
        tree: Call,
        asset_type: str,
        severity: str | None,
        text: str | None,
        prose: list[str],
        before: int,
    ) -> Rule | None:
        for name in ("until", "deadband", "on_delay", "off_delay"):
            if name in self._fields:
                self._key(name).report(f"no_data takes no '{name}'", "its time is 'after'")
        for name in message.names(text) if text else ():
            if name != "value":
                hint = "its names are {asset} and {value}"
                self._fields["message"].report(f"a rule about no_data can't show '{{{name}}}'", hint)
        watched = tree.args[0]
        assert isinstance(watched, Name), "the parser lets nothing else through"
        signal = self._checked("when", lambda: self._names.signal(asset_type, watched.name, watched.at))
        if signal is None:
            return None
        assets = self._names.narrow(self._names.assets(asset_type), watched)
        node = self._fields.get("after")
        stated = node.as_duration_ns(1, DELAY_MAX_NS) if node else None
        periods_ns = self._names.periods_ns(signal)
        slowest_ns = max(periods_ns.values())
        if node and stated and stated <= slowest_ns:
            reads = f"{watched.name} is read every {slowest_ns / 1e9:g} s"
            node.report(f"{reads}: this is always so in between", "two of its periods at least", "warning")
        targets = self._targets(assets)
        if self._failed or self._errors() > before or severity is None or text is None:
            return None
        return Rule(
            self._written.id,
            asset_type,
            assets,
            None,
            None,
            signal.plain,
            {asset: stated or SILENT_PERIODS * period_ns for asset, period_ns in periods_ns.items()},
            0,
            0,
            cast("Severity", severity),
            text,
            {},
            prose[0],
            prose[1],
            targets,
            self._latches,
            group=self._group,
            re_alarm_ns=self._re_alarm_ns,
        )

    def _errors(self) -> int:
        return sum(finding.severity == "error" for finding in self._written.node.document.findings)

    def _key(self, name: str) -> Node:
        return self._written.keys[name]

    def _check_keys(self) -> None:
        written, node = self._written, self._written.node
        if not written.row:
            later = [name for name in LATER if name in node.entries]
            for name in later:
                node.keys[name].report(f"'{name}' is not part of this version of the language", "remove it")
            self._fields = node.fields((*KEYS, *later), required=("for", "when", "severity", "message"))
        for name in ("severity", "message") if written.row and node.kind == "mapping" else ():
            if name not in self._fields and not nearest(name, written.unknown):
                node.report(f"the key '{name}' is missing")

    def _asset_type(self) -> str | None:
        node = self._fields.get("for")
        name = node.as_text() if node else None
        if node is None or name is None:
            return None
        if name not in self._names.types:
            hint = nearest(name, self._names.types) or f"types: {', '.join(sorted(self._names.types))}"
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
            node.report(wrong, "names are {asset}, {value} and those of the rule, such as {value:.1f}")
        return None if wrong else text

    def _duration(self, name: str) -> int | None:
        node = self._fields.get(name)
        return node.as_duration_ns(0, DELAY_MAX_NS) if node else None

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        node = self._fields.get(name)
        if node is None:
            return None
        # A number alone (`deadband: 3`) is an expression too, which as_text would refuse.
        if node.kind == "number" or node.as_text() is not None:
            return self._checked(name, lambda: parse(node.scalar))
        self._failed = True
        return None

    def _report_wrong(self, trees: Mapping[str, Expression | None]) -> None:
        """What is wrong with texts of which nothing else can be said."""
        for name, tree in trees.items():
            for part in walk(tree) if tree else ():
                if isinstance(part, Wrong):
                    self._report(name, part.problem)

    def _report(self, name: str, problem: ExpressionError) -> None:
        for one in problem.all:
            self._fields[name].report(one.message, one.hint, offset=one.offset)

    def _checked(self, name: str, work: Callable[[], T]) -> T | None:
        """What `work` gives; an ExpressionError becomes a finding at its character of the key `name`."""
        try:
            return work()
        except ExpressionError as problem:
            self._report(name, problem)
        except AlreadyReportedError:
            pass
        self._failed = True
        return None

    def _warner(self, name: str) -> Callable[[int, str, str], None]:
        def warn(offset: int, text: str, hint: str) -> None:
            self._fields[name].report(text, hint, "warning", offset)

        return warn

    def _assets(self, asset_type: str, when: Expression | None, until: Expression | None) -> tuple[str, ...]:
        """Those that have all signals of both; none, and reported, if there are none."""
        assets = self._names.assets(asset_type)
        for name, tree in (("when", when), ("until", until)):
            if tree is not None:
                left = self._checked(name, lambda tree=tree, of=assets: self._names.narrow(of, tree))  # type: ignore[misc]
                if left is None:
                    return ()
                assets = left
        return assets

    def _check_row(self, tree: Expression) -> None:
        """`of` and the limit of a row are numbers: the operator between them binds last."""
        node = self._fields["when"]
        if not isinstance(node, Joined) or (isinstance(tree, Binary) and tree.at == node.operator_at):
            return
        in_limit = isinstance(tree, Binary) and tree.at > node.operator_at
        hint = "the table compares numbers"
        node.report("this is a condition, not a number", hint, offset=node.limit_from if in_limit else 0)
        self._failed = True

    @staticmethod
    def _condition(resolver: Resolver, tree: Expression) -> Typed:
        found = resolver.truth(tree)
        if not reads(found.term):
            raise ExpressionError(0, "this reads no signal", "a rule watches one")
        return found

    def _when(self, assets: tuple[str, ...], resolver: Resolver, tree: Expression | None) -> Typed | None:
        if tree is None:
            return None
        self._check_row(tree)
        when = self._checked("when", lambda: self._condition(resolver, tree))
        if when is not None and contradicts_itself(assets, when.term, self._spans):
            self._fields["when"].report("this can never be: its parts exclude each other", "", "warning")
        return when

    def _until(self, assets: tuple[str, ...], when: Typed | None, tree: Expression | None) -> Term | None:
        """When the alarm is over: `until`, or the dead-band, or None: as soon as `when` is false."""
        if "until" in self._fields and "deadband" in self._fields:
            self._key("deadband").report("either 'until' or 'deadband', not both")
            return None
        if "deadband" in self._fields:
            return self._with_deadband(assets, when) if when else None
        if tree is None:
            return None
        resolver = Resolver(self._names, assets, self._warner("until"))
        until = self._checked("until", lambda: self._condition(resolver, tree))
        if until is None:
            return None
        if contradicts_itself(assets, until.term, self._spans):
            text = "this can never be: its parts exclude each other, and the alarm would never clear"
            self._fields["until"].report(text, "", "warning")
        flutter = flutters(assets, when.term, until.term, self._spans) if when else ""
        if flutter == "is":
            hint = "leave a dead-band between them, such as 'when: x > 85 K' with 'until: x < 80 K'"
            self._fields["until"].report("'until' is true where 'when' is: the alarm would flutter", hint)
        elif flutter == "can":
            text = "'until' can be true while 'when' is: the alarm would flutter then"
            hint = "let it ask for the end of 'when', too, such as 'and temperature < 80 degC'"
            self._fields["until"].report(text, hint, "warning")
        return until.term

    def _with_deadband(self, assets: tuple[str, ...], when: Typed) -> Term | None:
        parts = compared(when.term)
        if parts is None or parts[1] in ("eq", "ne"):
            self._key("deadband").report(
                "a dead-band needs one comparison with a constant, by < <= > or >=", "use 'until'"
            )
            return None
        what, op, limit = parts
        tree = self._parsed("deadband", parse_expression)
        if tree is None:
            return None
        band = self._checked("deadband", lambda: self._band(assets, tree, difference(when.unit)))
        if band is None:
            return None
        if op in ("lt", "le"):
            end = make("gt" if op == "le" else "ge", what, make("add", limit, band))
        else:
            end = make("lt" if op == "ge" else "le", what, make("sub", limit, band))
        self._check_end(assets, end, when.unit)
        return end

    def _check_end(self, assets: tuple[str, ...], end: Term, unit: str) -> None:
        """A warning when what is watched can't come back as far as the dead-band asks."""
        watched, limit = end.args
        for asset in self._spans.to_judge(assets, end):
            span = self._spans.outer(watched, asset)
            if never(end.op, span, self._spans.outer(limit, asset)):
                text = (
                    f"the alarm would never clear: {described(watched.signal, 'number', asset, span, unit)}"
                )
                hint = (
                    "see its range in the site file" if watched.signal else "see the ranges in the site file"
                )
                self._fields["deadband"].report(text, hint, "warning")
                return

    def _band(self, assets: tuple[str, ...], tree: Expression, unit: str) -> Term:
        band = Resolver(self._names, assets).number(tree)
        if not band.constant:
            raise ExpressionError(0, "a dead-band is a constant", "such as '2 K'")
        if band.bare and unit:
            raise ExpressionError(0, f"the number needs a unit: the signal is in {unit}", f"such as '{unit}'")
        if band.unit == TEMPERATURE:
            band = Typed(band.term, DIFFERENCE)
        if not same_dimension(band.unit, unit):
            raise ExpressionError(
                0,
                f"the dead-band is in {shown(band.unit)}, the signal in {shown(unit)}: not the same dimension",
            )
        found = converted(band, unit).term
        if any(found.number.of(asset) < 0 for asset in to_judge(assets, found.number)):
            raise ExpressionError(0, "a dead-band can't be negative")
        return found

    def _shown(self, assets: tuple[str, ...], text: str) -> dict[str, Term]:
        """What the message shows beside the value, by name."""
        found: dict[str, Term] = {}
        for name in message.names(text):
            if name == "value":
                continue
            first, dot, rest = name.partition(".")
            tree = Name(rest, 0, first) if dot else Name(name, 0)
            value = self._checked("message", lambda tree=tree: self._number_shown(assets, tree))  # type: ignore[misc]
            if value is not None:
                found[name] = value
        return found

    def _number_shown(self, assets: tuple[str, ...], tree: Name) -> Term:
        """Raises ExpressionError at the name in the message."""
        text = self._fields["message"].scalar
        full = f"{tree.type}.{tree.name}" if tree.type else tree.name
        tree = Name(tree.name, max(0, text.find("{" + full)) + 1, tree.type)
        having = self._names.narrow(assets, tree)
        if having != assets:
            missing = next(asset for asset in assets if asset not in having)
            hint = "make a rule of its own for the assets that have it"
            raise ExpressionError(tree.at, f"{missing} has no '{full}' to show", hint)
        try:
            return Resolver(self._names, assets).number(tree).own
        except ExpressionError as problem:
            own = nearest(full, ("asset", "value"))
            raise ExpressionError(tree.at, problem.message, own or problem.hint) from None

    def _targets(self, assets: tuple[str, ...]) -> dict[str, tuple[Target, ...]]:
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
            self._names.definitions.parameter(command.limit.constant)
            return self._names.setter(command).targets(assets, warn)

        return self._checked("command", settle) or {}
