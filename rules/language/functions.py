"""The functions of the language: their arguments, in one table that parser, checker and the documentation share.

Kinds: `number`; `truth`; `time`, a duration; `window`, that or a condition; `signal`, a name only. What each one
computes is in docs/rules.md; what remembers is in `rules/language/terms.py`, physical models are in
`rules/language/formulas.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rules.language.formulas import FORMULAS
from rules.language.terms import Op

Kind = Literal["number", "truth", "time", "window", "signal"]
_NUMBER: Final = "number"


@dataclass(frozen=True, slots=True)
class Function:
    """`form` is how it is written; `kinds` are those of its arguments, of which the last `optional` may be left out."""

    form: str
    kinds: tuple[Kind, ...]
    optional: int = 0


def _windowed(name: str) -> Function:
    return Function(f"{name}(x, WINDOW)", ("number", "window"))


AGGREGATES: Final[Mapping[str, tuple[Op, Kind]]] = {
    "sum": ("sum_over", "number"),
    "avg": ("avg_over", "number"),
    "min": ("min_over", "number"),
    "max": ("max_over", "number"),
    "count": ("count_over", "truth"),
    "coverage": ("coverage_over", "number"),
}
"""Of several assets, where they are written with one argument about a type, such as `max(GPU.temperature)`."""

FUNCTIONS: Final[Mapping[str, Function]] = {
    **{
        name: _windowed(name)
        for name in ("rate", "delta", "avg", "twa", "min", "max", "stddev", "integral", "changed", "frozen")
    },
    "ewma": Function("ewma(x, TIME)", ("number", "time")),
    "count": Function("count(truth, WINDOW)", ("truth", "window")),
    "since": Function("since(truth)", ("truth",)),
    "cusum": Function("cusum(x, target, allowance)", ("number", "number", "number")),
    "stale": Function("stale(x)", ("number",)),
    "vote2oo3": Function("vote2oo3(a, b, c)", ("truth", "truth", "truth")),
    "discrepancy": Function("discrepancy(a, b, c)", ("truth", "truth", "truth")),
    "abs": Function("abs(x)", ("number",)),
    "least": Function("least(x, y)", ("number", "number")),
    "most": Function("most(x, y)", ("number", "number")),
    "sum": Function("sum(TYPE.x)", ("number",)),
    "coverage": Function("coverage(TYPE.x)", ("number",)),
    "no_data": Function("no_data(SIGNAL)", ("signal",)),
    **{
        name: Function(formula.form(name), tuple(_NUMBER for _ in formula.arguments), len(formula.defaults))
        for name, formula in FORMULAS.items()
    },
}
