"""Functions of time, the slow and obvious way: what is still needed is kept as it came, every value is made anew.

An object is one function's state on one asset. `take(t, v, ...)` gives it a sample of what it watches, all known,
and answers its value, None for unknown; times never go back. Sums are written out, and always in the order of
time: the built-in `sum` adds otherwise since Python 3.12.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import pairwise

from rules.language.terms import PANES, Term

S = 1_000_000_000


def added(numbers: Iterable[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return total


class Window(ABC):
    """A function of the 17 panes up to now: 16 whole ones and the one that is being filled."""

    def __init__(self, window_ns: int) -> None:
        self.pane_ns = max(1, window_ns // PANES)
        self.samples: list[tuple[int, float]] = []
        self.since = 0

    def take(self, t: int, v: float) -> float | None:
        p = t // self.pane_ns
        if not self.samples or p - self.samples[-1][0] // self.pane_ns > PANES:
            self.since = p
        self.samples = [(then, was) for then, was in self.samples if p - then // self.pane_ns <= PANES]
        self.samples.append((t, v))
        return self.value(p) if self.since <= p - PANES else None

    def panes(self, p: int) -> list[list[float]]:
        """The samples of each pane, the oldest pane first."""
        return [[v for t, v in self.samples if t // self.pane_ns == q] for q in range(p - PANES, p + 1)]

    @abstractmethod
    def value(self, p: int) -> float | None:
        """Of what is in the panes that end with pane `p`."""


def weighted(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The mean of values with weights, and the sum of those: equal values give that value, to the last bit."""
    mean, total = 0.0, 0.0
    for value, weight in parts:
        total += weight
        if total:
            mean += (value - mean) * (weight / total)
    return mean, total


class Average(Window):
    def value(self, p: int) -> float | None:
        return weighted(weighted((v, 1.0) for v in pane) for pane in self.panes(p))[0]


class Least(Window):
    def value(self, p: int) -> float | None:
        return min(v for _, v in self.samples)


class Most(Window):
    def value(self, p: int) -> float | None:
        return max(v for _, v in self.samples)


class Count(Window):
    """Watches a truth, which is 0 or 1 here."""

    def value(self, p: int) -> float | None:
        return float(len([v for _, v in self.samples if v]))


class Deviation(Window):
    """Of the population: each pane by Welford's algorithm, panes merged by Chan's."""

    def value(self, p: int) -> float | None:
        whole = (0, 0.0, 0.0)
        for pane in self.panes(p):
            if pane:
                whole = self.merged(whole, self.of(pane)) if whole[0] else self.of(pane)
        n, _, m2 = whole
        return math.sqrt(m2 / n)

    @staticmethod
    def of(pane: list[float]) -> tuple[int, float, float]:
        n, mean, m2 = 0, 0.0, 0.0
        for v in pane:
            n += 1
            d = v - mean
            mean += d / n
            m2 += d * (v - mean)
        return n, mean, m2

    @staticmethod
    def merged(first: tuple[int, float, float], second: tuple[int, float, float]) -> tuple[int, float, float]:
        (a, mean_a, m2_a), (b, mean_b, m2_b) = first, second
        n = a + b
        d = mean_b - mean_a
        return n, mean_a + d * b / n, m2_a + m2_b + d * d * a * b / n


class TimeWeighted(Window):
    """The average in which a value counts for as long as it held, that is until the next known sample."""

    def __init__(self, window_ns: int) -> None:
        super().__init__(window_ns)
        self.slices: list[tuple[int, float, float]] = []  # pane, value, seconds

    def take(self, t: int, v: float) -> float | None:
        p = t // self.pane_ns
        if self.samples:
            t_u, u = self.samples[-1]
            for q in range(max(t_u // self.pane_ns, p - PANES), p + 1):
                s = (min(t, (q + 1) * self.pane_ns) - max(t_u, q * self.pane_ns)) / 1e9
                self.slices.append((q, u, s))
        self.slices = [part for part in self.slices if p - part[0] <= PANES]
        return super().take(t, v)

    def parts(self, p: int) -> list[list[tuple[float, float]]]:
        """Values and seconds of each pane, the oldest pane first."""
        return [[(u, s) for at, u, s in self.slices if at == q] for q in range(p - PANES, p + 1)]

    def value(self, p: int) -> float | None:
        mean, duration = weighted(weighted(pane) for pane in self.parts(p))
        return mean if duration else None


class Integral(TimeWeighted):
    def value(self, p: int) -> float | None:
        return added(added(u * s for u, s in pane) for pane in self.parts(p))


class Delta:
    """Against the newest sample that is 16 to 32 panes old."""

    def __init__(self, window_ns: int) -> None:
        self.pane_ns = max(1, window_ns // PANES)
        self.samples: list[tuple[int, float]] = []

    def take(self, t: int, v: float) -> float | None:
        p = t // self.pane_ns
        ages = range(PANES, 2 * PANES + 1)
        bases = [sample for sample in self.samples if p - sample[0] // self.pane_ns in ages]
        self.samples = [sample for sample in self.samples if p - sample[0] // self.pane_ns <= ages[-1]]
        self.samples.append((t, v))
        return self.against(t - bases[-1][0], v - bases[-1][1]) if bases else None

    def against(self, age_ns: int, difference: float) -> float:
        return difference


class Rate(Delta):
    def against(self, age_ns: int, difference: float) -> float:
        return difference / (age_ns / 1e9)


class Ewma:
    def __init__(self, window_ns: int) -> None:
        self.tau = window_ns / 1e9
        self.last: tuple[int, float] | None = None

    def take(self, t: int, v: float) -> float | None:
        value = v
        if self.last is not None:
            before, value = self.last
            dt = (t - before) / 1e9
            a = dt / (self.tau + dt)
            value += a * (v - value)
        self.last = t, value
        return value


class Cusum:
    def __init__(self, window_ns: int) -> None:
        self.s = 0.0

    def take(self, t: int, v: float, target: float, allowance: float) -> float | None:
        self.s = max(0.0, self.s + (v - target - allowance))
        return self.s


class Since:
    """Watches a truth."""

    def __init__(self, window_ns: int) -> None:
        self.true_at: int | None = None

    def take(self, t: int, v: bool) -> float | None:
        if v:
            self.true_at = t
        return None if self.true_at is None else (t - self.true_at) / 1e9


class Anew:
    """Since a condition was last true. `began`: then, None for never; `samples`: what was taken since."""

    def __init__(self, op: str) -> None:
        self.op = op
        self.began: int | None = None
        self.samples: list[tuple[int, float]] = []
        self.held: tuple[int, float] | None = None

    def take(self, t: int, v: float | None, anew: bool | None, is_sampled: bool) -> float | None:
        if anew:
            self.began, self.samples = t, []
            if self.held is not None:
                self.held = t, self.held[1]
                self.samples = [self.held] if self.op in ("twa", "integral") else []
        if v is None or anew is None:
            return None
        if is_sampled:
            self.held = t, v
            self.samples.append(self.held)
        return None if self.began is None else self.value([u for _, u in self.samples])

    def value(self, numbers: list[float]) -> float | None:
        parts = [(u, (then - at) / 1e9) for (at, u), (then, _) in pairwise(self.samples)]
        match self.op:
            case "integral":
                return added(u * s for u, s in parts)
            case "count":
                return float(len([u for u in numbers if u]))
            case "twa":
                mean, duration = weighted(parts)
                return mean if duration else None
        if not numbers:
            return None
        match self.op:
            case "min":
                return min(numbers)
            case "max":
                return max(numbers)
            case "delta":
                return numbers[-1] - numbers[0]
            case "rate":
                seconds = (self.samples[-1][0] - self.samples[0][0]) / 1e9
                return (numbers[-1] - numbers[0]) / seconds if seconds else None
        n, mean, m2 = 0, 0.0, 0.0
        for u in numbers:
            n += 1
            d = u - mean
            mean += d / n
            m2 += d * (u - mean)
        return mean if self.op == "avg" else math.sqrt(m2 / n)


KINDS = {
    "avg": Average,
    "min": Least,
    "max": Most,
    "count": Count,
    "stddev": Deviation,
    "twa": TimeWeighted,
    "integral": Integral,
    "delta": Delta,
    "rate": Rate,
    "ewma": Ewma,
    "cusum": Cusum,
    "since": Since,
}


class Function:
    """A function of a rule on an asset. `taken`: its value when it last took a sample, known or not."""

    def __init__(self, term: Term) -> None:
        self.op = term.op
        self.anew = Anew(term.op) if term.begins_anew else None
        self.state = KINDS[term.op](term.window_ns)
        self.taken: float | None = None

    def take(self, t: int, *args: float | None, is_sampled: bool = True) -> float | None:
        if self.anew:
            v, anew = args
            self.taken = self.anew.take(t, v, None if anew is None else bool(anew), is_sampled)
            return self.taken
        known = None not in args
        self.taken = self.state.take(t, *args) if known else None
        return self.taken
