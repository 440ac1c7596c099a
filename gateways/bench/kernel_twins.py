"""The same conditions in NumPy and in polars: what the engine's speed is held against.

Rules: a twin says where the `when` of a rule is true, and nothing else: no state, no delays, no `until`, no messages,
no quality. Rules with functions of time are left out, so that a twin never does more than the engine; `no_data` is
"the signal is missing". Comparisons are in float32, as someone who writes them by hand would have them.
"""

from __future__ import annotations

import importlib.util
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateways.bench.kernel_load import Rack
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.language.program import GPU_TYPE, Program, Rule
from rules.language.terms import COMPARISONS, Limit, Term

_NUMBERS: Final[Mapping[str, Callable[..., Any]]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "abs": abs,
}  # fmt: skip
_TRUE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq,
    "ne": lambda a, b: (a < b) | (a > b),
}  # fmt: skip
_OPPOSITE: Final = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}
_STATELESS: Final = {"number", "field", "and", "or", "not"} | _NUMBERS.keys() | COMPARISONS

Column = Callable[[int], Any]
"""A field of the frame, by its index, as an array or an expression."""
Constant = Callable[[Limit], Any]


def stateless(program: Program) -> list[Rule]:
    """The GPU rules that a twin can say."""
    return [
        rule
        for rule in program.rules
        if rule.asset_type == GPU_TYPE
        and all(term.op in _STATELESS for top in (rule.when, rule.silent) if top for term in top.walk())
    ]


def fields_of(rules: Sequence[Rule]) -> set[str]:
    """The fields that these rules' conditions read: a twin touches no other."""
    tops = [top for rule in rules for top in (rule.when, rule.silent) if top]
    return {term.signal for top in tops for term in top.walk() if term.op == "field"}


def numpy_masks(rules: Sequence[Rule], rack: Rack) -> dict[str, NDArray[np.bool_]]:
    """(S, G) by rule: where its condition is true in a rack's frame."""
    values = rack.values

    def column(index: int) -> Any:
        return values[:, :, index]

    def constant(limit: Limit) -> Any:
        if not limit.by_asset:
            return limit.value
        return np.array([limit.of(gpu) for gpu in rack.gpus], np.float32)

    return {
        rule.id: np.isnan(_number(rule.silent, column, constant))
        if rule.silent
        else _truth(_when(rule), True, column, constant)
        for rule in rules
    }


class PolarsTwin:
    """All racks as one table, a column for each field that is read, and an expression for each rule. One thread.

    Rows are by rack, sample, GPU.
    """

    def __init__(self, rules: Sequence[Rule], racks: Sequence[Rack]) -> None:
        os.environ["POLARS_MAX_THREADS"] = "1"  # before its import, which reads it
        import polars

        def column(index: int) -> Any:
            return polars.col(GPU_FIELDS[index].name)

        def constant(limit: Limit) -> Any:
            if not limit.by_asset:
                return limit.value
            of_racks = [
                np.tile(np.array([limit.of(gpu) for gpu in rack.gpus], np.float32), len(rack.values))
                for rack in racks
            ]
            return polars.lit(polars.Series(np.concatenate(of_racks)))

        read = fields_of(rules)
        # comparisons of polars put NaN above all numbers and equal to itself; its null is what is missing
        self._table = polars.DataFrame(
            {
                name: np.concatenate([rack.values[:, :, index].ravel() for rack in racks])
                for name, index in FIELD_INDEX.items()
                if name in read
            },
            nan_to_null=True,
        )
        self._expressions = [
            (
                _number(rule.silent, column, constant).is_null()
                if rule.silent
                else _truth(_when(rule), True, column, constant).fill_null(False)
            ).alias(rule.id)
            for rule in rules
        ]

    def masks(self) -> Any:
        """A table with a column of truths for each rule."""
        return self._table.select(self._expressions)


def has_polars() -> bool:
    """Whether polars is installed: it is for development only."""
    return importlib.util.find_spec("polars") is not None


def _when(rule: Rule) -> Term:
    assert rule.when is not None, "the loader gives every rule a condition"
    return rule.when


def _number(term: Term, column: Column, constant: Constant) -> Any:
    if term.op == "number":
        return constant(term.number)
    if term.op == "field":
        return column(FIELD_INDEX[term.signal])
    return _NUMBERS[term.op](*(_number(arg, column, constant) for arg in term.args))


def _truth(term: Term, want: bool, column: Column, constant: Constant) -> Any:
    """Where `term` is known and true (`want`), or known and false."""
    if term.op == "not":
        return _truth(term.args[0], not want, column, constant)
    if term.op in ("and", "or"):
        both = operator.and_ if (term.op == "and") == want else operator.or_
        return both(*(_truth(arg, want, column, constant) for arg in term.args))
    left, right = (_number(arg, column, constant) for arg in term.args)
    return _TRUE[term.op if want else _OPPOSITE[term.op]](left, right)
