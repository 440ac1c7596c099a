"""A rule's text against its site: names, units and types. A tree in, a `Typed` term out.

Rules: an error names a character of the rule's own text, also for what an expression with a name says; a mismatch
between two sides is at their operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn

from rules.language.arithmetic import VERBS, added, aligned, multiplied, no_temperature
from rules.language.calls import (
    check_facts,
    combined,
    cusum,
    disagreeing,
    in_formula,
    over_time,
    refuse,
    steps,
    voted,
)
from rules.language.comparisons import always, never
from rules.language.expression import (
    Binary,
    Call,
    Expression,
    ExpressionError,
    Name,
    Number,
    Unary,
    Wrong,
    of_own,
    start,
    walk,
)
from rules.language.formulas import FORMULAS
from rules.language.functions import AGGREGATES, FUNCTIONS, Kind
from rules.language.names import Names
from rules.language.problems import AlreadyReportedError, each, joined
from rules.language.program import GPU_TYPE
from rules.language.spans import Spans
from rules.language.terms import FUNCTIONS as TIMED
from rules.language.terms import OVER, WINDOWED, Limit, Term, reads
from rules.language.typed import (
    Typed,
    described,
    make,
    meant_temperature,
    number,
    signal_value,
)
from rules.language.unit_algebra import (
    DIFFERENCE,
    TEMPERATURE,
    on_scale,
    shown,
)
from rules.site import units

DEPTH_MAX: Final = 100
SIZE_MAX: Final = 1000
"""Operations of one text, with all that its expressions stand for."""

Warn = Callable[[int, str, str], None]


class Resolver:
    """Resolves texts of one rule. `warn` is told of comparisons that can't come true: offset, message, hint."""

    def __init__(self, names: Names, assets: tuple[str, ...], warn: Warn | None = None) -> None:
        self._names = names
        self._assets = assets
        self._type = names.site.assets[assets[0]].type
        self._warn = warn
        self._spans = Spans(names.sensor)
        self._within: list[str] = []
        self._plain: dict[int, Term] = {}
        self._bound: dict[str, Typed] = {}
        """What the names in the steps of a formula stand for."""
        self._depth = 0
        self._size = 0
        self._is_too_large = False

    def truth(self, node: Expression) -> Typed:
        """A condition. Raises ExpressionError."""
        value = self._resolve(node)
        if not value.term.is_truth:
            refuse(node, "this is a number, not a condition", "compare it: 'temperature > 85 degC'")
        return value

    def number(self, node: Expression) -> Typed:
        """A number. Raises ExpressionError."""
        value = self._resolve(node)
        if value.term.is_truth:
            refuse(node, "this is a condition, not a number", "'count' and 'since' make a number of one")
        return value

    def value(self, condition: Term) -> Term:
        """What an alarm of `condition` carries: the side that is not constant of its first comparison."""
        term = condition
        while term.op in ("and", "or", "not"):
            term = next((arg for arg in term.args if reads(arg)), term.args[0])
        left, right = term.args if term.op != "stale" else (term.args[0], term.args[0])
        found = right if left.op == "number" else left
        return self._plain.get(id(found), found)

    def _resolve(self, node: Expression) -> Typed:
        self._depth += 1
        self._size += 1
        try:
            self._check_size(node)
            match node:
                case Number():
                    return self._literal(node)
                case Name():
                    return self._name(node)
                case Call():
                    return self._call(node)
                case Unary():
                    return self._unary(node)
                case Binary(op="and" | "or"):
                    both = each(lambda: self.truth(node.left), lambda: self.truth(node.right))
                    return Typed(make(node.op, *(one.term for one in both)))
                case Binary():
                    return self._binary(node)
                case Wrong():
                    return self._wrong(node)
        finally:
            self._depth -= 1

    def _check_size(self, node: Expression) -> None:
        if self._is_too_large:
            raise AlreadyReportedError("too large")
        if self._depth > DEPTH_MAX or self._size > SIZE_MAX:
            self._is_too_large = True
            refuse(node, "this is too large", "make several rules of it")

    def _wrong(self, node: Wrong) -> NoReturn:
        problems = [node.problem]
        try:
            each(*(partial(self._resolve, part) for part in node.within))
        except ExpressionError as problem:
            problems.append(problem)
        except AlreadyReportedError:
            pass
        raise joined(problems)

    @staticmethod
    def _literal(node: Number) -> Typed:
        if on_scale(node.unit):
            value = units.convert(node.value, node.unit, TEMPERATURE)
            return Typed(number(value), TEMPERATURE)
        return Typed(number(node.value), node.unit, bare=not node.unit)

    def _name(self, node: Name) -> Typed:
        if node.name in self._bound:
            return self._bound[node.name]
        if not node.type and node.name in self._names.definitions.expressions:
            return self._expression(node)
        if node.type:
            others = self._names.others(self._assets, node)
            if not self._names.is_signal_of(node):
                limit, unit = self._names.constant(tuple(dict.fromkeys(others.values())), node.name, node.at)
                if limit.by_asset:
                    limit = Limit(limit.value, {asset: limit.of(other) for asset, other in others.items()})
                return Typed(Term("number", number=limit), unit)
            signal = self._names.signal_of(self._assets, node)
        elif self._names.has_signal(self._type, node.name):
            signal = self._names.signal(self._type, node.name, node.at)
        else:
            limit, unit = self._names.constant(self._assets, node.name, node.at)
            return Typed(Term("number", number=limit), unit)
        plain = signal.plain
        if len(plain.points) > len(self._assets):
            points = {asset: plain.points[asset] for asset in self._assets}
            plain = Term("point", signal=signal.name, points=points)
        value = signal_value(signal, plain, self._assets)
        if value.term is not plain:
            self._plain[id(value.term)] = plain
        return value

    def _expression(self, node: Name) -> Typed:
        tree = self._names.definitions.tree(node.name)
        self._within.append(node.name)
        try:
            return self._resolve(tree)
        except ExpressionError as problem:
            found = [
                ExpressionError(node.at, f"in '{node.name}': {one.message}", one.hint) for one in problem.all
            ]
            raise joined(found) from None
        finally:
            self._within.pop()

    def _unary(self, node: Unary) -> Typed:
        if node.op == "not":
            return Typed(make("not", self.truth(node.arg).term))
        value = self.number(node.arg)
        if value.unit == TEMPERATURE and isinstance(node.arg, Number):
            return Typed(make("neg", value.term), TEMPERATURE)  # '-5 degC' is a temperature as it is written
        no_temperature(value, node.at, "negated")
        return Typed(make("neg", value.term), value.unit, value.bare)

    def _binary(self, node: Binary) -> Typed:
        left, right = each(lambda: self.number(node.left), lambda: self.number(node.right))
        if node.op in ("mul", "div"):
            return multiplied(node, left, right)
        if node.op in VERBS:
            return added(node, left, right)
        if TEMPERATURE in (left.unit, right.unit) and DIFFERENCE in (left.unit, right.unit):
            wrong, other = (left, right) if left.constant and not right.constant else (right, left)
            raise ExpressionError(
                node.at,
                f"{shown(left.unit)} and {shown(right.unit)} can't be compared",
                meant_temperature(wrong, other.unit),
            )
        left, right = aligned(node, left, right, "compared")
        self._check_range(node, left, right)
        return Typed(make(node.op, left.term, right.term), left.unit)

    def _check_range(self, node: Binary, left: Typed, right: Typed) -> None:
        """A warning when no values in the signals' ranges make the comparison true, or all do."""
        if self._warn is None or self._within or not (reads(left.term) or reads(right.term)):
            return
        for asset in self._spans.to_judge(self._assets, left.term, right.term):
            one, other = (self._spans.outer(side.term, asset) for side in (left, right))
            verdict = "can never be" if never(node.op, one, other) else ""
            verdict = verdict or ("is always so" if always(node.op, one, other) else "")
            if not verdict:
                continue
            texts = [
                described(side.signal.name if side.signal else "", f"{which} side", asset, span, left.unit)
                for side, which, span in ((left, "left", one), (right, "right", other))
            ]
            at, text = node.at, ", ".join(texts)
            if right.constant:
                at, text = start(node.right), texts[0]
            elif left.constant:
                at, text = start(node.left), texts[1]
            is_plain = (left.signal and right.constant) or (right.signal and left.constant)
            hint = "see its range in the site file" if is_plain else "see the ranges in the site file"
            self._warn(at, f"this {verdict}: {text}", hint)
            return

    def _call(self, node: Call) -> Typed:
        name = node.function
        if name == "no_data":
            raise ExpressionError(
                node.at, "no_data is a condition of its own", "make it a rule, with nothing else in 'when'"
            )
        if name in AGGREGATES and len(node.args) == 1 and not node.window_ns:
            return self._aggregate(node)
        form = FUNCTIONS[name]
        args = each(
            *(
                partial(self._argument, arg, kind, name)
                for arg, kind in zip(node.args, form.kinds, strict=False)
            )
        )
        if name == "vote2oo3":
            return voted(args)
        if name == "discrepancy":
            return disagreeing(args)
        if name in ("abs", "least", "most"):
            return combined(node, args)
        if name in FORMULAS:
            return self._formula(node, args)
        if not reads(args[0].term):
            refuse(node.args[0], f"{name} watches what changes: this is constant", form.form)
        if name == "stale":
            return Typed(make("stale", args[0].term))
        if name == "cusum":
            return cusum(node, args)
        value = over_time(node, args)
        self._check_window(node, value.term)
        return value

    def _check_window(self, node: Call, term: Term) -> None:
        """A warning when samples lie further apart than the window: it is never full."""
        for part in (term, *term.args):
            if self._warn is None or self._within or part.op not in WINDOWED or not part.window_ns:
                continue
            asset, reach = self._assets[0], 2 if part.op in ("rate", "delta") else 1
            periods = {self._names.period_ns(*read): read[0].signal for read in part.args[0].signals(asset)}
            period_ns = min(periods)
            if period_ns > reach * part.window_ns:
                text = f"{periods[period_ns]} is read every {period_ns / 1e9:g} s: this window is never full"
                self._warn(start(node), text, "make it several times as long")
            return

    def _argument(self, node: Expression, kind: Kind, name: str) -> Typed:
        value = self._resolve(node)
        if kind in ("time", "window"):
            return value
        if value.term.is_truth != (kind == "truth"):
            wanted, found = ("condition", "number") if kind == "truth" else ("number", "condition")
            refuse(node, f"{name} takes a {wanted} here, found a {found}", FUNCTIONS[name].form)
        return value

    def _aggregate(self, node: Call) -> Typed:
        """Of all assets of a type below each of the rule's: what is written about the type, of each of them."""
        op, kind = AGGREGATES[node.function]
        tree = node.args[0]
        types = {name.type: name.at for name in walk(tree) if isinstance(name, Name) and name.type}
        about = {"sum": "Rack.RackPower", "count": "GPU.temperature > 80 degC"}.get(
            node.function, "GPU.temperature"
        )
        example = f"such as '{node.function}({about})'"
        if node.function not in ("sum", "coverage"):
            example = f"{FUNCTIONS[node.function].form}, or {example}"
        if len(types) != 1:
            problem = "is about one type of asset" if types else "with one argument is about other assets"
            refuse(node, f"{node.function} {problem}", example)
        ((member_type, at),) = types.items()
        if self._type == GPU_TYPE:
            raise ExpressionError(
                at, "a rule for GPUs looks at no group of assets", "make it one for what holds them"
            )
        inner = of_own(tree)
        members = self._names.below(self._assets, member_type, inner, at)
        everyone = tuple(dict.fromkeys(one for ones in members.values() for one in ones))
        of = Resolver(self._names, everyone, None if self._within else self._warn)
        value = of.truth(inner) if kind == "truth" else of.number(inner)
        if not reads(value.term):
            refuse(tree, f"{node.function} watches what changes: this is constant", example)
        if member_type != GPU_TYPE and any(part.op in TIMED for part in value.term.walk()):
            hint = f"put it around: 'avg({node.function}({member_type}.x), 10 s)'"
            refuse(tree, f"a function of time of each {member_type} is not part of this version", hint)
        if any(part.op in OVER for part in value.term.walk()):
            hint = "aggregate the signals themselves: an asset has all that its parts hold, too"
            refuse(tree, "an aggregate of aggregates is not part of this version", hint)
        check_facts(self._names.site, value.term, members, node.at)
        if op == "sum_over":
            no_temperature(value, node.at, "summed up")
        unit = "" if op in ("count_over", "coverage_over") else value.unit
        return Typed(Term(op, (value.term,), members=members), unit)

    def _formula(self, node: Call, args: list[Typed]) -> Typed:
        """Its steps, about plain numbers."""
        name, formula = node.function, FORMULAS[node.function]
        bound = {argument: Typed(number(value)) for argument, value in formula.defaults.items()}
        given = each(
            *(
                partial(in_formula, name, argument, arg, tree)
                for arg, tree, argument in zip(args, node.args, formula.arguments, strict=False)
            )
        )
        bound.update(zip(formula.arguments, given, strict=False))
        outer, self._bound = self._bound, bound
        try:
            for step, tree in steps(name):
                bound[step] = Typed(self._resolve(tree).term)
        except ExpressionError:
            refuse(node, f"{name} has no value for these numbers", formula.form(name))
        finally:
            self._bound = outer
        self._size += _size(bound[step].term, {})
        self._check_size(node)
        return replace(bound[step], unit=formula.unit)


def _size(term: Term, known: dict[int, int]) -> int:
    """How many operations it is written out, though steps of a formula share many: `known` has what was counted."""
    if id(term) not in known:
        known[id(term)] = 1 + sum(_size(arg, known) for arg in term.args)
    return known[id(term)]
