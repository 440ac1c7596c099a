"""A rule's text against its site: names, units and types. A tree in, a `Typed` term out.

Rules: an error names a character of the rule's own text, also for what an expression with a name says; a mismatch
between two sides is at their operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final, NoReturn, cast

from rules.language.comparisons import FLIPPED, always, never
from rules.language.expression import (
    Binary,
    Call,
    Expression,
    ExpressionError,
    Name,
    Number,
    Unary,
    of_own,
    parse_expression,
    start,
    walk,
)
from rules.language.formulas import FORMULAS, SHARE
from rules.language.functions import AGGREGATES, FUNCTIONS
from rules.language.names import Names
from rules.language.program import GPU_TYPE
from rules.language.terms import FUNCTIONS as TIMED
from rules.language.terms import OVER, Limit, Op, Term, to_judge
from rules.language.typed import (
    Typed,
    converted,
    is_finite,
    make,
    meant_temperature,
    number,
    same_dimension,
    signal_value,
    without_percent,
)
from rules.language.unit_algebra import (
    DIFFERENCE,
    PERCENT,
    TEMPERATURE,
    difference,
    on_scale,
    product,
    quotient,
    shown,
)
from rules.site import units

DEPTH_MAX: Final = 100
SIZE_MAX: Final = 1000
"""Operations of one text, with all that its expressions stand for."""

_VERBS: Final[dict[Op, str]] = {"add": "added", "sub": "subtracted"}

Warn = Callable[[int, str, str], None]


class Resolver:
    """Resolves texts of one rule. `warn` is told of comparisons that can't come true: offset, message, hint."""

    def __init__(self, names: Names, assets: tuple[str, ...], warn: Warn | None = None) -> None:
        self._names = names
        self._assets = assets
        self._type = names.site.assets[assets[0]].type
        self._warn = warn
        self._within: list[str] = []
        self._plain: dict[int, Term] = {}
        self._bound: dict[str, Typed] = {}
        """What the names in the steps of a formula stand for."""
        self._depth = 0
        self._size = 0

    def truth(self, node: Expression) -> Typed:
        """A condition. Raises ExpressionError."""
        value = self._resolve(node)
        if not value.term.is_truth:
            _refuse(node, "this is a number, not a condition", "compare it: 'temperature > 85 degC'")
        return value

    def number(self, node: Expression) -> Typed:
        """A number. Raises ExpressionError."""
        value = self._resolve(node)
        if value.term.is_truth:
            _refuse(node, "this is a condition, not a number", "'count' and 'since' make a number of one")
        return value

    def value(self, condition: Term) -> Term:
        """What an alarm of `condition` carries: the side that is not constant of its first comparison."""
        term = condition
        while term.op in ("and", "or", "not"):
            term = next((arg for arg in term.args if reads(arg)), term.args[0])
        left, right = term.args
        found = right if left.op == "number" else left
        return self._plain.get(id(found), found)

    def _resolve(self, node: Expression) -> Typed:
        self._depth += 1
        self._size += 1
        if self._depth > DEPTH_MAX or self._size > SIZE_MAX:
            _refuse(node, "this is too large", "make several rules of it")
        try:
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
                    return Typed(make(node.op, self.truth(node.left).term, self.truth(node.right).term))
                case Binary():
                    return self._binary(node)
        finally:
            self._depth -= 1

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
            raise ExpressionError(node.at, f"in '{node.name}': {problem.message}", problem.hint) from None
        finally:
            self._within.pop()

    def _unary(self, node: Unary) -> Typed:
        if node.op == "not":
            return Typed(make("not", self.truth(node.arg).term))
        value = self.number(node.arg)
        if value.unit == TEMPERATURE and isinstance(node.arg, Number):
            return Typed(make("neg", value.term), TEMPERATURE)  # '-5 degC' is a temperature as it is written
        self._no_temperature(value, node.at, "negated")
        return Typed(make("neg", value.term), value.unit, value.bare)

    def _binary(self, node: Binary) -> Typed:
        left, right = self.number(node.left), self.number(node.right)
        if node.op in ("mul", "div"):
            return self._product(node, left, right)
        if node.op in _VERBS:
            return self._sum(node, left, right)
        if TEMPERATURE in (left.unit, right.unit) and DIFFERENCE in (left.unit, right.unit):
            wrong, other = (left, right) if left.constant and not right.constant else (right, left)
            raise ExpressionError(
                node.at,
                f"{shown(left.unit)} and {shown(right.unit)} can't be compared",
                meant_temperature(wrong, other.unit),
            )
        left, right = self._aligned(node, left, right, "compared")
        self._check_range(node, left, right)
        return Typed(make(node.op, left.term, right.term), left.unit)

    def _sum(self, node: Binary, left: Typed, right: Typed) -> Typed:
        """A temperature less another one is a difference; with a difference it stays a temperature."""
        unit, other = left.unit, right.unit
        if TEMPERATURE not in (unit, other):
            left, right = self._aligned(node, left, right, _VERBS[node.op])
            bare = left.bare and right.bare
            return _finite(Typed(make(node.op, left.term, right.term), left.unit, bare), node.at)
        if unit == other and node.op == "sub":
            return Typed(make("sub", left.term, right.term), DIFFERENCE)
        if unit == TEMPERATURE and same_dimension(other, DIFFERENCE):
            return Typed(make(node.op, left.term, converted(right, DIFFERENCE).term), TEMPERATURE)
        if other == TEMPERATURE and same_dimension(unit, DIFFERENCE) and node.op == "add":
            return Typed(make("add", converted(left, DIFFERENCE).term, right.term), TEMPERATURE)
        self._check_bare(node, left, right)
        message = f"{shown(unit)} and {shown(other)} can't be {_VERBS[node.op]}"
        if node.op == "sub" and same_dimension(unit, DIFFERENCE):
            message = f"{other} can't be subtracted from {unit}"
        hint = "a difference is in K" if {unit, other} <= {TEMPERATURE, DIFFERENCE} else ""
        raise ExpressionError(node.at, message, hint)

    def _product(self, node: Binary, left: Typed, right: Typed) -> Typed:
        self._no_temperature(left, node.at, "multiplied" if node.op == "mul" else "divided")
        self._no_temperature(right, node.at, "multiplied" if node.op == "mul" else "divided by")
        # A percentage of something is in the unit of that; 50 % of 50 % are 25 %.
        if node.op == "div" and left.unit and right.unit and same_dimension(left.unit, right.unit):
            right = converted(right, left.unit)
        elif left.unit and right.unit:
            right = without_percent(right)
            left = without_percent(left) if right.unit else left
        elif node.op == "div" and right.unit == PERCENT and not left.unit:
            right = without_percent(right)
        if (
            node.op == "div"
            and right.constant
            and 0.0
            in (
                right.term.number.value,
                *right.term.number.by_asset.values(),
            )
        ):
            raise ExpressionError(node.at, "a division by zero")
        unit = product(left.unit, right.unit) if node.op == "mul" else quotient(left.unit, right.unit)
        bare = left.bare and right.bare
        return _finite(Typed(make(node.op, left.term, right.term), unit, bare), node.at)

    def _aligned(self, node: Binary, left: Typed, right: Typed, verb: str) -> tuple[Typed, Typed]:
        """Both in one unit: that of the left side, or of the signal where the other side is constant."""
        self._check_bare(node, left, right)
        if not same_dimension(left.unit, right.unit):
            raise ExpressionError(node.at, f"{shown(left.unit)} and {shown(right.unit)} can't be {verb}")
        if left.constant and not right.constant:
            return converted(left, right.unit), right
        return left, converted(right, left.unit)

    @staticmethod
    def _check_bare(node: Binary, left: Typed, right: Typed) -> None:
        """Raises ExpressionError where a number without a unit meets one that has it."""
        for side, tree, other in ((left, node.left, right), (right, node.right, left)):
            if side.bare and other.unit:
                whose = "signal" if other.signal else "other side"
                message = f"the number needs a unit: the {whose} is in {other.unit}"
                unit = difference(other.unit) if node.op in _VERBS else other.unit
                raise ExpressionError(start(tree), message, f"such as '{unit}'")

    @staticmethod
    def _no_temperature(value: Typed, at: int, verb: str) -> None:
        if value.unit == TEMPERATURE:
            raise ExpressionError(
                at, f"a temperature in {TEMPERATURE} can't be {verb}", "a difference of two, in K, can"
            )

    def _check_range(self, node: Binary, left: Typed, right: Typed) -> None:
        """A warning when no value in a plain signal's range makes the comparison true, or each one does."""
        op, tree = node.op, node.right
        if left.constant:
            left, right, op, tree = right, left, FLIPPED[op], node.left
        if self._warn is None or self._within or left.signal is None or not right.constant:
            return
        limits = right.term.number
        for asset in to_judge(self._assets, limits) if left.signal.alike else self._assets:
            unit, low, high = left.signal.sensors[asset]
            limit = limits.of(asset)
            if unit != left.unit:
                continue
            verdict = "can never be" if never(op, limit, low, high) else ""
            verdict = verdict or ("is always so" if always(op, limit, low, high) else "")
            if verdict:
                name = left.signal.name if "." in left.signal.name else f"{asset}.{left.signal.name}"
                text = f"this {verdict}: {name} is {low:g} to {high:g} {unit}"
                self._warn(start(tree), text.rstrip(), "see its range in the site file")
                return

    def _call(self, node: Call) -> Typed:
        name = node.function
        if name == "no_data":
            raise ExpressionError(
                node.at, "no_data is a condition of its own", "make it a rule, with nothing else in 'when'"
            )
        if name in AGGREGATES and not node.window_ns:
            return self._aggregate(node)
        form = FUNCTIONS[name]
        args: list[Typed] = []
        for arg, kind in zip(node.args, form.kinds, strict=False):
            value = self._resolve(arg)
            if value.term.is_truth != (kind == "truth"):
                wanted, found = ("condition", "number") if kind == "truth" else ("number", "condition")
                _refuse(arg, f"{name} takes a {wanted} here, found a {found}", form.form)
            args.append(value)
        if name == "vote2oo3":
            a, b, c = (arg.term for arg in args)
            pairs = (make("and", a, b), make("and", a, c), make("and", b, c))
            return Typed(make("or", make("or", pairs[0], pairs[1]), pairs[2]))
        if name in ("abs", "least", "most"):
            return self._combined(node, args)
        if name in FORMULAS:
            return self._formula(node, args)
        if not reads(args[0].term):
            _refuse(node.args[0], f"{name} watches what changes: this is constant", form.form)
        if name == "cusum":
            return self._cusum(node, args)
        return self._over_time(node, args[0])

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
            _refuse(node, f"{node.function} {problem}", example)
        ((member_type, at),) = types.items()
        if self._type == GPU_TYPE:
            raise ExpressionError(
                at, "a rule for GPUs looks at no group of assets", "make it one for what holds them"
            )
        inner = of_own(tree)
        members = self._names.below(self._assets, member_type, inner, at)
        of = Resolver(self._names, tuple(dict.fromkeys(one for ones in members.values() for one in ones)))
        value = of.truth(inner) if kind == "truth" else of.number(inner)
        if not reads(value.term):
            _refuse(tree, f"{node.function} watches what changes: this is constant", example)
        if member_type != GPU_TYPE and any(part.op in TIMED for part in value.term.walk()):
            hint = f"put it around: 'avg({node.function}({member_type}.x), 10 s)'"
            _refuse(tree, f"a function of time of each {member_type} is not part of this version", hint)
        if any(part.op in OVER for part in value.term.walk()):
            hint = "aggregate the signals themselves: an asset has all that its parts hold, too"
            _refuse(tree, "an aggregate of aggregates is not part of this version", hint)
        self._check_facts(value.term, members, node.at)
        if op == "sum_over":
            self._no_temperature(value, node.at, "summed up")
        unit = "" if op in ("count_over", "coverage_over") else value.unit
        return Typed(Term(op, (value.term,), members=members), unit)

    def _check_facts(self, inner: Term, members: Mapping[str, tuple[str, ...]], at: int) -> None:
        """Raises ExpressionError where a unit would have to be told something before it can tell something."""
        if not inner.reads_others:
            return
        site = self._names.site
        for asset, ones in members.items():
            for member in ones:
                unit = site.assets[member].unit
                if unit == site.assets[asset].unit:
                    continue
                for signal, of in inner.signals(member):
                    read = of if signal.op == "field" else site.points[signal.points[of]].asset
                    if site.assets[read].unit != unit:
                        message = f"unit '{unit}' of {member} does not know {read}, of another unit"
                        raise ExpressionError(
                            at, message, "what units tell each other is of their own signals"
                        )

    def _over_time(self, node: Call, value: Typed) -> Typed:
        name, term, window_ns = node.function, value.term, node.window_ns
        if name in ("changed", "frozen"):
            edges = (make("max", term, window_ns=window_ns), make("min", term, window_ns=window_ns))
            return Typed(make("ne" if name == "changed" else "eq", *edges), value.unit)
        if name == "integral":
            self._no_temperature(value, node.at, "integrated")
        unit = {
            "count": "",
            "since": "s",
            "rate": quotient(difference(value.unit), "s"),
            "delta": difference(value.unit),
            "stddev": difference(value.unit),
            "integral": product(value.unit, "s"),
        }.get(name, value.unit)
        return Typed(make(cast("Op", name), term, window_ns=window_ns), unit)

    def _combined(self, node: Call, args: list[Typed]) -> Typed:
        """abs, least and most."""
        if node.function == "abs":
            self._no_temperature(args[0], node.at, "made positive")
            return Typed(make("abs", args[0].term), args[0].unit, args[0].bare)
        op = cast("Op", node.function)
        pair = Binary(op, node.function, node.args[0], node.args[1], node.at)
        one, other = self._aligned(pair, args[0], args[1], "compared")
        return Typed(make(op, one.term, other.term), one.unit, one.bare and other.bare)

    def _formula(self, node: Call, args: list[Typed]) -> Typed:
        """Its steps, about plain numbers."""
        name, formula = node.function, FORMULAS[node.function]
        bound = {argument: Typed(number(value)) for argument, value in formula.defaults.items()}
        for arg, tree, (argument, unit) in zip(args, node.args, formula.arguments.items(), strict=False):
            to = "" if unit == SHARE else unit
            if arg.bare and to:
                _refuse(tree, f"{argument} of {name} needs a unit", f"such as '{to}'")
            if not same_dimension(arg.unit, to):
                hint = meant_temperature(arg, to) if TEMPERATURE in (arg.unit, to) and arg.constant else ""
                _refuse(tree, f"{argument} of {name} needs {shown(to)}, found {shown(arg.unit)}", hint)
            plain = converted(arg, to)
            if unit == SHARE and plain.constant and not 0.0 <= plain.term.number.value <= 1.0:
                _refuse(tree, f"{argument} of {name} is a share of one", "such as '25 percent'")
            bound[argument] = Typed(plain.term)
        outer, self._bound = self._bound, bound
        try:
            for step, tree in _steps(name):
                bound[step] = Typed(self._resolve(tree).term)
        except ExpressionError:
            _refuse(node, f"{name} has no value for these numbers", formula.form(name))
        finally:
            self._bound = outer
        self._size += _size(bound[step].term, {})
        if self._size > SIZE_MAX:
            _refuse(node, "this is too large", "make several rules of it")
        return replace(bound[step], unit=formula.unit)

    def _cusum(self, node: Call, args: list[Typed]) -> Typed:
        value, target, allowance = args
        parts = [value.term]
        for arg, tree, unit in (
            (target, node.args[1], value.unit),
            (allowance, node.args[2], difference(value.unit)),
        ):
            pair = Binary("lt", "<", node.args[0], tree, start(tree))
            self._check_bare(pair, Typed(value.term, unit), arg)
            if not same_dimension(arg.unit, unit):
                hint = "the allowance is a difference" if unit != value.unit else ""
                _refuse(
                    tree,
                    f"cusum of {shown(value.unit)} needs {shown(unit)} here, found {shown(arg.unit)}",
                    hint,
                )
            parts.append(converted(arg, unit).term)
        return Typed(make("cusum", *parts), difference(value.unit))


@cache
def _steps(name: str) -> list[tuple[str, Expression]]:
    """Of a formula, each with its name."""
    return [(step, parse_expression(text)) for step, text in FORMULAS[name].steps.items()]


def _size(term: Term, known: dict[int, int]) -> int:
    """How many operations it is written out, though steps of a formula share many: `known` has what was counted."""
    if id(term) not in known:
        known[id(term)] = 1 + sum(_size(arg, known) for arg in term.args)
    return known[id(term)]


def reads(term: Term) -> bool:
    """Whether it depends on a signal."""
    return any(part.op in ("field", "point") or part.op in OVER for part in term.walk())


def _finite(value: Typed, at: int) -> Typed:
    if value.constant and not is_finite(value.term):
        raise ExpressionError(at, "this is too large for a number")
    return value


def _refuse(node: Expression, message: str, hint: str) -> NoReturn:
    raise ExpressionError(start(node), message, hint)
