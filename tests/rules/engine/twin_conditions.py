"""The twin's conditions: what a rule says of one asset, term by term, and the states that an alarm goes through."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
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
    `unit`: whose engine looks, and what it was told of others (`facts`).
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
    unit: str = ""
    facts: Mapping[str, Heard] = field(default_factory=dict)

    def is_here(self, asset: str) -> bool:
        return self.unit in ("", self.site.assets[asset].unit)

    def fact(self, telling: Telling) -> tuple[float, int]:
        """The number and of how many members it is, of none when it is older than three periods."""
        heard = self.facts.get(telling.name)
        if heard is None or self.t - heard.at > 3 * telling.period(self.site):
            return 0.0, 0
        return heard.value, heard.known

    def point(self, name: str) -> Value:
        owner = self.site.points[name].asset
        if not self.is_here(owner):
            value, known = self.fact(Telling.of_signal(name, owner))
            return value if known else None
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


def names_below(term: Term, asset: str, now: Moment) -> set[str]:
    """Points, GPUs and facts whose coming makes a difference to it."""
    if term.op == "field":
        return {asset}
    if term.op == "point":
        return {term.points[asset]}
    if term.op not in OVER:
        return {name for arg in term.args for name in names_below(arg, asset, now)}
    members = term.members[asset]
    here = {n for one in members if now.is_here(one) for n in names_below(term.args[0], one, now)}
    units = {now.site.assets[one].unit for one in members if not now.is_here(one)}
    return here | {Telling.of_members(term, asset, unit, now.site).name for unit in units}


class Heard(NamedTuple):
    """The last accepted fact of a name: made of how many members, 0 if it was not good."""

    at: int
    value: float
    known: int


@dataclass
class Telling:
    """What a unit tells another of some of its assets, once in each period; `last`: in which it was told last."""

    name: str
    asset: str
    part: Term
    t: int = 0
    last: int = -1

    @classmethod
    def of_signal(cls, point: str, owner: str) -> Telling:
        signal = Term("point", points={owner: point})
        return cls(point, owner, Term("min_over", (signal,), members={owner: (owner,)}))

    @classmethod
    def of_members(cls, term: Term, asset: str, unit: str, site: Site) -> Telling:
        """Of those of the unit. Their mean and coverage become those of all by their sum, and how many are known."""
        members = tuple(one for one in term.members[asset] if site.assets[one].unit == unit)
        op = "sum_over" if term.op in ("avg_over", "coverage_over") else term.op
        op = "count_over" if term.args[0].is_truth else op
        part = replace(term, op=op, members={asset: members})
        return cls(f"{asset}.{op}.{part.key[:16]}", asset, part)

    def period(self, site: Site) -> int:
        """Of the facts, or of the fastest signal if that is slower."""
        periods = []
        for below, of in self.part.signals(self.asset):
            source = site.gpu_sources.get(of)
            gpu_period = source.period_ns if source else 10**9
            periods.append(gpu_period if below.op == "field" else site.points[below.points[of]].period_ns)
        return max(site.fact_period_ns, min(periods))

    def sample(self, now: Moment) -> tuple[float, int] | None:
        """What is told now, if it is time."""
        self.t = now.t = max(now.t, self.t)
        period = now.t // self.period(now.site)
        if period <= self.last:
            return None
        self.last, now.asset = period, self.asset
        return gathered(self.part, self.part.members[self.asset], now)


def tellings(rules: Iterable[Rule], site: Site) -> dict[tuple[str, str, str], Telling]:
    """By the unit that tells, the unit that is told, and the name."""
    found: dict[tuple[str, str, str], Telling] = {}

    def look(term: Term, asset: str) -> None:
        unit = site.assets[asset].unit
        if term.op == "point":
            owner = site.points[term.points[asset]].asset
            telling = Telling.of_signal(term.points[asset], owner)
            found.setdefault((site.assets[owner].unit, unit, telling.name), telling)
        for member in term.members[asset] if term.op in OVER else (asset,):
            if term.op in OVER:
                telling = Telling.of_members(term, asset, site.assets[member].unit, site)
                found.setdefault((site.assets[member].unit, unit, telling.name), telling)
            for arg in term.args:
                look(arg, member)

    for rule in rules:
        for top in (rule.when, rule.until, rule.silent, *rule.shown.values()):
            for asset in rule.assets if top and rule.asset_type != GPU_TYPE else ():
                look(top, asset)
    return {key: telling for key, telling in sorted(found.items()) if key[0] != key[1]}


def gathered(term: Term, members: Iterable[str], now: Moment) -> tuple[float, int]:
    """Their sum, least or greatest, and how many of them are known."""
    inner, values = term.args[0], []
    for member in members:
        if any(below.op == "field" for below, _ in inner.signals(member)):
            values.append(now.gpu(inner, member))
        else:
            values.append(evaluate(inner, replace(now, asset=member)))
    return together(term, [float(value) for value in values if value is not None])


def together(term: Term, known: list[float]) -> tuple[float, int]:
    if not known:
        return 0.0, 0
    if term.op in ("min_over", "max_over"):
        return (min(known) if term.op == "min_over" else max(known)), len(known)
    total = 0.0
    for value in known:
        total += value
    return total, len(known)


def over(term: Term, now: Moment) -> Value:
    """Of several assets: only the known ones count, and one is enough. Unit by unit: others tell of theirs."""
    members = term.members[now.asset]
    units = dict.fromkeys("" if now.is_here(one) else now.site.assets[one].unit for one in members)
    parts = [
        now.fact(Telling.of_members(term, now.asset, unit, now.site))
        if unit
        else gathered(term, [one for one in members if now.is_here(one)], now)
        for unit in units
    ]
    known = sum(count for _, count in parts)
    if term.op == "coverage_over":
        return known / len(members)
    total, count = together(term, [value for value, count in parts if count])
    if not count:
        return None
    return total / known if term.op == "avg_over" else total


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
    if term.op == "stale":
        return args[0] is None
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
        takes = [
            now.sampled is None or bool(now.sampled & names_below(arg, now.asset, now))
            for arg in term.args[: 2 if term.begins_anew else 1]
        ]
        value = it.take(now.t, *args, is_sampled=takes[0]) if any(takes) else it.taken
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
        self.watched: set[str] | None = None
        self.functions = {
            name_of(term): Function(term)
            for top in self.terms()
            for term in top.walk()
            if term.op in FUNCTIONS
        }

    def terms(self) -> Iterator[Term]:
        rule = self.rule
        if rule.silent is not None:
            yield rule.silent
            return
        for term in (rule.when, rule.until, *rule.shown.values()):
            if term is not None:
                yield term

    def watches(self, now: Moment) -> bool:
        """Whether it is evaluated at what comes now, if it is not a GPU's own."""
        if self.watched is None:
            tops = self.terms() if self.rule.asset_type != GPU_TYPE else ()
            self.watched = {name for top in tops for name in names_below(top, self.asset, now)}
        return bool(self.watched & (now.sampled or set()))

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
        deadline = now.t + self.rule.timeouts_ns[self.asset]
        if self.phase == "active" and self.changed is not None and deadline <= self.changed:
            return []  # it came late: its own time-out was over when the alarm was raised
        self.deadline = deadline
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


def looks(rules: Iterable[Rule], gpus: Collection[str]) -> dict[tuple[str, str], Look]:
    """Of all rules together, by term and GPU: what a rule looks at of one of the unit's GPUs is known of all of them.

    So are functions of time: a rule of more GPUs, taken up later, does not begin with what was there all the time.
    """
    found: dict[tuple[str, str], Look] = {}
    for rule in rules:
        for top in (rule.when, rule.until, rule.silent, *rule.shown.values()):
            for term in top.walk() if top else ():
                if term.op in OVER:
                    members = {gpu for members in term.members.values() for gpu in members}
                    looked_at = term.args[0] if members & set(gpus) else None
                else:
                    looked_at = term if term.op in FUNCTIONS and rule.asset_type == GPU_TYPE else None
                if looked_at is None:
                    continue
                points = [below.points for below in looked_at.walk() if below.op == "point"]
                for gpu in gpus:
                    if all(gpu in of for of in points):
                        found[name_of(looked_at), gpu] = Look(looked_at, gpu)
    return found
