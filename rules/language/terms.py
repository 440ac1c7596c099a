"""Checked expressions: what a rule computes, resolved against a site, before it becomes operations of a kernel.

Rules: plain immutable values, nothing here knows YAML, NumPy or Numba. Units are gone: whatever had to be converted
has become a multiplication or an addition of a number. A truth is one of three: true, false, unknown (Kleene); a
number that is not known is NaN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

Op = Literal[
    # numbers
    "number", "field", "point",
    "add", "sub", "mul", "div", "neg", "abs", "least", "most",
    # functions of time, which keep a state for every asset
    "rate", "delta", "avg", "twa", "min", "max", "stddev", "integral", "count", "ewma", "cusum", "since",
    # of several assets
    "sum_over", "avg_over", "min_over", "max_over", "count_over", "coverage_over",
    # truths
    "lt", "le", "gt", "ge", "eq", "ne", "stale", "and", "or", "not",
]  # fmt: skip

COMPARISONS: Final = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
TRUTHS: Final = COMPARISONS | {"stale", "and", "or", "not"}
WINDOWED: Final = frozenset({"rate", "delta", "avg", "twa", "min", "max", "stddev", "integral", "count"})
"""Over a window, or since a condition was last true."""
FUNCTIONS: Final = WINDOWED | {"ewma", "cusum", "since"}
OVER: Final = frozenset({"sum_over", "avg_over", "min_over", "max_over", "count_over", "coverage_over"})
PANES: Final = 16
"""A window is cut into as many panes, whose edges are multiples of their length in event time (decision 0013)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A number. `by_asset` only where assets differ."""

    value: float
    by_asset: Mapping[str, float] = field(default_factory=dict)

    def of(self, asset: str) -> float:
        """The number that holds for one asset."""
        return self.by_asset.get(asset, self.value)


def to_judge(assets: Sequence[str], *limits: Limit) -> Sequence[str]:
    """The assets for which limits must be looked at: one for all of them where the limits are the same for all."""
    return assets if any(limit.by_asset for limit in limits) else assets[:1]


@dataclass(frozen=True, slots=True)
class Term:
    """One operation and what it works on.

    number: `number`. field: a GPU's own field, by its name in `signal`. point: `points` says which point each of the
    rule's assets reads, its own or another's; `signal` is how it was written. Functions: `args[0]` is what they watch;
    `window_ns` their window, or the time constant of `ewma`; `cusum` has its target and its allowance in `args[1:]`.
    Those that have a window may have in `args[1]`, instead of it, the truth that begins them anew. `stale`: whether a
    number is unknown, itself never unknown.
    `…_over`: of `args[0]` as each of the asset's `members` has it; what is below `args[0]` is about the members.
    """

    op: Op
    args: tuple[Term, ...] = ()
    number: Limit = Limit(0.0)
    signal: str = ""
    points: Mapping[str, str] = field(default_factory=dict)
    window_ns: int = 0
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _key: str = field(default="", init=False, repr=False, compare=False)

    @property
    def is_truth(self) -> bool:
        """Whether its value is true, false or unknown rather than a number."""
        return self.op in TRUTHS

    @property
    def begins_anew(self) -> bool:
        """Whether it is a function of time since a condition was true, and not over a window."""
        return self.op in WINDOWED and len(self.args) > 1

    @property
    def reads_others(self) -> bool:
        """Whether it looks at a signal of another asset itself."""
        return any(part.op == "point" and "." in part.signal for part in self.walk())

    def walk(self) -> Sequence[Term]:
        """Itself and all below of the same asset, each once, what is needed first coming first."""
        # By `id`: formulas share terms, and as a tree they are many times as many.
        found: dict[int, Term] = {}
        self._walk(found)
        return list(found.values())

    def _walk(self, found: dict[int, Term]) -> None:
        for arg in self.args if self.op not in OVER else ():
            if id(arg) not in found:
                arg._walk(found)
        found[id(self)] = self

    def signals(self, asset: str) -> Sequence[tuple[Term, str]]:
        """Every field and point below, each once, with the asset whose it is or for which it is read."""
        found: dict[tuple[int, str], tuple[Term, str]] = {}
        self._signals(asset, found, set())
        return list(found.values())

    def _signals(
        self, asset: str, found: dict[tuple[int, str], tuple[Term, str]], seen: set[tuple[int, str]]
    ) -> None:
        if (id(self), asset) in seen:
            return
        seen.add((id(self), asset))
        if self.op in ("field", "point"):
            found[id(self), asset] = self, asset
        for member in self.members[asset] if self.op in OVER else (asset,):
            for arg in self.args:
                arg._signals(member, found, seen)

    @property
    def key(self) -> str:
        """SHA-256 of all that it is: two terms with equal ones compute the same."""
        if not self._key:
            own = [
                self.op,
                [arg.key for arg in self.args],
                [self.number.value, sorted(self.number.by_asset.items())],
                self.signal,
                sorted(self.points.items()),
                self.window_ns,
                sorted(self.members.items()),
            ]
            object.__setattr__(self, "_key", hashlib.sha256(orjson.dumps(own)).hexdigest())
        return self._key


def reads(term: Term) -> bool:
    """Whether it depends on a signal."""
    return any(part.op in ("field", "point") or part.op in OVER for part in term.walk())
