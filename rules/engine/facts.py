"""What units tell each other (decision 0015): parts of aggregates over several units, and signals of other units.

Rules: an aggregate of an asset is split by the units of its members, in site order; what is not of the asset's own
unit reaches it as a fact. A part is named by all that it is made of, so that a changed rule needs another fact; equal
parts of several rules are one. What a fact is made of needs no fact itself (the language sees to that).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rules.engine.periods import Periods
from rules.language.program import GPU_TYPE, Program, Rule
from rules.language.terms import OVER, Op, Term
from rules.site.model import Site

_PARTS: Final[dict[Op, Op]] = {"avg_over": "sum_over", "coverage_over": "sum_over"}
"""What members contribute where that is not what is made of all: each part also says how many of them are known."""


@dataclass(frozen=True, slots=True)
class Part:
    """What the members in one unit make of an aggregate that unit `to` needs, as `term` has it for `asset`.

    A signal of another unit is the part of an aggregate of one. `period_ns`: how often it is told at most.
    """

    name: str
    unit: str
    to: str
    asset: str
    term: Term
    period_ns: int

    @property
    def is_fact(self) -> bool:
        """Whether it goes to another unit."""
        return self.unit != self.to


class Told(NamedTuple):
    """What an engine needs of a part that it tells: to which unit, under which name, of which asset."""

    to: str
    name: str
    asset: str


@dataclass(frozen=True, slots=True)
class Parts:
    """Of a program. `of`: by the aggregate's term and its asset, only for those with members in other units."""

    of: Mapping[tuple[str, str], tuple[Part, ...]] = field(default_factory=dict)
    signals: tuple[Part, ...] = ()

    @property
    def every(self) -> list[Part]:
        """All of them; equal ones of several rules are there as often."""
        return [*(part for parts in self.of.values() for part in parts), *self.signals]

    def facts(self) -> list[Part]:
        """What is told, each once for each unit that needs it, by unit and name."""
        found = {(part.to, part.name): part for part in self.every if part.is_fact}
        return [found[key] for key in sorted(found)]

    def names_read(self, term: Term, asset: str) -> Iterator[str]:
        """Points, GPUs and facts whose coming makes a difference to the term, in the asset's own unit."""
        if term.op in ("field", "point"):
            yield asset if term.op == "field" else term.points[asset]
            return
        parts = self.of.get((term.key, asset)) if term.op in OVER else None
        for part in parts or ():
            if part.is_fact:
                yield part.name
            else:
                yield from self.names_below(part.term, asset)
        if parts is None:
            yield from self.names_below(term, asset)

    def names_below(self, term: Term, asset: str) -> Iterator[str]:
        """Those of what it works on: all that an aggregate within one unit reads, also that of a part."""
        for one in term.members[asset] if term.op in OVER else (asset,):
            for arg in term.args:
                yield from self.names_read(arg, one)


def parts_of(program: Program, site: Site) -> Parts:
    """All parts of the program's rules; GPUs look at nothing of another unit."""
    return _Splitter(site).split([rule for rule in program.rules if rule.asset_type != GPU_TYPE])


class _Splitter:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._of: dict[tuple[str, str], tuple[Part, ...]] = {}
        self._signals: dict[tuple[str, str], Part] = {}
        self._units: dict[int, tuple[tuple[str, ...], frozenset[str]]] = {}
        self._periods = Periods(site)

    def split(self, rules: list[Rule]) -> Parts:
        for rule in rules:
            for top in rule.terms:
                for term in top.walk():
                    if term.op in OVER:
                        self._look_at_members(term, rule.assets)
                    elif term.op == "point":
                        self._look_at_points(term, rule.assets)
        return Parts(self._of, tuple(self._signals.values()))

    def _look_at_members(self, term: Term, assets: Iterable[str]) -> None:
        """Of an aggregate, in which there is no other. What its members read may have to be told to their unit."""
        for asset in assets:
            members, unit = term.members[asset], self._site.assets[asset].unit
            if self._units_of(members) - {unit} and (term.key, asset) not in self._of:
                self._of[term.key, asset] = tuple(self._parts(term, asset))
            for below in term.args[0].walk():
                if below.op == "point":
                    self._look_at_points(below, members)

    def _look_at_points(self, term: Term, assets: Iterable[str]) -> None:
        if "." not in term.signal:  # the assets' own
            return
        for asset in assets:
            point, to = term.points[asset], self._site.assets[asset].unit
            owner = self._site.assets[self._site.points[point].asset]
            if owner.unit != to and (point, to) not in self._signals:
                signal = Term("point", signal=term.signal, points={owner.id: point})
                alone = Term("max_over", (signal,), members={owner.id: (owner.id,)})
                self._signals[point, to] = self._part(point, owner.unit, to, owner.id, alone)

    def _parts(self, term: Term, asset: str) -> Iterator[Part]:
        op: Op = _PARTS.get(term.op, term.op)
        if term.args[0].is_truth:
            op = "count_over"
        by_unit: dict[str, list[str]] = {}
        for member in term.members[asset]:
            by_unit.setdefault(self._site.assets[member].unit, []).append(member)
        for unit, members in by_unit.items():
            part = Term(op, term.args, members={asset: tuple(members)})
            name = f"{asset}.{op}.{part.key[:16]}"
            yield self._part(name, unit, self._site.assets[asset].unit, asset, part)

    def _part(self, name: str, unit: str, to: str, asset: str, term: Term) -> Part:
        """Told as often as the fastest of its signals comes: when that one is silent, the others are believed less."""
        periods_ns = [self._periods.of(signal, of) for signal, of in term.signals(asset)]
        period_ns = max(self._site.fact_period_ns, min(periods_ns)) if unit != to else 0
        return Part(name, unit, to, asset, term, period_ns)

    def _units_of(self, members: tuple[str, ...]) -> frozenset[str]:
        """Rules share the tuples of members, which are looked through once."""
        known = self._units.get(id(members))
        if known is None:
            units = frozenset(self._site.assets[member].unit for member in members)
            known = self._units[id(members)] = members, units
        return known[1]
