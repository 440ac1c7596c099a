"""A program's rules for one unit as operations for the kernel, and the state that goes with them.

Rules: the only place that knows both a `Rule` and a `Code`. A truth is made as two masks, where it is true and where
false, each only where something looks at it; equal functions of time of GPU rules are one function with one state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rules.engine import kernel
from rules.engine.arrays import Code, Lanes, Points, Work
from rules.engine.kernel import BACK, KEPT, NEVER
from rules.errors import InvariantError
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.language.program import GPU_TYPE, Program, Rule
from rules.language.terms import FUNCTIONS, Limit, Term
from rules.site.model import Unit

LONG_AGO: Final = -NEVER
"""Before every sample: the newest sample of what was never seen."""
STALE_PERIODS: Final = 3
_BITS: Final = 62
_NO_BIT: Final = 1 << _BITS

_NUMBERS: Final = {
    "add": kernel.ADD, "sub": kernel.SUB, "mul": kernel.MUL, "div": kernel.DIV, "neg": kernel.NEG,
    "abs": kernel.ABS, "least": kernel.LEAST, "most": kernel.MOST,
}  # fmt: skip
_TRUE: Final = {
    "lt": kernel.LT, "le": kernel.LE, "gt": kernel.GT, "ge": kernel.GE, "eq": kernel.EQ, "ne": kernel.NE,
}  # fmt: skip
_FALSE: Final = {
    "lt": kernel.GE, "le": kernel.GT, "gt": kernel.LE, "ge": kernel.LT, "eq": kernel.NE, "ne": kernel.EQ,
}  # fmt: skip
_WITH_NUMBER: Final = kernel.LT_NUMBER - kernel.LT


class _Function(NamedTuple):
    """An operation, and the rows of state that it needs."""

    op: int
    floats: int
    marks: int


_FUNCTIONS: Final[Mapping[str, _Function]] = {
    "rate": _Function(kernel.RATE, BACK, BACK + 1),
    "delta": _Function(kernel.DELTA, BACK, BACK + 1),
    "avg": _Function(kernel.AVG, 2 * KEPT + 2, 3),
    "twa": _Function(kernel.TWA, 2 * KEPT + 1, 4),
    "integral": _Function(kernel.INTEGRAL, 2 * KEPT + 1, 4),
    "min": _Function(kernel.MIN, KEPT + 1, 3),
    "max": _Function(kernel.MAX, KEPT + 1, 3),
    "stddev": _Function(kernel.STDDEV, 3 * KEPT, 3),
    "count": _Function(kernel.COUNT, KEPT + 1, 3),
    "ewma": _Function(kernel.EWMA, 1, 1),
    "cusum": _Function(kernel.CUSUM, 1, 0),
    "since": _Function(kernel.SINCE, 0, 1),
}


class Slot(NamedTuple):
    """Rows of state of one function of time; equal names mean the same in another program."""

    name: str
    float_first: int
    float_count: int
    mark_first: int
    mark_count: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """Code, and what a condition is called: `rules[rule_of[c]]` on the asset `assets[c]`.

    `rules` are those with an asset in this unit, the GPU's first and in program order within. Conditions are rule by
    rule, lane by lane, first those of the GPUs. `order` (C, 2) is (rule in program order, asset in unit order), by
    which deadlines of one instant fire. `shown`: numbers that a condition keeps for its message.
    """

    rules: tuple[Rule, ...]
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

    @property
    def gpu_conditions(self) -> int:
        """How many conditions are the GPUs'."""
        return self.gpu_rules * len(self.gpus)

    def conditions_of(self, rule: int) -> NDArray[np.int64]:
        """Conditions of rule `rule` (an index of `rules`), in lane order."""
        return np.flatnonzero(self.rule_of == rule)


class State(NamedTuple):
    """Everything that the engine's kernel remembers."""

    gpus: Lanes
    plant: Lanes
    points: Points
    newest_gpu: NDArray[np.int64]  # (W,) newest sample
    soonest: NDArray[np.int64]  # (1,) no deadline lies before it


def compile_unit(program: Program, unit: Unit) -> Compiled:
    """The program's operations for one unit."""
    here = {asset.id: index for index, asset in enumerate(unit.assets)}
    gpu = [rule for rule in program.rules if rule.asset_type == GPU_TYPE and unit.gpus]
    plant = [
        rule
        for rule in program.rules
        if rule.asset_type != GPU_TYPE and any(asset in here for asset in rule.assets)
    ]
    point_index = {point.id: index for index, point in enumerate(unit.points)}
    shown = max((len(rule.shown) for rule in (*gpu, *plant)), default=0) or 1
    gpu_writer = _Writer(unit.gpus, point_index, FIELD_COUNT)
    gpu_writer.functions(gpu, "")
    for row, rule in enumerate(gpu):
        gpu_writer.rule(row, rule)
    plant_writer = _Writer(("",), point_index, 0)
    conditions = [
        (len(gpu) + row, asset) for row, rule in enumerate(plant) for asset in rule.assets if asset in here
    ]
    code_first = [0]
    hanging: list[list[tuple[int, int]]] = [[] for _ in unit.points]
    for k, (row, asset) in enumerate(conditions):
        rule = plant[row - len(gpu)]
        read = sorted({point_index[name] for name in _points(rule, asset)})
        if len(read) > _BITS:
            raise InvariantError(
                f"rule '{rule.id}' reads {len(read)} points of {asset}; {_BITS} are possible"
            )
        bits = {point: 1 << bit for bit, point in enumerate(read)}
        for point, bit in bits.items():
            hanging[point].append((k, bit))
        plant_writer.of_asset(asset, bits)
        plant_writer.functions([rule], f"{rule.definition}:{asset}")
        plant_writer.rule(k, rule)
        code_first.append(len(plant_writer.ops))
    named = [(row, asset) for row in range(len(gpu)) for asset in unit.gpus] + conditions
    rules = (*gpu, *plant)
    position = {rule.id: index for index, rule in enumerate(program.rules)}
    return Compiled(
        rules=rules,
        rule_of=np.array([row for row, _ in named], np.int64),
        assets=tuple(asset for _, asset in named),
        order=np.array([(position[rules[row].id], here[asset]) for row, asset in named], np.int64).reshape(
            -1, 2
        ),
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
        stale_after_ns=np.array([STALE_PERIODS * point.period_ns for point in unit.points], np.int64),
        point_first=np.concatenate([[0], np.cumsum([len(found) for found in hanging])]).astype(np.int64),
        point_conditions=np.array([pair for found in hanging for pair in found], np.int64).reshape(-1, 2),
        code_first=np.array(code_first, np.int64),
    )


def _terms(rule: Rule) -> list[Term]:
    return [*(term for term in (rule.when, rule.until, rule.silent) if term), *rule.shown.values()]


def _points(rule: Rule, asset: str) -> set[str]:
    return {term.points[asset] for top in _terms(rule) for term in top.walk() if term.op == "point"}


def _key(term: Term) -> str:
    return orjson.dumps(term.plain).decode()


@dataclass(slots=True)
class _Writer:
    """Writes one code. `lanes` are the GPUs; a plant condition is one lane of its own, named by `of_asset`."""

    lanes: Sequence[str]
    point_index: Mapping[str, int]
    registers: int
    ops: list[tuple[int, ...]] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    masks: int = 0
    _bits: Mapping[int, int] = field(default_factory=dict)
    _numbers: list[float] = field(default_factory=list)
    _lane_numbers: list[list[float]] = field(default_factory=list)
    _lane_points: list[list[int]] = field(default_factory=list)
    _delays: list[tuple[int, int]] = field(default_factory=list)
    _timeouts: list[list[int]] = field(default_factory=list)
    _shown: list[int] = field(default_factory=list)
    _free: int = 0
    _free_mask: int = 0
    _made: dict[str, int] = field(default_factory=dict)
    """Register of each function of time, by its term."""
    _local: dict[str, int] = field(default_factory=dict)
    """Register or mask of what this rule has made already."""

    def of_asset(self, asset: str, bits: Mapping[int, int]) -> None:
        """The next condition's asset, and the bit of each point that it reads."""
        self.lanes = (asset,)
        self._bits = bits
        self._made = {}

    def functions(self, rules: Iterable[Rule], place: str) -> None:
        """Every function of time, once, before the rules: all are worked out at each evaluation."""
        self._free = FIELD_COUNT if not place else 0
        for rule in rules:
            for top in _terms(rule):
                for term in top.walk():
                    if term.op in FUNCTIONS and _key(term) not in self._made:
                        self._function(term, f"{place}:{_key(term)}")

    def rule(self, row: int, rule: Rule) -> None:
        """The condition's operations; its state is row `row`."""
        self._start()
        self._delays.append((rule.on_delay_ns, rule.off_delay_ns))
        self._timeouts.append([rule.timeouts_ns.get(asset, NEVER) for asset in self.lanes])
        if rule.silent is not None:
            self._emit(kernel.NO_DATA, row, self._number(rule.silent))
            return
        assert rule.when is not None, "the loader gives every rule a condition"
        true = self._of_members(self._truth(rule.when, True), rule)
        at = self._emit(kernel.QUIET, row, true)
        false = self._truth(rule.when, False)
        until, still = false, true
        if rule.until is not None:
            until, still = self._truth(rule.until, True), self._truth(rule.until, False)
        shown = [self._number(term) for term in rule.shown.values()]
        self._emit(kernel.STEP, row, true, false, until, still, len(self._shown), len(shown))
        self._shown += shown
        self.ops[at] = (*self.ops[at][:3], len(self.ops) - at - 1, *self.ops[at][4:])

    def code(self) -> Code:
        """All of it as arrays."""
        width = len(self.lanes)
        return Code(
            ops=np.array(self.ops, np.int64).reshape(-1, 8),
            numbers=np.array(self._numbers, np.float64),
            lane_numbers=np.array(self._lane_numbers, np.float64).reshape(len(self._lane_numbers), width),
            lane_points=np.array(self._lane_points, np.int64).reshape(len(self._lane_points), width),
            delays=np.array(self._delays, np.int64).reshape(-1, 2),
            timeouts=np.array(self._timeouts, np.int64).reshape(len(self._timeouts), width),
            shown=np.array(self._shown, np.int64),
        )

    def _start(self) -> None:
        """Registers above those of functions are free again."""
        self._local = {}
        self._free_mask = 0
        self._free = max(
            [FIELD_COUNT if len(self._bits) == 0 else 0, *(row + 1 for row in self._made.values())]
        )

    def _emit(self, op: int, *columns: int) -> int:
        self.ops.append((op, *columns, *[0] * (7 - len(columns))))
        return len(self.ops) - 1

    def _register(self) -> int:
        self._free += 1
        self.registers = max(self.registers, self._free)
        return self._free - 1

    def _mask(self) -> int:
        self._free_mask += 1
        self.masks = max(self.masks, self._free_mask)
        return self._free_mask - 1

    def _function(self, term: Term, name: str) -> None:
        kind = _FUNCTIONS[term.op]
        self._local, self._free_mask = {}, 0
        a, b, extra = 0, 0, term.window_ns
        if term.args[0].is_truth:
            a, b = self._truth(term.args[0], True), self._truth(term.args[0], False)
        else:
            a = self._number(term.args[0])
            if term.op == "cusum":
                b, extra = self._number(term.args[1]), self._number(term.args[2])
        bits = 0
        for below in term.walk():
            if below.op == "point":
                bits |= self._bits.get(self.point_index[below.points[self.lanes[0]]], 0) if self._bits else 0
        last = self.slots[-1] if self.slots else Slot("", 0, 0, 0, 0)
        slot = Slot(
            name,
            last.float_first + last.float_count,
            kind.floats + (1 if self._bits else 0),  # one more for the value of the last taking
            last.mark_first + last.mark_count,
            kind.marks,
        )
        self.slots.append(slot)
        out = self._register()
        # one of numbers alone is never taken: no sample is a sample of it
        self._emit(
            kind.op,
            out,
            a,
            b,
            slot.float_first,
            slot.mark_first,
            extra,
            bits or (_NO_BIT if self._bits else 0),
        )
        self._made[_key(term)] = out

    def _of_members(self, mask: int, rule: Rule) -> int:
        """The mask without lanes that the rule is not for: they stay normal for ever."""
        members = set(rule.assets)
        if members.issuperset(self.lanes):
            return mask
        belongs = self._number(
            Term("number", number=Limit(0.0, {asset: 1.0 for asset in self.lanes if asset in members}))
        )
        member, out = self._mask(), self._mask()
        self._emit(kernel.GT_NUMBER, member, belongs, self._constant(0.5))
        self._emit(kernel.AND, out, mask, member)
        return out

    def _number(self, term: Term) -> int:
        """The register that holds a number."""
        if term.op == "field":
            return FIELD_INDEX[term.signal]
        key = _key(term)
        if key in self._made:
            return self._made[key]
        if key not in self._local:
            self._local[key] = self._new_number(term)
        return self._local[key]

    def _new_number(self, term: Term) -> int:
        if term.op == "number":
            values = [term.number.of(asset) for asset in self.lanes]
            alike = all(value == values[0] for value in values)
            op = kernel.NUMBER if alike else kernel.LANE_NUMBER
            place = self._constant(values[0]) if alike else len(self._lane_numbers)
            if not alike:
                self._lane_numbers.append(values)
            out = self._register()
            self._emit(op, out, place)
            return out
        if term.op == "point":
            self._lane_points.append(
                [self.point_index[term.points[asset]] if asset in term.points else -1 for asset in self.lanes]
            )
            out = self._register()
            self._emit(kernel.LANE_POINT, out, len(self._lane_points) - 1)
            return out
        args = [self._number(arg) for arg in term.args]
        out = self._register()
        self._emit(_NUMBERS[term.op], out, *args)
        return out

    def _constant(self, value: float) -> int:
        self._numbers.append(value)
        return len(self._numbers) - 1

    def _truth(self, term: Term, want: bool) -> int:
        """The mask that says where `term` is true (`want`), or where it is false."""
        if term.op == "not":
            return self._truth(term.args[0], not want)
        key = f"{want}:{_key(term)}"
        if key not in self._local:
            self._local[key] = self._new_truth(term, want)
        return self._local[key]

    def _new_truth(self, term: Term, want: bool) -> int:
        if term.op in ("and", "or"):
            a, b = (self._truth(arg, want) for arg in term.args)
            out = self._mask()
            self._emit(kernel.AND if (term.op == "and") == want else kernel.OR, out, a, b)
            return out
        op = (_TRUE if want else _FALSE)[term.op]
        left, right = term.args
        a = self._number(left)
        if right.op == "number" and not right.number.by_asset:
            place = self._constant(right.number.value)
            out = self._mask()
            self._emit(op + _WITH_NUMBER, out, a, place)
            return out
        b = self._number(right)
        out = self._mask()
        self._emit(op, out, a, b)
        return out


def fresh_state(compiled: Compiled) -> State:
    """State before the first input."""
    points = len(compiled.point_index)
    plant = len(compiled.assets) - compiled.gpu_conditions
    return State(
        gpus=_fresh_lanes(compiled.gpu_rules, len(compiled.gpus), compiled.shown, compiled.gpu_slots, False),
        plant=_fresh_lanes(plant, 1, compiled.shown, compiled.plant_slots, True),
        points=Points(
            values=np.full(points, np.nan),
            times=np.full(points, LONG_AGO, np.int64),
            stale_after=compiled.stale_after_ns,
            first=compiled.point_first,
            conditions=compiled.point_conditions,
            code_first=compiled.code_first,
            evaluated=np.full(plant, LONG_AGO, np.int64),
        ),
        newest_gpu=np.full(len(compiled.gpus), LONG_AGO, np.int64),
        soonest=np.array([NEVER], np.int64),
    )


def _fresh_lanes(rows: int, width: int, shown: int, slots: Sequence[Slot], taken: bool) -> Lanes:
    """`taken`: the first number of each slot is the value of the last taking."""
    last = slots[-1] if slots else Slot("", 0, 0, 0, 0)
    floats = np.zeros((last.float_first + last.float_count, width))
    if taken:
        floats[[slot.float_first for slot in slots]] = np.nan
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
    numbers, truths = compiled.registers
    gpus, plant = (
        Work(np.zeros((max(numbers, FIELD_COUNT), width)), np.zeros((max(truths, 1), width), np.bool_))
        for width in (len(compiled.gpus), 1)
    )
    return gpus, plant
