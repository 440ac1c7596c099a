"""Terms to operations of the kernel: one writer for the GPUs' code, one for that of a unit's plant conditions.

Rules: a truth is made as two masks, where it is true and where false, each only where something looks at it; equal
functions of time of GPU rules are one function with one state; a register below those of functions is a rule's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from rules.engine.facts import Part, Parts
from rules.engine.kernel import codes
from rules.engine.kernel.arrays import Code
from rules.engine.kernel.codes import BACK, KEPT, NEVER
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.language.program import Rule
from rules.language.terms import FUNCTIONS, OVER, Limit, Term

_NUMBERS: Final = {
    "add": codes.ADD, "sub": codes.SUB, "mul": codes.MUL, "div": codes.DIV, "neg": codes.NEG,
    "abs": codes.ABS, "least": codes.LEAST, "most": codes.MOST,
}  # fmt: skip
_TRUE: Final = {
    "lt": codes.LT, "le": codes.LE, "gt": codes.GT, "ge": codes.GE, "eq": codes.EQ, "ne": codes.NE,
}  # fmt: skip
_FALSE: Final = {
    "lt": codes.GE, "le": codes.GT, "gt": codes.LE, "ge": codes.LT, "eq": codes.NE, "ne": codes.EQ,
}  # fmt: skip
_WITH_NUMBER: Final = codes.LT_NUMBER - codes.LT
_OVER: Final = {
    "sum_over": codes.SUM, "count_over": codes.SUM, "avg_over": codes.MEAN, "min_over": codes.LOWEST,
    "max_over": codes.HIGHEST, "coverage_over": codes.COVERAGE,
}  # fmt: skip


class _Function(NamedTuple):
    """An operation, and the rows of state that it needs."""

    op: int
    floats: int
    marks: int


_FUNCTIONS: Final[Mapping[str, _Function]] = {
    "rate": _Function(codes.RATE, BACK, BACK + 1),
    "delta": _Function(codes.DELTA, BACK, BACK + 1),
    "avg": _Function(codes.AVG, 2 * KEPT + 2, 3),
    "twa": _Function(codes.TWA, 2 * KEPT + 1, 4),
    "integral": _Function(codes.INTEGRAL, 2 * KEPT + 1, 4),
    "min": _Function(codes.MIN, KEPT + 1, 3),
    "max": _Function(codes.MAX, KEPT + 1, 3),
    "stddev": _Function(codes.STDDEV, 3 * KEPT, 3),
    "count": _Function(codes.COUNT, KEPT + 1, 3),
    "ewma": _Function(codes.EWMA, 1, 1),
    "cusum": _Function(codes.CUSUM, 1, 0),
    "since": _Function(codes.SINCE, 0, 1),
}
_ANEW: Final[Mapping[str, int]] = {
    "rate": codes.RATE_ANEW, "delta": codes.DELTA_ANEW, "avg": codes.AVG_ANEW, "twa": codes.TWA_ANEW,
    "min": codes.MIN_ANEW, "max": codes.MAX_ANEW, "stddev": codes.STDDEV_ANEW,
    "integral": codes.INTEGRAL_ANEW, "count": codes.COUNT_ANEW,
}  # fmt: skip


KEPT_FOR_PLANT: Final = "kept:"
"""How the names of slots begin in which GPUs keep numbers for the plant."""


class Slot(NamedTuple):
    """Rows of state of one function of time; equal names mean the same in another program."""

    name: str
    float_first: int
    float_count: int
    mark_first: int
    mark_count: int


def _numbers_of(term: Term) -> Iterator[Term]:
    """Numbers that `term` computes at each evaluation, what they are made of first. Constants cost little."""
    if term.op in FUNCTIONS or term.op in OVER or term.op in ("field", "number"):
        return
    for arg in term.args:
        yield from _numbers_of(arg)
    if not term.is_truth:
        yield term


@dataclass(slots=True)
class Writer:
    """Writes one code. `lanes` are the GPUs; a plant condition is one lane of its own, named by `of_asset`."""

    lanes: Sequence[str]
    point_index: Mapping[str, int]
    registers: int
    gpu_lane: Mapping[str, int] = field(default_factory=dict)
    gpu_kept: Mapping[str, int] = field(default_factory=dict)
    """Where the GPUs keep what plant conditions look at, by its term."""
    parts: Parts = field(default_factory=Parts)
    fact_rows: Mapping[str, int] = field(default_factory=dict)
    """Where facts are among the points, by their names: the number, behind it of how many members it is."""
    members: list[int] = field(default_factory=list)
    """Lanes that plant conditions look at."""
    ops: list[tuple[int, ...]] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    masks: int = 0
    _bits: Mapping[str, int] | None = None
    """Of a plant condition's functions of time, by their terms; None for GPUs."""
    _numbers: list[float] = field(default_factory=list)
    _lane_numbers: list[list[float]] = field(default_factory=list)
    _lane_points: list[list[int]] = field(default_factory=list)
    _delays: list[tuple[int, int]] = field(default_factory=list)
    _timeouts: list[list[int]] = field(default_factory=list)
    _lists: list[int] = field(default_factory=list)
    _free: int = 0
    _free_mask: int = 0
    _made: dict[str, int] = field(default_factory=dict)
    """Register of each function of time, by its term."""
    _local: dict[str, int] = field(default_factory=dict)
    """Register or mask of what this rule has made already."""

    def of_asset(self, asset: str, bits: Mapping[str, int]) -> None:
        """The next condition's asset, and the bit of each of its functions of time."""
        self.lanes = (asset,)
        self._bits = bits
        self._made = {}

    def functions(self, tops: Iterable[Term], place: str) -> None:
        """Every function of time, once, before the rules: all are worked out at each evaluation."""
        self._free = FIELD_COUNT if self._bits is None else 0
        for top in tops:
            for term in top.walk():
                if term.op in FUNCTIONS and term.key not in self._made:
                    self._function(term, f"{place}:{term.key}")

    def share(self, rules: Collection[Rule]) -> None:
        """Numbers that the conditions of several GPU rules are made of: once, before the rules."""
        uses = Counter(
            key for rule in rules if rule.when for key in {term.key for term in _numbers_of(rule.when)}
        )
        self._start()
        for rule in rules:
            for term in _numbers_of(rule.when) if rule.when else ():
                if uses[term.key] > 1 and term.key not in self._made:
                    self._made[term.key] = self._number(term)
                    self._emit(codes.BOUNDS, 0, self._made[term.key])

    def keep(self, tops: Iterable[Term]) -> dict[str, int]:
        """Keep numbers or truths of every lane for the plant, in the last rows: that of each, by its term."""
        rows: dict[str, int] = {}
        for top in tops:
            name = top.key
            if name not in rows:
                self._start()
                rows[name] = self._slot(f"{KEPT_FOR_PLANT}{name}", 1, 0).float_first
                self._emit(codes.KEEP, rows[name], self._as_number(top), len(rows) - 1)
        return rows

    def rule(self, row: int, rule: Rule) -> None:
        """The condition's operations; its state is row `row`."""
        self._start()
        self._delays.append((rule.on_delay_ns, rule.off_delay_ns))
        timeouts_ns = rule.timeouts_ns
        self._timeouts.append(
            [timeouts_ns.get(asset, NEVER) for asset in self.lanes]
            if timeouts_ns
            else [NEVER] * len(self.lanes)
        )
        if rule.silent is not None:
            self._emit(codes.NO_DATA, row, self._number(rule.silent))
            return
        assert rule.when is not None, "the loader gives every rule a condition"
        guard = self._emit(codes.RULED_OUT, row) if self._bits is None else None
        true = self._of_members(self._truth(rule.when, True), rule)
        at = self._emit(codes.QUIET, row, true)
        false = self._truth(rule.when, False)
        until, still = false, true
        if rule.until is not None:
            until, still = self._truth(rule.until, True), self._truth(rule.until, False)
        shown = [self._number(term) for term in rule.shown.values()]
        self._emit(codes.STEP, row, true, false, until, still, len(self._lists), len(shown))
        self._lists += shown
        self._jump(at, row, true)
        if guard is not None:
            self._jump(guard, row, true, at - guard - 1)

    def fact(self, row: int, part: Part) -> None:
        """The operations of what another unit is told; its state is row `row`."""
        self._start()
        self._delays.append((0, 0))
        self._timeouts.append([NEVER] * len(self.lanes))
        value, known = self._gathered(part.term, _OVER[part.term.op], codes.HOW_MANY)
        self._emit(codes.TELL, row, value, known, part.period_ns)

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
            registers=np.array(self._lists, np.int64),
        )

    def _start(self) -> None:
        """Registers above those of functions are free again."""
        self._local = {}
        self._free_mask = 0
        self._free = max(
            [FIELD_COUNT if self._bits is None else 0, *(row + 1 for row in self._made.values())]
        )

    def _emit(self, op: int, *columns: int) -> int:
        self.ops.append((op, *columns, *[0] * (7 - len(columns))))
        return len(self.ops) - 1

    def _jump(self, at: int, row: int, true: int, looked_at: int = 0) -> None:
        """The operation at `at` may jump over all that follows it."""
        self.ops[at] = (self.ops[at][0], row, true, len(self.ops) - at - 1, looked_at, 0, 0, 0)

    def _register(self) -> int:
        self._free += 1
        self.registers = max(self.registers, self._free)
        return self._free - 1

    def _mask(self) -> int:
        self._free_mask += 1
        self.masks = max(self.masks, self._free_mask)
        return self._free_mask - 1

    def _function(self, term: Term, name: str) -> None:
        kind = _Function(_ANEW[term.op], 3, 2) if term.begins_anew else _FUNCTIONS[term.op]
        self._local, self._free_mask = {}, 0
        a, b, extra = 0, 0, term.window_ns
        if term.begins_anew:
            a = self._as_number(term.args[0])
            b, extra = self._truth(term.args[1], True), self._truth(term.args[1], False)
        elif term.args[0].is_truth:
            a, b = self._truth(term.args[0], True), self._truth(term.args[0], False)
        else:
            a = self._number(term.args[0])
            if term.op == "cusum":
                b, extra = self._number(term.args[1]), self._number(term.args[2])
        bit = 0 if self._bits is None else self._bits[term.key]
        slot = self._slot(
            name, kind.floats + (1 if bit else 0), kind.marks
        )  # one for the value of the last taking
        out = self._register()
        self._emit(kind.op, out, a, b, slot.float_first, slot.mark_first, extra, bit)
        if self._bits is None:
            self._emit(codes.BOUNDS, 0, out)
        self._made[term.key] = out

    def _slot(self, name: str, floats: int, marks: int) -> Slot:
        last = self.slots[-1] if self.slots else Slot("", 0, 0, 0, 0)
        first, mark = last.float_first + last.float_count, last.mark_first + last.mark_count
        self.slots.append(Slot(name, first, floats, mark, marks))
        return self.slots[-1]

    def _of_members(self, mask: int, rule: Rule) -> int:
        """The mask without lanes that the rule is not for: they stay normal for ever."""
        if self._bits is not None:  # a plant condition is one of the rule's assets
            return mask
        members = set(rule.assets)
        if members.issuperset(self.lanes):
            return mask
        belongs = self._number(
            Term("number", number=Limit(0.0, {asset: 1.0 for asset in self.lanes if asset in members}))
        )
        member, out = self._mask(), self._mask()
        self._emit(codes.GT_NUMBER, member, belongs, self._constant(0.5))
        self._emit(codes.AND, out, mask, member)
        return out

    def _number(self, term: Term) -> int:
        """The register that holds a number."""
        if term.op == "field":
            return FIELD_INDEX[term.signal]
        key = term.key
        if key in self._made:
            return self._made[key]
        if key not in self._local:
            self._local[key] = self._new_number(term)
        return self._local[key]

    def _new_number(self, term: Term) -> int:
        if term.op == "number":
            number = term.number
            values = [number.of(asset) for asset in (self.lanes if number.by_asset else self.lanes[:1])]
            alike = all(value == values[0] for value in values)
            op = codes.NUMBER if alike else codes.LANE_NUMBER
            place = self._constant(values[0]) if alike else len(self._lane_numbers)
            if not alike:
                self._lane_numbers.append(values)
            out = self._register()
            self._emit(op, out, place)
            return out
        if term.op in OVER:
            return self._over(term)
        if term.op == "point":
            return self._point(
                [self._row(term.points[asset]) if asset in term.points else -1 for asset in self.lanes]
            )
        args = [self._number(arg) for arg in term.args]
        out = self._register()
        self._emit(_NUMBERS[term.op], out, *args)
        return out

    def _row(self, point: str) -> int:
        """Where a point is, or the fact that tells it."""
        return self.point_index[point] if point in self.point_index else self.fact_rows[point]

    def _point(self, rows: list[int]) -> int:
        self._lane_points.append(rows)
        out = self._register()
        self._emit(codes.LANE_POINT, out, len(self._lane_points) - 1)
        return out

    def _over(self, term: Term) -> int:
        """Of several assets: of those of this unit, and of what others tell of theirs."""
        asset = self.lanes[0]
        parts = self.parts.of.get((term.key, asset))
        if parts is None:
            return self._gathered(term, _OVER[term.op])[0]
        pairs: list[int] = []
        for part in parts:
            row = self.fact_rows.get(part.name)
            if row is None:
                pairs += self._gathered(part.term, _OVER[part.term.op], codes.HOW_MANY)
            else:
                pairs += [self._point([row]), self._point([row + 1])]
        out = self._register()
        self._emit(
            codes.OVER_PARTS, out, len(self._lists), len(parts), len(term.members[asset]), _OVER[term.op]
        )
        self._lists += pairs
        return out

    def _gathered(self, term: Term, *kinds: int) -> list[int]:
        """For each kind, of what GPUs have kept, or of registers, one for each member."""
        members, inner = term.members[self.lanes[0]], term.args[0]
        kept = self.gpu_kept.get(inner.key) if members[0] in self.gpu_lane else None
        if kept is not None:
            first = len(self.members)
            self.members += [self.gpu_lane[member] for member in members]
            made = [self._register() for _ in kinds]
            for out, kind in zip(made, kinds, strict=True):
                self._emit(codes.OVER_GPUS, out, kept, first, len(members), kind)
            return made
        lanes, local, numbers = self.lanes, self._local, []
        for member in members:
            self.lanes, self._local = (member,), {}
            numbers.append(self._as_number(inner))
        self.lanes, self._local = lanes, local
        made = [self._register() for _ in kinds]
        for out, kind in zip(made, kinds, strict=True):
            self._emit(codes.OVER, out, len(self._lists), 0, len(numbers), kind)
        self._lists += numbers
        return made

    def _as_number(self, term: Term) -> int:
        """A number, or a truth as 1, 0 or unknown."""
        if not term.is_truth:
            return self._number(term)
        true, false = self._truth(term, True), self._truth(term, False)
        out = self._register()
        self._emit(codes.TRUTH, out, true, false)
        return out

    def _constant(self, value: float) -> int:
        self._numbers.append(value)
        return len(self._numbers) - 1

    def _truth(self, term: Term, want: bool) -> int:
        """The mask that says where `term` is true (`want`), or where it is false."""
        if term.op == "not":
            return self._truth(term.args[0], not want)
        key = f"{want}:{term.key}"
        if key not in self._local:
            self._local[key] = self._new_truth(term, want)
        return self._local[key]

    def _new_truth(self, term: Term, want: bool) -> int:
        if term.op in ("and", "or"):
            a, b = (self._truth(arg, want) for arg in term.args)
            out = self._mask()
            self._emit(codes.AND if (term.op == "and") == want else codes.OR, out, a, b)
            return out
        if term.op == "stale":
            a, out = self._number(term.args[0]), self._mask()
            self._emit(codes.LACKS, out, a) if want else self._emit(codes.EQ, out, a, a)
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
