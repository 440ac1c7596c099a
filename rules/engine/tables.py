"""A program's rules for one unit as code for the kernel, and the state that goes with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rules.engine.facts import Parts, Told, parts_of
from rules.engine.kernel.arrays import Code, Lanes, Points, Work
from rules.engine.kernel.codes import CELLS, NEVER
from rules.engine.outputs import Severity
from rules.engine.periods import Periods
from rules.engine.writer import KEPT_FOR_PLANT, Slot, Writer
from rules.errors import InvariantError
from rules.gpu_fields import FIELD_COUNT
from rules.language.program import GPU_TYPE, Program, Rule, Target
from rules.language.terms import FUNCTIONS, OVER, Term
from rules.site.model import SILENT_NS, Site, Unit

LONG_AGO: Final = -NEVER
"""Before every sample: the newest sample of what was never seen."""
STALE_PERIODS: Final = 3
_BITS: Final = 62
_TOUCHED: Final = 1 << _BITS
"""Set whenever a GPU that a condition looks at has a sample, whatever takes it."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an engine still needs of a rule that is code: what its alarms say, and the commands of this unit's assets.

    `shown`: names of the numbers that a message shows. `sampled_ns`: of a rule of a group, how far apart samples of its
    signals may come, else 0. `needs_facts`: it explains alarms, and reads what other units tell.
    """

    id: str
    definition: str
    severity: Severity
    message: str
    shown: tuple[str, ...]
    targets: Mapping[str, tuple[Target, ...]]
    latches: bool
    group: str
    sampled_ns: int
    re_alarm_ns: int
    needs_facts: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """Code, and what a condition is called: `rules[rule_of[c]]` on the asset `assets[c]`.

    `rules` are those with an asset in this unit, the GPU's first and in program order within. Conditions are rule by
    rule, lane by lane, first those of the GPUs. `order` (C, 2) is (rule in program order, asset in unit order), by
    which deadlines of one instant fire. `shown`: numbers that a condition keeps for its message. `told`: what other
    units must know, whose rows come after those of the plant's conditions. `fact_rows`: what this unit is told, by
    name: the row of the first of its two numbers among the points. `suppresses`: by rule, of any unit, those whose
    alarms its own explains.
    """

    rules: tuple[Spoken, ...]
    rule_of: NDArray[np.int64]
    assets: tuple[str, ...]
    order: NDArray[np.int64]
    gpu_rules: int
    gpus: tuple[str, ...]
    shown: int
    gpu_code: Code
    plant_code: Code
    gpu_slots: tuple[Slot, ...]
    plant_slots: tuple[Slot, ...]
    registers: tuple[int, int]
    """Of numbers, of truths: the more of both codes."""
    point_index: dict[str, int]
    stale_after_ns: NDArray[np.int64]
    point_first: NDArray[np.int64]
    point_conditions: NDArray[np.int64]
    code_first: NDArray[np.int64]
    gpu_stale_after_ns: NDArray[np.int64]
    members: NDArray[np.int64]
    watch: NDArray[np.int64]
    told: tuple[Told, ...]
    fact_rows: dict[str, int]
    suppresses: dict[str, tuple[str, ...]]

    @property
    def plant_rows(self) -> int:
        """How many conditions are the plant's, and the facts that are told."""
        return len(self.assets) - self.gpu_conditions + len(self.told)

    @property
    def gpu_conditions(self) -> int:
        """How many conditions are the GPUs'."""
        return self.gpu_rules * len(self.gpus)


class State(NamedTuple):
    """Everything that the engine's kernel remembers."""

    gpus: Lanes
    plant: Lanes
    points: Points
    soonest: NDArray[np.int64]  # (1,) no deadline lies before it


def compile_unit(program: Program, site: Site, unit: Unit) -> Compiled:
    """The program's operations for one unit."""
    # 50,000 conditions of a row's GPUs: what is the same for all GPUs, or for all assets of a rule, is made once.
    here = {asset.id: index for index, asset in enumerate(unit.assets)}
    gpu = [rule for rule in program.rules if rule.asset_type == GPU_TYPE and unit.gpus]
    plant = [
        rule
        for rule in program.rules
        if rule.asset_type != GPU_TYPE and any(asset in here for asset in rule.assets)
    ]
    point_index = {point.id: index for index, point in enumerate(unit.points)}
    parts = parts_of(program, site)
    facts = parts.facts()
    told = tuple(part for part in facts if part.unit == unit.id)
    heard = [part for part in facts if part.to == unit.id]
    fact_rows = {part.name: len(unit.points) + 2 * place for place, part in enumerate(heard)}
    shown = max([2 if told else 1, *(len(rule.shown) for rule in (*gpu, *plant))])
    gpu_writer = Writer(unit.gpus, point_index, FIELD_COUNT)
    looked_at = _looked_at(plant, parts, unit)
    gpu_writer.functions([*(term for rule in gpu for term in rule.terms), *looked_at], "")
    gpu_writer.share(gpu)
    kept = gpu_writer.keep(looked_at)
    of_unit: dict[int, tuple[str, ...]] = {}  # by `id`: rules share the tuple of their assets
    for row, rule in enumerate(gpu):
        if id(rule.assets) not in of_unit:
            of_unit[id(rule.assets)] = tuple(filter(unit.gpu_lane.__contains__, rule.assets))
        gpu_writer.rule(row, replace(rule, assets=of_unit[id(rule.assets)]))
    plant_writer = Writer(("",), point_index, 0, unit.gpu_lane, kept, parts, fact_rows)
    conditions = [
        (len(gpu) + row, asset) for row, rule in enumerate(plant) for asset in rule.assets if asset in here
    ]
    code_first = [0]
    # Both numbers of a fact are there when something hangs on it: it hangs on the second.
    hangs_on = {**point_index, **{name: row + 1 for name, row in fact_rows.items()}}
    hanging: list[list[tuple[int, int]]] = [[] for _ in range(len(unit.points) + 2 * len(heard))]
    watch: list[tuple[int, int, int, int]] = []
    taken = [_Taken.of(rule) for rule in plant]

    def hang(k: int, takers: Mapping[str, int]) -> None:
        for name in takers:
            if name in hangs_on:
                hanging[hangs_on[name]].append((k, takers[name]))
        watch.extend(_spans(k, takers, unit.gpu_lane))

    for k, (row, asset) in enumerate(conditions):
        rule, takes = plant[row - len(gpu)], taken[row - len(gpu)]
        hang(k, takes.takers(asset, parts))
        plant_writer.of_asset(asset, takes.bits)
        if takes.bits:
            plant_writer.functions(takes.terms, f"{rule.definition}:{asset}")
        plant_writer.rule(k, rule)
        code_first.append(len(plant_writer.ops))
    for k, part in enumerate(told, len(conditions)):
        hang(k, dict.fromkeys(parts.names_below(part.term, part.asset), 0))
        plant_writer.of_asset(part.asset, {})
        plant_writer.fact(k, part)
        code_first.append(len(plant_writer.ops))
    rules = (*gpu, *plant)
    position = {rule.id: index for index, rule in enumerate(program.rules)}
    rule_of = np.concatenate(
        [
            np.repeat(np.arange(len(gpu), dtype=np.int64), len(unit.gpus)),
            np.array([row for row, _ in conditions], np.int64),
        ]
    )
    lanes = np.array([here[asset] for asset in unit.gpus], np.int64)
    places = np.array([here[asset] for _, asset in conditions], np.int64)
    places = np.concatenate([np.tile(lanes, len(gpu)), places])
    return Compiled(
        rules=_spoken(rules, here, site, parts, fact_rows),
        rule_of=rule_of,
        assets=unit.gpus * len(gpu) + tuple(asset for _, asset in conditions),
        order=np.stack([np.array([position[rule.id] for rule in rules], np.int64)[rule_of], places], axis=1),
        gpu_rules=len(gpu),
        gpus=unit.gpus,
        shown=shown,
        gpu_code=gpu_writer.code(),
        plant_code=plant_writer.code(),
        gpu_slots=tuple(gpu_writer.slots),
        plant_slots=tuple(plant_writer.slots),
        registers=(
            max(gpu_writer.registers, plant_writer.registers),
            max(gpu_writer.masks, plant_writer.masks),
        ),
        point_index=point_index,
        stale_after_ns=np.array(
            [point.period_ns for point in unit.points] + [part.period_ns for part in heard for _ in range(2)],
            np.int64,
        )
        * STALE_PERIODS,
        point_first=np.concatenate([[0], np.cumsum([len(found) for found in hanging])]).astype(np.int64),
        point_conditions=np.array([pair for found in hanging for pair in found], np.int64).reshape(-1, 2),
        code_first=np.array(code_first, np.int64),
        gpu_stale_after_ns=np.array(_gpu_periods_ns(site, unit), np.int64) * STALE_PERIODS,
        members=np.array(plant_writer.members, np.int64),
        watch=np.array(watch, np.int64).reshape(-1, 4),
        told=tuple(Told(part.to, part.name, part.asset) for part in told),
        fact_rows=fact_rows,
        suppresses={rule.id: rule.suppresses for rule in program.rules if rule.suppresses},
    )


def _needs_facts(rule: Rule, parts: Parts, here: Collection[str], facts: Collection[str]) -> bool:
    return any(
        name in facts
        for asset in rule.assets
        if asset in here
        for term in rule.terms
        for name in parts.names_read(term, asset)
    )


def _sampled_ns(rule: Rule, here: Collection[str], periods: Periods) -> int:
    """How far apart samples of the rule's signals may come, of whichever asset of the unit."""
    assets = [asset for asset in rule.assets if asset in here]
    signals = (signal for term in rule.terms for asset in assets for signal in term.signals(asset))
    return max((periods.of(*signal) for signal in signals), default=0)


def _spoken(
    rules: Sequence[Rule], here: Collection[str], site: Site, parts: Parts, fact_rows: Collection[str]
) -> tuple[Spoken, ...]:
    """Rules with one command share its targets, here as there."""
    targets: dict[int, Mapping[str, tuple[Target, ...]]] = {}
    for rule in rules:
        if id(rule.targets) not in targets:
            own = {asset: rule.targets[asset] for asset in here if asset in rule.targets}
            targets[id(rule.targets)] = own
    periods = Periods(site)
    return tuple(
        Spoken(
            rule.id,
            rule.definition,
            rule.severity,
            rule.message,
            tuple(rule.shown),
            targets[id(rule.targets)],
            rule.latches,
            rule.group,
            _sampled_ns(rule, here, periods) if rule.group else 0,
            rule.re_alarm_ns,
            bool(rule.suppresses and fact_rows) and _needs_facts(rule, parts, here, fact_rows),
        )
        for rule in rules
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a plant rule reads, whatever the asset.

    `bits`: one for each function of time, by its term; of one that begins anew a second, higher one, for what its
    condition reads. `signals`: what is read of the asset itself, each with the bits of the functions that take it.
    `over`: what looks at several assets, likewise.
    """

    terms: Sequence[Term]
    bits: Mapping[str, int]
    signals: Sequence[tuple[Term, int]]
    over: Sequence[tuple[Term, int]]

    @classmethod
    def of(cls, rule: Rule) -> _Taken:
        terms = rule.terms
        timed = {term.key: term for top in terms for term in top.walk() if term.op in FUNCTIONS}
        watched = [(top, 0) for top in terms]
        bits, next_bit = dict.fromkeys(timed, 0), 0
        for name, term in timed.items():
            for arg in term.args[: 2 if term.begins_anew else 1]:
                watched.append((arg, 1 << next_bit))
                bits[name] |= 1 << next_bit
                next_bit += 1
        if next_bit > _BITS:
            raise InvariantError(f"rule '{rule.id}' has {next_bit} functions of time; {_BITS} are possible")
        read: dict[int, tuple[Term, int]] = {}  # by `id`: a rule and its functions share terms
        for top, taken in watched:
            for part in top.walk():
                read[id(part)] = part, taken | read.get(id(part), (part, 0))[1]
        return cls(
            terms,
            bits,
            [one for one in read.values() if one[0].op in ("field", "point")],
            [one for one in read.values() if one[0].op in OVER],
        )

    def takers(self, asset: str, parts: Parts) -> dict[str, int]:
        """By point, GPU or fact that a condition reads: the bits of the functions that take a sample of it."""
        takers: dict[str, int] = {}
        for signal, taken in self.signals:
            name = asset if signal.op == "field" else signal.points[asset]
            takers[name] = takers.get(name, 0) | taken
        for term, taken in self.over:
            for name in parts.names_read(term, asset):
                takers[name] = takers.get(name, 0) | taken
        return takers


def _spans(k: int, takers: Mapping[str, int], lanes: Mapping[str, int]) -> list[tuple[int, int, int, int]]:
    """Neighbouring GPUs that condition `k` looks at with the same functions: (k, bits, first, behind the last)."""
    spans: list[tuple[int, int, int, int]] = []
    for lane, bits in sorted(
        (lanes[name], bits | _TOUCHED) for name, bits in takers.items() if name in lanes
    ):
        if spans and spans[-1][1] == bits and spans[-1][3] == lane:
            spans[-1] = (*spans[-1][:3], lane + 1)
        else:
            spans.append((k, bits, lane, lane + 1))
    return spans


def _looked_at(rules: Sequence[Rule], parts: Parts, unit: Unit) -> list[Term]:
    """What plant rules look at of each of several GPUs, those of other units too."""
    tops = [top for rule in rules for top in rule.terms]
    tops += [part.term for part in parts.every if part.unit == unit.id]
    return [
        term.args[0]
        for top in tops
        for term in top.walk()
        if term.op in OVER and any(members[0] in unit.gpu_lane for members in term.members.values())
    ]


def _gpu_periods_ns(site: Site, unit: Unit) -> list[int]:
    """How often each GPU of the unit is read, by lane."""
    periods = [SILENT_NS] * len(unit.gpus)
    for source in site.sources.values():
        for asset in source.assets:
            if site.assets[asset].unit == unit.id:
                low, high = unit.gpu_range[asset]
                periods[low:high] = [source.period_ns] * (high - low)
    return periods


def fresh_state(compiled: Compiled) -> State:
    """State before the first input."""
    points = len(compiled.stale_after_ns)
    plant = compiled.plant_rows
    width = len(compiled.gpus)
    kept = [slot.float_first for slot in compiled.gpu_slots if slot.name.startswith(KEPT_FOR_PLANT)]
    taken = [slot.float_first for slot in compiled.plant_slots]
    gpus = _fresh_lanes(compiled.gpu_rules, width, compiled.shown, compiled.gpu_slots, kept)
    return State(
        gpus=gpus,
        plant=_fresh_lanes(plant, 1, compiled.shown, compiled.plant_slots, taken),
        points=Points(
            values=np.full(points, np.nan),
            times=np.full(points, LONG_AGO, np.int64),
            stale_after=compiled.stale_after_ns,
            first=compiled.point_first,
            conditions=compiled.point_conditions,
            code_first=compiled.code_first,
            evaluated=np.full(plant, LONG_AGO, np.int64),
            kept=gpus.floats,
            gpu_times=np.full(width, LONG_AGO, np.int64),
            gpu_stale_after=compiled.gpu_stale_after_ns,
            members=compiled.members,
            watch=compiled.watch,
            touched=np.zeros(plant, np.int64),
            places=np.full(width, -1, np.int64),
            frame_times=np.zeros(CELLS, np.int64),
            frame_kept=np.zeros((len(kept), CELLS)),
        ),
        soonest=np.array([NEVER], np.int64),
    )


def _fresh_lanes(rows: int, width: int, shown: int, slots: Sequence[Slot], unknown: Sequence[int]) -> Lanes:
    """`unknown`: rows of numbers that nobody knows yet; the others are sums and counts, which begin at 0."""
    last = slots[-1] if slots else Slot("", 0, 0, 0, 0)
    floats = np.zeros((last.float_first + last.float_count, width))
    floats[list(unknown)] = np.nan
    return Lanes(
        phases=np.zeros((rows, width), np.int8),
        held=np.zeros((rows, width), np.int8),
        deadlines=np.full((rows, width), NEVER, np.int64),
        remaining=np.zeros((rows, width), np.int64),
        changed=np.full((rows, width), LONG_AGO, np.int64),
        shown=np.full((rows * shown, width), np.nan),
        floats=floats,
        marks=np.full((last.mark_first + last.mark_count, width), LONG_AGO, np.int64),
    )


def fresh_work(compiled: Compiled) -> tuple[Work, Work]:
    """Registers for the GPUs and for the plant."""
    numbers, truths = max(compiled.registers[0], FIELD_COUNT), max(compiled.registers[1], 1)
    return _fresh_registers(numbers, truths), _fresh_registers(numbers, truths)


def _fresh_registers(numbers: int, truths: int) -> Work:
    cells = np.zeros((numbers, CELLS))
    return Work(
        numbers=cells,
        bits=cells.view(np.int64),
        bounds=np.ones((numbers, 3)),  # unknown, where nobody looks for them
        truths=np.zeros((truths, CELLS), np.bool_),
        times=np.zeros(CELLS, np.int64),
    )
