"""The twin's conditions: what a rule says of one asset, term by term, and the states that an alarm goes through."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rules.language.program import GPU_TYPE, Rule
from rules.language.terms import FUNCTIONS, OVER, Term
from rules.site.model import Site
from tests.rules.engine.twin_functions import Function

Value = float | bool | None
"""A number or a truth, None where it is unknown."""

Numbers = Mapping[str, float | None]


class Said(NamedTuple):
    """A transition (raised, cleared, unknown, known), when, whether a deadline made it, what its message shows."""

    kind: str
    at: int
    by_deadline: bool
    numbers: Numbers


class Sample(NamedTuple):
    """The last accepted sample of a point; `value` is None unless it was good and finite."""

    at: int
    value: Value


@dataclass
class Moment:
    """What there is to see when a condition is evaluated at `t`.

    `fields`: the sample of a GPU. `sampled`: the points and GPUs whose sample it is now, None for a GPU's own
    condition. `values`: functions that this evaluation has come to already. `kept`: what there is to see of GPUs.
    """

    site: Site
    t: int
    fields: Mapping[str, float | None]
    points: Mapping[str, Sample]
    sampled: Set[str] | None
    asset: str = ""
    kept: Mapping[tuple[str, str], Sample] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    values: dict[str, float | None] = field(default_factory=dict)

    def point(self, name: str) -> Value:
        if name not in self.points:
            return None
        at, value = self.points[name]
        old = self.t - at > 3 * self.site.points[name].period_ns
        return None if old and name not in (self.sampled or ()) else value

    def gpu(self, term: Term, gpu: str) -> Value:
        """What a GPU's sample made of `term`, unknown once that is three periods old."""
        at, value = self.kept.get((name_of(term), gpu), Sample(-(10**30), None))
        source = self.site.gpu_sources.get(gpu)
        return value if self.t - at <= 3 * (source.period_ns if source else 10**9) else None


def name_of(term: Term) -> str:
    """Equal for terms that compute the same."""
    return term.key


def names_below(term: Term, asset: str) -> set[str]:
    """Points and GPUs whose samples make a difference to it."""
    return {of if below.op == "field" else below.points[of] for below, of in term.signals(asset)}


def over(term: Term, now: Moment) -> Value:
    """Of several assets: only the known ones count, and one is enough."""
    inner, values = term.args[0], []
    for member in term.members[now.asset]:
        if any(below.op == "field" for below, _ in inner.signals(member)):
            values.append(now.gpu(inner, member))
        else:
            values.append(evaluate(inner, replace(now, asset=member)))
    known = [float(value) for value in values if value is not None]
    if term.op == "coverage_over":
        return len(known) / len(values)
    if not known:
        return None
    total = 0.0
    for value in known:
        total += value
    return {
        "sum_over": total,
        "count_over": total,
        "avg_over": total / len(known),
        "min_over": min(known),
        "max_over": max(known),
    }[term.op]


def evaluate(term: Term, now: Moment) -> Value:
    """The term's value. All of it is evaluated, whatever decides: functions take their samples in any case."""
    match term.op:
        case "number":
            return term.number.of(now.asset)
        case "field":
            return now.fields[term.signal]
        case "point":
            return now.point(term.points[now.asset])
    if term.op in OVER:
        return over(term, now)
    args = [evaluate(arg, now) for arg in term.args]
    if term.op in FUNCTIONS:
        return function(term, now, args)
    if term.op == "and":
        return False if False in args else None if None in args else True
    if term.op == "or":
        return True if True in args else None if None in args else False
    if None in args:
        return None
    if term.op == "not":
        return not args[0]
    result: Value = PLAIN[term.op](*args)
    return None if math.isnan(result) else result


def function(term: Term, now: Moment, args: list[Value]) -> float | None:
    """A function takes one sample an evaluation, however often it is written, if what it watches was sampled."""
    name = name_of(term)
    if name not in now.values:
        it = now.functions[name]
        triggered = now.sampled is None or bool(now.sampled & names_below(term.args[0], now.asset))
        value = it.take(now.t, *args) if triggered else it.taken
        now.values[name] = None if value is None or math.isnan(value) else value
    return now.values[name]


def divided(a: float, b: float) -> float:
    return a / b if b else math.nan


PLAIN: dict[str, Callable[..., Value]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": divided,
    "neg": operator.neg,
    "abs": abs,
    "least": min,
    "most": max,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}


class Condition:
    """One rule on one asset.

    Its functions are its own. Those of another rule on the same GPU that are equal have seen the same samples, so
    it makes no difference that the engine keeps them once.
    """

    def __init__(self, rule: Rule, asset: str) -> None:
        self.rule, self.asset = rule, asset
        self.phase = "normal"
        self.t = 0
        self.deadline: int | None = None
        self.held: int | None = None
        self.told = False
        self.changed: int | None = None
        self.shown: Numbers = dict.fromkeys(rule.shown)
        self.functions = {
            name_of(term): Function(term)
            for top in self.terms()
            for term in top.walk()
            if term.op in FUNCTIONS
        }
        is_gpu = rule.asset_type == GPU_TYPE
        self.watched = {name for top in self.terms() for name in names_below(top, asset) if not is_gpu}
        """Points and GPUs whose samples it is evaluated at, if it is not a GPU's own."""

    def terms(self) -> Iterator[Term]:
        rule = self.rule
        if rule.silent is not None:
            yield rule.silent
            return
        for term in (rule.when, rule.until, *rule.shown.values()):
            if term is not None:
                yield term

    def fire(self) -> list[Said]:
        at = self.deadline
        assert at is not None
        self.deadline = None
        self.changed = at
        if self.phase == "clearing":
            self.phase = "normal"
            return [Said("cleared", at, True, self.shown)]
        self.phase = "active"
        return [Said("raised", at, True, self.shown)]

    def sample(self, now: Moment) -> list[Said]:
        """Evaluate."""
        self.t = now.t = max(now.t, self.t)
        now.asset, now.functions = self.asset, self.functions
        said = self.fire() if self.deadline is not None and self.deadline <= now.t else []
        return said + (self.silent(now) if self.rule.silent is not None else self.judged(now))

    def silent(self, now: Moment) -> list[Said]:
        assert self.rule.silent is not None
        if evaluate(self.rule.silent, now) is None:
            return []
        self.deadline = now.t + self.rule.timeouts_ns[self.asset]
        if self.phase != "active":
            return []
        at = now.t if self.changed is None else max(now.t, self.changed)
        self.phase, self.changed = "normal", at
        return [Said("cleared", at, False, self.shown)]

    def judged(self, now: Moment) -> list[Said]:
        t = now.t
        assert self.rule.when is not None
        when = evaluate(self.rule.when, now)
        until = None if when is None else not when
        if self.rule.until is not None:
            until = evaluate(self.rule.until, now)
        shown = {name: evaluate(term, now) for name, term in self.rule.shown.items()}

        raising = self.phase in ("normal", "raising")
        truth = when if raising else until
        if truth is None:
            if self.phase in ("raising", "clearing") and self.held is None:
                assert self.deadline is not None
                self.held, self.deadline = self.deadline - t, None
            if self.phase in ("active", "clearing") and not self.told:
                self.told, self.changed = True, self.not_before(t)
                return [Said("unknown", self.changed, False, self.shown)]
            return []
        said: list[Said] = []
        if self.told:
            self.told, self.changed = False, self.not_before(t)
            said.append(Said("known", self.changed, False, self.shown))
        if truth or self.phase != "normal":
            self.shown = shown
        if raising:
            delay, back, running, done, kind = self.rule.on_delay_ns, "normal", "raising", "active", "raised"
        else:
            delay, back, running, done, kind = (
                self.rule.off_delay_ns,
                "active",
                "clearing",
                "normal",
                "cleared",
            )
        at = self.not_before(t)
        if not truth:
            self.phase, self.deadline, self.held = back, None, None
        elif self.phase == running:
            if self.held is not None:
                self.deadline, self.held = t + self.held, None
        elif delay:
            self.phase, self.deadline = running, at + delay
        else:
            self.phase, self.changed = done, at
            said.append(Said(kind, at, False, self.shown))
        return said

    def not_before(self, t: int) -> int:
        """No transition lies before the last one."""
        return t if self.changed is None else max(t, self.changed)


class Look:
    """What a plant rule sees of one GPU of several: a term, worked out at each of its samples."""

    def __init__(self, term: Term, gpu: str) -> None:
        self.term, self.gpu = term, gpu
        self.functions = {name_of(below): Function(below) for below in term.walk() if below.op in FUNCTIONS}

    def sample(self, now: Moment) -> Sample:
        now.asset, now.functions = self.gpu, self.functions
        return Sample(now.t, evaluate(self.term, now))


def looks(rules: Iterable[Rule]) -> dict[tuple[str, str], Look]:
    """Of all rules together, by term and GPU."""
    found: dict[tuple[str, str], Look] = {}
    for rule in rules:
        for top in (rule.when, rule.until, rule.silent, *rule.shown.values()):
            for term in top.walk() if top else ():
                inner = term.args[0] if term.op in OVER else None
                for gpu in {gpu for members in term.members.values() for gpu in members} if inner else ():
                    if any(below.op == "field" for below, _ in inner.signals(gpu)):
                        found[name_of(inner), gpu] = Look(inner, gpu)
    return found
